//! What a database's URL says of TLS: `sslmode`, `sslrootcert`, `sslcert` and `sslkey`, with the meaning that they have for PostgreSQL's
//! own programs (libpq, section 34.19 of PostgreSQL 15's manual).

use super::address::{is_open, wrong};
use super::tls::{DatabaseTls, DatabaseTrust, certificates, private_key, unusable};
use crate::udb::UdbError;
use percent_encoding::percent_decode_str;
use std::path::{Path, PathBuf};
use tokio_postgres::config::SslMode;

/// Whether TLS is spoken, and with whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TlsMode {
    Disable,
    /// Where the database offers it.
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The authorities of the host, instead of a file's.
const SYSTEM_ROOTS: &str = "system";

/// The part of a URL that is about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AskedTls {
    mode: TlsMode,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl AskedTls {
    /// Takes it out of a URL, and gives back the rest.
    pub(super) fn taken_from(url: &str) -> Result<(String, Self), UdbError> {
        let mut asked = Self::default();
        let Some((before, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), asked));
        };
        let mut rest = Vec::new();
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| wrong(&format!("{name} is no text")))?;
            let file = || Some(PathBuf::from(value.clone().into_owned()));
            match name {
                "sslmode" => asked.mode = mode(&value)?,
                "sslrootcert" => asked.roots = file(),
                "sslcert" => asked.certificate = file(),
                "sslkey" => asked.key = file(),
                _ => rest.push(parameter),
            }
        }
        asked.check()?;
        let rest = match rest.join("&") {
            none if none.is_empty() => before.to_owned(),
            rest => format!("{before}?{rest}"),
        };
        Ok((rest, asked))
    }

    /// What contradicts itself would be less than somebody has asked for.
    fn check(&self) -> Result<(), UdbError> {
        let is_verified = matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        if self.roots.is_some() && !is_verified && self.mode != TlsMode::Require {
            return Err(wrong(
                "sslrootcert without sslmode=verify-full, verify-ca or require checks nothing",
            ));
        }
        if self.is_by_system_roots() && self.mode != TlsMode::VerifyFull {
            return Err(wrong(
                "sslrootcert=system needs sslmode=verify-full: anybody gets a certificate of these for a name of his own",
            ));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(wrong("sslcert and sslkey need each other"));
        }
        Ok(())
    }

    fn is_by_system_roots(&self) -> bool {
        self.roots.as_deref() == Some(Path::new(SYSTEM_ROOTS))
    }

    /// Whether a connection without TLS will do.
    pub(super) fn ssl_mode(&self) -> SslMode {
        match self.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        }
    }

    /// What speaks it, with the files read.
    pub(super) fn tls(&self) -> Result<DatabaseTls, UdbError> {
        let named = self.roots.as_deref().filter(|_| !self.is_by_system_roots());
        let roots = named.map(certificates).transpose()?;
        let trust = match self.mode {
            TlsMode::VerifyFull => DatabaseTrust::Certified {
                roots,
                is_named: true,
            },
            TlsMode::VerifyCa if roots.is_none() => {
                return Err(wrong(
                    "sslmode=verify-ca needs sslrootcert=FILE, the certificate of the database's authority",
                ));
            }
            TlsMode::VerifyCa | TlsMode::Require if roots.is_some() => DatabaseTrust::Certified {
                roots,
                is_named: false,
            },
            _ => DatabaseTrust::Anybody,
        };
        let own = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let about = std::fs::metadata(key);
                let about = about.map_err(|error| unusable(key, &error.to_string()))?;
                if is_open(&about) {
                    let open = "others may read it; take that away with `chmod 600`";
                    return Err(unusable(key, open));
                }
                Some((certificates(certificate)?, private_key(key)?))
            }
            _ => None,
        };
        DatabaseTls::new(trust, own)
    }
}

fn mode(value: &str) -> Result<TlsMode, UdbError> {
    Ok(match value {
        "disable" => TlsMode::Disable,
        "prefer" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        "allow" => {
            return Err(wrong(
                "sslmode=allow asks for TLS only if the database insists: say prefer, or better verify-full",
            ));
        }
        other => {
            return Err(wrong(&format!(
                "sslmode={other} is none of disable, prefer, require, verify-ca and verify-full"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::AskedTls;

    #[test]
    fn what_is_said_of_tls_is_taken_out_of_the_url() {
        let url = "postgres://u@h/d?sslmode=verify-full&application_name=a%20b&sslrootcert=%2Fetc%2Froot.pem";
        let (rest, asked) = AskedTls::taken_from(url).expect("reads");
        assert_eq!(rest, "postgres://u@h/d?application_name=a%20b");
        let said = format!("{asked:?}");
        assert!(
            said.contains("VerifyFull") && said.contains("\"/etc/root.pem\""),
            "{said}"
        );
        let (rest, asked) = AskedTls::taken_from("postgres://u@h/d").expect("reads");
        assert_eq!(
            (rest.as_str(), asked),
            ("postgres://u@h/d", AskedTls::default())
        );
    }

    #[test]
    fn what_is_less_than_somebody_has_asked_for_is_refused_in_words() {
        let told = |query: &str| {
            let url = format!("postgres://u@h/d?{query}");
            let read = AskedTls::taken_from(&url).and_then(|(_, asked)| asked.tls());
            read.err().expect("refused").to_string()
        };
        for (query, words) in [
            ("sslmode=allow", "say prefer, or better verify-full"),
            ("sslmode=verify", "is none of disable"),
            ("sslrootcert=/root.pem", "checks nothing"),
            ("sslmode=disable&sslrootcert=/root.pem", "checks nothing"),
            ("sslmode=verify-ca", "needs sslrootcert=FILE"),
            (
                "sslmode=verify-ca&sslrootcert=system",
                "needs sslmode=verify-full",
            ),
            ("sslmode=require&sslcert=/own.pem", "need each other"),
            (
                "sslmode=verify-full&sslrootcert=/there/is/none.pem",
                "/there/is/none.pem",
            ),
        ] {
            let said = told(query);
            assert!(said.contains(words), "{query}: {said}");
        }
    }
}
