//! Stopping by the holder: the main process, then what it leaves behind, and the kill when the grace is over.

use crate::support::{Node, exit};
use agent::holder_client::{HolderClient, HolderNotices};
use intercept::holder::ChildExit;
use kit::{alive, wait_for};
use std::time::{Duration, Instant};

/// Writes its number, waits for SIGTERM, takes a moment and says that it has finished.
const PROGRAM: &str = r#"
trap 'sleep 0.3; echo finished > "$1.done"; exit 0' TERM
echo $$ > "$1.new"; mv "$1.new" "$1"
while :; do sleep 1000 & wait $!; done
"#;

/// Long enough for anything to end by itself.
const GRACE: Duration = Duration::from_secs(15);

/// What of a test's software is on disk.
struct Traces {
    node: Node,
}

impl Traces {
    fn file(&self, name: &str) -> String {
        self.node.data().join(name).to_str().unwrap().to_owned()
    }

    /// The number of the program that was told this name, once it is ready.
    fn pid(&self, name: &str) -> i32 {
        let file = self.file(name);
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        wait_for(name, || !read().is_empty());
        read().trim().parse().unwrap()
    }

    fn finished(&self, name: &str) -> bool {
        std::path::Path::new(&self.file(&format!("{name}.done"))).exists()
    }
}

/// Starts `script`, in which `$0` is the program, and `$1`, `$2` are two names for it.
async fn started(script: &str) -> (Traces, HolderClient, HolderNotices) {
    let (node, client, notices) = Node::start().await;
    let traces = Traces { node };
    let program = traces.file("program");
    std::fs::write(&program, PROGRAM).unwrap();
    let (one, two) = (traces.file("one"), traces.file("two"));
    let words = ["sh", "-c", script, &program, &one, &two];
    client.start(traces.node.spec(1, &words)).await.unwrap();
    (traces, client, notices)
}

async fn stop(
    client: &HolderClient,
    notices: &mut HolderNotices,
    to_all: bool,
) -> (ChildExit, Duration) {
    let begun = Instant::now();
    client.stop(15, to_all, GRACE).await.unwrap();
    let exit = exit(notices).await;
    (exit, begun.elapsed())
}

