//! Receivers of one message: over TLS, by mail, and in every way that wastes a sender's time or memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::api::{Event, MailAddresses, WebhookFormat, WebhookRequest, WebhookSecret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use webhook::{EventNotice, SendOutcome, Sender, SigningSecret, WebhookSettings};

fn notice() -> EventNotice {
    let event = Event {
        sequence: 7,
        at_ms: 1,
        author: "ann".to_owned(),
        proven: None,
        node: None,
        kind: "system.paused".to_owned(),
        version: None,
        message: "lunch".to_owned(),
    };
    EventNotice::new(event, "store".to_owned(), 1, None)
}

fn request(to: String) -> WebhookRequest {
    WebhookRequest {
        to: WebhookSecret(to),
        secrets: vec![WebhookSecret(SigningSecret::written(&[7; 32]))],
        ..WebhookRequest::default()
    }
}

fn mail(to: String, login: bool) -> WebhookRequest {
    WebhookRequest {
        format: WebhookFormat::Email,
        password: login.then(|| WebhookSecret("hunter2".to_owned())),
        mail: Some(MailAddresses {
            from: "upstart@example.org".to_owned(),
            to: vec!["ops@example.org".to_owned()],
        }),
        ..request(to)
    }
}

async fn sent(request: &WebhookRequest) -> SendOutcome {
    let settings = WebhookSettings::read("a", request).expect("settings");
    let sender = Sender::new(settings).expect("a sender");
    sender.send(&notice()).await
}

fn why(outcome: SendOutcome) -> String {
    match outcome {
        SendOutcome::Failed { why, .. } => why,
        SendOutcome::Taken { answer } => panic!("taken: {answer}"),
    }
}

/// An authority as PEM, and a server's side of TLS with its certificate for this host.
fn authority() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).expect("params");
    let certificate = certificate.signed_by(&key, &issuer).expect("signed");
    let secret = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .expect("a certificate");
    (issuer.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[tokio::test]
async fn a_receivers_certificate_is_of_the_authority_that_was_given() {
    let (ca, acceptor) = authority();
    let (listener, address) = listening().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = vec![0; 65_536];
            let _ = stream.read(&mut request).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            let _ = stream.shutdown().await;
        }
    });
    let to = format!("https://{address}/secret-path");
    let believed = WebhookRequest {
        ca: Some(ca),
        ..request(to.clone())
    };
    let taken = SendOutcome::Taken {
        answer: "200 OK: ok".to_owned(),
    };
    assert_eq!(sent(&believed).await, taken);
    let (other, _) = authority();
    let stranger = WebhookRequest {
        ca: Some(other),
        ..request(to)
    };
    let told = why(sent(&stranger).await);
    assert!(
        told.contains("certificate") && !told.contains("secret-path"),
        "{told}"
    );
}

/// A mail server that offers this, speaks TLS after STARTTLS, and says in the end what it was told.
fn mail_server(
    listener: TcpListener,
    offers: &'static str,
    acceptor: TlsAcceptor,
) -> JoinHandle<(String, String)> {
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepted");
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 hello\r\n").await.expect("written");
        let before = talk(&mut stream, offers).await;
        if !before.contains("STARTTLS") {
            return (before, String::new());
        }
        let stream = acceptor.accept(stream.into_inner()).await.expect("TLS");
        let mut stream = BufReader::new(stream);
        let after = talk(&mut stream, "250-me\r\n250 AUTH PLAIN LOGIN\r\n").await;
        (before, after)
    })
}

/// Answers line by line until the caller goes or wants TLS; says what it said.
async fn talk(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, offers: &str) -> String {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return said;
        }
        said.push_str(&line);
        let answer = match line.split([' ', '\r']).next().unwrap_or_default() {
            "EHLO" => offers,
            "STARTTLS" => "220 go\r\n",
            "AUTH" => "235 welcome\r\n",
            "DATA" => "354 go on\r\n",
            "MAIL" | "RCPT" | "." => "250 fine\r\n",
            // A line of the mail.
            _ => "",
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.flush().await;
        if line.starts_with("STARTTLS") {
            return said;
        }
    }
}

