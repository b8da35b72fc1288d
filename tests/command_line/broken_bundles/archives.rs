//! Archives of software that no node would unpack.

use super::{Broken, broken, put, replace};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;
use tar::{Builder, EntryType, Header};

type Packing = Builder<Vec<u8>>;

pub(super) const ALL: &[Broken] = &[
    broken("archive of another kind", |dir| {
        put(dir, "soft.zip", "PK\x03\x04") && software(dir, "soft.zip")
    }),
    broken("archive that is none", |dir| {
        put(dir, "soft.tar", "This is no archive. ".repeat(100)) && software(dir, "soft.tar")
    }),
    broken("archive not packed with gzip", |dir| {
        put(dir, "soft.tar.gz", tar(plain)) && software(dir, "soft.tar.gz")
    }),
    broken("archive packed with gzip after all", |dir| {
        put(dir, "soft.tar", gzip(&tar(plain))) && software(dir, "soft.tar")
    }),
    broken("archive empty", |dir| {
        put(dir, "soft.tar", tar(|_| {})) && software(dir, "soft.tar")
    }),
    broken("archive of no bytes", |dir| {
        put(dir, "soft.tar.gz", "") && software(dir, "soft.tar.gz")
    }),
    broken("archive cut off in a file", |dir| {
        put(dir, "soft.tar", &tar(plain)[..700]) && software(dir, "soft.tar")
    }),
    broken("archive cut off between files", |dir| {
        put(dir, "soft.tar", &tar(plain)[..1024]) && software(dir, "soft.tar")
    }),
    broken("archive cut off in gzip", |dir| {
        let whole = gzip(&tar(plain));
        put(dir, "soft.tar.gz", &whole[..whole.len() / 2]) && software(dir, "soft.tar.gz")
    }),
    broken("archive damaged", |dir| {
        let mut bytes = tar(plain);
        bytes[3] ^= 1;
        put(dir, "soft.tar", bytes) && software(dir, "soft.tar")
    }),
    packed("archive that leads out", |tar| file(tar, "../evil")),
    packed("archive that leads out on its way", |tar| {
        file(tar, "a/../../evil");
    }),
    packed("archive with an absolute name", |tar| {
        file(tar, "/etc/cron.d/evil");
    }),
    packed("archive with a link that leads out", |tar| {
        link(tar, EntryType::Symlink, "a/b", "../../c");
    }),
    packed("archive with an absolute link", |tar| {
        link(tar, EntryType::Symlink, "passwd", "/etc/passwd");
    }),
    packed("archive with a hard link that leads out", |tar| {
        link(tar, EntryType::Link, "shadow", "/etc/shadow");
    }),
    packed("archive with a device", |tar| {
        link(tar, EntryType::Block, "disk", "");
    }),
    packed("archive with a pipe", |tar| {
        link(tar, EntryType::Fifo, "pipe", "");
    }),
    packed("archive with a bomb", |tar| {
        declared(tar, EntryType::Regular, "bomb", 33 << 30);
    }),
    packed("archive with a name without end", |tar| {
        declared(tar, EntryType::GNULongName, "././@LongLink", 7 << 30);
    }),
    packed("archive with a sparse bomb", |tar| {
        declared(tar, EntryType::GNUSparse, "bomb", 0);
    }),
];

/// A bundle whose software is an archive with these entries.
const fn packed(name: &'static str, pack: fn(&mut Packing)) -> Broken {
    Broken {
        pack: Some(pack),
        ..broken(name, |dir| software(dir, "soft.tar.gz"))
    }
}

/// Lets the software be this archive.
fn software(dir: &Path, archive: &str) -> bool {
    replace(dir, "path = \"software\"", &format!("path = \"{archive}\""))
}

/// A tar archive.
pub(super) fn tar(fill: impl FnOnce(&mut Packing)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().expect("packed")
}

/// The same through gzip.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn plain(tar: &mut Packing) {
    file(tar, "echo.py");
    file(tar, "second.py");
}

/// Written raw: the builder itself refuses what is refused here.
fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

fn file(tar: &mut Packing, name: &str) {
    let content = [b'x'; 300];
    tar.append(&header(EntryType::Regular, name, 300), &content[..])
        .expect("packed");
}

fn link(tar: &mut Packing, kind: EntryType, name: &str, to: &str) {
    let mut header = header(kind, name, 0);
    header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
    header.set_cksum();
    tar.append(&header, std::io::empty()).expect("packed");
}

/// An entry that says it is so long; nothing of it follows.
fn declared(tar: &mut Packing, kind: EntryType, name: &str, size: u64) {
    let header = header(kind, name, size);
    tar.get_mut().extend_from_slice(header.as_bytes());
}
