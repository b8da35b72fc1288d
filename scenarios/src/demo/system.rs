//! A system under Upstart: its server, its agents, and what the server says about them.

use super::hosts;
use super::place::Place;
use super::processes::Processes;
use anyhow::bail;
use client::{Client, ClientError};
use harness::{Commands, NodeOptions, done, write_token};
use model::api::{ApproveRequest, Event, NodeFact, PublicRequest, RetireRequest, SystemView};
use model::ids::{NodeId, Version};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The server and the agents of a run.
#[derive(Clone, Debug)]
pub struct DemoSystem {
    /// Where it lives.
    pub place: Place,
    /// Its processes.
    pub processes: Arc<Processes>,
    /// The program `upstart`.
    pub program: PathBuf,
    client: Arc<Client>,
    commands: Commands,
}

/// The name of the first server among the processes.
pub const SERVER: &str = "server";

/// The folder that several servers share.
pub const REPOSITORY: &str = "repository";

/// The most events on one page.
const EVENTS_PAGE: u32 = 500;

/// The pause between two looks at the system.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How long nodes may take to hear the news.
const HEARD_LIMIT: Duration = Duration::from_secs(30);

/// How long an agent may take to end when it is asked to.
const AGENT_STOP_LIMIT: Duration = Duration::from_secs(20);

impl DemoSystem {
    /// Starts the servers.
    pub async fn start(
        place: &Place,
        processes: Arc<Processes>,
        program: PathBuf,
    ) -> anyhow::Result<Self> {
        let token_file = place.root.join("token");
        // The authority is where all servers have it.
        let of_authority = if place.has_shared_folder {
            REPOSITORY
        } else {
            SERVER
        };
        let token = write_token(&place.folder(of_authority)?, &token_file)?;
        let urls = urls(place);
        let client = Client::new(&urls, Some(token))?.with_author("demo");
        let system = Self {
            place: place.clone(),
            processes,
            program,
            client: Arc::new(client),
            commands: Commands {
                server: urls.join(","),
                token_file: Some(token_file),
                keys: place.root.join("keys"),
            },
        };
        system.start_server(0)?;
        if !place.has_shared_folder {
            system.answers().await?;
        }
        for number in 1..place.servers {
            if !place.has_shared_folder {
                let data = place.root.join(server(number));
                harness::copy_keys(&place.folder(SERVER)?, &data)?;
            }
            system.start_server(number)?;
        }
        system.answers().await?;
        Ok(system)
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(30);
        self.wait("the server answers", limit, |_| true).await?;
        Ok(())
    }

    /// Starts the server of that number, from 0; once more after a stop.
    pub fn start_server(&self, number: u16) -> anyhow::Result<()> {
        let upstart = self.place.hosts.command(hosts::SERVER, &self.program);
        let address = self.place.hosts.address(hosts::SERVER);
        let listen = format!("{address}:{}", self.place.server_port(number));
        let name = server(number);
        let data = self.place.folder(&name)?;
        let mut command = self.commands.serve(upstart, &listen, &data);
        let environment = self.place.server_environment.iter();
        command
            .args(&self.place.server_arguments)
            .envs(environment.map(|(name, value)| (name, value)));
        self.processes.start(&name, &mut command, &self.log(&name)?)
    }

