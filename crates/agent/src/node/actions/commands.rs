//! Commands of the upgrade file (`before_stop`, `after_start`) and the health probe.

use super::bound::Bound;
use crate::household::{Household, Stranger};
use crate::launch;
use crate::node::Node;
use crate::node::bundles::{Bundles, UnusableBundle};
use crate::node::child::ChildKeeper;
use crate::node::rendering::{RenderError, Rendering};
use crate::node::surroundings::Surroundings;
use crate::probe::{self, ProbeError, ProbedSoftware, ResolvedQuestion, Timing};
use crate::relay::Relay;
use label::{LABEL_BYTES_MAX, Label};
use model::bundle::{Command, ProbeQuestion};
use model::expression::{ExpressionError, ExpressionScope};
use model::machine::{Place, Serving};
use model::schedule::NodeCommand;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt as _};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;

/// How much of a command's output goes into an error.
const OUTPUT_BYTES_MAX: usize = 4_096;

/// How often it is looked whether somebody else has the port of software that does not listen.
const TAKEN_LOOK: Duration = Duration::from_millis(200);

/// How often in a row it must be so: what is about to go is no reason to give up.
const TAKEN_LOOKS: u32 = 5;

/// What a command needs to be run like the software: its environment, directory and user.
struct CommandManner {
    environment: std::collections::BTreeMap<String, String>,
    directory: String,
    user: Option<String>,
    scope: ExpressionScope,
}

/// What runs commands beside the software, and asks whether it is healthy.
#[derive(Clone, Copy)]
pub(in crate::node) struct SoftwareCommands<'n> {
    surroundings: &'n Surroundings,
    relay: &'n Relay,
    child: &'n ChildKeeper,
    bundles: &'n Bundles,
    rendering: &'n Rendering,
}

