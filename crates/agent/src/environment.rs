//! Environments are made, not inherited: what the agent was started with (its token, a cloud's keys, a service manager's sockets)
//! is nobody else's business.

use crate::launch::user;
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// Where programs are found when nobody says where (as systemd has it).
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the software gets of the agent's own environment: where programs are found, in which language it speaks, and where the machine is.
const COMMON: [&str; 4] = ["PATH", "LANG", "LANGUAGE", "TZ"];

/// The same, by the names' beginning.
const COMMON_PREFIX: &str = "LC_";

/// What our own processes get besides: how they say what they do. None of it is a secret.
const OWN: [&str; 3] = ["UPSTART_LOG", "UPSTART_LOG_FORMAT", "RUST_BACKTRACE"];

/// Variables that are the agent's alone.
const PRIVATE_PREFIX: &str = "UPSTART_";

/// Lets nobody of the same user look into this process: its environment, its memory and its files are its own. There is no core
/// dump of it either.
pub fn conceal() {
    let hidden = rustix::process::DumpableBehavior::NotDumpable;
    if let Err(error) = rustix::process::set_dumpable_behavior(hidden) {
        tracing::warn!(%error, "programs of this user can look into this process");
    }
}

/// Why a variable is not passed on to the software.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPassed {
    /// No variable can have this name.
    #[error("`{0}` is no name of a variable")]
    NoName(String),
    /// It is meant for the agent alone.
    #[error("`{0}` is Upstart's own and is not passed on; take it out")]
    Private(String),
}

/// Whether variables of this name can be passed on to the software.
///
/// # Errors
/// Why not, and what to do.
pub fn may_be_passed(name: &str) -> Result<(), NotPassed> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(NotPassed::NoName(name.to_owned()));
    }
    if name.starts_with(PRIVATE_PREFIX) {
        return Err(NotPassed::Private(name.to_owned()));
    }
    Ok(())
}

/// The environment of a program that runs as this user (the agent's own where none is named), with the variables of the agent's
/// that its configuration passes on.
pub(crate) fn of_software(user: Option<&str>, passed: &[String]) -> BTreeMap<String, String> {
    let mut made = common(std::env::vars_os());
    made.extend(identity(user));
    for name in passed {
        match std::env::var(name) {
            Ok(value) => {
                made.insert(name.clone(), value);
            }
            Err(error) => tracing::warn!(name, %error, "a variable is not passed on"),
        }
    }
    made
}

/// The environment of the processes that this program starts of itself.
pub(crate) fn of_our_own() -> BTreeMap<String, String> {
    let mut made = common(std::env::vars_os());
    for name in OWN {
        if let Ok(value) = std::env::var(name) {
            made.insert(name.to_owned(), value);
        }
    }
    made
}

/// What everybody gets. A value that is no text is left out.
fn common(
    variables: impl Iterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
) -> BTreeMap<String, String> {
    let mut made: BTreeMap<String, String> = variables
        .filter_map(|(name, value)| {
            let (name, value) = (name.as_ref().to_str()?, value.as_ref().to_str()?);
            let wanted = COMMON.contains(&name) || name.starts_with(COMMON_PREFIX);
            wanted.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect();
    made.entry("PATH".to_owned())
        .or_insert_with(|| PATH_DEFAULT.to_owned());
    made
}

/// Who the program is, as the system's users tell. Where they do not know the agent's own user (in many containers), its home is the agent's.
fn identity(user: Option<&str>) -> Vec<(String, String)> {
    let known = match user {
        Some(name) => user::about(name),
        None => user::about_own(),
    };
    let pairs = match known {
        Some(about) => vec![
            ("HOME", about.home),
            ("USER", about.name.clone()),
            ("LOGNAME", about.name),
            ("SHELL", about.shell),
        ],
        None => ["HOME", "USER", "LOGNAME"]
            .into_iter()
            .filter(|_| user.is_none())
            .filter_map(|name| Some((name, std::env::var(name).ok()?)))
            .collect(),
    };
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    pairs.into_iter().map(owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{PATH_DEFAULT, common, identity, may_be_passed};
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn nothing_passes_but_what_is_listed() {
        let given = [
            ("PATH", &b"/bin"[..]),
            ("LANG", b"C.UTF-8"),
            ("LC_ALL", b"\xff"),
            ("LC_TIME", b"de_DE"),
            ("TZ", b"UTC"),
            ("UPSTART_TOKEN", b"secret"),
            ("AWS_SECRET_ACCESS_KEY", b"secret"),
            ("NOTIFY_SOCKET", b"@x"),
            ("LD_PRELOAD", b"/x.so"),
            ("HOME", b"/root"),
        ];
        let given = given.map(|(name, value)| (name, OsStr::from_bytes(value)));
        let made = common(given.into_iter());
        let names: Vec<&str> = made.keys().map(String::as_str).collect();
        assert_eq!(names, ["LANG", "LC_TIME", "PATH", "TZ"]);
        let empty = common(std::iter::empty::<(&str, &str)>());
        assert_eq!(empty["PATH"], PATH_DEFAULT);
    }

    #[test]
    fn the_users_of_the_system_tell_who_a_program_is() {
        let root = identity(Some("root"));
        let has = |name: &str, value: &str| {
            let pair = (name.to_owned(), value.to_owned());
            assert!(root.contains(&pair), "{root:?}");
        };
        has("USER", "root");
        has("LOGNAME", "root");
        has("HOME", "/root");
        assert_eq!(identity(Some("no such user")), []);
    }

    #[test]
    fn what_is_upstarts_own_is_not_passed_on() {
        assert_eq!(may_be_passed("HTTP_PROXY"), Ok(()));
        assert!(may_be_passed("UPSTART_TOKEN").is_err());
        assert!(may_be_passed("A=b").is_err());
        assert!(may_be_passed("").is_err());
    }
}
