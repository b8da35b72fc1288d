//! The test network does to packets what it is told, and nothing else. Needs root.

use network::{Host, Impairment, Network, Site, unavailable};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const PORT: u16 = 7100;
/// More than any answer takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection that must not come about is waited for.
const CUT: Duration = Duration::from_millis(300);

fn network(test: &str) -> Option<Network> {
    if let Some(why) = unavailable() {
        println!("SKIPPED: {test}: {why}");
        return None;
    }
    Some(Network::new().expect("a network"))
}

/// Answers every connection with the address that it came from.
fn serve(host: &Host, address: IpAddr) {
    let listener = host.namespace.within(|| TcpListener::bind((address, PORT)));
    let listener = listener.expect("entered").expect("a listener");
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
}

fn call(from: &Host, to: IpAddr, limit: Duration) -> std::io::Result<String> {
    let call = || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, PORT), limit)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    from.namespace.within(call).expect("entered")
}

#[test]
fn hosts_reach_each_other_after_the_delay() {
    let Some(mut network) = network("delay") else {
        return;
    };
    let (one, other) = (
        network.host().expect("a host"),
        network.host().expect("a host"),
    );
    for (mine, its) in one.addresses().into_iter().zip(other.addresses()) {
        serve(&other, its);
        assert_eq!(
            call(&one, its, PATIENCE).expect("an answer"),
            mine.to_string()
        );
        let delay = Duration::from_millis(40);
        network
            .impair(Impairment {
                delay,
                jitter: delay / 4,
                ..Impairment::default()
            })
            .expect("impairment");
        let began = Instant::now();
        call(&one, its, PATIENCE).expect("an answer");
        assert!(
            began.elapsed() >= delay * 4,
            "two round trips took {:?}",
            began.elapsed()
        );
        network.impair(Impairment::default()).expect("impairment");
    }
}

#[test]
fn cuts_have_a_direction_and_heal() {
    let Some(mut network) = network("cuts") else {
        return;
    };
    let (one, other) = (
        network.host().expect("a host"),
        network.host().expect("a host"),
    );
    let third = network.host().expect("a host");
    let bind = |host: &Host| {
        let socket = host.namespace.within(|| UdpSocket::bind((host.v4, PORT)));
        let socket = socket.expect("entered").expect("a socket");
        socket.set_read_timeout(Some(CUT)).expect("a time-out");
        socket
    };
    let (at_one, at_other) = (bind(&one), bind(&other));
    let arrives = |from: &UdpSocket, to: &UdpSocket| {
        from.send_to(b"?", to.local_addr().expect("an address"))
            .expect("sent");
        match to.recv(&mut [0; 8]) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    };
    network.cut_one_way(&one, &other).expect("cut");
    assert!(!arrives(&at_one, &at_other));
    assert!(arrives(&at_other, &at_one));
    network.heal().expect("healed");
    assert!(arrives(&at_one, &at_other));
    serve(&one, one.v4.into());
    network.cut(&one, &other).expect("cut");
    assert!(call(&other, one.v4.into(), CUT).is_err());
    assert!(call(&third, one.v4.into(), PATIENCE).is_ok());
}

#[test]
fn packets_are_lost_by_chance() {
    let Some(mut network) = network("loss") else {
        return;
    };
    let (one, other) = (
        network.host().expect("a host"),
        network.host().expect("a host"),
    );
    network
        .impair(Impairment {
            lost_permille: 300,
            ..Impairment::default()
        })
        .expect("impairment");
    let bind = |host: &Host| {
        let socket = host.namespace.within(|| UdpSocket::bind((host.v4, PORT)));
        socket.expect("entered").expect("a socket")
    };
    let (from, to) = (bind(&one), bind(&other));
    to.set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a time-out");
    let sent = 1000;
    let mut arrived = 0;
    for _ in 0..sent / 10 {
        for _ in 0..10 {
            from.send_to(b"!", (other.v4, PORT)).expect("sent");
        }
        to.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time-out");
        while to.recv(&mut [0; 8]).is_ok() {
            arrived += 1;
        }
    }
    // Seven hundred, and ten standard deviations around.
    assert!((550..850).contains(&arrived), "{arrived} of {sent}");
}

#[test]
fn behind_a_hop_hosts_are_hidden_and_its_ports_lead_to_them() {
    let Some(mut network) = network("address translation") else {
        return;
    };
    let outside = network.host().expect("a host");
    let mut site = Site::new(&mut network).expect("a site");
    let (inside, beside) = (site.host().expect("a host"), site.host().expect("a host"));
    serve(&outside, outside.v4.into());
    serve(&inside, inside.v4.into());
    assert_eq!(
        call(&inside, outside.v4.into(), PATIENCE).expect("an answer"),
        site.hop.v4.to_string()
    );
    assert!(call(&outside, inside.v4.into(), CUT).is_err());
    site.lead(PORT, &inside).expect("a rule");
    assert_eq!(
        call(&outside, site.hop.v4.into(), PATIENCE).expect("an answer"),
        outside.v4.to_string()
    );
    assert_eq!(
        call(&beside, inside.v4.into(), PATIENCE).expect("an answer"),
        beside.v4.to_string()
    );
}
