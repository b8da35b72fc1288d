//! A mail to a mail server (RFC 5321), one connection for each.
//!
//! Own code, since the crate of that purpose reads a server's answer without a limit: what answers without end would fill this server's memory.

use crate::target::{MailEncryption, MailTarget};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// The longest line of an answer, and the most lines.
const LINE_BYTES_MAX: u64 = 2_048;
const LINES_MAX: usize = 100;

/// How a client without a name of its own calls itself.
const HELLO: &str = "EHLO upstart.localdomain";

trait MailStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> MailStream for T {}

/// A conversation with a mail server.
struct MailConversation {
    stream: BufReader<Box<dyn MailStream>>,
}

/// An answer: its code, and its lines without it.
struct MailReply {
    code: u16,
    lines: Vec<String>,
}

impl MailReply {
    fn words(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" ").trim())
    }

    /// Whether the server says, after its greeting, that it knows this.
    fn knows(&self, extension: &str) -> bool {
        let mut lines = self.lines.iter().skip(1);
        lines.any(|line| {
            line.split(' ')
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(extension))
        })
    }

    /// Whether it takes logins of this kind.
    fn takes_login(&self, kind: &str) -> bool {
        let mut lines = self.lines.iter().filter_map(|line| line.split_once(' '));
        lines.any(|(word, kinds)| {
            word.eq_ignore_ascii_case("AUTH")
                && kinds.split(' ').any(|one| one.eq_ignore_ascii_case(kind))
        })
    }
}

/// Hands a mail over; says what the server answered, or why it does not have it.
pub(crate) async fn send(
    target: &MailTarget,
    tls: Arc<ClientConfig>,
    mail: &str,
) -> Result<String, String> {
    let (mut conversation, hello) = greeted(target, tls).await?;
    if let Some((user, password)) = &target.login {
        conversation.log_in(&hello, user, password).await?;
    }
    let from = format!("MAIL FROM:<{}>", target.addresses.from);
    conversation.ask(&from, "MAIL FROM", 250).await?;
    for to in &target.addresses.to {
        let to = format!("RCPT TO:<{to}>");
        let what = format!("`{to}`");
        conversation.ask(&to, &what, 250).await?;
    }
    conversation.ask("DATA", "DATA", 354).await?;
    // No line of a mail begins with a dot: its text is base64, and so are its headers' words.
    let taken = conversation
        .ask(&format!("{mail}."), "the mail", 250)
        .await?;
    // It has the mail: what it says to this is nothing to wait for.
    let _ = conversation.say("QUIT").await;
    Ok(taken.words())
}

/// Connects, and encrypts as is asked; says what the server knows.
async fn greeted(
    target: &MailTarget,
    tls: Arc<ClientConfig>,
) -> Result<(MailConversation, MailReply), String> {
    let connected = TcpStream::connect((target.host.as_str(), target.port)).await;
    let stream = connected.map_err(|error| format!("no connection: {error}"))?;
    let _ = stream.set_nodelay(true);
    if target.encryption == MailEncryption::FromTheStart {
        let stream = encrypted(stream, target, tls).await?;
        return begun(Box::new(stream), true).await;
    }
    let (mut conversation, hello) = begun(Box::new(stream), true).await?;
    if target.encryption == MailEncryption::Never {
        return Ok((conversation, hello));
    }
    if !hello.knows("STARTTLS") {
        return Err("it does not offer STARTTLS; give smtps://, or smtp+plain:// if nothing is to be encrypted".to_owned());
    }
    conversation.ask("STARTTLS", "STARTTLS", 220).await?;
    // What came with it, before anything was encrypted, somebody on the way may have added.
    if !conversation.stream.buffer().is_empty() {
        return Err("it says more before TLS than it should".to_owned());
    }
    let stream = encrypted(conversation.stream.into_inner(), target, tls).await?;
    begun(Box::new(stream), false).await
}

async fn encrypted<S: MailStream + 'static>(
    stream: S,
    target: &MailTarget,
    tls: Arc<ClientConfig>,
) -> Result<impl MailStream + use<S>, String> {
    let name = ServerName::try_from(target.host.clone());
    let name = name.map_err(|error| format!("TLS is for a host's name: {error}"))?;
    let greeting = TlsConnector::from(tls).connect(name, stream).await;
    greeting.map_err(|error| format!("no TLS: {error}"))
}

/// Says hello, after the server has, if it says something first.
async fn begun(
    stream: Box<dyn MailStream>,
    is_greeted: bool,
) -> Result<(MailConversation, MailReply), String> {
    let mut conversation = MailConversation {
        stream: BufReader::new(stream),
    };
    if is_greeted {
        let greeting = conversation.reply().await?;
        expected(&greeting, "its greeting", 220)?;
    }
    let hello = conversation.ask(HELLO, "EHLO", 250).await?;
    Ok((conversation, hello))
}

impl MailConversation {
    async fn say(&mut self, line: &str) -> Result<(), String> {
        let written = self
            .stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await;
        let written = match written {
            Ok(()) => self.stream.flush().await,
            error => error,
        };
        written.map_err(|error| format!("the connection broke: {error}"))
    }

    /// Says a line, and expects this code; in errors the line is called `what`.
    async fn ask(&mut self, line: &str, what: &str, code: u16) -> Result<MailReply, String> {
        self.say(line).await?;
        let reply = self.reply().await?;
        expected(&reply, what, code)?;
        Ok(reply)
    }

    async fn reply(&mut self) -> Result<MailReply, String> {
        let mut lines = Vec::new();
        while lines.len() < LINES_MAX {
            let line = line(&mut self.stream).await?;
            let odd = || {
                format!(
                    "it says `{}`, which is no answer of a mail server",
                    line.escape_debug()
                )
            };
            let (code, rest) = line.split_at_checked(3).ok_or_else(odd)?;
            let code: u16 = code.parse().map_err(|_| odd())?;
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            if !rest.starts_with('-') {
                return Ok(MailReply { code, lines });
            }
        }
        Err(format!("its answer has more than {LINES_MAX} lines"))
    }

    async fn log_in(
        &mut self,
        hello: &MailReply,
        user: &str,
        password: &str,
    ) -> Result<(), String> {
        if hello.takes_login("PLAIN") {
            let shown = STANDARD.encode(format!("\0{user}\0{password}"));
            return self
                .ask(&format!("AUTH PLAIN {shown}"), "the login", 235)
                .await
                .map(drop);
        }
        if !hello.takes_login("LOGIN") {
            return Err("it takes no login by a password (AUTH PLAIN or LOGIN)".to_owned());
        }
        self.ask("AUTH LOGIN", "AUTH LOGIN", 334).await?;
        self.ask(&STANDARD.encode(user), "the user's name", 334)
            .await?;
        self.ask(&STANDARD.encode(password), "the login", 235)
            .await
            .map(drop)
    }
}

fn expected(reply: &MailReply, what: &str, code: u16) -> Result<(), String> {
    // 251 passes a mail on.
    if reply.code == code || (reply.code, code) == (251, 250) {
        return Ok(());
    }
    let words: String = reply
        .words()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(300)
        .collect();
    Err(format!("to {what} it says `{words}`"))
}

/// One line without its end, of no more bytes than a line has.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<String, String> {
    let mut line = Vec::new();
    let read = from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
    read.map_err(|error| format!("the connection broke: {error}"))?;
    match line.last() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
        Some(_) if line.len() as u64 == LINE_BYTES_MAX => Err(format!(
            "it says a line of more than {LINE_BYTES_MAX} bytes"
        )),
        _ => Err("it has closed the connection".to_owned()),
    }
}
