//! Query parameters: those that no rule touches leave exactly as they came.

use form_urlencoded::byte_serialize;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Decoded.
    pub name: String,
    /// Decoded.
    pub value: String,
    /// As it came; `None` for what a rule has put.
    raw: Option<String>,
}

impl Pair {
    /// One that a rule has put.
    pub fn new(name: String, value: String) -> Self {
        Self {
            name,
            value,
            raw: None,
        }
    }

    /// Those of a query, in their order.
    pub fn parse(query: Option<&str>) -> Vec<Self> {
        let parts = query
            .unwrap_or("")
            .split('&')
            .filter(|part| !part.is_empty());
        parts
            .map(|part| {
                let (name, value) = form_urlencoded::parse(part.as_bytes())
                    .next()
                    .unwrap_or_default();
                let raw = Some(part.to_owned());
                Self {
                    name: name.into_owned(),
                    value: value.into_owned(),
                    raw,
                }
            })
            .collect()
    }

    /// The query of these; none where there are none.
    pub fn print(pairs: &[Self]) -> Option<String> {
        if pairs.is_empty() {
            return None;
        }
        let mut text = String::new();
        for (index, pair) in pairs.iter().enumerate() {
            if index > 0 {
                text.push('&');
            }
            match &pair.raw {
                Some(raw) => text.push_str(raw),
                None => {
                    text.extend(byte_serialize(pair.name.as_bytes()));
                    text.push('=');
                    text.extend(byte_serialize(pair.value.as_bytes()));
                }
            }
        }
        Some(text)
    }
}
