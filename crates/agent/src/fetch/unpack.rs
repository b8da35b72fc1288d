//! Archives of software, unpacked without trusting them.

use super::{FetchError, disk, open_to_all, place_whole};
use flate2::read::GzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, sink};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use tar::{Archive, Entry, EntryType};

/// The most entries of an archive: more than any distribution of software has.
const ENTRIES_MAX: usize = 200_000;

/// The most bytes that an archive unpacks to: a small archive must not fill the disk.
const BYTES_MAX: u64 = 32 << 30;

/// The longest name of an entry, with its attributes (PAX headers): far beyond PATH_MAX.
const NAME_BYTES_MAX: u64 = 1 << 20;

/// An archive ends with at least one block of zeros.
const BLOCK_BYTES: u64 = 512;

/// Unpacks a tar archive (`gzip`ped or not) into the folder `target`, which is there whole or not at all; if it is there
/// already, nothing is done. Files, folders and links within the archive are unpacked; owners, set-user-ID and
/// set-group-ID bits are not.
///
/// # Errors
/// The archive leads out of its folder, holds special files, is too large or damaged; or the disk is full or fails.
pub fn unpack(archive: &Path, gzip: bool, target: &Path) -> Result<(), FetchError> {
    place_whole(target, |new| {
        look_at_names(archive, gzip)?;
        unpack_into(archive, gzip, new)
    })
}

/// Looks through an archive as [`unpack`] does, and writes nothing: for publishers.
///
/// # Errors
/// Why nodes would refuse to unpack it.
pub fn inspect(archive: &Path, gzip: bool) -> Result<(), FetchError> {
    look_at_names(archive, gzip)?;
    each_entry(archive, gzip, |entry| std::io::copy(entry, &mut sink()))
}

/// An open archive, and how many zeros were read from it last.
type Opened = (Archive<Box<dyn Read>>, Rc<Cell<u64>>);

fn open(archive: &Path, gzip: bool) -> Result<Opened, FetchError> {
    let file = File::open(archive).map_err(disk("open", archive))?;
    let file = BufReader::new(file);
    let zeros = Rc::new(Cell::new(0));
    let inner: Box<dyn Read> = if gzip {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let ended = EndSeen {
        inner,
        zeros: zeros.clone(),
    };
    Ok((Archive::new(Box::new(ended)), zeros))
}

/// Notes how many zeros were read last: an archive ends with blocks of them, one that was cut off does not.
struct EndSeen {
    inner: Box<dyn Read>,
    zeros: Rc<Cell<u64>>,
}

impl Read for EndSeen {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let read = &buffer[..length];
        match read.iter().rposition(|byte| *byte != 0) {
            Some(last) => self.zeros.set((length - last - 1) as u64),
            None => self.zeros.set(self.zeros.get() + length as u64),
        }
        Ok(length)
    }
}

/// Looks at sizes before anything is read. Names that are longer than a header hold are entries of their own, which the `tar` crate reads into memory as a whole:
/// their size is looked at before.
fn look_at_names(archive: &Path, gzip: bool) -> Result<(), FetchError> {
    let (mut tar, _) = open(archive, gzip)?;
    let broken = |error: std::io::Error| damaged(archive, gzip, &error);
    let (mut bytes, mut count): (u64, usize) = (0, 0);
    for entry in tar.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        bytes = bytes.saturating_add(entry.size());
        count += 1;
        if count > ENTRIES_MAX || bytes > BYTES_MAX {
            let problem =
                format!("it unpacks to more than {ENTRIES_MAX} files or {BYTES_MAX} bytes");
            return Err(refused(archive, problem));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::GNUSparse {
            let problem = "it holds sparse files (`tar --sparse`)".to_owned();
            return Err(refused(archive, problem));
        }
        let names = [
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
        ];
        if names.contains(&kind) && entry.size() > NAME_BYTES_MAX {
            let problem = format!(
                "a name or its attributes have {} bytes; at most {NAME_BYTES_MAX} are read",
                entry.size()
            );
            return Err(refused(archive, problem));
        }
        let attributes = [EntryType::XHeader, EntryType::XGlobalHeader];
        if attributes.contains(&kind) && says_size(&mut entry).map_err(broken)? {
            // The header's own size would be another one: what is counted here would not be what is unpacked.
            let problem = "it says a file's size twice (a `size` in a PAX header): pack files beyond 8 GiB with `tar --format=gnu`";
            return Err(refused(archive, problem.to_owned()));
        }
    }
    Ok(())
}