#[tokio::test]
async fn what_a_wrapper_leaves_behind_gets_the_signal_at_once_and_finishes() {
    let (traces, client, mut notices) = started(r#"sh "$0" "$1"; true"#).await;
    traces.pid("one");
    let (exit, took) = stop(&client, &mut notices, false).await;
    assert!(traces.finished("one"));
    assert_eq!((exit.signal, exit.killed), (Some(15), None));
    assert!(took < Duration::from_secs(3), "{took:?}");
    traces.node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_daemon_whose_starter_has_ended_gets_the_signal_at_once() {
    let script = r#"setsid sh -c 'setsid sh "$0" "$1" &' "$0" "$1""#;
    let (traces, client, mut notices) = started(script).await;
    let daemon = traces.pid("one");
    let (exit, took) = stop(&client, &mut notices, false).await;
    assert!(traces.finished("one") && !alive(daemon));
    assert_eq!((exit.code, exit.killed), (Some(0), None));
    assert!(took < Duration::from_secs(3), "{took:?}");
    traces.node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_wrapper_that_swallows_the_signal_is_stopped_with_all_at_once() {
    let script = r#"trap '' TERM; env sh -c 'trap - TERM; exec sh "$0" "$1"' "$0" "$1"; true"#;
    // A shell cannot take back a signal that it was started to ignore: a program that sets it anew stands between.
    let script = script.replace(
        "env sh",
        "python3 -c 'import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_DFL); os.execvp(\"sh\", [\"sh\"] + sys.argv[1:])'",
    );
    let (traces, client, mut notices) = started(&script).await;
    traces.pid("one");
    let (exit, took) = stop(&client, &mut notices, true).await;
    assert!(traces.finished("one"));
    assert_eq!((exit.code, exit.killed), (Some(0), None));
    assert!(took < Duration::from_secs(3), "{took:?}");
    traces.node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn what_is_left_when_the_grace_is_over_is_killed_and_named() {
    let script = r#"trap '' TERM; echo $$ > "$1"; exec sleep 1000"#;
    let (traces, client, mut notices) = started(script).await;
    let pid = traces.pid("one");
    client
        .stop(15, false, Duration::from_millis(300))
        .await
        .unwrap();
    let exit = exit(&mut notices).await;
    assert!(!alive(pid));
    assert_eq!(exit.signal, Some(9));
    let killed = exit.killed.unwrap();
    assert_eq!((killed.signal, killed.more), (15, 0));
    assert!((300..3_000).contains(&killed.after_ms), "{killed:?}");
    let [process] = killed.processes.as_slice() else {
        panic!("{killed:?}");
    };
    assert_eq!((process.pid, process.program.as_str()), (pid, "sleep"));
    traces.node.end(&client, &mut notices).await;
}

/// As a process that gets the signal between fork and exec, while it still has its parent's handler.
#[tokio::test]
async fn what_executes_another_program_after_it_was_asked_is_asked_again() {
    let loses = r#"trap 'lost=yes' TERM; echo $$ > "$1"; while [ -z "$lost" ]; do sleep 0.02; done; exec sleep 1000"#;
    let script = format!(
        "sh -c '{}' \"$0\" \"$1\" & wait",
        loses.replace('\'', "'\\''")
    );
    let (traces, client, mut notices) = started(&script).await;
    traces.pid("one");
    let (exit, took) = stop(&client, &mut notices, false).await;
    assert_eq!(exit.killed, None);
    assert!(took < Duration::from_secs(3), "{took:?}");
    traces.node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_stop_goes_on_without_its_agent() {
    let (traces, client, notices) = started(r#"sh "$0" "$1"; sh "$0" "$2"; true"#).await;
    let one = traces.pid("one");
    client
        .stop(15, false, Duration::from_millis(1_500))
        .await
        .unwrap();
    drop((client, notices));
    wait_for("the program's end", || !alive(one));
    assert!(traces.finished("one"));
    let (client, mut notices) = HolderClient::attach(traces.node.data()).await.unwrap();
    if client.state().child.is_some() {
        exit(&mut notices).await;
    }
    // And what ignores the signal is killed.
    let script = "trap '' TERM; echo $$ > \"$0\"; exec sleep 1000";
    let spec = traces
        .node
        .spec(2, &["sh", "-c", script, &traces.file("two")]);
    client.start(spec).await.unwrap();
    let two = traces.pid("two");
    client
        .stop(15, false, Duration::from_millis(300))
        .await
        .unwrap();
    drop((client, notices));
    wait_for("the kill", || !alive(two));
    let (client, mut notices) = HolderClient::attach(traces.node.data()).await.unwrap();
    let last = match client.state().child {
        None => client.state().last_exit.clone().unwrap(),
        Some(_) => exit(&mut notices).await,
    };
    assert_eq!((last.generation, last.signal), (2, Some(9)));
    assert_eq!(last.killed.unwrap().processes[0].pid, two);
    traces.node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_second_stop_neither_signals_again_nor_gives_more_time() {
    let script =
        r#"trap 'echo x >> "$2"' TERM; echo $$ > "$1"; while :; do sleep 1000 & wait $!; done"#;
    let (traces, client, mut notices) = started(script).await;
    traces.pid("one");
    let begun = Instant::now();
    client
        .stop(15, false, Duration::from_millis(600))
        .await
        .unwrap();
    wait_for("the signal", || {
        std::path::Path::new(&traces.file("two")).exists()
    });
    client.stop(15, false, GRACE).await.unwrap();
    let exit = exit(&mut notices).await;
    assert!(exit.killed.is_some());
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(std::fs::read_to_string(traces.file("two")).unwrap(), "x\n");
    traces.node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn what_tidies_up_is_left_alone_and_what_is_orphaned_later_is_told() {
    // On the signal the program runs a helper, which would not finish if it got the signal too, and starts another daemon.
    let script = r#"
trap 'sh -c "sleep 0.5; echo tidied > \"$1.tidied\"" x "$1"; setsid sh "$0" "$2" & while [ ! -s "$2" ]; do sleep 0.02; done; exit 0' TERM
echo $$ > "$1"
while :; do sleep 1000 & wait $!; done
"#;
    let wrapped = format!(
        "sh -c '{}' \"$0\" \"$1\" \"$2\"; true",
        script.replace('\'', "'\\''")
    );
    let (traces, client, mut notices) = started(&wrapped).await;
    traces.pid("one");
    let (exit, took) = stop(&client, &mut notices, false).await;
    let tidied = std::path::PathBuf::from(traces.file("one.tidied"));
    assert!(tidied.exists(), "the helper was disturbed");
    assert!(traces.finished("two"), "the orphan was not told");
    assert_eq!(exit.killed, None);
    assert!(took < Duration::from_secs(5), "{took:?}");
    traces.node.end(&client, &mut notices).await;
}
