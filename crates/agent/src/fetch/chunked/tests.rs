//! Files from chunks, by way of a small server of the test's own that keeps books and misbehaves.

use super::super::download::{Fetcher, WantedFile};
use super::*;
use chunks::{ChunkIndex, ChunkPlace, ContentForm, IndexedContent, Packer};
use client::Client;
use model::ids::Version;
use model::manifest::{CHUNKS_FILE, Manifest, ManifestFile, Mode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The first part breaks off after so many bytes.
    BreaksOnce(usize),
    /// It gives the whole where a part is asked for.
    NoParts,
    /// What parts bring is not what is there.
    AltersParts,
}

/// What was asked: the artifact, and which part.
type Asked = Arc<Mutex<Vec<(Digest, Option<(usize, usize)>)>>>;

struct Server {
    address: String,
    asked: Asked,
}

impl Server {
    fn start(artifacts: HashMap<Digest, Vec<u8>>, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let asked = Asked::default();
        let books = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some((digest, part)) = request(&stream) else {
                    continue;
                };
                let is_first = books.lock().iter().all(|(_, part)| part.is_none());
                books.lock().push((digest, part));
                reply(stream, artifacts.get(&digest), part, fault, is_first);
            }
        });
        Self { address, asked }
    }

    /// How many bytes of parts were asked for, and how often a whole artifact.
    fn parts_and_wholes(&self) -> (usize, usize) {
        let asked = self.asked.lock();
        let parts = asked.iter().filter_map(|(_, part)| *part);
        let bytes = parts.map(|(first, end)| end - first).sum();
        (bytes, asked.iter().filter(|it| it.1.is_none()).count())
    }
}

