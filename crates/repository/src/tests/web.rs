//! Web servers that serve a repository, and some that mean harm.

use super::{Site, noon, versions};
use crate::TrustError as E;
use crate::WebTransport;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How an answer begins.
const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";

/// What a web server does when it is asked for this.
#[derive(Clone, Copy)]
enum Harm {
    None,
    /// Bytes without an end.
    Endless,
    /// A byte now and then.
    Drip,
    /// Nothing at all.
    Silence,
    /// Another address.
    Redirect,
    /// Fewer bytes than it says.
    Cut,
}

/// Serves a folder; does harm to those who ask for names with this text in them.
async fn serve(folder: PathBuf, harmed: &'static str, harm: Harm) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection, folder.clone(), harmed, harm));
        }
    });
    format!("http://{address}")
}

async fn answer(
    mut connection: TcpStream,
    folder: PathBuf,
    harmed: &'static str,
    harm: Harm,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    match harm {
        _ if !path.contains(harmed) => {}
        Harm::None => {}
        Harm::Endless => {
            connection
                .write_all(format!("{HEAD}\r\n").as_bytes())
                .await?;
            loop {
                connection.write_all(&[b' '; 4096]).await?;
            }
        }
        Harm::Drip => {
            connection
                .write_all(format!("{HEAD}\r\n").as_bytes())
                .await?;
            loop {
                connection.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Harm::Silence => std::future::pending().await,
        Harm::Redirect => {
            let head = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
            return connection.write_all(head.as_bytes()).await;
        }
        Harm::Cut => {
            let head = format!("{HEAD}Content-Length: 999\r\n\r\n{{");
            return connection.write_all(head.as_bytes()).await;
        }
    }
    let Ok(bytes) = std::fs::read(folder.join(path.trim_start_matches('/'))) else {
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        return connection.write_all(head).await;
    };
    let head = format!("{HEAD}Content-Length: {}\r\n\r\n", bytes.len());
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&bytes).await
}

#[tokio::test]
async fn any_web_server_serves_a_repository() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let address = serve(site.writer.path().to_owned(), "", Harm::None).await;
    let web = WebTransport::new(&address, Duration::from_secs(20)).expect("a client");
    let mut client = site.new_client();
    (client.verifier.refresh(&web, noon()).await).expect("it is trusted");
    assert_eq!(versions(&client.verifier.catalogue()), [1]);
    let folder = tempfile::tempdir().expect("a directory");
    let copied = crate::mirror(&mut client.verifier, &web, folder.path(), noon()).await;
    assert_eq!(copied.expect("copied").copied, 2);
}

#[tokio::test]
async fn a_web_server_can_do_no_harm() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    for harmed in [
        "root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
    ] {
        for harm in [
            Harm::Endless,
            Harm::Drip,
            Harm::Silence,
            Harm::Redirect,
            Harm::Cut,
        ] {
            let address = serve(site.writer.path().to_owned(), harmed, harm).await;
            let web = WebTransport::new(&address, Duration::from_millis(300)).expect("a client");
            let mut client = site.new_client();
            let refused = client.verifier.refresh(&web, noon()).await;
            let error = refused.expect_err("it is refused");
            let is_right = match harm {
                // What is never at its end is given up by its size or by its time, whichever comes first.
                Harm::Endless => matches!(error, E::TooLarge { .. } | E::TooSlow { .. }),
                Harm::Drip => matches!(error, E::TooSlow { .. } | E::TooLarge { .. }),
                Harm::Silence => matches!(error, E::TooSlow { .. }),
                Harm::Redirect | Harm::Cut => matches!(error, E::Transport { .. }),
                Harm::None => false,
            };
            assert!(is_right, "{harmed}: {error}");
            assert!(versions(&client.verifier.catalogue()).is_empty());
        }
    }
}

#[tokio::test]
async fn endless_data_is_read_to_its_limit_only() {
    let site = Site::new().await;
    let address = serve(
        site.writer.path().to_owned(),
        "timestamp.json",
        Harm::Endless,
    )
    .await;
    let web = WebTransport::new(&address, Duration::from_secs(60)).expect("a client");
    let mut client = site.new_client();
    let error = client.verifier.refresh(&web, noon()).await;
    let error = error.expect_err("it has no end");
    assert!(matches!(error, E::TooLarge { .. }), "{error}");
}
