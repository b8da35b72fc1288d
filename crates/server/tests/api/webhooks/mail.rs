//! Mails, through a mail server that refuses the first.

use super::{happen, shown, to, until_done};
use crate::support::{Site, until};
use model::api::{MailAddresses, WebhookFormat, WebhookRequest};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail server that has no room for its first mail.
async fn mail_server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&mails);
    tokio::spawn(async move {
        let mut is_full = true;
        while let Ok((stream, _)) = listener.accept().await {
            // A caller that goes is none.
            let mail = serve(stream, std::mem::take(&mut is_full)).await;
            kept.lock().extend(mail.ok().flatten());
        }
    });
    (address, mails)
}

async fn serve(stream: TcpStream, is_full: bool) -> std::io::Result<Option<String>> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.org\r\n").await?;
    let mut mail = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(Some(mail).filter(|mail| !mail.is_empty()));
        }
        let answer = match line.split(' ').next().unwrap_or_default().trim() {
            "EHLO" => "250-mail.example.org\r\n250 8BITMIME",
            "MAIL" | "QUIT" => "250 fine",
            "RCPT" if is_full => "452 no room",
            "RCPT" => "250 fine",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                while !mail.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail).await?;
                }
                "250 kept"
            }
            _ => "500 what?",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_out_by_mail_once_the_mail_server_takes_them() {
    let site = Site::new();
    let server = site.start().await;
    let (address, mails) = mail_server().await;
    let request = WebhookRequest {
        format: WebhookFormat::Email,
        secrets: Vec::new(),
        mail: Some(MailAddresses {
            from: "upstart@example.org".to_owned(),
            to: vec!["ops@example.org".to_owned()],
        }),
        template: Some("Subject: {{kind}} {{number}}\n\n{{author}} says: {{message}}\n".to_owned()),
        ..to(&format!("smtp+plain://{address}"))
    };
    server
        .client
        .set_webhook("mail", &request)
        .await
        .expect("set up");
    let last = happen(&server, 2).await;
    let trouble = until("the first to be refused", async || {
        shown(&server, "mail").await.trouble
    })
    .await;
    assert!(
        trouble.contains("`RCPT TO:<ops@example.org>`") && trouble.contains("452 no room"),
        "{trouble}"
    );
    site.pass_ms(60_000);
    until_done(&server, "mail").await;
    until("both mails", async || {
        (mails.lock().len() == 2).then_some(())
    })
    .await;
    for (number, mail) in (last - 1..).zip(mails.lock().iter()) {
        assert!(mail.contains(&format!("Message-ID: <{number}-")), "{mail}");
        assert!(mail.contains("To: <ops@example.org>\r\n"), "{mail}");
        // Both texts are in base64.
        let text = "dGVzdGVyIHNheXM6";
        assert!(mail.contains(text), "{mail}");
    }
    server.stop().await;
}
