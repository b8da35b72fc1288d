//! Why a component cannot be an adapter.

/// Why a component cannot be an adapter.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// This machine or process cannot run WebAssembly at all.
    #[error("WebAssembly cannot be run here: {0}")]
    Engine(String),
    /// It is no component, or none that can be compiled.
    #[error("{component}: {why}")]
    Unfit {
        /// Its file.
        component: String,
        /// What is wrong with it.
        why: String,
        /// What to do next.
        hint: String,
    },
    /// The process that compiles it failed.
    #[error("{component}: compiling it {why}")]
    Compile {
        /// Its file.
        component: String,
        /// How the process ended.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {file}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl ComponentError {
    /// What to do next, where more is known than the message says.
    pub fn hint(&self) -> &str {
        match self {
            Self::Unfit { hint, .. } => hint,
            Self::Compile { .. } => {
                "a component that is this large or this slow to compile is most likely not built for release"
            }
            Self::Engine(_) | Self::File { .. } => "",
        }
    }
}
