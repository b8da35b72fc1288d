//! Households of this test's own process and of children of it.

use super::*;
use std::io::BufRead as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

fn me() -> i32 {
    i32::try_from(std::process::id()).expect("a pid")
}

/// A process that listens, accepts one connection and keeps it; gives its address.
fn other_server() -> (Child, SocketAddr) {
    let program = "
import socket, time
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
kept = listener.accept()
time.sleep(600)
";
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("piped")).lines();
    let port: u16 = lines
        .next()
        .expect("a line")
        .expect("text")
        .parse()
        .expect("a port");
    (child, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn seen(household: &Household, stream: &TcpStream) -> FarEnd {
    let there = stream.peer_addr().expect("an address");
    household
        .far_end(there, stream.local_addr().expect("an address"))
        .expect("told")
}

#[test]
fn the_other_end_is_queued_until_it_is_accepted() {
    let household = Household::of(vec![me()]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let at = listener.local_addr().expect("an address");
    let stream = TcpStream::connect(at).expect("connected");
    assert_eq!(seen(&household, &stream), FarEnd::Queued);
    assert_eq!(household.listens(at).expect("told"), Listens::Software);
    let _accepted = listener.accept().expect("accepted");
    assert_eq!(seen(&household, &stream), FarEnd::Accepted(me()));
    drop(listener);
    assert_eq!(household.listens(at).expect("told"), Listens::Nobody);
}

#[test]
fn a_stranger_at_the_port_is_named() {
    let (mut child, at) = other_server();
    let household = Household::of(vec![me()]);
    let pid = i32::try_from(child.id()).expect("a pid");
    let Listens::Stranger(stranger) = household.listens(at).expect("told") else {
        panic!("nobody strange at {at}");
    };
    assert_eq!(stranger.pid, pid);
    assert_eq!(household.taken(at).expect("told"), Some(stranger.clone()));
    let beside = SocketAddr::from(([127, 0, 0, 2], at.port()));
    assert_eq!(
        household.taken(beside).expect("told"),
        None,
        "another node's, by right"
    );
    assert!(stranger.program.starts_with("python3"), "{stranger}");
    let stream = TcpStream::connect(at).expect("connected");
    let mut end = seen(&household, &stream);
    while end == FarEnd::Queued {
        end = seen(&household, &stream);
    }
    assert_eq!(end, FarEnd::Stranger(stranger));
    assert_eq!(
        Household::of(vec![pid]).listens(at).expect("told"),
        Listens::Software,
        "it is the software's own"
    );
    child.kill().expect("killed");
    child.wait().expect("reaped");
}