/// Why the software is not taken for ready.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum CommandError {
    /// Its bundle does not say what to run.
    #[error(transparent)]
    Bundle(#[from] UnusableBundle),
    /// What it says makes no command here.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The command failed.
    #[error("`{name}` {problem}")]
    Failed {
        /// The command's key in the upgrade file.
        name: &'static str,
        /// How.
        problem: String,
    },
    /// It is not healthy.
    #[error(transparent)]
    Unhealthy(#[from] ProbeError),
    /// It did not answer as it should, asked once.
    #[error("{0}")]
    Unanswered(String),
}

impl From<ExpressionError> for CommandError {
    fn from(error: ExpressionError) -> Self {
        Self::Render(error.into())
    }
}

impl<'n> SoftwareCommands<'n> {
    pub(in crate::node) fn of(node: &'n Node) -> Self {
        Self {
            surroundings: &node.surroundings,
            relay: &node.relay,
            child: &node.child,
            bundles: &node.bundles,
            rendering: &node.rendering,
        }
    }

    /// The command before the software is stopped for an upgrade.
    pub(super) async fn before_stop(&self) -> Result<(), CommandError> {
        let Some(child) = self.child.present() else {
            return Ok(());
        };
        let serving = child.start.serving;
        let class = self.bundles.definition(serving.bundle)?;
        match &class.lifecycle.before_stop {
            Some(command) => self.run_named("before_stop", serving, command).await,
            None => Ok(()),
        }
    }

    /// The command after the software was started.
    pub(super) async fn after_start(&self, to: Serving) -> Result<(), CommandError> {
        let class = self.bundles.definition(to.bundle)?;
        match &class.lifecycle.after_start {
            Some(command) => self.run_named("after_start", to, command).await,
            None => Ok(()),
        }
    }

    /// Probes software until it is healthy, or cannot become healthy.
    pub(super) async fn probe(&self, to: Serving) -> Result<(), CommandError> {
        let (question, timing) = self.asked(to)?;
        let software = Probed::new(*self, to)?;
        Ok(probe::probe(&software, &question, &timing).await?)
    }

    /// Asks its probe's question of software once.
    pub(super) async fn look(&self, at: Serving) -> Result<(), CommandError> {
        let (question, timing) = self.asked(at)?;
        let software = Probed::new(*self, at)?;
        let answer = probe::look(&software, &question, &timing).await;
        answer.map_err(CommandError::Unanswered)
    }

    fn manner(&self, serving: Serving) -> Result<CommandManner, CommandError> {
        let class = self.bundles.definition(serving.bundle)?;
        let rendered = self.rendering.render(serving)?;
        Ok(CommandManner {
            environment: self.rendering.command_environment(&rendered),
            directory: rendered.directory,
            user: rendered.user,
            scope: self.rendering.scope(serving, &class),
        })
    }

    async fn run_named(
        &self,
        name: &'static str,
        serving: Serving,
        command: &Command,
    ) -> Result<(), CommandError> {
        let manner = self.manner(serving)?;
        let words = command
            .command
            .iter()
            .map(|template| template.render(&manner.scope))
            .collect::<Result<Vec<_>, _>>()?;
        let limit = Duration::from_millis(command.timeout_ms);
        let done = self.execute(&words, &manner, limit).await;
        done.map(drop)
            .map_err(|problem| CommandError::Failed { name, problem })
    }

    /// Runs a command of the schedule that leads to a place, beside the software as it runs now; what it has printed. None where no software
    /// runs.
    pub(in crate::node) async fn beside(
        &self,
        name: &'static str,
        to: Place,
        command: &NodeCommand,
    ) -> Option<Result<String, CommandError>> {
        let serving = self.child.present()?.start.serving;
        Some(self.run_beside(name, (serving, to), command).await)
    }

    async fn run_beside(
        &self,
        name: &'static str,
        (serving, to): (Serving, Place),
        command: &NodeCommand,
    ) -> Result<String, CommandError> {
        let mut manner = self.manner(serving)?;
        let bundle = self.surroundings.layout.bundle(to);
        manner.scope.bundle = Some(bundle.display().to_string());
        let words = command.command.iter();
        let words = words.map(|template| template.render(&manner.scope));
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let limit = Duration::from_millis(command.timeout_ms);
        let done = self.execute(&words, &manner, limit).await;
        done.map_err(|problem| CommandError::Failed { name, problem })
    }

    /// Runs a command to its end, and gives the end of its output; what went wrong is told with that.
    async fn execute(
        &self,
        words: &[String],
        manner: &CommandManner,
        limit: Duration,
    ) -> Result<String, String> {
        let (program, arguments) = words.split_first().ok_or("has no program")?;
        let log = self.surroundings.layout.root().join("command.log");
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
        let _own = self.relay.commands.running(number);
        let ended = tokio::time::timeout(limit, child.end()).await;
        let printed = tail(&log);
        let output = match &printed {
            output if output.is_empty() => " and printed nothing".to_owned(),
            output => format!(": {output}"),
        };
        match ended {
            Err(_) => {
                if let Some(group) = process {
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                Err(format!(
                    "did not end within {} ms{output}",
                    limit.as_millis()
                ))
            }
            Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
            Ok(Ok(status)) if status.success() => Ok(printed),
            Ok(Ok(status)) => Err(match (status.code(), status.signal()) {
                (None, Some(signal)) => format!("was ended by signal {signal}{output}"),
                (code, _) => format!("ended with exit code {}{output}", code.unwrap_or(-1)),
            }),
        }
    }

    /// What the probe of software asks, how long and how often.
    fn asked(&self, serving: Serving) -> Result<(ResolvedQuestion, Timing), CommandError> {
        let class = self.bundles.definition(serving.bundle)?;
        let probe = &class.lifecycle.probe;
        let scope = self.rendering.scope(serving, &class);
        let question = match &probe.question {
            ProbeQuestion::Http { service, path } => ResolvedQuestion::Http {
                service: service.clone(),
                path: path.render(&scope)?,
            },
            ProbeQuestion::Command(words) => ResolvedQuestion::Command(
                words
                    .iter()
                    .map(|word| word.render(&scope))
                    .collect::<Result<_, _>>()?,
            ),
            ProbeQuestion::Tcp { service } => ResolvedQuestion::Tcp {
                service: service.clone(),
            },
            ProbeQuestion::Alive { alive_ms } => {
                ResolvedQuestion::Alive(Duration::from_millis(*alive_ms))
            }
        };
        let timing = Timing {
            limit: Duration::from_millis(probe.timeout_ms),
            attempt_limit: Duration::from_millis(probe.attempt_timeout_ms),
            interval: Duration::from_millis(probe.interval_ms),
        };
        Ok((question, timing))
    }
}

/// The end of what a command printed.
fn tail(log: &std::path::Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
    String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
}

/// The software under probe.
struct Probed<'n> {
    commands: SoftwareCommands<'n>,
    manner: CommandManner,
    generation: u64,
}

impl<'n> Probed<'n> {
    fn new(commands: SoftwareCommands<'n>, serving: Serving) -> Result<Self, CommandError> {
        Ok(Self {
            manner: commands.manner(serving)?,
            generation: (commands.child.present()).map_or(0, |child| child.start.generation),
            commands,
        })
    }

    /// Somebody else who listens at the port of a service, at an address of the node, while the software does not. At other
    /// addresses of the machine another node may have the port by right.
    async fn port_taken(&self, service: &str) -> Option<(SocketAddr, Stranger)> {
        let port = self.address(service)?.port();
        let child = self.commands.child.present()?;
        if child.listening.iter().any(|seen| seen.port() == port) {
            return None;
        }
        let household = self.household();
        let own = self.commands.surroundings.config.addresses.clone();
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

impl ProbedSoftware for Probed<'_> {
    async fn dial(&self, service: &str) -> io::Result<TcpStream> {
        let picture = self.commands.relay.traffic.picture();
        let down = || io::Error::new(io::ErrorKind::NotConnected, "the software does not run");
        let upstream = picture.upstream(service).ok_or_else(down)?;
        let identity = &self.commands.surroundings.identity;
        let label = Label {
            system: identity.system,
            version: picture.standing.version.0,
            node: identity.node.0,
            caller: None,
            token: None,
            agent_key: Some(identity.agent_key.value()),
            question: None,
            proof: None,
        };
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = label.encode(&mut bytes);
        // The address at which it listens is the one to ask.
        (self.commands.child)
            .listening_on(upstream.address.port())
            .await
            .map_err(io::Error::other)?;
        let upstream = self
            .commands
            .relay
            .traffic
            .picture()
            .upstream(service)
            .ok_or_else(down)?;
        let dial = &self.commands.relay.software_dial;
        dial.dial(upstream.address, &bytes[..length]).await
    }

    async fn run(&self, command: &[String], limit: Duration) -> Result<(), String> {
        (self.commands.execute(command, &self.manner, limit))
            .await
            .map(drop)
    }

    async fn ended(&self) -> String {
        while !self
            .commands
            .child
            .gone(self.generation, Duration::from_secs(3_600))
            .await
        {}
        "it has no process left; see `upstart logs`".to_owned()
    }

    async fn hopeless(&self, service: Option<&str>) -> String {
        let taken = async {
            match service {
                Some(service) => self.port_stays_taken(service).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(why) = self.commands.child.until_unfit() => why,
            why = taken => why,
        }
    }

    fn address(&self, service: &str) -> Option<SocketAddr> {
        let upstream = self.commands.relay.traffic.picture().upstream(service)?;
        Some(upstream.address)
    }

    fn household(&self) -> Household {
        self.commands.child.household().clone()
    }
}
