//! Values that programs know by a name: what the name means is said once, in the code, and shown by documentation and schemas.

macro_rules! named {
    (
        $(#[$outer:meta])*
        $type:ident {
            $(#[doc = $meaning:literal] $value:ident = $name:literal,)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $(#[doc = $meaning] $value,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$value),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }

            /// What it says.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$value => $meaning.trim_ascii(),)*
                }
            }

            /// The schema of its name. Others may come with other versions, so that no name is ruled out.
            #[cfg(feature = "openapi")]
            pub(crate) fn schema() -> utoipa::openapi::schema::Object {
                let line = |one: &Self| format!("- `{}`: {}\n", one.name(), one.meaning());
                let lines: String = Self::ALL.iter().map(line).collect();
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(format!("One of these, or one of a later version:\n\n{lines}")))
                    .examples(Self::ALL.iter().map(|one| one.name()))
                    .build()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;