#[tokio::test]
async fn a_password_for_mail_is_shown_over_tls_only() {
    let (ca, acceptor) = authority();
    let (listener, address) = listening().await;
    let server = mail_server(
        listener,
        "250-me\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
        acceptor.clone(),
    );
    let to = format!("smtp://ann@{address}");
    let with_ca = WebhookRequest {
        ca: Some(ca),
        ..mail(to, true)
    };
    let taken = SendOutcome::Taken {
        answer: "250 fine".to_owned(),
    };
    assert_eq!(sent(&with_ca).await, taken);
    let (before, after) = server.await.expect("served");
    assert!(!before.contains("AUTH"), "{before}");
    let shown = STANDARD.encode("\0ann\0hunter2");
    assert!(
        after.contains(&format!("AUTH PLAIN {shown}\r\n")),
        "{after}"
    );
    assert!(
        after.contains("MAIL FROM:<upstart@example.org>\r\nRCPT TO:<ops@example.org>\r\nDATA\r\n"),
        "{after}"
    );

    let (listener, address) = listening().await;
    let server = mail_server(listener, "250-me\r\n250 AUTH PLAIN\r\n", acceptor);
    let told = why(sent(&mail(format!("smtp://ann@{address}"), true)).await);
    assert!(told.contains("STARTTLS"), "{told}");
    let (before, _) = server.await.expect("served");
    assert!(
        !before.contains("AUTH") && !before.contains("MAIL"),
        "{before}"
    );
}

/// What somebody on the way adds before TLS begins is not taken for the server's words.
#[tokio::test]
async fn what_comes_before_tls_is_not_taken_for_what_comes_after() {
    let (listener, address) = listening().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut read = [0; 1_024];
        for answer in [
            "220 hello\r\n",
            "250-me\r\n250 STARTTLS\r\n",
            "220 go\r\n250 AUTH PLAIN\r\n",
        ] {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.read(&mut read).await;
        }
    });
    let told = why(sent(&mail(format!("smtp://{address}"), false)).await);
    assert!(told.contains("before TLS"), "{told}");
}

/// What is read of a receiver has a limit: it cannot fill memory.
#[tokio::test]
async fn an_answer_without_end_is_read_to_its_limit_only() {
    let endless: [&[u8]; 3] = [b"250-more\r\n", b"x", b"\r\n"];
    for part in endless {
        let (listener, address) = listening().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let block = part.repeat(64 * 1024 / part.len());
            while stream.write_all(&block).await.is_ok() {}
        });
        let told = why(sent(&mail(format!("smtp+plain://{address}"), false)).await);
        assert!(
            ["lines", "bytes", "no answer of a mail server"]
                .iter()
                .any(|word| told.contains(word)),
            "{told}"
        );
    }
    // A head without end.
    let (listener, address) = listening().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
        let block = vec![b'x'; 64 << 10];
        while stream.write_all(&block).await.is_ok() {}
    });
    why(sent(&request(format!("http://{address}"))).await);
}

/// What a receiver may take in these tests.
const SHORT: Duration = Duration::from_millis(500);

/// Silent, or byte by byte: the whole answer has its time, and no more.
#[tokio::test]
async fn a_receiver_has_its_time_however_it_spends_it() {
    let settings =
        |request: &WebhookRequest| WebhookSettings::read("a", request).expect("settings");
    let sent = async |request: &WebhookRequest| {
        let sender = Sender::new(settings(request)).expect("a sender");
        why(sender.with_limit(SHORT).send(&notice()).await)
    };
    let (listener, address) = listening().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let begun = Instant::now();
    let told = sent(&request(format!("http://{address}"))).await;
    assert_eq!(told, "no answer within 0.5 seconds");
    assert!(begun.elapsed() >= SHORT);
    let told = sent(&mail(format!("smtp+plain://{address}"), false)).await;
    assert_eq!(told, "no answer within 0.5 seconds");
    // Byte by byte, each in good time.
    let (listener, address) = listening().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let _ = stream.read(&mut [0; 4_096]).await;
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: ".iter().chain(&[b'x'; 1_000]) {
            let _ = stream.write_all(&[*byte]).await;
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let told = sent(&request(format!("http://{address}"))).await;
    assert_eq!(told, "no answer within 0.5 seconds");
}