/// Whether a PAX header gives the next file's size.
fn says_size(entry: &mut Entry<'_, Box<dyn Read>>) -> std::io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension?.key_bytes() == b"size" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unpack_into(archive: &Path, gzip: bool, root: &Path) -> Result<(), FetchError> {
    each_entry(archive, gzip, |entry| place(entry, root).map(|()| 0)).map_err(
        |error| match error {
            FetchError::Disk { source, .. } => disk("unpack into", root)(source),
            other => other,
        },
    )?;
    open_folders(root)
}

/// Checks every entry, and does something with each.
pub(super) fn each_entry(
    archive: &Path,
    gzip: bool,
    mut with: impl FnMut(&mut Entry<'_, Box<dyn Read>>) -> std::io::Result<u64>,
) -> Result<(), FetchError> {
    let (mut tar, zeros) = open(archive, gzip)?;
    tar.set_preserve_permissions(false);
    tar.set_preserve_mtime(true);
    let broken = |error: std::io::Error| damaged(archive, gzip, &error);
    let (mut is_empty, mut bytes) = (true, 0_u64);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        is_empty = false;
        bytes = bytes.saturating_add(entry.size());
        if bytes > BYTES_MAX {
            let problem = format!("it unpacks to more than {BYTES_MAX} bytes");
            return Err(refused(archive, problem));
        }
        check(&entry).map_err(|problem| refused(archive, problem))?;
        with(&mut entry).map_err(|error| match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                broken(error)
            }
            _ => disk("unpack", archive)(error),
        })?;
    }
    if is_empty {
        return Err(refused(archive, "it is empty".to_owned()));
    }
    if zeros.get() < BLOCK_BYTES {
        return Err(refused(
            archive,
            "it was cut off: its end is missing".to_owned(),
        ));
    }
    Ok(())
}

fn damaged(archive: &Path, gzip: bool, error: &std::io::Error) -> FetchError {
    let kind = if gzip { ".tar.gz" } else { ".tar" };
    tracing::debug!(archive = %archive.display(), %error, "cannot be read");
    let how = match error.kind() {
        ErrorKind::UnexpectedEof => "was cut off",
        _ => "is damaged",
    };
    refused(archive, format!("it {how}, or is no {kind} archive"))
}

fn refused(archive: &Path, problem: String) -> FetchError {
    FetchError::Archive {
        path: archive.to_owned(),
        problem,
    }
}

/// Writes one entry below `root`; the `tar` crate looks once more that no link leads out of it.
fn place(entry: &mut Entry<'_, Box<dyn Read>>, root: &Path) -> std::io::Result<()> {
    let kind = entry.header().entry_type();
    if matches!(kind, EntryType::XGlobalHeader) {
        return Ok(());
    }
    if entry.unpack_in(root)? {
        Ok(())
    } else {
        Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "an entry leads out of the folder",
        ))
    }
}

/// Only what stays inside, and only files, folders and links.
fn check<R: Read>(entry: &Entry<'_, R>) -> Result<(), String> {
    let path = entry.path().map_err(|error| error.to_string())?;
    if depth(&path).is_none() {
        return Err(format!("`{}` leads out of the folder", path.display()));
    }
    let link = || -> Result<PathBuf, String> {
        let name = entry.link_name().map_err(|error| error.to_string())?;
        Ok(name.map(PathBuf::from).unwrap_or_default())
    };
    let leads_to = match entry.header().entry_type() {
        EntryType::Regular
        | EntryType::Continuous
        | EntryType::Directory
        | EntryType::XGlobalHeader => return Ok(()),
        EntryType::Symlink => path.parent().unwrap_or(Path::new("")).join(link()?),
        EntryType::Link => link()?,
        other => {
            let what = match other {
                EntryType::Block | EntryType::Char => "a device",
                EntryType::Fifo => "a pipe",
                _ => "something special",
            };
            return Err(format!("`{}` is {what}", path.display()));
        }
    };
    match depth(&leads_to) {
        Some(_) => Ok(()),
        None => Err(format!(
            "the link `{}` leads out of the folder",
            path.display()
        )),
    }
}

/// How deep below the root a relative path ends; `None` if it leaves the root on its way.
fn depth(path: &Path) -> Option<usize> {
    path.components()
        .try_fold(0usize, |depth, part| match part {
            Component::Normal(_) => Some(depth + 1),
            Component::CurDir => Some(depth),
            Component::ParentDir => depth.checked_sub(1),
            Component::RootDir | Component::Prefix(_) => None,
        })
}

