//! Callers of the boxes: plain sockets, unlabelled or with the label that a member's hook would send.

use label::{LABEL_BYTES_MAX, Label};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The longest body of an answer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What a version of the boxes speaks: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dialect(u32);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
}

impl Answer {
    /// The process that answered.
    pub fn pid(&self) -> i32 {
        self.headers["x-pid"].parse().expect("a process id")
    }

    /// The address that the software saw as its caller's.
    pub fn caller(&self) -> SocketAddr {
        self.headers["x-caller"].parse().expect("an address")
    }
}

/// A connection to a box.
#[derive(Debug)]
pub struct Caller {
    stream: BufReader<TcpStream>,
    dialect: Dialect,
    /// The last answer.
    pub last: Option<Answer>,
}

impl Caller {
    /// A caller that is no member and knows nothing of versions.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn unlabelled(port: u16, dialect: u32) -> io::Result<Self> {
        Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?, dialect)
    }

    /// A member at this version of the system; it speaks the dialect of that number.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn labelled(port: u16, system: u64, version: u32) -> io::Result<Self> {
        Self::labelled_as(port, system, version, version)
    }

    /// A member at this version of the system, which speaks that dialect.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn labelled_as(port: u16, system: u64, version: u32, dialect: u32) -> io::Result<Self> {
        let (bytes, length) = encoded(system, version);
        Self::over(dial_with(port, &bytes[..length])?, dialect)
    }

    /// The same, but of the label no more than its first bytes has arrived: [`Late::arrive`] sends the rest.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn late(port: u16, system: u64, version: u32) -> io::Result<Late> {
        let (bytes, length) = encoded(system, version);
        let (first, rest) = bytes[..length].split_at(length / 2);
        Ok(Late {
            caller: Self::over(dial_with(port, first)?, version)?,
            rest: rest.to_vec(),
        })
    }

    /// The same from another address of this host.
    ///
    /// # Errors
    /// Nobody takes the connection, or the address is not this host's.
    pub fn labelled_from(
        source: Ipv4Addr,
        port: u16,
        system: u64,
        version: u32,
    ) -> io::Result<Self> {
        let (bytes, length) = encoded(system, version);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((source, 0).into())?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            socket.connect(address).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        let mut caller = Self::over(stream, version)?;
        caller.stream.get_mut().write_all(&bytes[..length])?;
        Ok(caller)
    }

    /// A caller over this connection.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn over(stream: TcpStream, dialect: u32) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            dialect: Dialect(dialect),
            last: None,
        })
    }

    /// This end's address.
    pub fn address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("an address")
    }

    /// Stores a number.
    ///
    /// # Errors
    /// The connection broke, or the answer is of another dialect (`InvalidData`).
    pub fn put(&mut self, name: &str, number: i64) -> io::Result<()> {
        let (method, path, body) = self.dialect.put(name, number);
        let answer = self.call(method, &path, Some(&body))?;
        self.dialect.check_put(&answer, name, number)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// The connection broke, or the answer is of another dialect (`InvalidData`).
    pub fn get(&mut self, name: &str) -> io::Result<Option<i64>> {
        let answer = self.call("GET", &self.dialect.get(name), None)?;
        self.dialect.read_get(&answer, name)
    }

    /// Sends a request and reads its answer; the connection stays open.
    ///
    /// # Errors
    /// The connection broke before the answer was whole, or the answer is no JSON.
    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.send(method, path, body)?;
        self.receive()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<()> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: box\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// The connection broke before the answer was whole, or the answer is no JSON (`InvalidData`).
    pub fn receive(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| invalid(&first))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let body = self.body(&headers)?;
        let answer = Answer {
            status,
            headers,
            body: serde_json::from_slice(&body)
                .map_err(|_| invalid(&String::from_utf8_lossy(&body)))?,
        };
        self.last = Some(answer.clone());
        Ok(answer)
    }

    fn body(&mut self, headers: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.parse().map_err(|_| invalid(length))?;
            assert!(length < BODY_BYTES_MAX, "{length}");
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            return Ok(body);
        }
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
            let start = body.len();
            assert!(start + length < BODY_BYTES_MAX, "{length}");
            body.resize(start + length, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Dialect {
    fn put(self, name: &str, number: i64) -> (&'static str, String, Value) {
        match self.0 {
            1 => ("PUT", format!("/boxes/{name}"), json!({ "count": number })),
            2 => (
                "POST",
                "/items".to_owned(),
                json!({ "id": name, "amount": number }),
            ),
            _ => ("PUT", format!("/things/{name}"), json!({ "total": number })),
        }
    }

    fn get(self, name: &str) -> String {
        match self.0 {
            1 => format!("/boxes/{name}"),
            2 => format!("/items?id={name}"),
            _ => format!("/things/{name}"),
        }
    }

    fn keys(self) -> (&'static str, &'static str) {
        match self.0 {
            1 => ("name", "count"),
            2 => ("id", "amount"),
            _ => ("id", "total"),
        }
    }

    fn check_put(self, answer: &Answer, name: &str, number: i64) -> io::Result<()> {
        let status = if self.0 == 2 { 201 } else { 200 };
        let (key, value) = self.keys();
        self.expect(answer, status, &json!({ key: name, value: number }))
    }

    fn read_get(self, answer: &Answer, name: &str) -> io::Result<Option<i64>> {
        let (missing, body) = match self.0 {
            1 => (404, json!({ "error": "no such box" })),
            2 => (410, json!({ "code": "GONE" })),
            _ => (404, json!({ "problem": "missing" })),
        };
        if answer.status == missing && answer.body == body {
            return Ok(None);
        }
        let (key, value) = self.keys();
        let number = answer.body[value].as_i64();
        self.expect(answer, 200, &json!({ key: name, value: number }))?;
        Ok(number)
    }

    /// Any other answer is an error of a kind that no crash leaves.
    fn expect(self, answer: &Answer, status: u16, body: &Value) -> io::Result<()> {
        if (answer.status, &answer.body) == (status, body) {
            return Ok(());
        }
        Err(invalid(&format!(
            "{} {} where dialect {} has {status} {body}",
            answer.status, answer.body, self.0
        )))
    }
}

/// A caller whose label is late.
pub struct Late {
    caller: Caller,
    rest: Vec<u8>,
}

impl Late {
    /// Sends what is missing of the label.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn arrive(mut self) -> io::Result<Caller> {
        self.caller.stream.get_mut().write_all(&self.rest)?;
        Ok(self.caller)
    }
}

