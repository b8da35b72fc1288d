//! Commands of the upgrade file (`before_stop`, `after_start`) and the health probe.

use super::bound::Bound;
use crate::household::{Household, Stranger};
use crate::launch;
use crate::node::Node;
use crate::probe::{self, Question, Software, Timing};
use label::{LABEL_BYTES_MAX, Label};
use model::bundle::{Command, ProbeQuestion};
use model::expression::Scope;
use model::machine::Serving;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt as _};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How much of a command's output goes into an error.
const OUTPUT_BYTES_MAX: usize = 4_096;

/// How often it is looked whether somebody else has the port of software that does not listen.
const TAKEN_LOOK: Duration = Duration::from_millis(200);

/// How often in a row it must be so: what is about to go is no reason to give up.
const TAKEN_LOOKS: u32 = 5;

/// What a command needs to be run like the software: its environment, directory and user.
struct Manner {
    environment: std::collections::BTreeMap<String, String>,
    directory: String,
    user: Option<String>,
    scope: Scope,
}

/// The command before the software is stopped for an upgrade.
pub(super) async fn before_stop(node: &Arc<Node>) -> Result<(), String> {
    let Some(child) = node.child() else {
        return Ok(());
    };
    let class = node.definition(child.start.serving.bundle)?;
    match &class.lifecycle.before_stop {
        Some(command) => run("before_stop", node, child.start.serving, command).await,
        None => Ok(()),
    }
}

/// The command after the software was started.
pub(super) async fn after_start(node: &Arc<Node>, to: Serving) -> Result<(), String> {
    let class = node.definition(to.bundle)?;
    match &class.lifecycle.after_start {
        Some(command) => run("after_start", node, to, command).await,
        None => Ok(()),
    }
}

fn manner(node: &Node, serving: Serving) -> Result<Manner, String> {
    let class = node.definition(serving.bundle)?;
    let rendered = node.render(serving)?;
    Ok(Manner {
        environment: node.command_environment(&rendered),
        directory: rendered.directory,
        user: rendered.user,
        scope: node.scope(serving, &class),
    })
}

async fn run(
    name: &str,
    node: &Arc<Node>,
    serving: Serving,
    command: &Command,
) -> Result<(), String> {
    let manner = manner(node, serving)?;
    let words = command
        .command
        .iter()
        .map(|template| template.render(&manner.scope))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let limit = Duration::from_millis(command.timeout_ms);
    execute(node, &words, &manner, limit)
        .await
        .map_err(|problem| format!("`{name}` {problem}"))
}

/// Runs a command to its end; what went wrong is told with the end of its output.
async fn execute(
    node: &Arc<Node>,
    words: &[String],
    manner: &Manner,
    limit: Duration,
) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("has no program")?;
    let log = node.layout.root().join("command.log");
    let output = std::fs::File::create(&log)
        .map_err(|error| format!("cannot be run: {}: {error}", log.display()))?;
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&manner.environment)
        .current_dir(&manner.directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(|error| error.to_string())?)
        .stderr(output)
        .process_group(0);
    if let Some(user) = &manner.user {
        let (uid, gid) = launch::user::ids(user).map_err(|error| error.to_string())?;
        command.uid(uid).gid(gid);
    }
    let mut child =
        Bound::start(command).map_err(|error| format!("cannot be run: {program}: {error}"))?;
    let process = child.process();
    let number = process.map_or(0, |process| process.as_raw_nonzero().get());
    let _own = node.relay.commands.running(number);
    let ended = tokio::time::timeout(limit, child.end()).await;
    let output = match tail(&log) {
        output if output.is_empty() => " and printed nothing".to_owned(),
        output => format!(": {output}"),
    };
    match ended {
        Err(_) => {
            if let Some(group) = process {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            Err(format!(
                "did not end within {} ms{output}",
                limit.as_millis()
            ))
        }
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(match (status.code(), status.signal()) {
            (None, Some(signal)) => format!("was ended by signal {signal}{output}"),
            (code, _) => format!("ended with exit code {}{output}", code.unwrap_or(-1)),
        }),
    }
}

/// The end of what a command printed.
fn tail(log: &std::path::Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
    String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
}

/// Probes software until it is healthy, or cannot become healthy.
pub(super) async fn probe(node: &Arc<Node>, to: Serving) -> Result<(), String> {
    let (question, timing) = asked(node, to)?;
    let software = Probed::new(node, to)?;
    probe::probe(&software, &question, &timing)
        .await
        .map_err(|error| error.to_string())
}

/// Asks its probe's question of software once.
pub(super) async fn look(node: &Arc<Node>, at: Serving) -> Result<(), String> {
    let (question, timing) = asked(node, at)?;
    let software = Probed::new(node, at)?;
    probe::look(&software, &question, &timing).await
}

