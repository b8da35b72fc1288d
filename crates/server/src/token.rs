//! The bearer token: made at a server's first start, kept where only its user can read it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file in the data directory.
const NAME: &str = "token";

/// What a made token holds of chance, in bytes.
const CHANCE_BYTES: usize = 32;

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
    /// Others can read or change it.
    #[error("others than its owner can read or change the token file {} (mode {mode:04o})", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is nothing in it, or no text, or far too much.
    #[error("the token file {} holds no token", .0.display())]
    Empty(PathBuf),
}

impl TokenError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::File { path, .. } => {
                format!(
                    "make {} a file with the server's token in it",
                    path.display()
                )
            }
            Self::Open { path, .. } => format!(
                "`chmod 600 {}`; if it was open for long, put another token in it",
                path.display()
            ),
            Self::Empty(path) => format!(
                "put the server's token in it, one line; the server's own, in its data directory, is made anew when you remove {} and \
                 start it again",
                path.display()
            ),
        }
    }
}

/// The file in a data directory.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Reads a token that its owner keeps for himself. A group may read it too, which somebody has made for that.
///
/// # Errors
/// As [`TokenError`] tells apart.
pub fn read(path: &Path) -> Result<String, TokenError> {
    let unusable = |source| TokenError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unusable)?;
    check_private(path, &file.metadata().map_err(unusable)?)?;
    let mut bytes = Vec::new();
    let limit = model::gate::TOKEN_BYTES_MAX as u64;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unusable)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    match text.trim() {
        token if token.is_empty() || token.contains(char::is_whitespace) => {
            Err(TokenError::Empty(path.to_owned()))
        }
        token if token.len() > model::gate::TOKEN_BYTES_MAX => {
            Err(TokenError::Empty(path.to_owned()))
        }
        token => Ok(token.to_owned()),
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
        Err(TokenError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(data, &path).map_err(|source| TokenError::File { path, source })
        }
        found => found,
    }
}

fn make(data: &Path, path: &Path) -> io::Result<String> {
    let token = hex::encode(rand::random::<[u8; CHANCE_BYTES]>());
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
    File::open(data)?.sync_all()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::{TokenError, of_data, path, read};
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
                Ok(token) => assert!(good && token == "a-token", "{mode:o}"),
                Err(TokenError::Open { mode: told, .. }) => assert!(!good && told == mode),
                Err(error) => panic!("{mode:o}: {error}"),
            }
        }
    }

    #[test]
    fn what_holds_no_token_is_said_so() {
        let data = tempfile::tempdir().expect("a folder");
        let file = path(data.path());
        for text in [&b""[..], b"\n", b"\xff", b"two words", &[b'a'; 2000]] {
            fs::write(&file, text).expect("written");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
            let error = of_data(data.path()).expect_err("none");
            assert!(matches!(error, TokenError::Empty(_)), "{error}");
        }
    }
}
