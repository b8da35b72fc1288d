//! Large files by chunks: a node that has one version fetches only what the next one changed; whatever is wrong with chunks, it fetches
//! the whole.

use crate::harness::{Boxes, Bundle, Caller, Node, NodeOptions, System, until, until_ok, upstart};
use chunks::ChunkIndex;
use flate2::Compression;
use flate2::write::GzEncoder;
use identity::{Authority, PinnedToken};
use kit::Relay;
use model::ids::Version;
use model::manifest::{CHUNKS_FILE, Digest, Manifest};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// Bytes that do not shrink, and are the same each time.
pub(crate) fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words = 0..length / 8;
    words.flat_map(|_| next().to_le_bytes()).collect()
}

/// An archive of the software, with a large file of text in it that has this line in its middle.
fn archive(program: &[u8], line: &str) -> Vec<u8> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut archive = tar::Builder::new(encoder);
    let numbers =
        |from: u32| (from..from + 400_000).map(|number| format!("{number:x} is a number\n"));
    let text: String = numbers(0)
        .chain([line.to_owned()])
        .chain(numbers(500_000))
        .collect();
    for (path, content) in [("box.py", program), ("large.txt", text.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, path, content)
            .expect("packed");
    }
    let encoder = archive.into_inner().expect("packed");
    encoder.finish().expect("packed")
}

/// What a version consists of: the software in an archive, and a large file that does not shrink.
fn bundle(boxes: &Boxes, line: &str, data: Vec<u8>) -> Bundle {
    let upgrade = boxes.bundle();
    let program = upgrade.files["software/box.py"].clone();
    let mut bundle = upgrade
        .replaced("path = \"software\"", "path = \"software.tar.gz\"")
        .file("software.tar.gz", archive(&program, line))
        .file("data", data);
    bundle.files.remove("software/box.py");
    bundle
}

pub(crate) fn first() -> Bundle {
    bundle(&Boxes::version(1), "first\n", noise(1, 6 * MIB))
}

/// The same with a little changed in both files.
pub(crate) fn second() -> Bundle {
    let mut data = noise(1, 6 * MIB);
    data.splice(3_000_000..3_000_000, *b"inserted");
    bundle(
        &Boxes::version(2).same(1),
        "the second, which is longer\n",
        data,
    )
}

