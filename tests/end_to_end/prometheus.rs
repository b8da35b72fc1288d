//! A real Prometheus, with the rules that are shipped: only how long they wait, and how far they look back, is shortened.

use crate::harness::{signal, until_ok};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How often targets are asked, and how long they may take: a busy machine is no target that is gone.
const SCRAPE_INTERVAL: &str = "400ms";

/// How often rules are looked at.
const EVALUATION_INTERVAL: &str = "200ms";

/// What takes the place of the times in which increases are looked for.
const SHORT_RANGE: &str = "[8s]";

/// The rules as they are shipped.
pub(crate) fn shipped_rules() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring/alerts.yml");
    std::fs::read_to_string(file).expect("the rules")
}

/// The names of the alerts in rules.
pub(crate) fn alert_names(rules: &str) -> BTreeSet<String> {
    let names = rules.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("- alert: ")?;
        Some(name.to_owned())
    });
    names.collect()
}

/// The same rules, which wait for minutes and hours no longer than seconds.
fn shortened(rules: &str) -> String {
    let mut short = String::new();
    for line in rules.lines() {
        let indented = line.len() - line.trim_start().len();
        if let Some(wait) = line.trim_start().strip_prefix("for: ") {
            short.push_str(&line[..indented]);
            short.push_str(match wait {
                "0m" => "for: 0s",
                minutes if minutes.ends_with('m') => "for: 1s",
                _ => "for: 2s",
            });
        } else {
            short.push_str(&with_short_ranges(line));
        }
        short.push('\n');
    }
    short
}

fn with_short_ranges(line: &str) -> String {
    let mut parts = line.split('[');
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once(']').expect("a range ends");
        short.push_str(SHORT_RANGE);
        short.push_str(rest);
    }
    short
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("prometheus.log")
}

/// Writes whom to ask.
fn configure(folder: &Path, server: u16, agents: &[u16]) -> PathBuf {
    let targets = |ports: &[u16]| {
        let all = ports.iter().map(|port| format!("'127.0.0.1:{port}'"));
        all.collect::<Vec<_>>().join(", ")
    };
    let job = |name: &str, ports: &[u16]| {
        let targets = targets(ports);
        format!("  - job_name: {name}\n    static_configs:\n      - targets: [{targets}]\n")
    };
    let config = format!(
        "global:\n  scrape_interval: {SCRAPE_INTERVAL}\n  scrape_timeout: {SCRAPE_INTERVAL}\n\
         \x20 evaluation_interval: {EVALUATION_INTERVAL}\n\
         rule_files: [alerts.yml]\nscrape_configs:\n{}{}",
        job("upstart-server", &[server]),
        job("upstart-agent", agents),
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).expect("written");
    file
}

/// A Prometheus that runs until this is dropped.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    folder: PathBuf,
    server: u16,
    agents: Vec<u16>,
}

impl Prometheus {
    /// Starts one in a folder that asks this server and these agents.
    pub(crate) fn start(
        folder: &Path,
        program: &Path,
        port: u16,
        server: u16,
        agents: &[u16],
    ) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let rules = shortened(&shipped_rules());
        std::fs::write(folder.join("alerts.yml"), rules).expect("written");
        let config = configure(folder, server, agents);
        let said = std::fs::File::create(log_file(folder)).expect("a log");
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("Prometheus starts");
        Self {
            child,
            port,
            folder: folder.to_owned(),
            server,
            agents: agents.to_vec(),
        }
    }

    /// Asks one more agent from now on.
    pub(crate) fn also_ask(&mut self, agent: u16) {
        self.agents.push(agent);
        configure(&self.folder, self.server, &self.agents);
        let pid = i32::try_from(self.child.id()).expect("a process id");
        signal(pid, libc::SIGHUP);
    }

    /// What its interface answers.
    fn ask(&self, path: &str) -> Result<Value, String> {
        let text = get(self.port, path).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer.to_string()),
        }
    }

    /// Waits until every target was asked, with this many that answered.
    pub(crate) fn until_up(&self, count: usize) {
        until_ok("Prometheus to reach every target", || {
            let found = self.ask("/api/v1/query?query=count(up==1)")?;
            let value = &found["result"][0]["value"][1];
            if value.as_str() == Some(&count.to_string()) {
                Ok(())
            } else {
                let targets = self.ask("/api/v1/targets")?;
                Err(format!("{value}: {targets}"))
            }
        });
    }

    /// Waits until every group of rules was looked at anew, twice: what was asked before has come to something.
    pub(crate) fn until_evaluated(&self) {
        let begun = self.evaluations();
        until_ok("the rules to be looked at", || {
            let now = self.evaluations();
            let all_twice = now.len() == 3
                && begun.len() == 3
                && now.iter().zip(&begun).all(|(now, begun)| *now >= begun + 2);
            all_twice
                .then_some(())
                .ok_or_else(|| format!("{begun:?} {now:?}"))
        });
    }

    /// How often each group was looked at.
    fn evaluations(&self) -> Vec<u64> {
        let counted = "/metrics";
        let text = get(self.port, counted).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("prometheus_rule_group_iterations_total{")?;
            rest.rsplit_once(' ')?.1.parse().ok()
        });
        lines.collect()
    }

    /// The alerts that fire now.
    pub(crate) fn firing(&self) -> Result<BTreeSet<String>, String> {
        let found = self.ask("/api/v1/alerts")?;
        let alerts = found["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let names = firing.filter_map(|alert| alert["labels"]["alertname"].as_str());
        Ok(names.map(str::to_owned).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(log_file(&self.folder)).unwrap_or_default();
            eprintln!("--- Prometheus\n{said}");
        }
    }
}

/// The body of what is answered at a path of a port of this host. Asked as HTTP 1.0 is: the connection ends with the answer.
pub(crate) fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.0 200") && !head.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(answer));
    }
    Ok(body.to_owned())
}