fn request(stream: &TcpStream) -> Option<(Digest, Option<(usize, usize)>)> {
    let (mut digest, mut part) = (None, None);
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            let (first, last) = range.split_once('-')?;
            let last: Option<usize> = last.parse().ok();
            part = Some((
                first.parse().ok()?,
                last.map_or(usize::MAX, |last| last + 1),
            ));
        }
        if let Some(path) = line.strip_prefix("get /v1/artifacts/") {
            digest = path.split(' ').next().and_then(|name| name.parse().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    Some((digest?, part))
}

fn reply(
    mut stream: TcpStream,
    artifact: Option<&Vec<u8>>,
    part: Option<(usize, usize)>,
    fault: Fault,
    is_first: bool,
) {
    let (status, mut body) = match (artifact, part) {
        (None, _) => {
            let problem = r#"{"type":"/problems/x","title":"X","status":404,"detail":"x"}"#;
            (404, problem.as_bytes().to_vec())
        }
        (Some(all), Some((first, end))) if fault != Fault::NoParts => {
            (206, all[first..end.min(all.len())].to_vec())
        }
        (Some(all), _) => (200, all.clone()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    match fault {
        Fault::BreaksOnce(bytes) if status == 206 && is_first => body.truncate(bytes),
        Fault::AltersParts if status == 206 => body.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    // A caller that has heard enough may have gone.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

/// Text that shrinks, different for each seed.
fn text(seed: u64) -> Vec<u8> {
    let number = |number: u64| (number + seed) * 2_654_435_761 % 4_294_967_291;
    let lines = (0..220_000).map(|line| format!("{:x}\n", number(line)));
    lines.collect::<String>().into_bytes()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content).expect("packed");
    packed.finish().expect("packed")
}

/// A new version of a text, in a repository with an index and a pack of all of its chunks.
struct Published {
    manifest: Manifest,
    wanted: WantedFile,
    content: Vec<u8>,
    artifacts: HashMap<Digest, Vec<u8>>,
    index: ChunkIndex,
    pack: Digest,
}

fn published(content: &[u8], form: ContentForm) -> Published {
    let mut packer = Packer::new().expect("a packer");
    let (mut pack, mut chunks) = (Vec::new(), Vec::new());
    for chunk in ChunkCutter::new(content) {
        let chunk = chunk.expect("read");
        let stored = packer.packed(&chunk).expect("packed");
        chunks.push(ChunkPlace {
            digest: Digest::of(&chunk),
            length: chunk.len() as u32,
            pack: 0,
            offset: pack.len() as u64,
            stored: stored.len() as u32,
        });
        pack.extend(stored);
    }
    let file = match form {
        ContentForm::Plain => content.to_vec(),
        ContentForm::Gzip => gzip(content),
    };
    let index = ChunkIndex {
        packs: vec![PackFile {
            digest: Digest::of(&pack),
            size: pack.len() as u64,
        }],
        contents: vec![IndexedContent {
            file: Digest::of(&file),
            form,
            content: Digest::of(content),
            length: content.len() as u64,
            chunks,
        }],
    };
    with_index(index, file, pack, content)
}

fn with_index(index: ChunkIndex, file: Vec<u8>, pack: Vec<u8>, content: &[u8]) -> Published {
    let listed = |path: &str, bytes: &[u8]| ManifestFile {
        mode: Mode::Plain,
        path: path.to_owned(),
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let files = vec![listed("text", &file), listed(CHUNKS_FILE, &index.bytes())];
    Published {
        wanted: WantedFile::from(&files[0]),
        manifest: Manifest {
            description: String::new(),
            files: {
                let mut files = files;
                files.sort_by(|one, other| one.path.cmp(&other.path));
                files
            },
            format: 1,
            from: Version(1),
            system: "s".to_owned(),
            version: Version(2),
        },
        content: content.to_vec(),
        pack: Digest::of(&pack),
        artifacts: [file, pack, index.bytes()]
            .into_iter()
            .map(|bytes| (Digest::of(&bytes), bytes))
            .collect(),
        index,
    }
}

/// A node's folder with this of an earlier version in it.
fn node(before: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(Digest::of(before).to_string());
    std::fs::write(path, before).expect("written");
    folder
}

async fn fetch(server: &Server, folder: &Path, published: &Published) -> Result<(), FetchError> {
    let client = Client::new(&[&server.address], Some("a-token".to_owned())).expect("client");
    let fetcher = Fetcher::new(Arc::new(client), folder.to_owned());
    let fetcher = fetcher.with_chunks_of(&published.manifest);
    fetcher.fetch(&[published.wanted], |_, _| {}).await
}

/// What lies there as the file, in whichever form.
fn held(folder: &Path, published: &Published) -> Vec<u8> {
    let content = published.index.contents[0].content;
    let forms = [content, published.wanted.digest];
    let mut paths = forms.iter().map(|form| folder.join(form.to_string()));
    let found = paths.find(|path| path.exists()).expect("one of its forms");
    let begun = folder.join(format!("{content}{}", super::super::part::SUFFIX));
    assert!(!begun.exists(), "something was left");
    std::fs::read(found).expect("read")
}

/// The text with something in its middle.
fn changed(text: &[u8]) -> Vec<u8> {
    let mut changed = text.to_vec();
    changed.splice(700_000..700_000, *b"inserted");
    changed
}

#[tokio::test]
async fn only_what_is_not_here_is_fetched() {
    for form in [ContentForm::Plain, ContentForm::Gzip] {
        let published = published(&changed(&text(1)), form);
        let server = Server::start(published.artifacts.clone(), Fault::None);
        // An earlier archive is of use as it is.
        let folder = match form {
            ContentForm::Plain => node(&text(1)),
            ContentForm::Gzip => node(&gzip(&text(1))),
        };
        fetch(&server, folder.path(), &published)
            .await
            .expect("fetched");
        assert!(held(folder.path(), &published) == published.content);
        let (parts, wholes) = server.parts_and_wholes();
        // The index is fetched as a whole.
        assert!(
            wholes == 1 && (1..200_000).contains(&parts),
            "{parts} {wholes}"
        );
        fetch(&server, folder.path(), &published)
            .await
            .expect("is there");
        assert_eq!(server.parts_and_wholes(), (parts, wholes), "{form:?}");
    }
}

#[tokio::test]
async fn what_has_come_is_not_fetched_again() {
    let published = published(&changed(&text(1)), ContentForm::Plain);
    let length = published.artifacts[&published.pack].len();
    let server = Server::start(published.artifacts.clone(), Fault::BreaksOnce(length / 2));
    let folder = node(b"nothing of use");
    fetch(&server, folder.path(), &published)
        .await
        .expect("fetched");
    assert!(held(folder.path(), &published) == published.content);
    let asked = server.asked.lock().clone();
    let parts: Vec<(usize, usize)> = asked.iter().filter_map(|(_, part)| *part).collect();
    assert_eq!(parts[0], (0, length));
    assert!(
        parts.len() == 2 && parts[1].0 > length / 3 && parts[1].1 == length,
        "{parts:?}"
    );
}

#[tokio::test]
async fn what_an_agent_before_has_written_is_used_as_far_as_it_is_sound() {
    let published = published(&text(1), ContentForm::Plain);
    let server = Server::start(published.artifacts.clone(), Fault::None);
    let folder = node(b"nothing of use");
    let name = format!("{}{}", published.wanted.digest, super::super::part::SUFFIX);
    let mut begun = published.content[..1_000_000].to_vec();
    begun[500_000] ^= 1;
    std::fs::write(folder.path().join(name), begun).expect("written");
    fetch(&server, folder.path(), &published)
        .await
        .expect("fetched");
    assert!(held(folder.path(), &published) == published.content);
    let (parts, _) = server.parts_and_wholes();
    let pack = published.artifacts[&published.pack].len();
    assert!(parts < pack * 3 / 4, "{parts} of {pack}");
}

#[tokio::test]
async fn a_damaged_chunk_here_is_fetched() {
    let published = published(&changed(&text(1)), ContentForm::Plain);
    let server = Server::start(published.artifacts.clone(), Fault::None);
    let mut before = text(1);
    before[100_000] ^= 1;
    let folder = node(&before);
    fetch(&server, folder.path(), &published)
        .await
        .expect("fetched");
    assert!(held(folder.path(), &published) == published.content);
    assert!(server.parts_and_wholes().0 < 300_000);
}

#[tokio::test]
async fn where_chunks_cannot_be_used_the_whole_is_fetched_once() {
    for fault in [Fault::NoParts, Fault::AltersParts] {
        let published = published(&changed(&text(1)), ContentForm::Gzip);
        let server = Server::start(published.artifacts.clone(), fault);
        let folder = node(&text(1));
        fetch(&server, folder.path(), &published)
            .await
            .expect("fetched");
        assert!(held(folder.path(), &published) == published.artifacts[&published.wanted.digest]);
        let asked = server.asked.lock().clone();
        let wholes = asked.iter().filter(|it| it.0 == published.wanted.digest);
        assert_eq!(wholes.count(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_index_that_lies_ends_in_the_whole() {
    let sound = published(&changed(&text(1)), ContentForm::Plain);
    let file = sound.artifacts[&sound.wanted.digest].clone();
    let pack = sound.artifacts[&sound.pack].clone();
    let swapped = |index: &mut ChunkIndex| index.contents[0].chunks.swap(0, 1);
    let two_lengths = |index: &mut ChunkIndex| {
        let chunks = &mut index.contents[0].chunks;
        (chunks[0].length, chunks[1].length) = (chunks[1].length, chunks[0].length);
        chunks[0].digest = chunks[1].digest;
    };
    let lies: [&dyn Fn(&mut ChunkIndex); 2] = [&swapped, &two_lengths];
    for lie in lies {
        let mut index = sound.index.clone();
        lie(&mut index);
        let lying = with_index(index, file.clone(), pack.clone(), &sound.content);
        let server = Server::start(lying.artifacts.clone(), Fault::None);
        let folder = node(&text(1));
        fetch(&server, folder.path(), &lying)
            .await
            .expect("fetched");
        assert!(held(folder.path(), &lying) == lying.content);
    }
}

#[tokio::test]
async fn an_index_that_is_none_or_gone_ends_in_the_whole() {
    let sound = published(&changed(&text(1)), ContentForm::Plain);
    let mut gone = sound.artifacts.clone();
    gone.remove(&Digest::of(&sound.index.bytes()));
    let server = Server::start(gone, Fault::None);
    let folder = node(&text(1));
    fetch(&server, folder.path(), &sound)
        .await
        .expect("fetched");
    assert!(held(folder.path(), &sound) == sound.content);
    assert_eq!(server.parts_and_wholes().0, 0);
}