/// Publishes as people do.
pub(crate) fn publish(system: &System, bundle: &Bundle, folder: &Path, more: &[&str]) -> String {
    bundle.write(folder);
    let mut command = upstart();
    command.args(["publish", "--server", &system.server.url(), "--keys"]);
    command.arg(system.keys().folder).arg(folder).args(more);
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A system of version 1, and a node whose way to the server is counted.
fn serving() -> (System, Node, Relay) {
    let system = System::start();
    publish(&system, &first(), &system.folder().join("first"), &[]);
    let (relay, token) = relay_to(&system);
    let options = NodeOptions::new("a", system.port(1)).server(&relay.url(), &token);
    let node = system.node(options);
    system.until_settled(&node, 1);
    (system, node, relay)
}

/// A way to the server on which what comes from it is counted, and the file of a token for it.
pub(crate) fn relay_to(system: &System) -> (Relay, PathBuf) {
    let port = system
        .server
        .url()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let relay = Relay::start(port.expect("a port")).expect("a relay");
    let token = system.folder().join("token-with-pin");
    write_token(system.server.data(), &token);
    (relay, token)
}

/// The server's token with the pin by which it is known behind a relay, too.
fn write_token(server: &Path, file: &Path) {
    let secret = std::fs::read_to_string(server.join("token")).expect("a token");
    let authority = Authority::open(&server.join("authority.pem")).expect("an authority");
    let token = PinnedToken {
        secret: secret.trim().to_owned(),
        pin: Some(authority.pin()),
    };
    std::fs::write(file, token.to_string()).expect("written");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(file, private).expect("private");
}

fn manifest(system: &System, version: u32) -> Manifest {
    let summary = system.ask(system.client.upgrade(Version(version)));
    let text = system.ask(system.client.manifest(Version(version), summary.revision));
    Manifest::parse(&text).expect("canonical")
}

fn artifacts(system: &System) -> PathBuf {
    system.server.data().join("repository/artifacts")
}

fn index(system: &System, version: u32) -> ChunkIndex {
    let manifest = manifest(system, version);
    let file = manifest.file(CHUNKS_FILE).expect("an index");
    let bytes = std::fs::read(artifacts(system).join(file.sha256.to_string())).expect("read");
    ChunkIndex::parse(&bytes).expect("sound")
}

/// The packs of a version that are no whole files.
fn packs(system: &System, version: u32) -> Vec<PathBuf> {
    let whole: Vec<_> = (1..=version)
        .flat_map(|version| manifest(system, version).files)
        .map(|file| file.sha256)
        .collect();
    let packs = index(system, version).packs.into_iter();
    let apart = packs.filter(|pack| !whole.contains(&pack.digest));
    apart
        .map(|pack| artifacts(system).join(pack.digest.to_string()))
        .collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("read");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// What lies at the node is version 2: the file as published, and the software from what is in the archive.
fn has_second(node: &Node) {
    let published = second();
    let folder = node.data.join("versions/2.1");
    let data = std::fs::read(folder.join("bundle/data")).expect("read");
    assert!(data == published.files["data"]);
    let text = std::fs::read_to_string(folder.join("software/software.tar.gz/large.txt"));
    assert!(
        text.expect("read")
            .contains("\nthe second, which is longer\n")
    );
}

fn serves(system: &System) {
    until_ok("the node to answer", || {
        Caller::labelled_as(system.port(1), system.view().system_id, 2, 1)?.get("apples")
    });
}

#[test]
fn a_node_fetches_only_what_a_version_changed_and_keeps_it_without_the_server() {
    let (mut system, mut node, relay) = serving();
    let folder = system.folder().join("second");
    let before = std::fs::read_dir(artifacts(&system)).expect("read").count();
    let told = publish(&system, &second(), &folder, &["--dry-run", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        std::fs::read_dir(artifacts(&system)).expect("read").count(),
        before
    );
    assert_eq!(system.view().upgrades.len(), 1);
    let (fetch, whole) = (&told["fetch"]["bytes"], &told["whole_bytes"]);
    let (fetch, whole) = (
        fetch.as_u64().expect("bytes"),
        whole.as_u64().expect("bytes"),
    );
    assert!(fetch < MIB / 2 && whole > 7 * MIB, "{told}");

    let came = relay.came();
    publish(&system, &second(), &folder, &[]);
    system.until_settled(&node, 2);
    let moved = relay.came() - came;
    assert!(
        moved < fetch + MIB / 2,
        "{moved} of {whole}, and {fetch} told"
    );
    has_second(&node);
    let told = publish(&system, &second(), &folder, &[]);
    assert!(told.starts_with("Nothing has changed"), "{told}");

    // What was made from chunks is held like what was fetched: mended from chunks where it is damaged, and used without the server.
    let archive = node.data.join("versions/2.1/bundle/software.tar.gz");
    let index = index(&system, 2);
    let mut contents = index.contents.iter();
    let content = contents
        .find(|it| it.content != it.file)
        .expect("an archive");
    node.end_agent();
    node.stop_software();
    flip(&archive, 9_000_000);
    flip(
        &node.data.join(format!("artifacts/{}", content.content)),
        1_000_000,
    );
    let came = relay.came();
    node.start_agent();
    node.until_said("were mended");
    assert!(relay.came() - came < MIB / 2, "{}", relay.came() - came);
    serves(&system);
    node.end_agent();
    node.stop_software();
    system.server.kill();
    flip(&archive, 9_000_000);
    node.start_agent();
    until("the software to run", || node.child());
    has_second(&node);
    let held = std::fs::read(&archive).expect("read");
    assert_eq!(Digest::of(&held), content.content);
}

#[test]
fn where_packs_are_damaged_or_gone_whole_files_are_fetched() {
    let (system, mut node, relay) = serving();
    node.end_agent();
    publish(&system, &second(), &system.folder().join("second"), &[]);
    let packs = packs(&system, 2);
    assert!(packs.len() >= 2, "{packs:?}");
    for pack in &packs {
        let length = std::fs::metadata(pack).expect("there").len();
        let damaged = vec![0x55; usize::try_from(length).expect("small")];
        std::fs::write(pack, damaged).expect("damaged");
    }
    node.start_agent();
    system.until_settled(&node, 2);
    node.until_said("chunks cannot be used; the whole file is fetched");
    has_second(&node);
    assert!(relay.came() > MIB);

    for pack in &packs {
        std::fs::remove_file(pack).expect("removed");
    }
    let other = system.node(NodeOptions::new("b", system.port(2)));
    system.until_settled(&other, 2);
    has_second(&other);
}

#[test]
fn a_damaged_file_of_the_version_before_costs_its_damaged_chunk() {
    let (system, mut node, relay) = serving();
    node.end_agent();
    // The archive lies here as what is in it.
    for content in &index(&system, 1).contents {
        flip(
            &node.data.join(format!("artifacts/{}", content.content)),
            900_000,
        );
    }
    publish(&system, &second(), &system.folder().join("second"), &[]);
    let came = relay.came();
    node.start_agent();
    system.until_settled(&node, 2);
    let moved = relay.came() - came;
    assert!(moved < MIB, "{moved}");
    has_second(&node);
}
