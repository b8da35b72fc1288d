//! The bearer token: made at a server's first start, kept where only its user can read it.

use model::gate::{self, TOKEN_BYTES_MAX, TOKEN_BYTES_MIN};
use rustix::fs::OFlags;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file in the data directory.
const NAME: &str = "token";

/// What a made token holds of chance, in bytes.
const CHANCE_BYTES: usize = 32;

/// How much of a token's file is read: a token, and white space around it.
const FILE_BYTES_MAX: u64 = 2 * TOKEN_BYTES_MAX as u64;

/// Why a token cannot be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read, or made.
    #[error("cannot use the token file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a pipe, a device, a directory: what is no file may never be read to its end.
    #[error("the token file {} is no regular file", .0.display())]
    NoFile(PathBuf),
    /// Others can read or change it.
    #[error("others than its owner can read or change the token file {} (mode {mode:04o})", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else has put it into the data directory.
    #[error("the token file {} belongs to user {owner}, who knows what is in it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// What it holds is no token.
    #[error("the token file {} holds no token: {why}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
        /// It is the one that a server makes in its data directory.
        is_made: bool,
    },
    /// Others could guess it.
    #[error(
        "the token has {0} bytes, and could be guessed: a server takes one of {TOKEN_BYTES_MIN} or more"
    )]
    Short(usize),
}

impl TokenError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        const MAKE: &str =
            "`(umask 077; head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n' > FILE)` makes one";
        match self {
            Self::File { path, .. } | Self::NoFile(path) => {
                format!(
                    "make {} a file with the server's token in it",
                    path.display()
                )
            }
            Self::Open { path, .. } => format!(
                "`chmod 600 {}`, or 640 with a group of its own; if it was open for long, put another token in it",
                path.display()
            ),
            Self::Foreign { path, .. } => format!(
                "remove {}: the server makes another at its next start; find out who could write there",
                path.display()
            ),
            Self::Unfit {
                path,
                is_made: true,
                ..
            } => format!(
                "remove {}: the server makes another at its next start, which agents elsewhere must be given; or put the token back that they have",
                path.display()
            ),
            Self::Unfit { path, .. } => format!(
                "put the server's token into {}, one line without white space: a copy of the file `token` in its data directory",
                path.display()
            ),
            Self::Short(_) => format!("give the server a longer one, and then the agents; {MAKE}"),
        }
    }
}

/// A token as it was found.
#[derive(Debug)]
pub struct HeldToken {
    /// The token.
    pub token: String,
    /// The user whose file it was in.
    pub owner: u32,
}

/// The file in a data directory.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Opens a file that was named, without waiting for whoever might write into a pipe; `None` where it is no file.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    // Every flag is a small number.
    let at_once = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(at_once)
        .open(path)?;
    let about = file.metadata()?;
    Ok(about.is_file().then_some((file, about)))
}

/// Reads a token that its owner keeps for himself. A group may read it too, which somebody has made for that.
///
/// # Errors
/// As [`TokenError`] tells apart.
pub fn read(path: &Path) -> Result<HeldToken, TokenError> {
    let unusable = |source| TokenError::File {
        path: path.to_owned(),
        source,
    };
    let opened = open(path).map_err(unusable)?;
    let (file, about) = opened.ok_or_else(|| TokenError::NoFile(path.to_owned()))?;
    check_private(path, &about)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(unusable)?;
    let text = String::from_utf8_lossy(&bytes);
    let token = text.trim();
    match gate::fault(token) {
        None => Ok(HeldToken {
            token: token.to_owned(),
            owner: about.uid(),
        }),
        Some(why) => Err(TokenError::Unfit {
            path: path.to_owned(),
            why,
            is_made: false,
        }),
    }
}

/// Whether a server may ask for this token.
pub(crate) fn check_length(token: &str) -> Result<(), TokenError> {
    match token.len() {
        bytes if bytes < TOKEN_BYTES_MIN => Err(TokenError::Short(bytes)),
        _ => Ok(()),
    }
}

/// Whether nobody but a file's owner can change it, and nobody but the owner and one group read it.
///
/// # Errors
/// [`TokenError::Open`] when others can.
pub fn check_private(path: &Path, about: &Metadata) -> Result<(), TokenError> {
    /// Written by the group, or anything at all by others.
    const OPEN: u32 = 0o027;
    let mode = about.mode() & 0o7777;
    if about.is_file() && mode & OPEN != 0 {
        let path = path.to_owned();
        return Err(TokenError::Open { path, mode });
    }
    Ok(())
}

