//! Probes of sockets of the test's own.

use super::*;
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// The test's own process plays the software.
struct Played {
    address: SocketAddr,
    ended: tokio::sync::watch::Receiver<bool>,
    end: tokio::sync::watch::Sender<bool>,
    runs: Mutex<Vec<Result<(), String>>>,
    hopeless: tokio::sync::watch::Sender<Option<String>>,
    processes: Vec<i32>,
}

impl ProbedSoftware for Played {
    async fn dial(&self, _: &str) -> io::Result<TcpStream> {
        TcpStream::connect(self.address).await
    }

    async fn run(&self, _: &[String], _: Duration) -> Result<(), String> {
        self.runs.lock().pop().unwrap_or(Ok(()))
    }

    async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await.is_ok();
        "exit 1".to_owned()
    }

    async fn hopeless(&self, _: Option<&str>) -> String {
        let mut hopeless = self.hopeless.subscribe();
        let known = hopeless.wait_for(Option::is_some).await;
        known.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    fn address(&self, _: &str) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn household(&self) -> Household {
        Household::of(self.processes.clone())
    }
}

async fn played() -> (TcpListener, Played) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let (end, ended) = tokio::sync::watch::channel(false);
    let played = Played {
        address: listener.local_addr().expect("address"),
        ended,
        end,
        runs: Mutex::default(),
        hopeless: tokio::sync::watch::Sender::new(None),
        processes: i32::try_from(std::process::id()).into_iter().collect(),
    };
    (listener, played)
}

fn timing(limit_ms: u64) -> Timing {
    Timing {
        limit: Duration::from_millis(limit_ms),
        attempt_limit: Duration::from_millis(limit_ms / 2),
        interval: Duration::from_millis(5),
    }
}

fn http() -> ResolvedQuestion {
    ResolvedQuestion::Http {
        service: "data".to_owned(),
        path: "/health".to_owned(),
    }
}

fn tcp() -> ResolvedQuestion {
    ResolvedQuestion::Tcp {
        service: "data".to_owned(),
    }
}

/// Answers each connection with the next of these, the last again and again.
fn answer(listener: TcpListener, answers: Vec<&'static str>) {
    tokio::spawn(async move {
        let mut next = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer = answers[next.min(answers.len() - 1)];
            next += 1;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
}

#[tokio::test]
async fn http_waits_for_a_good_status() {
    let (listener, software) = played().await;
    answer(
        listener,
        vec!["HTTP/1.1 503 No\r\n\r\n", "", "HTTP/1.1 204 Fine\r\n\r\n"],
    );
    assert_eq!(probe(&software, &http(), &timing(5_000)).await, Ok(()));
}

#[tokio::test]
async fn http_that_stays_bad_tells_the_last_answer() {
    let (listener, software) = played().await;
    answer(listener, vec!["HTTP/1.1 503 No\r\n\r\n"]);
    let error = probe(&software, &http(), &timing(200))
        .await
        .expect_err("unhealthy");
    assert_eq!(
        error.to_string(),
        "not healthy within 200 ms: GET /health answered 503"
    );
}

#[tokio::test]
async fn a_listener_that_nobody_accepts_from_is_not_healthy() {
    let (_listener, software) = played().await;
    for question in [tcp(), http()] {
        let error = probe(&software, &question, &timing(200))
            .await
            .expect_err("unhealthy");
        let error = error.to_string();
        assert!(error.contains("no answer within 100 ms: "), "{error}");
        let queued = "waits in its queue, and nobody accepts it";
        assert!(error.ends_with(queued), "{error}");
    }
}

#[tokio::test]
async fn tcp_succeeds_once_the_software_has_accepted() {
    let (listener, software) = played().await;
    let accepting = async {
        let accepted = listener.accept().await.expect("accepted");
        std::future::pending::<()>().await;
        drop(accepted);
    };
    tokio::select! {
        () = accepting => unreachable!("waits for ever"),
        result = async {
            let question = tcp();
            probe(&software, &question, &timing(5_000)).await
        } => assert_eq!(result, Ok(())),
    }
}

/// Accepts each connection and ends it at once, in this way.
fn ending(listener: TcpListener, end: impl Fn(TcpStream) + Send + 'static) {
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            end(connection);
        }
    });
}

#[tokio::test]
async fn tcp_succeeds_where_the_software_answers_and_closes_at_once() {
    for answer in [&b"what time it is\r\n"[..], b""] {
        let (listener, software) = played().await;
        let listens_on = listener.into_std().expect("a listener");
        let other = TcpListener::from_std(listens_on.try_clone().expect("a handle"));
        ending(other.expect("a listener"), move |connection| {
            let _ = connection.try_write(answer);
        });
        let result = probe(&software, &tcp(), &timing(5_000)).await;
        assert_eq!(result, Ok(()));
    }
}

