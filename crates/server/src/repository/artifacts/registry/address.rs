//! Which registry artifacts lie in, and under which name: a URL without secrets that also says whether it may be called without TLS.

use super::super::ArtifactsError;
use std::fmt;
use std::net::IpAddr;

/// Asks for TLS, but not at loopback's addresses.
const USUAL: &str = "oci://";

/// Asks for TLS at any address.
const WITH_TLS: &str = "oci+https://";

/// Asks for none at any address.
const PLAIN: &str = "oci+http://";

/// The longest name that registries take.
const NAME_MAX: usize = 255;

/// Whether this is meant to be the address of a registry.
pub(in super::super) fn is_registry(text: &str) -> bool {
    text.starts_with("oci:") || text.starts_with("oci+")
}

/// A registry, and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegistryAddress {
    /// `HOST` or `HOST:PORT`.
    pub(super) host: String,
    pub(super) name: String,
    /// Whether it is called without TLS.
    pub(super) is_plain: bool,
}

impl RegistryAddress {
    /// Reads `oci://HOST[:PORT]/NAME`.
    pub(super) fn read(text: &str) -> Result<Self, ArtifactsError> {
        let wrong = |why: &str| ArtifactsError::Address {
            address: text.to_owned(),
            why: why.to_owned(),
        };
        let schemes = [USUAL, WITH_TLS, PLAIN];
        let found = schemes
            .into_iter()
            .find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)));
        let (scheme, rest) = found.ok_or_else(|| {
            wrong("it begins neither with oci:// nor, for a registry without TLS, with oci+http://")
        })?;
        if rest.contains('@') {
            return Err(wrong("a login does not belong here, but in a file"));
        }
        let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_host(host) {
            return Err(wrong("HOST or HOST:PORT comes first"));
        }
        if !is_name(name) {
            return Err(wrong(
                "a name follows the host: small letters and digits, with single dots, dashes, underscores and slashes between them, and neither tag nor digest",
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            name: name.to_owned(),
            is_plain: scheme == PLAIN || (scheme == USUAL && is_loopback(host)),
        })
    }

    /// Whether others on the way could read what is sent there.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_plain && !is_loopback(&self.host)
    }
}

impl fmt::Display for RegistryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{USUAL}{}/{}", self.host, self.name)
    }
}

/// Without the port, and without what surrounds an address of IPv6.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    let address = name.parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn is_host(host: &str) -> bool {
    let name = without_port(host);
    let is_six = host.starts_with('[');
    let port = host.strip_prefix(&if is_six {
        format!("[{name}]")
    } else {
        name.to_owned()
    });
    let is_port = |port: &str| {
        let number = port.strip_prefix(':').and_then(|it| it.parse::<u16>().ok());
        port.is_empty() || number.is_some_and(|number| number > 0)
    };
    let is_named = if is_six {
        name.parse::<IpAddr>().is_ok_and(|it| it.is_ipv6())
    } else {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
        !name.is_empty() && name.chars().all(plain)
    };
    is_named && port.is_some_and(is_port)
}

fn is_name(name: &str) -> bool {
    let is_end = |letter: Option<char>| {
        letter.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    let is_inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || ".-_".contains(it);
    let is_part = |part: &str| {
        let ends = [part.chars().next(), part.chars().next_back()];
        ends.into_iter().all(is_end) && part.chars().all(is_inner) && !part.contains("..")
    };
    name.len() <= NAME_MAX && name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_name_and_has_tls_unless_told_otherwise() {
        for (text, host, name, is_plain) in [
            (
                "oci://registry.example/shop",
                "registry.example",
                "shop",
                false,
            ),
            (
                "oci://r.example:5000/a/b-c",
                "r.example:5000",
                "a/b-c",
                false,
            ),
            ("oci://127.0.0.1:5000/shop", "127.0.0.1:5000", "shop", true),
            ("oci://[::1]:5000/shop", "[::1]:5000", "shop", true),
            ("oci://localhost/shop", "localhost", "shop", true),
            (
                "oci+https://localhost:5000/shop",
                "localhost:5000",
                "shop",
                false,
            ),
            (
                "oci+http://r.example:5000/shop",
                "r.example:5000",
                "shop",
                true,
            ),
        ] {
            let found = RegistryAddress::read(text).expect(text);
            let expected = RegistryAddress {
                host: host.to_owned(),
                name: name.to_owned(),
                is_plain,
            };
            assert_eq!(found, expected, "{text}");
            assert_eq!(found.is_exposed(), text.starts_with("oci+http:"), "{text}");
        }
    }

    #[test]
    fn what_leads_nowhere_or_holds_a_secret_is_refused_in_words() {
        for wrong in [
            "oci:",
            "oci://",
            "oci:///shop",
            "oci://registry.example",
            "oci://registry.example/",
            "oci://registry.example:0/shop",
            "oci://registry.example:port/shop",
            "oci://[registry]:5000/shop",
            "oci://registry.example/Shop",
            "oci://registry.example/a//b",
            "oci://registry.example/a/../b",
            "oci://registry.example/shop:tag",
            "oci://me:secret@registry.example/shop",
            "oci+ftp://registry.example/shop",
        ] {
            assert!(is_registry(wrong));
            let told = RegistryAddress::read(wrong).expect_err(wrong).to_string();
            assert!(told.contains(wrong), "{told}");
        }
        assert!(!is_registry("s3://shop/a"));
    }
}