/// The token of a data directory: that of its file, or a new one, which is durable before anybody hears it.
pub(crate) fn of_data(data: &Path) -> Result<String, TokenError> {
    let path = path(data);
    match read(&path) {
        // Whoever has put it there knows it.
        Ok(held) if ![0, rustix::process::geteuid().as_raw()].contains(&held.owner) => {
            let owner = held.owner;
            Err(TokenError::Foreign { path, owner })
        }
        Ok(held) => Ok(held.token),
        Err(TokenError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(data, &path).map_err(|source| TokenError::File { path, source })
        }
        Err(TokenError::Unfit { path, why, .. }) => Err(TokenError::Unfit {
            path,
            why,
            is_made: true,
        }),
        Err(error) => Err(error),
    }
}

fn make(data: &Path, path: &Path) -> io::Result<String> {
    let token = hex::encode(rand::random::<[u8; CHANCE_BYTES]>());
    put(data, path, &token)?;
    Ok(token)
}

/// Puts another text in the place of the token of a data directory.
pub(crate) fn replace(data: &Path, token: &str) -> io::Result<()> {
    put(data, &path(data), token)
}

fn put(data: &Path, path: &Path, token: &str) -> io::Result<()> {
    let new = data.join(format!("{NAME}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{TokenError, check_length, of_data, path, read};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_only() {
        let data = tempfile::tempdir().expect("a folder");
        let made = of_data(data.path()).expect("made");
        assert_eq!(made.len(), 64);
        assert_eq!(of_data(data.path()).expect("read"), made);
        let about = fs::metadata(path(data.path())).expect("a file");
        assert_eq!(about.permissions().mode() & 0o7777, 0o600);
        let other = tempfile::tempdir().expect("a folder");
        assert_ne!(of_data(other.path()).expect("made"), made);
    }

    #[test]
    fn a_token_that_somebody_else_has_put_there_is_none() {
        let data = tempfile::tempdir().expect("a folder");
        of_data(data.path()).expect("made");
        if std::os::unix::fs::chown(path(data.path()), Some(1234), None).is_err() {
            println!(
                "SKIPPED: a_token_that_somebody_else_has_put_there_is_none: only root gives files away"
            );
            return;
        }
        let error = of_data(data.path()).expect_err("another's");
        assert!(
            matches!(error, TokenError::Foreign { owner: 1234, .. }),
            "{error}"
        );
    }

    #[test]
    fn what_others_can_read_or_change_is_no_token() {
        let data = tempfile::tempdir().expect("a folder");
        let file = data.path().join("mine");
        fs::write(&file, "a-token\n").expect("written");
        for (mode, good) in [
            (0o600, true),
            (0o400, true),
            (0o640, true),
            (0o644, false),
            (0o660, false),
            (0o602, false),
        ] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("set");
            match read(&file) {
                Ok(held) => assert!(good && held.token == "a-token", "{mode:o}"),
                Err(TokenError::Open { mode: told, .. }) => assert!(!good && told == mode),
                Err(error) => panic!("{mode:o}: {error}"),
            }
        }
    }

    #[test]
    fn what_holds_no_token_is_said_so() {
        let data = tempfile::tempdir().expect("a folder");
        let file = path(data.path());
        for (text, told) in [
            (&b""[..], "nothing in it"),
            (b"\n", "nothing in it"),
            (b"\xff", "ASCII"),
            (b"two words of it", "white space inside"),
            (b"one-line\nand-another\n", "more than one line"),
            (&[b'a'; 9000], "longer than 8192 bytes"),
        ] {
            fs::write(&file, text).expect("written");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
            // The server's own is made anew when it is gone; a file that was given is not.
            let own = of_data(data.path()).expect_err("none");
            assert!(own.to_string().contains(told), "{own}");
            assert!(own.advice().starts_with("remove "), "{}", own.advice());
            let given = read(&file).expect_err("none").advice();
            assert!(given.starts_with("put the server's token into"), "{given}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_nobody_waits_for_it() {
        let data = tempfile::tempdir().expect("a folder");
        let pipe = data.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).expect("made");
        for path in [pipe.as_path(), data.path(), "/dev/null".as_ref()] {
            let error = read(path).expect_err("no token");
            assert!(matches!(error, TokenError::NoFile(_)), "{error}");
        }
    }

    #[test]
    fn what_could_be_guessed_is_no_token_of_a_server() {
        assert!(check_length("0123456789abcdef").is_ok());
        let short = check_length("hello").expect_err("refused");
        assert!(short.to_string().contains("5 bytes"), "{short}");
    }
}
