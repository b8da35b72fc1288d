//! Where messages go.

use model::api::MailAddresses;
use reqwest::Url;

/// Where messages go.
#[derive(Clone, Debug)]
pub(crate) enum MessageTarget {
    Web(Url),
    Mail(Box<MailTarget>),
}

/// A mail server, and who writes to whom.
#[derive(Clone, Debug)]
pub(crate) struct MailTarget {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: MailEncryption,
    /// Name and password.
    pub(crate) login: Option<(String, String)>,
    pub(crate) addresses: MailAddresses,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailEncryption {
    /// From its first byte.
    FromTheStart,
    /// After `STARTTLS`, which must come.
    Asked,
    /// Not at all.
    Never,
}
