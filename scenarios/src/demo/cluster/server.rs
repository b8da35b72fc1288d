//! Servers of the cluster, asked over their port for clients.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Where clients reach every server; the bus is 10,000 above.
pub(super) const PORT: u16 = 7000;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How the null string is told.
const NOTHING: &str = "nothing";

/// How often a question follows a key to where it is.
const MOVES_MAX: usize = 3;

/// One server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its node's name.
    pub(super) name: String,
    /// Its host's address.
    pub(super) address: IpAddr,
}

/// A line of `CLUSTER NODES`: how a server sees one of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its id.
    pub(super) id: String,
    /// `master`, `slave`, `fail` and the like.
    pub(super) flags: Vec<String>,
    /// The id of its master; none for a master.
    pub(super) master: Option<String>,
    /// Whether the bus leads to it.
    pub(super) is_connected: bool,
    /// Its slots, as written.
    pub(super) slots: String,
}

impl Server {
    /// Asks in one line; an error of the server's is one.
    pub(super) fn ask(&self, line: &str) -> anyhow::Result<String> {
        ask(SocketAddr::from((self.address, PORT)), line)
            .with_context(|| format!("{} was asked {line:.40}", self.name))
    }

    /// A line `name:value` of an answer.
    pub(super) fn fact(&self, question: &str, name: &str) -> anyhow::Result<String> {
        let answer = self.ask(question)?;
        fact(&answer, name).with_context(|| format!("no {name} in {answer}"))
    }

    /// Its id in the cluster.
    pub(super) fn id(&self) -> anyhow::Result<String> {
        let own = self.nodes()?.into_iter();
        let mut own = own.filter(|seen| seen.flags.iter().any(|flag| flag == "myself"));
        Ok(own.next().context("it does not know itself")?.id)
    }

    /// The cluster as it sees it.
    pub(super) fn nodes(&self) -> anyhow::Result<Vec<Seen>> {
        self.ask("CLUSTER NODES")?
            .lines()
            .map(Seen::parse)
            .collect()
    }

    /// What it says of itself and of the others, in a line, for a run that failed.
    pub(super) fn told(&self) -> String {
        let of = |question, wanted: &[&str]| {
            let answer = self
                .ask(question)
                .unwrap_or_else(|error| format!("{error:#}"));
            let lines = answer.lines().map(str::trim);
            let lines = lines.filter(|line| wanted.iter().any(|start| line.starts_with(start)));
            lines.collect::<Vec<_>>().join(" ")
        };
        let state = of("CLUSTER INFO", &["cluster_state", "cluster_current_epoch"]);
        let role = of("INFO replication", &["role", "master_link", "slave"]);
        let others = self.ask("CLUSTER NODES").unwrap_or_default();
        let others = others.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words.get(1..8).unwrap_or_default().join(" ")
        });
        let others = others.collect::<Vec<_>>().join(" | ");
        format!("{}: {state} {role}; {others}", self.name)
    }

    /// Whether it sees all of the cluster served; the error says what it says instead.
    pub(super) fn sees_all_served(&self) -> anyhow::Result<()> {
        let said = self.ask("CLUSTER INFO")?;
        let is = |name, value| fact(&said, name).as_deref() == Some(value);
        if is("cluster_state", "ok")
            && is("cluster_slots_assigned", "16384")
            && is("cluster_slots_ok", "16384")
        {
            return Ok(());
        }
        bail!("{}", said.lines().take(5).collect::<Vec<_>>().join(", "))
    }
}

impl Seen {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, _, flags, master, _, _, _, link, slots @ ..] = words.as_slice() else {
            bail!("no line of CLUSTER NODES: {line}");
        };
        Ok(Self {
            id: (*id).to_owned(),
            flags: flags.split(',').map(str::to_owned).collect(),
            master: (*master != "-").then(|| (*master).to_owned()),
            is_connected: *link == "connected",
            slots: slots.join(" "),
        })
    }
}

fn fact(answer: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .to_owned(),
        )
    };
    answer.lines().find_map(value)
}

/// What a key holds, whichever server has it; none if nothing.
pub(super) fn get(first: &Server, key: &str) -> anyhow::Result<Option<String>> {
    let mut at = SocketAddr::from((first.address, PORT));
    for _ in 0..MOVES_MAX {
        let error = match ask(at, &format!("GET {key}")) {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let said = error.to_string();
        if said == NOTHING {
            return Ok(None);
        }
        match said
            .strip_prefix("MOVED ")
            .and_then(|moved| moved.split(' ').nth(1))
        {
            Some(there) => at = there.parse().with_context(|| said.clone())?,
            None => return Err(error),
        }
    }
    bail!("{key} is moved on and on")
}

/// Asks in one line; a string, a status or a number as text.
fn ask(at: SocketAddr, line: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "{line}\r\n")?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("$", "-1")) => bail!(NOTHING),
        Some(("$", length)) => {
            let mut text = vec![0; length.parse()?];
            stream.read_exact(&mut text)?;
            Ok(String::from_utf8(text)?)
        }
        Some(("+" | ":", text)) => Ok(text.to_owned()),
        Some(("-", error)) => bail!("{error}"),
        _ => bail!("it answered `{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_either_version_is_read() {
        let old = "c1 10.77.0.3:7000 myself,slave a0 0 0 4 connected";
        let seen = Seen::parse(old).expect("a line");
        assert_eq!(
            (seen.master.as_deref(), seen.slots.as_str()),
            (Some("a0"), "")
        );
        assert_eq!(seen.flags, ["myself", "slave"]);
        let new =
            "a0 10.77.0.2:7000@17000,host master - 0 1700000000000 7 disconnected 0-5460 5470";
        let seen = Seen::parse(new).expect("a line");
        assert_eq!((seen.master, seen.is_connected), (None, false));
        assert_eq!(seen.slots, "0-5460 5470");
        Seen::parse("ERR what").expect_err("no line");
    }
}
