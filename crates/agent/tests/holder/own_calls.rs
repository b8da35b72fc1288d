//! The agent's own connections, while everybody else's are held.

use crate::sockets::*;
use crate::support::{Node, exit, next};
use agent::holder_client::{HolderClient, HolderNotice};
use intercept::holder::HandOverReason;
use socket2::{Domain, Socket, Type};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection as the agent makes it: it is let through, and answered by the software.
async fn own_call(client: &HolderClient, to: SocketAddr) -> [u8; 1] {
    let ours = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    let anywhere = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    ours.bind(&anywhere.parse::<SocketAddr>().unwrap().into())
        .unwrap();
    let from = ours.local_addr().unwrap().as_socket().unwrap();
    client.let_through(from.port()).await.unwrap();
    ours.connect(&to.into()).unwrap();
    let mut byte = [0];
    TcpStream::from(ours).read_exact(&mut byte).unwrap();
    byte
}

#[tokio::test]
async fn the_agents_own_connections_reach_the_software_while_others_are_held() {
    let (node, client, mut notices) = Node::start().await;
    for (kept, bound) in PAIRS {
        let port = free_address().port();
        let address = |ip: &str| -> SocketAddr { format!("{ip}:{port}").parse().unwrap() };
        let to = match kept {
            "[::1]" => address("[::1]"),
            _ => address("127.0.0.1"),
        };
        client.listen(address(kept)).await.unwrap();
        let early = TcpStream::connect(to).unwrap();
        let part = server(&node, u64::from(port), address(bound), &[]);
        client.start(part).await.unwrap();
        let (mut held, mut listens) = (0, false);
        while held < 1 || !listens {
            match next(&mut notices).await {
                HolderNotice::HandedOver { reason, peer, .. } => {
                    assert_eq!(reason, HandOverReason::Held);
                    assert_eq!(peer.port(), early.local_addr().unwrap().port());
                    held += 1;
                }
                HolderNotice::Listening(_) => listens = true,
                HolderNotice::Kept(_) => {}
                gone @ (HolderNotice::ChildExited(_) | HolderNotice::Lost { .. }) => {
                    panic!("{kept} {bound}: {gone:?}")
                }
            }
        }
        // Of others nobody reaches the software; one that comes to a listener which is being closed tries again after a second.
        let others: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(to).unwrap()).collect();
        for _ in &others {
            answer_until(&mut notices, |notice| {
                matches!(notice, HolderNotice::HandedOver { .. })
            })
            .await;
        }
        for _ in 0..5 {
            assert_eq!(&own_call(&client, to).await, b"!", "{kept} {bound}");
        }
        let limit = Duration::from_secs(5);
        client.let_go(vec![port], limit).await.unwrap();
        answer_until(
            &mut notices,
            |notice| matches!(notice, HolderNotice::Kept(kept) if kept.is_empty()),
        )
        .await;
        (0..20).for_each(|_| call(to).unwrap());
        client.kill().await.unwrap();
        exit(&mut notices).await;
    }
    node.end(&client, &mut notices).await;
}
