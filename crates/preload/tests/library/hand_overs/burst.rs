//! A burst of callers to a listener with a short queue, or across a network that loses packets: the label then comes long after its
//! connection.

use super::{Server, has_gcc, label};
use crate::harness::dial::{encoded, try_dial};
use crate::harness::holder::HandedOver;
use crate::harness::namespace::within;
use crate::harness::{Node, free_port, kernel_count, table};
use intercept::holder::HandOverReason;
use intercept::table::Table;
use network::Impairment;
use network::Pair;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Callers at once.
const CALLERS: usize = 300;

/// Calls in all; `UPSTART_BURST_CALLS` says otherwise, for a longer run.
const CALLS: usize = 6_000;

/// The same across the network, and how many of a thousand packets that loses.
const LOSSY_CALLS: usize = 1_500;
const LOST_PERMILLE: u32 = 50;

/// How long a caller waits: the kernel sends again what it has dropped after 1, 3 and 7 s.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// What callers of the two interfaces say, and who answers them: the software, or the agent.
const SAME: (&[u8], &[u8]) = (b"same", b"S");
const OTHER: (&[u8], &[u8]) = (b"other", b"A");

/// A connection came to the agent that does not begin with its label.
#[derive(Debug, PartialEq)]
struct Misled;

/// Plays the agent: a connection whose label, late or not, is of the same interface goes back to the software, which this answers for.
fn play_agent(given: HandedOver) -> Result<(), Misled> {
    let mut stream = given.stream;
    let mut first = vec![0; encoded(&label(2)).len()];
    let mut read = |bytes: &mut [u8]| {
        (stream.set_read_timeout(Some(CALL_LIMIT))).and_then(|()| stream.read_exact(bytes))
    };
    if read(&mut first).is_err() {
        // Its caller has given up.
        return Ok(());
    }
    let (said, answer) = match first {
        label if label == encoded(&super::label(2)) => SAME,
        label if label == encoded(&super::label(3)) => OTHER,
        _ => return Err(Misled),
    };
    let mut call = vec![0; said.len()];
    if read(&mut call).is_ok() && call != said {
        return Err(Misled);
    }
    let _ = stream.write_all(answer);
    Ok(())
}

/// Calls once. What the kernel itself gives up under such a load is nobody's fault; an answer of the wrong one is.
fn call(to: SocketAddr, number: usize) -> Option<()> {
    let (version, (said, wanted)) = if number.is_multiple_of(5) {
        (3, OTHER)
    } else {
        (2, SAME)
    };
    let mut stream: TcpStream = try_dial(to, &encoded(&label(version))).ok()?;
    stream.set_read_timeout(Some(CALL_LIMIT)).ok()?;
    stream.write_all(said).ok()?;
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).ok()?;
    assert_eq!(answer, wanted, "of version {version}");
    Some(())
}

/// How many calls are made; fewer by default where lost packets make each take seconds.
fn calls_of(usual: usize) -> usize {
    std::env::var("UPSTART_BURST_CALLS").map_or(usual, |calls| calls.parse().expect("a number"))
}

/// What came of a burst.
struct Burst {
    /// Calls that were answered.
    answered: usize,
    /// Connections that had no label yet when the software accepted them.
    late: usize,
}

/// Calls so often, from whatever namespace `call_from` enters.
fn burst(
    node: &Node,
    server: &Server,
    calls: usize,
    call_from: impl Fn(&mut (dyn FnMut() + Send)) + Sync,
) -> Burst {
    let (made, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (answered, misled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let late = AtomicUsize::new(0);
    let to = server.address;
    let work = || {
        while let number = made.fetch_add(1, Ordering::Relaxed)
            && number < calls
        {
            if call(to, number).is_some() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for given in node.holder.take_handed_over() {
                    let is_late = given.reason == HandOverReason::Undecided;
                    late.fetch_add(is_late.into(), Ordering::Relaxed);
                    scope.spawn(|| {
                        if play_agent(given) == Err(Misled) {
                            misled.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| scope.spawn(|| call_from(&mut || work())))
            .collect();
        let ended: Vec<_> = callers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        over.store(true, Ordering::Relaxed);
        agent.join().expect("the agent");
        assert!(ended.iter().all(Result::is_ok), "{}", node.counters());
    });
    let answered = answered.into_inner();
    let late = late.into_inner();
    println!(
        "{answered} of {calls} answered, {late} late: {}",
        node.counters()
    );
    assert_eq!(
        misled.into_inner(),
        0,
        "a call without its label at the agent"
    );
    assert_eq!(server.said(), Vec::<String>::new(), "at the software");
    Burst { answered, late }
}

#[test]
fn no_label_reaches_software_whose_queue_overflows() {
    if !has_gcc("bursts") {
        return;
    }
    let calls = calls_of(CALLS);
    let port = free_port();
    let node = Node::new(&table(&[port]));
    let server = Server::start(&node, "burst", port, 0);
    let overflows = kernel_count("ListenOverflows");
    let Burst { answered, .. } = burst(&node, &server, calls, |work| work());
    assert!(kernel_count("ListenOverflows") > overflows, "no overflow");
    assert!(answered > calls / 2, "{answered} answered");
}

#[test]
fn no_label_reaches_software_across_a_network_that_loses_packets() {
    let lossy = Impairment {
        lost_permille: LOST_PERMILLE,
        ..Impairment::default()
    };
    if !has_gcc("bursts across hosts") {
        return;
    }
    let Some(pair) = Pair::impaired("bursts across hosts", lossy) else {
        return;
    };
    let calls = calls_of(LOSSY_CALLS);
    let port = free_port();
    let table = Table {
        local_labels_prompt: false,
        sources: pair.callers_at.into(),
        ..table(&[port])
    };
    let node = within(&pair.servers, || Node::new(&table));
    let mut server = within(&pair.servers, || Server::start(&node, "burst", port, 0));
    server.address.set_ip(pair.servers_at[0]);
    let from_the_callers = |work: &mut (dyn FnMut() + Send)| within(&pair.callers, work);
    let Burst { answered, late } = burst(&node, &server, calls, from_the_callers);
    assert!(late > 0, "no label was late");
    // Where the kernel has answered a SYN with a cookie it resets a connection whose first packet with data is lost: nothing is left
    // there that could tell what the second one is.
    assert!(answered > calls / 5, "{answered} answered");
}