#[tokio::test]
async fn software_that_resets_what_it_accepts_is_not_healthy() {
    let (listener, software) = played().await;
    ending(listener, |connection| {
        let connection = socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO));
        connection.expect("set");
    });
    // Between its accept and its reset a processor may be with others, and a look in between sees software that has accepted.
    for _ in 0..10 {
        if let Err(error) = probe(&software, &tcp(), &timing(300)).await {
            let error = error.to_string();
            assert!(error.contains("reset"), "{error}");
            return;
        }
    }
    panic!("never seen to be unhealthy");
}

#[tokio::test]
async fn what_somebody_else_answers_and_closes_is_not_the_softwares() {
    let (listener, mut software) = played().await;
    software.processes.clear();
    ending(listener, drop);
    let error = probe(&software, &tcp(), &timing(300)).await;
    let error = error.expect_err("unhealthy").to_string();
    assert!(error.contains("accepted and closed; "), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_not_healthy() {
    let (listener, software) = played().await;
    drop(listener);
    let error = probe(&software, &tcp(), &timing(100))
        .await
        .expect_err("unhealthy");
    let error = error.to_string();
    assert!(error.contains("cannot connect to `data`"), "{error}");
    let nobody = format!("nobody listens at {}", software.address);
    assert!(error.ends_with(&nobody), "{error}");
}

#[tokio::test]
async fn software_that_accepts_and_is_silent_is_told_so() {
    let (listener, software) = played().await;
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            kept.push(accepted);
        }
    });
    let error = probe(&software, &http(), &timing(200))
        .await
        .expect_err("unhealthy");
    let silent = format!(
        "process {} of the software has accepted the connection and is silent",
        std::process::id()
    );
    assert!(error.to_string().ends_with(&silent), "{error}");
}

/// Answers everything with 404.
const SOMEBODY_ELSE: &str = "
import socket
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    accepted, _ = listener.accept()
    accepted.recv(1024)
    accepted.sendall(b'HTTP/1.1 404 No\\r\\n\\r\\n')
    accepted.close()
";

#[tokio::test]
async fn an_answer_of_somebody_else_is_told_as_his() {
    let (_listener, mut software) = played().await;
    let mut other = std::process::Command::new("python3")
        .args(["-c", SOMEBODY_ELSE])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    let mut said = std::io::BufReader::new(other.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    let port: u16 = line.trim().parse().expect("a port");
    software.address = SocketAddr::from(([127, 0, 0, 1], port));
    let error = probe(&software, &http(), &timing(2_000)).await;
    other.kill().expect("killed");
    other.wait().expect("reaped");
    let error = error.expect_err("unhealthy").to_string();
    let stranger = format!("process {} (python3", other.id());
    assert!(error.contains("GET /health answered 404; "), "{error}");
    assert!(error.contains(&stranger), "{error}");
}

#[tokio::test]
async fn what_is_certain_ends_the_probe() {
    let (_listener, software) = played().await;
    let why = "the port is taken".to_owned();
    software.hopeless.send_replace(Some(why.clone()));
    for question in [
        tcp(),
        http(),
        ResolvedQuestion::Alive(Duration::from_secs(60)),
    ] {
        let error = probe(&software, &question, &timing(60_000)).await;
        assert_eq!(error, Err(ProbeError::Hopeless { why: why.clone() }));
    }
}

#[tokio::test]
async fn a_look_asks_once() {
    let (listener, software) = played().await;
    let slow = timing(400);
    let error = look(&software, &http(), &slow).await.expect_err("silent");
    assert!(error.starts_with("no answer within"), "{error}");
    answer(listener, vec!["HTTP/1.1 204 Fine\r\n\r\n"]);
    assert_eq!(look(&software, &http(), &slow).await, Ok(()));
    let forever = ResolvedQuestion::Alive(Duration::from_secs(600));
    assert_eq!(look(&software, &forever, &slow).await, Ok(()));
    *software.runs.lock() = vec![Err("ended with 1".to_owned())];
    let command = ResolvedQuestion::Command(vec!["false".to_owned()]);
    let error = look(&software, &command, &slow).await.expect_err("failed");
    assert_eq!(error, "ended with 1");
}

#[tokio::test]
async fn a_command_is_run_until_it_succeeds() {
    let (_listener, software) = played().await;
    *software.runs.lock() = vec![Ok(()), Err("ended with exit status: 1".to_owned())];
    let question = ResolvedQuestion::Command(vec!["true".to_owned()]);
    assert_eq!(probe(&software, &question, &timing(5_000)).await, Ok(()));
    assert!(software.runs.lock().is_empty());
}

#[tokio::test]
async fn the_end_of_the_software_ends_the_probe() {
    let (_listener, software) = played().await;
    software.end.send_replace(true);
    for question in [tcp(), ResolvedQuestion::Alive(Duration::from_secs(60))] {
        let error = probe(&software, &question, &timing(60_000))
            .await
            .expect_err("ended");
        assert!(matches!(error, ProbeError::Ended { .. }));
    }
}

#[tokio::test]
async fn software_that_stays_alive_is_healthy() {
    let (_listener, software) = played().await;
    let question = ResolvedQuestion::Alive(Duration::from_millis(5));
    assert_eq!(probe(&software, &question, &timing(100)).await, Ok(()));
}