/// What the probe of software asks, how long and how often.
fn asked(node: &Arc<Node>, serving: Serving) -> Result<(Question, Timing), String> {
    let class = node.definition(serving.bundle)?;
    let probe = &class.lifecycle.probe;
    let scope = node.scope(serving, &class);
    let question = match &probe.question {
        ProbeQuestion::Http { service, path } => Question::Http {
            service: service.clone(),
            path: path.render(&scope).map_err(|error| error.to_string())?,
        },
        ProbeQuestion::Command(words) => Question::Command(
            words
                .iter()
                .map(|word| word.render(&scope))
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
        ),
        ProbeQuestion::Tcp { service } => Question::Tcp {
            service: service.clone(),
        },
        ProbeQuestion::Alive { alive_ms } => Question::Alive(Duration::from_millis(*alive_ms)),
    };
    let timing = Timing {
        limit: Duration::from_millis(probe.timeout_ms),
        attempt_limit: Duration::from_millis(probe.attempt_timeout_ms),
        interval: Duration::from_millis(probe.interval_ms),
    };
    Ok((question, timing))
}

/// The software under probe.
struct Probed<'a> {
    node: &'a Arc<Node>,
    manner: Manner,
    generation: u64,
}

impl<'a> Probed<'a> {
    fn new(node: &'a Arc<Node>, serving: Serving) -> Result<Self, String> {
        Ok(Self {
            node,
            manner: manner(node, serving)?,
            generation: node.child().map_or(0, |child| child.start.generation),
        })
    }

    /// Somebody else who listens at the port of a service, at an address of the node, while the software does not. At other
    /// addresses of the machine another node may have the port by right.
    async fn port_taken(&self, service: &str) -> Option<(SocketAddr, Stranger)> {
        let port = self.address(service)?.port();
        let child = self.node.child()?;
        if child.listening.iter().any(|seen| seen.port() == port) {
            return None;
        }
        let household = self.household();
        let own = self.node.config.addresses.clone();
        let look = move || {
            let mut places = own.iter().map(|ip| SocketAddr::new(*ip, port));
            places.find_map(|at| Some((at, household.taken(at).ok()??)))
        };
        tokio::task::spawn_blocking(look).await.ok()?
    }

    /// Resolves when the port of a service has been somebody else's for several looks.
    async fn port_stays_taken(&self, service: &str) -> String {
        let (mut seen, mut times) = (None, 0);
        loop {
            tokio::time::sleep(TAKEN_LOOK).await;
            let found = self.port_taken(service).await;
            times = if found == seen { times + 1 } else { 1 };
            seen = found;
            if let Some((address, stranger)) = seen.as_ref().filter(|_| times >= TAKEN_LOOKS) {
                return format!(
                    "the port of `{service}` is taken: at {address} listens {stranger}; end it, or give the service another port"
                );
            }
        }
    }
}

impl Software for Probed<'_> {
    async fn dial(&self, service: &str) -> io::Result<TcpStream> {
        let picture = self.node.traffic.picture();
        let down = || io::Error::new(io::ErrorKind::NotConnected, "the software does not run");
        let upstream = picture.upstream(service).ok_or_else(down)?;
        let identity = &self.node.identity;
        let label = Label {
            system: identity.system,
            version: picture.standing.version.0,
            node: identity.node.0,
            caller: None,
            token: None,
            agent_key: Some(identity.agent_key.value()),
        };
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = label.encode(&mut bytes);
        // The address at which it listens is the one to ask.
        self.node
            .child_listening_on(upstream.address.port())
            .await
            .map_err(io::Error::other)?;
        let upstream = self
            .node
            .traffic
            .picture()
            .upstream(service)
            .ok_or_else(down)?;
        let dial = &self.node.relay.software_dial;
        dial.dial(upstream.address, &bytes[..length]).await
    }

    async fn run(&self, command: &[String], limit: Duration) -> Result<(), String> {
        execute(self.node, command, &self.manner, limit).await
    }

    async fn ended(&self) -> String {
        while !self
            .node
            .child_gone(self.generation, Duration::from_secs(3_600))
            .await
        {}
        "it has no process left; see `upstart logs`".to_owned()
    }

    async fn hopeless(&self, service: Option<&str>) -> String {
        let mut unfit = self.node.unfit.subscribe();
        let unfit = async {
            let known = unfit.wait_for(Option::is_some).await;
            known.ok().and_then(|why| why.clone())
        };
        let taken = async {
            match service {
                Some(service) => self.port_stays_taken(service).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(why) = unfit => why,
            why = taken => why,
        }
    }

    fn address(&self, service: &str) -> Option<SocketAddr> {
        let upstream = self.node.traffic.picture().upstream(service)?;
        Some(upstream.address)
    }

    fn household(&self) -> Household {
        self.node.household.clone()
    }
}