fn encoded(system: u64, version: u32) -> ([u8; LABEL_BYTES_MAX], usize) {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = Label::plain(system, version, u32::MAX).encode(&mut bytes);
    (bytes, length)
}

/// How long a member waits for an answer.
const MEMBER_PATIENCE: Duration = Duration::from_secs(20);

/// A member's connection at this version, for callers that speak what [`Caller`] does not.
///
/// # Errors
/// Nobody takes the connection.
pub fn dial_as_member(port: u16, system: u64, version: u32) -> io::Result<TcpStream> {
    let (bytes, length) = encoded(system, version);
    let stream = dial_with(port, &bytes[..length])?;
    stream.set_read_timeout(Some(MEMBER_PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection whose first bytes go out with the handshake, as a member's label does.
///
/// # Errors
/// Nobody takes the connection.
pub fn dial_with(port: u16, first: &[u8]) -> io::Result<TcpStream> {
    dial_from(Ipv4Addr::LOCALHOST, port, first)
}

/// The same from another address of this host.
///
/// # Errors
/// Nobody takes the connection.
pub fn dial_from(source: Ipv4Addr, port: u16, first: &[u8]) -> io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stream = runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = agent::dial::socket(address)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        let connected = agent::dial::connect(socket, address, first).await;
        connected?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a wrong answer: {text}"),
    )
}

/// Whether connecting there is refused, as where nobody listens.
pub fn refused(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether an error is what a dead process leaves: an end or a reset, no answer.
pub fn is_crash(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof
    )
}
