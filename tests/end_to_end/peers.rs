//! Software whose protocol has no request and reply only: framed messages, pushed ones too, in two versions that do not understand
//! each other; callers of both; and the adapter between them, a component of a few instructions.

use crate::harness::{Bundle, dial_as_member};
use assemble::of_world;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The Python program of both versions.
const PROGRAM: &str = include_str!("software/peer.py");

/// The adapter as a core module.
const TRANSLATOR: &str = include_str!("software/translator.wat");

/// What every frame of version 2 begins with.
const SIGNATURE: [u8; 2] = [0xb2, 2];

/// The upgrade to a version of the peers; a schedule for the second.
pub(crate) fn peers(version: u32, schedule: &str) -> Bundle {
    let framing = match version {
        1 => "{ length = { bytes = 4, counts = 'rest' } }",
        _ => {
            "{ length = { offset = 2, bytes = 4, order = 'little', counts = 'all' }, head_bytes = 8 }"
        }
    };
    let (from, change) = match version {
        1 => ("", ""),
        _ => (
            "from = 1",
            "interface = 'changed'\nadapter = 'translator.toml'",
        ),
    };
    let upgrade = format!(
        "system = 'peers'
version = {version}
{from}
[class.box]
{schedule}
[class.box.software]
path = 'software'
command = ['python3', '${{software}}/peer.py', '{version}', '${{ports.data}}', '${{state}}']
[class.box.service.data]
port = 'vars.port'
protocol = 'framed'
framing = {framing}
{change}
[class.box.lifecycle]
probe = {{ tcp = 'data' }}
"
    );
    let bundle = Bundle::new(upgrade).file("software/peer.py", PROGRAM);
    if version == 1 {
        return bundle;
    }
    bundle
        .file("translator.toml", "component = 'translator.wasm'\n")
        .file("translator.wasm", of_world(TRANSLATOR, "sessions-adapter"))
}

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct PeerCaller {
    stream: TcpStream,
    version: u32,
    /// Keys of changes that it was told of, unasked, and has not looked at.
    news: VecDeque<String>,
}

impl PeerCaller {
    /// A member at this version.
    pub(crate) fn labelled(port: u16, system: u64, version: u32) -> io::Result<Self> {
        let stream = dial_as_member(port, system, version)?;
        Ok(Self {
            stream,
            version,
            news: VecDeque::new(),
        })
    }

    /// Stores a value.
    pub(crate) fn put(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.send(b'P', &format!("{key}={value}"))?;
        let (letter, argument) = self.answer()?;
        assert_eq!((letter, argument.as_str()), (b'O', ""));
        Ok(())
    }

    /// Reads a value.
    pub(crate) fn get(&mut self, key: &str) -> io::Result<String> {
        self.send(b'G', key)?;
        let (letter, value) = self.answer()?;
        assert_eq!(letter, b'V');
        Ok(value)
    }

    /// Waits until it is told of a change.
    pub(crate) fn news(&mut self) -> io::Result<String> {
        if let Some(key) = self.news.pop_front() {
            return Ok(key);
        }
        let (letter, key) = self.receive()?;
        assert_eq!(letter, b'N');
        Ok(key)
    }

    fn answer(&mut self) -> io::Result<(u8, String)> {
        loop {
            match self.receive()? {
                (b'N', key) => self.news.push_back(key),
                answer => return Ok(answer),
            }
        }
    }

    fn send(&mut self, letter: u8, argument: &str) -> io::Result<()> {
        let length = u32::try_from(argument.len() + 1).expect("short");
        let (mut frame, letter) = match self.version {
            1 => (length.to_be_bytes().to_vec(), letter),
            _ => {
                let length = (length + 6).to_le_bytes();
                (
                    [&SIGNATURE[..], &length].concat(),
                    letter.to_ascii_lowercase(),
                )
            }
        };
        frame.push(letter);
        frame.extend(argument.bytes());
        self.stream.write_all(&frame)
    }

    /// A message; its letter as version 1 has it.
    fn receive(&mut self) -> io::Result<(u8, String)> {
        let mut length = [0; 4];
        if self.version == 2 {
            let mut signature = [0; 2];
            self.stream.read_exact(&mut signature)?;
            assert_eq!(signature, SIGNATURE, "a frame of another version");
        }
        self.stream.read_exact(&mut length)?;
        let length = match self.version {
            1 => u32::from_be_bytes(length),
            _ => u32::from_le_bytes(length) - 6,
        };
        assert!((1..1_000).contains(&length), "a frame of another version");
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body)?;
        let letter = body.remove(0);
        assert_eq!(letter.is_ascii_uppercase(), self.version == 1, "{letter}");
        Ok((
            letter.to_ascii_uppercase(),
            String::from_utf8(body).expect("text"),
        ))
    }
}
