//! Probes of sockets of the test's own.

use super::*;
use std::sync::Mutex;
use tokio::net::TcpListener;

/// The test's own process plays the software.
struct Played {
    address: SocketAddr,
    ended: tokio::sync::watch::Receiver<bool>,
    end: tokio::sync::watch::Sender<bool>,
    runs: Mutex<Vec<Result<(), String>>>,
}

impl Software for Played {
    async fn dial(&self, _: &str) -> io::Result<TcpStream> {
        TcpStream::connect(self.address).await
    }

    async fn run(&self, _: &[String], _: Duration) -> Result<(), String> {
        self.runs.lock().expect("lock").pop().unwrap_or(Ok(()))
    }

    async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await.is_ok();
        "exit 1".to_owned()
    }

    fn process(&self) -> Option<i32> {
        i32::try_from(std::process::id()).ok()
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

fn http() -> Question {
    Question::Http {
        service: "data".to_owned(),
        path: "/health".to_owned(),
    }
}

fn tcp() -> Question {
    Question::Tcp {
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
        assert!(
            error.to_string().ends_with("no answer within 100 ms"),
            "{error}"
        );
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

#[tokio::test]
async fn a_closed_port_is_not_healthy() {
    let (listener, software) = played().await;
    drop(listener);
    let error = probe(&software, &tcp(), &timing(100))
        .await
        .expect_err("unhealthy");
    assert!(
        error.to_string().contains("cannot connect to `data`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_is_run_until_it_succeeds() {
    let (_listener, software) = played().await;
    *software.runs.lock().expect("lock") =
        vec![Ok(()), Err("ended with exit status: 1".to_owned())];
    let question = Question::Command(vec!["true".to_owned()]);
    assert_eq!(probe(&software, &question, &timing(5_000)).await, Ok(()));
    assert!(software.runs.lock().expect("lock").is_empty());
}

#[tokio::test]
async fn the_end_of_the_software_ends_the_probe() {
    let (_listener, software) = played().await;
    software.end.send_replace(true);
    for question in [tcp(), Question::Alive(Duration::from_secs(60))] {
        let error = probe(&software, &question, &timing(60_000))
            .await
            .expect_err("ended");
        assert!(matches!(error, ProbeError::Ended { .. }));
    }
}

#[tokio::test]
async fn software_that_stays_alive_is_healthy() {
    let (_listener, software) = played().await;
    let question = Question::Alive(Duration::from_millis(5));
    assert_eq!(probe(&software, &question, &timing(100)).await, Ok(()));
}