    /// Where a program's messages go.
    pub fn log(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.place.folder("logs")?.join(format!("{name}.log")))
    }

    /// A node's data directory.
    pub fn data(&self, node: &str) -> PathBuf {
        self.place.root.join("nodes").join(node)
    }

    /// Starts a node's agent; `kill_at` names the journal record at which it kills itself, `<record>:before|after`.
    pub fn start_agent(&self, node: &NodeOptions, kill_at: Option<&str>) -> anyhow::Result<()> {
        let options = NodeOptions {
            kill_at: kill_at.map(str::to_owned),
            ..node.clone()
        };
        self.start_agent_with(&options, &[])
    }

    /// Starts a node's agent with more arguments.
    pub fn start_agent_with(&self, node: &NodeOptions, arguments: &[&str]) -> anyhow::Result<()> {
        let hosts = &self.place.hosts;
        let addresses = [hosts.address(&node.name), hosts.reached_at(&node.name)];
        let options = NodeOptions {
            addresses: addresses.map(|address| address.to_string()).into(),
            ..node.clone()
        };
        let upstart = hosts.command(&node.name, &self.program);
        let mut command = (self.commands).agent(upstart, &options, &self.data(&node.name));
        command.args(&self.place.agent_arguments).args(arguments);
        self.processes
            .start(&node.name, &mut command, &self.log(&node.name)?)
    }

    /// Ends a node's agent; its holder and its software go on.
    pub fn stop_agent(&self, node: &str) {
        self.processes.stop(node, AGENT_STOP_LIMIT);
    }

    /// Ends a node's agent, then its software, which finishes what it is at.
    pub fn finish_software(&self, node: &str) -> anyhow::Result<()> {
        self.stop_agent(node);
        let mut command = harness::stop(Command::new(&self.program), &self.data(node));
        done(&mut command).map(drop).map_err(anyhow::Error::msg)
    }

    /// Publishes a bundle with the command that people use; the error says what it said.
    pub fn publish(&self, bundle: &Path, revise: bool) -> anyhow::Result<()> {
        let last = Instant::now() + self.place.order_limit;
        loop {
            let upstart = Command::new(&self.program);
            let mut command = self.commands.publish(upstart, bundle, revise);
            match done(&mut command) {
                Ok(_) => return Ok(()),
                Err(why) if Instant::now() >= last => bail!(why),
                // As a person would, once the server is back.
                Err(_) => std::thread::sleep(LOOK_PAUSE),
            }
        }
    }

    /// A command of the program that asks the server, ready to be run.
    pub fn asks(&self, question: &[&str]) -> Command {
        self.commands.ask(Command::new(&self.program), question)
    }

    /// Gives an order; again, like a person, where no server took it.
    async fn order<T>(
        &self,
        order: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let last = Instant::now() + self.place.order_limit;
        loop {
            match order(&self.client).await {
                Err(error) if may_pass(&error) && Instant::now() < last => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                ended => return ended,
            }
        }
    }

    /// The server's client, for what is not asked often.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The system as the server sees it now.
    pub async fn view(&self) -> anyhow::Result<SystemView> {
        Ok(self.client.system().await?)
    }

    /// The server's whole history.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .client
                .events(after.as_deref(), Some(EVENTS_PAGE), None)
                .await?;
            let is_last = page.items.is_empty() || page.next.is_none();
            events.extend(page.items);
            if is_last {
                return Ok(events);
            }
            after = page.next;
        }
    }

    /// Waits until the system is as wished; the error says what was waited for and how the nodes stood.
    pub async fn wait(
        &self,
        what: &str,
        limit: Duration,
        wished: impl Fn(&SystemView) -> bool,
    ) -> anyhow::Result<SystemView> {
        let last = Instant::now() + limit;
        let mut seen = None;
        while Instant::now() < last {
            if let Ok(view) = self.view().await {
                if wished(&view) {
                    return Ok(view);
                }
                seen = Some(view);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let nodes = seen.map(|view| describe(&view)).unwrap_or_default();
        bail!("waited {} s in vain until {what}; {nodes}", limit.as_secs())
    }

    /// Gives leave to go to a version, to all, to a class, or to a node.
    pub async fn approve(
        &self,
        version: u32,
        class: Option<&str>,
        node: Option<&str>,
    ) -> anyhow::Result<()> {
        let request = ApproveRequest {
            version: Version(version),
            class: class.map(str::to_owned),
            node: node.map(str::to_owned),
        };
        self.order(async |client| client.approve(&request).await)
            .await?;
        Ok(())
    }

    /// Moves every service's public version, and waits until every node has heard of it: until it has asked the server
    /// once for the news, and once more after it took them in.
    pub async fn make_public(&self, version: u32) -> anyhow::Result<()> {
        let request = PublicRequest {
            service: None,
            version: Version(version),
        };
        self.order(async |client| client.set_public(&request).await)
            .await?;
        for _ in 0..2 {
            let before = self.order(async |client| client.system().await).await?;
            let before = seen(&before);
            let all_again = |view: &SystemView| {
                let now = seen(view);
                before
                    .iter()
                    .all(|(node, at)| now.get(node).is_none_or(|again| again > at))
            };
            self.wait(
                "every node has asked the server again",
                HEARD_LIMIT,
                all_again,
            )
            .await?;
        }
        Ok(())
    }

    /// Asks to retire everything up to a version: the refusal's words, if it is refused.
    pub async fn retire(&self, version: u32) -> anyhow::Result<Result<(), String>> {
        let request = RetireRequest {
            version: Version(version),
            close: false,
        };
        let retired = self.order(async |client| client.retire(&request).await);
        match retired.await {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.status() == Some(409) => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

/// When the server last heard of each node.
fn seen(view: &SystemView) -> BTreeMap<NodeId, u64> {
    view.nodes
        .iter()
        .map(|fact| (fact.node, fact.seen_at_ms))
        .collect()
}

/// Nobody has refused it: no server answered to the end, or it could not.
fn may_pass(error: &ClientError) -> bool {
    error.status().is_none_or(|status| status >= 500)
}

/// The name of the server of that number among the processes.
pub fn server(number: u16) -> String {
    match number {
        0 => SERVER.to_owned(),
        _ => format!("{SERVER}-{}", number + 1),
    }
}

fn urls(place: &Place) -> Vec<String> {
    let address = place.hosts.address(hosts::SERVER);
    let url = |number| format!("https://{address}:{}", place.server_port(number));
    (0..place.servers).map(url).collect()
}

/// The node runs this version, or a later one, and serves.
pub fn is_at(fact: &NodeFact, version: u32) -> bool {
    fact.report.status.version >= Version(version)
}

/// Every node of these classes (all when none is named) is at the version or later and does nothing else.
pub fn all_at(view: &SystemView, classes: &[&str], version: u32) -> bool {
    let mut chosen = view
        .nodes
        .iter()
        .filter(|fact| classes.is_empty() || classes.contains(&fact.class.as_str()));
    chosen.all(|fact| is_at(fact, version))
}

/// One line about every node, for messages.
pub fn describe(view: &SystemView) -> String {
    let lines = view.nodes.iter().map(|fact| {
        let status = &fact.report.status;
        let reason = status
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(" ({reason})"));
        let staged = if status.staged > status.version {
            format!(", staged {}", status.staged)
        } else {
            String::new()
        };
        format!(
            "{}: {}{staged} {}{reason}",
            fact.name,
            status.version,
            status.phase.words()
        )
    });
    lines.collect::<Vec<_>>().join("; ")
}
