//! Another client, of other authors: python-tuf reads what we write, and we read what it writes.

use super::{Site, noon, place, versions};
use crate::{DirectoryTransport, Verifier};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says what python-tuf makes of a repository.
const READS: &str = include_str!("python_tuf_reads.py");
/// Writes one with python-tuf.
const WRITES: &str = include_str!("python_tuf_writes.py");

/// A Python that has python-tuf; where there is none, says that the test is skipped.
fn python(test: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin/python");
    let python = std::env::var_os("UPSTART_TEST_PYTHON").map_or(own, PathBuf::from);
    let asked = Command::new(&python)
        .args(["-c", "import tuf.ngclient, cryptography"])
        .output();
    if asked.is_ok_and(|asked| asked.status.success()) {
        return Some(python);
    }
    println!(
        "SKIPPED: {test}: python-tuf is not installed; `cargo xtask test --install-only` does it"
    );
    None
}

fn run(python: &Path, program: &str, arguments: &[&Path]) -> Result<String, String> {
    let mut command = Command::new(python);
    let output = command.arg("-c").arg(program).args(arguments).output();
    let output = output.expect("Python runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[tokio::test]
async fn python_tuf_reads_what_is_written_here() {
    let Some(python) = python("python_tuf_reads_what_is_written_here") else {
        return;
    };
    let mut site = Site::new().await;
    let root = site.path("metadata/1.root.json");
    let pinned = site.folder.path().join("pinned.json");
    std::fs::copy(root, &pinned).expect("copied");
    site.publish(1, "one").await;
    let signers = site.signers(&super::KEYS);
    let renewed = site
        .writer
        .renew(&crate::ROLES, None, &signers, noon())
        .await;
    renewed.expect("there is a second root");
    site.publish(2, "two").await;
    let folder = site.writer.path().to_owned();
    let told = run(
        &python,
        READS,
        &[&folder, &pinned, Path::new("upgrades/2.1.json")],
    );
    let told = told.expect("python-tuf trusts it");
    let manifest = super::manifest(2, "two");
    assert_eq!(told.trim(), format!("root 2: {}", manifest.text()));
    let name = crate::manifest_path(place(2, 1), manifest.digest());
    std::fs::write(site.path(&name), manifest.text().replace("shop", "stop")).expect("written");
    let told = run(
        &python,
        READS,
        &[&folder, &pinned, Path::new("upgrades/2.1.json")],
    );
    let told = told.expect_err("it is altered");
    assert!(told.contains("LengthOrHashMismatchError"), "{told}");
}

#[tokio::test]
async fn what_python_tuf_writes_is_read_here() {
    let Some(python) = python("what_python_tuf_writes_is_read_here") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("repository");
    run(&python, WRITES, &[&path]).expect("python-tuf writes it");
    let root = std::fs::read(path.join("metadata/1.root.json")).expect("a root");
    let trusted = folder.path().join("trusted");
    let mut verifier = Verifier::pin(&trusted, &root).expect("it is pinned");
    let transport = DirectoryTransport { path };
    let refreshed = verifier.refresh(&transport, noon()).await;
    refreshed.expect("it is trusted");
    assert_eq!(verifier.root_version().get(), 2);
    assert_eq!(versions(&verifier.catalogue()), [1]);
    let manifest = verifier.manifest(&transport, place(1, 1)).await;
    assert_eq!(manifest.expect("its manifest").system, "shop");
}
