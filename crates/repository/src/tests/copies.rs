//! Copies of a repository: as a folder, and as one file.

use super::{Client, Site, manifest, noon, versions};
use crate::TrustError as E;
use crate::{ArchiveTransport, Mirrored, RepositoryWriter, Transport, mirror, pack};
use std::path::Path;
use tar::EntryType as Kind;

async fn taken(client: &mut Client, from: &dyn Transport, to: &Path) -> Result<Mirrored, E> {
    mirror(&mut client.verifier, from, to, noon()).await
}

#[tokio::test]
async fn a_repository_travels_as_one_file() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    site.publish(2, "two").await;
    let folder = tempfile::tempdir().expect("a directory");
    let (file, to) = (folder.path().join("a.tar"), folder.path().join("copy"));
    pack(&site.writer, &file).await.expect("packed");
    let again = folder.path().join("b.tar");
    pack(&site.writer, &again).await.expect("packed");
    let same = std::fs::read(&file).expect("a file") == std::fs::read(&again).expect("a file");
    assert!(same, "one repository gives the same bytes");
    let archive = ArchiveTransport::open(&file).expect("an archive");
    let mut client = site.new_client();
    let mirrored = taken(&mut client, &archive, &to).await.expect("taken");
    let all = Mirrored {
        manifests: 2,
        artifacts: 4,
        copied: 4,
    };
    assert_eq!(mirrored, all);
    let mirrored = taken(&mut client, &archive, &to).await.expect("the same");
    assert_eq!(mirrored, Mirrored { copied: 0, ..all });
    for folder in ["metadata", "targets/upgrades", "artifacts"] {
        let there = super::files(&to.join(folder));
        let from = super::files(&site.path(folder));
        assert!(there.iter().all(|name| from.contains(name)), "{there:?}");
    }
    RepositoryWriter::open(&to)
        .await
        .expect("it is a repository");
    site.publish(3, "three").await;
    let mirrored = taken(&mut client, &site.transport(), &to)
        .await
        .expect("taken");
    assert_eq!((mirrored.artifacts, mirrored.copied), (6, 2));
    let old = taken(&mut client, &archive, &to)
        .await
        .expect_err("it is older");
    assert!(matches!(old, E::Rollback { .. }), "{old}");
    assert_eq!(versions(&client.verifier.catalogue()), [1, 2, 3]);
}

#[tokio::test]
async fn nothing_that_is_altered_is_taken_or_packed() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let folder = tempfile::tempdir().expect("a directory");
    let (file, to) = (folder.path().join("a.tar"), folder.path().join("copy"));
    let artifact = site.path(&crate::artifact_path(manifest(1, "one").files[0].sha256));
    std::fs::write(&artifact, "software: eno").expect("written");
    let mut client = site.new_client();
    let refused = taken(&mut client, &site.transport(), &to).await;
    assert!(matches!(refused, Err(E::Altered { .. })));
    assert!(!to.join("metadata").exists(), "what names it is not there");
    pack(&site.writer, &file).await.expect_err("it is altered");
    std::fs::remove_file(&artifact).expect("removed");
    pack(&site.writer, &file).await.expect_err("it is missing");
    assert_eq!(super::files(folder.path()), ["copy"]);
}

#[tokio::test]
async fn an_archive_with_anything_odd_is_refused() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("a.tar");
    let entry = |kind, name: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        (header, name.to_owned())
    };
    let archive = |entries: Vec<(tar::Header, String)>| {
        let file = std::fs::File::create(&path).expect("a file");
        let mut archive = tar::Builder::new(file);
        for (mut header, name) in entries {
            archive
                .append_data(&mut header, name, std::io::empty())
                .expect("an entry");
        }
        archive.finish().expect("an archive");
        ArchiveTransport::open(&path)
    };
    archive(vec![entry(Kind::Regular, "metadata/1.root.json")]).expect("it is good");
    archive(vec![entry(Kind::Fifo, "metadata/1.root.json")]).expect_err("a pipe");
    let twice = vec![entry(Kind::Regular, "a"), entry(Kind::Regular, "a")];
    archive(twice).expect_err("twice");
    std::fs::write(&path, "no archive".repeat(100)).expect("written");
    ArchiveTransport::open(&path).expect_err("no archive");
    ArchiveTransport::open(&folder.path().join("none")).expect_err("no file");
    ArchiveTransport::open(Path::new("/dev/zero")).expect_err("a device");
}
