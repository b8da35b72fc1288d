//! Real redis in two versions that name a command differently, callers of both, and the adapter between them, a component of a few
//! instructions.

use crate::harness::{Bundle, dial_as_member};
use assemble::{DELEGATE, HANDLE, component};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Whether redis is there; says so where it is not.
pub(crate) fn has_redis(test: &str) -> bool {
    let found = std::process::Command::new("redis-server")
        .arg("--version")
        .output();
    if found.is_err() {
        println!("SKIPPED: {test}: redis-server is not installed");
    }
    found.is_ok()
}

/// The upgrade to a version of the cache; a schedule for the second. At version 2 `GET` is called `FETCH`, and nothing is called `GET`.
pub(crate) fn cache(version: u32, schedule: &str) -> Bundle {
    let (from, renamed, change) = match version {
        1 => ("", "", ""),
        _ => (
            "from = 1",
            ", '--rename-command', 'GET', 'FETCH'",
            "interface = 'changed'\nadapter = 'renaming.toml'",
        ),
    };
    let upgrade = format!(
        "system = 'cache'
version = {version}
{from}
[class.box]
{schedule}
[class.box.software]
command = ['redis-server', '--port', '${{ports.data}}', '--dir', '${{state}}', '--save', '3600 1'{renamed}]
[class.box.service.data]
port = 'vars.port'
protocol = 'resp'
connections = 'stateless'
{change}
[class.box.lifecycle]
probe = {{ tcp = 'data' }}
"
    );
    let bundle = Bundle::new(upgrade);
    if version == 1 {
        return bundle;
    }
    bundle
        .file("renaming.toml", DECLARATION)
        .file("renaming.wasm", renaming())
}

/// What is asked about one key is asked one after the other; all else only passes.
const DECLARATION: &str = r#"
component = "renaming.wasm"

[[operation]]
call = "GET"
conflict_key = "body[1]"
reads = true

[[operation]]
call = "FETCH"
conflict_key = "body[1]"
reads = true

[[operation]]
call = "SET"
conflict_key = "body[1]"

[[operation]]
call = "*"
conflicts = false
"#;

/// Renames the command of its own version to that of the other; traps at `GETEX`.
fn renaming() -> Vec<u8> {
    component(&format!(
        r#"
(data (i32.const 40) "FETCH")
(data (i32.const 56) "GET")
(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
(func (export "upstart:adapter/calls@0.1.0#on-recover")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
{HANDLE}
  ;; The first word is where the list is, as an address and a length; its first letter, as a capital.
  (local.set $n (i32.and (i32.load8_u (i32.load (local.get $method))) (i32.const 0xdf)))
  (if (i32.and (i32.eq (local.get $n) (i32.const 71)) (i32.eq (i32.load offset=4 (local.get $method)) (i32.const 5)))
    (then unreachable))
  (if (i32.and (i32.eq (local.get $n) (i32.const 71)) (i32.eqz (local.get $direction)))
    (then
      (i32.store (local.get $method) (i32.const 40))
      (i32.store offset=4 (local.get $method) (i32.const 5))))
  (if (i32.and (i32.eq (local.get $n) (i32.const 70)) (local.get $direction))
    (then
      (i32.store (local.get $method) (i32.const 56))
      (i32.store offset=4 (local.get $method) (i32.const 3))))
  {DELEGATE}
  (i32.const 128))"#
    ))
}

/// A connection to a cache.
#[derive(Debug)]
pub(crate) struct CacheCaller {
    stream: BufReader<TcpStream>,
}

impl CacheCaller {
    /// A member at this version.
    pub(crate) fn labelled(port: u16, system: u64, version: u32) -> io::Result<Self> {
        let stream = dial_as_member(port, system, version)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends commands, each in words, and says what came back, a value each.
    pub(crate) fn say(&mut self, commands: &[&str]) -> io::Result<Vec<String>> {
        let mut bytes = Vec::new();
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            write!(bytes, "*{}\r\n", words.len())?;
            for word in words {
                write!(bytes, "${}\r\n{word}\r\n", word.len())?;
            }
        }
        self.stream.get_mut().write_all(&bytes)?;
        commands.iter().map(|_| self.hear()).collect()
    }

    /// The next value, as text: `-` and `>` are kept, arrays are written `[a b]`.
    pub(crate) fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let count = || {
            rest.parse::<i64>()
                .map_err(|_| io::Error::other(line.clone()))
        };
        match kind {
            "$" if rest == "-1" => Ok("nil".to_owned()),
            "$" => {
                let mut bytes = vec![0; usize::try_from(count()?).expect("a length") + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                String::from_utf8(bytes).map_err(io::Error::other)
            }
            "*" | ">" | "%" => {
                let each = if kind == "%" { 2 } else { 1 };
                let items: io::Result<Vec<String>> =
                    (0..count()? * each).map(|_| self.hear()).collect();
                let mark = if kind == ">" { ">" } else { "" };
                Ok(format!("{mark}[{}]", items?.join(" ")))
            }
            "-" => Ok(format!("-{rest}")),
            _ => Ok(rest.to_owned()),
        }
    }
}
