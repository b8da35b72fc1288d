//! A burst of callers to a listener with a short queue: the kernel drops what carries the label there, which then comes long after
//! its connection.

use super::{Server, has_gcc, label};
use crate::harness::dial::{dial, encoded};
use crate::harness::holder::HandedOver;
use crate::harness::{Node, PATIENCE, free_port, table};
use intercept::stats::Counter;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Callers at once.
const CALLERS: usize = 300;

/// Calls in all; `UPSTART_BURST_CALLS` says otherwise, for a longer run.
const CALLS: usize = 6_000;

/// What callers of the two interfaces say, and who answers them: the software, or the agent.
const SAME: (&[u8], &[u8]) = (b"same", b"S");
const OTHER: (&[u8], &[u8]) = (b"other", b"A");

/// Plays the agent: a connection whose label, late or not, is of the same interface goes back to the software, which this answers for.
fn play_agent(given: HandedOver) -> std::io::Result<()> {
    let mut stream = given.stream;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut first = vec![0; encoded(&label(2)).len()];
    stream.read_exact(&mut first)?;
    let mut call = [0; 16];
    let length = stream.read(&mut call)?;
    let (said, answer) = match first == encoded(&label(2)) {
        true => SAME,
        false => OTHER,
    };
    assert_eq!(&call[..length], said, "behind its label");
    stream.write_all(answer)
}

fn call(to: SocketAddr, number: usize) {
    let (version, (said, wanted)) = if number.is_multiple_of(5) {
        (3, OTHER)
    } else {
        (2, SAME)
    };
    let mut stream: TcpStream = dial(to, &encoded(&label(version)));
    (stream.set_read_timeout(Some(PATIENCE))).expect("a limit");
    stream.write_all(said).expect("said");
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(answer, wanted, "of version {version}");
}

#[test]
fn no_label_reaches_software_whose_queue_overflows() {
    if !has_gcc("bursts") {
        return;
    }
    let calls = std::env::var("UPSTART_BURST_CALLS")
        .map_or(CALLS, |calls| calls.parse().expect("a number"));
    let port = free_port();
    let node = Node::new(&table(&[port]));
    let server = Server::start(&node, "burst", port, 0);
    let (made, over) = (Arc::<AtomicUsize>::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for given in node.holder.take_handed_over() {
                    scope.spawn(|| play_agent(given));
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let made = made.clone();
                scope.spawn(move || {
                    while let number = made.fetch_add(1, Ordering::Relaxed)
                        && number < calls
                    {
                        call(server.address, number);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        over.store(true, Ordering::Relaxed);
        agent.join().expect("the agent");
        assert!(ended.iter().all(Result::is_ok), "{}", node.counters());
    });
    let late = node.count(Counter::HandOverUndecided);
    assert!(late > 0, "no label was late: {}", node.counters());
}