/// The software's user reads what is there: folders are entered and files read by all, and run by all where the owner may.
fn open_folders(folder: &Path) -> Result<(), FetchError> {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(folder).map_err(disk("read", folder))? {
        let entry = entry.map_err(disk("read", folder))?;
        let found = entry.metadata().map_err(disk("read", &entry.path()))?;
        if found.is_dir() {
            open_to_all(&entry.path(), 0o755)?;
            open_folders(&entry.path())?;
        } else if found.is_file() {
            let run = found.permissions().mode() & 0o100 != 0;
            open_to_all(&entry.path(), if run { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use tar::{Builder, Header};

    fn header(kind: EntryType, path: &str, size: u64, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        // Written raw: the builder itself would refuse `..`.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        header
    }

    fn file(builder: &mut Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) {
        let header = header(EntryType::Regular, path, content.len() as u64, mode);
        builder.append(&header, content).expect("appended");
    }

    fn link(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, to: &str) {
        let mut header = header(kind, path, 0, 0o777);
        header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
        header.set_cksum();
        builder.append(&header, std::io::empty()).expect("appended");
    }

    fn unpacked(
        fill: impl FnOnce(&mut Builder<Vec<u8>>),
        gzip: bool,
    ) -> (tempfile::TempDir, Result<(), FetchError>) {
        let folder = tempfile::tempdir().expect("folder");
        let mut builder = Builder::new(Vec::new());
        fill(&mut builder);
        let mut bytes = builder.into_inner().expect("archive");
        if gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).expect("packed");
            bytes = encoder.finish().expect("packed");
        }
        let archive = folder.path().join("archive");
        std::fs::write(&archive, bytes).expect("written");
        let result = unpack(&archive, gzip, &folder.path().join("out"));
        (folder, result)
    }

    #[test]
    fn files_folders_and_links_are_unpacked_with_modes() {
        for gzip in [false, true] {
            let fill = |builder: &mut Builder<Vec<u8>>| {
                file(builder, "bin/run", b"#!", 0o4700);
                file(builder, "lib/text", b"text", 0o600);
                link(builder, EntryType::Symlink, "bin/text", "../lib/text");
                link(builder, EntryType::Link, "hard", "lib/text");
            };
            let (folder, result) = unpacked(fill, gzip);
            result.expect("unpacked");
            let out = folder.path().join("out");
            assert_eq!(std::fs::read(out.join("bin/text")).expect("read"), b"text");
            assert_eq!(std::fs::read(out.join("hard")).expect("read"), b"text");
            let mode = |path| {
                std::fs::metadata(out.join(path))
                    .expect(path)
                    .permissions()
                    .mode()
                    & 0o7777
            };
            assert_eq!(
                (mode("bin/run"), mode("lib/text"), mode("bin")),
                (0o755, 0o644, 0o755)
            );
        }
    }

    #[test]
    fn what_leads_out_is_refused_and_leaves_nothing() {
        type Fill = fn(&mut Builder<Vec<u8>>);
        let bad: [(&str, Fill); 6] = [
            ("parent", |builder| file(builder, "../evil", b"x", 0o644)),
            ("absolute", |builder| {
                file(builder, "/tmp/evil", b"x", 0o644)
            }),
            ("deep", |builder| file(builder, "a/../../evil", b"x", 0o644)),
            ("link", |builder| {
                link(builder, EntryType::Symlink, "a", "../..")
            }),
            ("hard link", |builder| {
                link(builder, EntryType::Link, "a", "/etc/passwd")
            }),
            ("device", |builder| link(builder, EntryType::Char, "a", "")),
        ];
        for (name, fill) in bad {
            let (folder, result) = unpacked(fill, false);
            assert!(
                matches!(result, Err(FetchError::Archive { .. })),
                "{name}: {result:?}"
            );
            assert!(!folder.path().join("out").exists(), "{name}");
            assert!(!folder.path().join("evil").exists(), "{name}");
        }
    }

    #[test]
    fn a_size_that_is_said_twice_is_refused() {
        // 34 GiB by the PAX header, nothing by the file's own.
        let huge = b"20 size=36507222016\n";
        for kind in [EntryType::XHeader, EntryType::XGlobalHeader] {
            let fill = |builder: &mut Builder<Vec<u8>>| {
                let header = header(kind, "attributes", huge.len() as u64, 0o644);
                builder.append(&header, &huge[..]).expect("packed");
                file(builder, "file", b"", 0o644);
            };
            let (folder, result) = unpacked(fill, false);
            let told = result.expect_err("refused").to_string();
            assert!(told.contains("size twice"), "{told}");
            assert!(!folder.path().join("out").exists());
        }
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let archive = folder.path().join("archive");
        std::fs::write(&archive, [7; 5000]).expect("written");
        for gzip in [false, true] {
            let result = unpack(&archive, gzip, &folder.path().join("out"));
            assert!(
                matches!(result, Err(FetchError::Archive { .. })),
                "{result:?}"
            );
        }
    }
}
