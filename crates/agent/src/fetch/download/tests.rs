//! Downloads from a small server of the test's own.

use super::*;
use parking_lot::Mutex;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;

/// A server of one artifact that misbehaves as told, and what it was asked.
struct Server {
    address: String,
    ranges: Arc<Mutex<Vec<Option<u64>>>>,
}

/// What one answer does wrong.
#[derive(Clone, Copy)]
enum Answer {
    Whole,
    BreakAfter(usize),
    Status(u16),
    Altered,
}

impl Server {
    /// Each request gets the next answer; the last one is repeated.
    fn start(content: Vec<u8>, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let asked = ranges.clone();
        std::thread::spawn(move || {
            for (next, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let offset = read_range(&stream);
                asked.lock().push(offset);
                let answer = answers[next.min(answers.len() - 1)];
                reply(stream, &content, offset, answer);
            }
        });
        Self { address, ranges }
    }

    fn fetcher(&self, folder: &Path) -> Fetcher {
        let client = Client::new(&[&self.address], Some("a-token".to_owned())).expect("client");
        Fetcher::new(Arc::new(client), folder.join("artifacts"))
    }
}

fn read_range(stream: &std::net::TcpStream) -> Option<u64> {
    let mut offset = None;
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            offset = range.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    offset
}

fn reply(mut stream: std::net::TcpStream, content: &[u8], offset: Option<u64>, answer: Answer) {
    let rest = &content[offset.unwrap_or(0) as usize..];
    let (status, mut body) = match answer {
        Answer::Status(status) if status < 500 => (status, problem(status).into_bytes()),
        Answer::Status(status) => (status, Vec::new()),
        _ if offset.is_some() => (206, rest.to_vec()),
        _ => (200, rest.to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    match answer {
        Answer::BreakAfter(bytes) => body.truncate(bytes),
        Answer::Altered => body.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

fn problem(status: u16) -> String {
    format!(r#"{{"type":"/problems/x","title":"X","status":{status},"detail":"x"}}"#)
}

fn content() -> Vec<u8> {
    (0..300_000u32).map(|at| (at % 251) as u8).collect()
}

fn wanted(content: &[u8]) -> WantedFile {
    WantedFile {
        digest: Digest::of(content),
        size: content.len() as u64,
    }
}

#[tokio::test]
async fn what_is_fetched_is_there_once_and_told() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(content(), vec![Answer::Whole]);
    let fetcher = server.fetcher(folder.path());
    let wanted = wanted(&content());
    let told = Arc::new(Mutex::new(Vec::new()));
    let record = told.clone();
    let tell = move |done, total| record.lock().push((done, total));
    fetcher
        .fetch(&[wanted, wanted], tell)
        .await
        .expect("fetched");
    assert_eq!(
        std::fs::read(fetcher.path(wanted.digest)).expect("read"),
        content()
    );
    assert_eq!(told.lock().last(), Some(&(wanted.size, wanted.size)));
    fetcher.fetch(&[wanted], |_, _| {}).await.expect("there");
    assert_eq!(server.ranges.lock().len(), 1);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(
        content(),
        vec![
            Answer::BreakAfter(100_000),
            Answer::Status(503),
            Answer::Whole,
        ],
    );
    let fetcher = server.fetcher(folder.path());
    let wanted = wanted(&content());
    fetcher.fetch(&[wanted], |_, _| {}).await.expect("fetched");
    assert_eq!(
        std::fs::read(fetcher.path(wanted.digest)).expect("read"),
        content()
    );
    let ranges = server.ranges.lock().clone();
    assert_eq!(ranges.first(), Some(&None));
    assert!(
        ranges
            .last()
            .is_some_and(|range| range.is_some_and(|offset| offset > 0))
    );
}

#[tokio::test]
async fn what_is_altered_is_refused_and_not_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(content(), vec![Answer::Altered]);
    let fetcher = server.fetcher(folder.path());
    let error = fetcher.fetch(&[wanted(&content())], |_, _| {}).await;
    assert!(matches!(error, Err(FetchError::Altered { .. })));
    let left = std::fs::read_dir(folder.path().join("artifacts")).expect("folder");
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_damaged_beginning_is_fetched_again() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(content(), vec![Answer::Whole]);
    let fetcher = server.fetcher(folder.path());
    let wanted = wanted(&content());
    std::fs::create_dir_all(folder.path().join("artifacts")).expect("folder");
    let part = with_suffix(&fetcher.path(wanted.digest), ".part");
    std::fs::write(part, b"rubbish").expect("written");
    fetcher.fetch(&[wanted], |_, _| {}).await.expect("fetched");
    let ranges = server.ranges.lock().clone();
    assert_eq!(ranges, [Some(7), None]);
}

#[tokio::test]
async fn what_was_changed_here_is_fetched_again_though_it_is_as_long() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(content(), vec![Answer::Whole]);
    let fetcher = server.fetcher(folder.path());
    let wanted = wanted(&content());
    fetcher.fetch(&[wanted], |_, _| {}).await.expect("fetched");
    let mut changed = content();
    changed[1_000] ^= 1;
    std::fs::write(fetcher.path(wanted.digest), changed).expect("written");
    fetcher.fetch(&[wanted], |_, _| {}).await.expect("fetched");
    let kept = std::fs::read(fetcher.path(wanted.digest)).expect("kept");
    assert!(kept == content());
    fetcher.fetch(&[wanted], |_, _| {}).await.expect("is there");
    assert_eq!(server.ranges.lock().len(), 2);
}

#[tokio::test]
async fn an_unknown_artifact_is_not_asked_for_again() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(content(), vec![Answer::Status(404)]);
    let fetcher = server.fetcher(folder.path());
    let error = fetcher.fetch(&[wanted(&content())], |_, _| {}).await;
    assert!(matches!(error, Err(FetchError::Server { .. })));
    assert_eq!(server.ranges.lock().len(), 1);
}

#[tokio::test]
async fn too_little_space_is_said_before_anything_is_fetched() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(content(), vec![Answer::Whole]);
    let fetcher = server.fetcher(folder.path());
    let huge = WantedFile {
        digest: Digest::of(b"x"),
        size: 1 << 60,
    };
    let error = fetcher
        .fetch(&[huge], |_, _| {})
        .await
        .expect_err("no space");
    assert!(error.is_no_space());
    assert!(server.ranges.lock().is_empty());
}

#[tokio::test]
async fn an_empty_artifact_is_fetched() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(Vec::new(), vec![Answer::Whole]);
    let fetcher = server.fetcher(folder.path());
    fetcher
        .fetch(&[wanted(b"")], |_, _| {})
        .await
        .expect("fetched");
    assert!(fetcher.path(Digest::of(b"")).exists());
}
