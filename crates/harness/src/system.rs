//! A whole system: server, published upgrades, nodes.

use super::bundle::{self, Bundle};
use super::call::Caller;
use super::clock::Clock;
use super::commands::Commands;
use super::node::Node;
use super::node_options::NodeOptions;
use super::objects::ArtifactsPlace;
use super::place::Ports;
use super::server::{self, Server};
use client::{Client, ClientError, PublishError, PublisherKeys};
use kit::until_ok;
use model::api::{ApproveRequest, Event, NodeFact, Phase, SystemView, UpgradeSummary};
use model::ids::Version;
use std::cell::Cell;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::Path;
use tokio::runtime::Runtime;

/// A server with its nodes in a directory of their own.
pub struct System {
    /// The server; its end comes before that of the folder.
    pub server: Server,
    /// The others, of several over one database.
    pub others: Vec<Server>,
    /// Asks the servers.
    pub client: Client,
    runtime: Runtime,
    ports: Ports,
    bundles: Cell<u32>,
    folder: tempfile::TempDir,
}

impl System {
    /// Starts a server that has nothing yet.
    pub fn start() -> Self {
        Self::start_with(Clock::RIGHT, |_| {})
    }

    /// The same on a host whose clock shows this.
    pub fn start_at(clock: Clock) -> Self {
        Self::start_with(clock, |_| {})
    }

    /// The same, which tells its metrics at the port of number 30.
    pub fn start_with_metrics() -> Self {
        Self::start_servers(
            |_| {},
            |folder, ports| {
                let options = ["--metrics-listen".to_owned(), ports.get(30).to_string()];
                let options = options.map(OsString::from).into();
                vec![Server::start_with_options(folder, ports.get(31), options)]
            },
        )
    }

    /// The same, when something has been done with its folder.
    pub fn start_after(prepare: impl FnOnce(&Path)) -> Self {
        Self::start_with(Clock::RIGHT, prepare)
    }

    /// The same, whose server is given these arguments, too.
    pub fn start_with_options(options: &[&str]) -> Self {
        let options: Vec<OsString> = options.iter().map(OsString::from).collect();
        Self::start_servers(
            |_| {},
            |folder, ports| vec![Server::start_with_options(folder, ports.get(31), options)],
        )
    }

    fn start_with(clock: Clock, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_servers(prepare, |folder, ports| {
            vec![Server::start(folder, ports.get(31), clock)]
        })
    }

    /// Starts two servers over one PostgreSQL database; agents and commands know both.
    pub fn start_over(database: &str) -> Self {
        Self::start_servers(
            |_| {},
            |folder, ports| {
                let start =
                    |(name, number)| Server::start_over(database, name, folder, ports.get(number));
                [("server", 31), ("server-2", 30)].map(start).into()
            },
        )
    }

    /// The same without a folder that they share: artifacts, and what is signed, lie elsewhere.
    pub fn start_elsewhere(database: &str, artifacts: &ArtifactsPlace) -> Self {
        Self::start_servers(
            |_| {},
            |folder, ports| {
                let over = (database, artifacts);
                let first = Server::start_elsewhere(over, "server", folder, ports.get(31));
                let copied = server::copy_keys(first.data(), &folder.join("server-2"));
                copied.expect("all servers have the same keys");
                let other = Server::start_elsewhere(over, "server-2", folder, ports.get(30));
                vec![first, other]
            },
        )
    }

    fn start_servers(
        prepare: impl FnOnce(&Path),
        start: impl FnOnce(&Path, &Ports) -> Vec<Server>,
    ) -> Self {
        let library = server::program().with_file_name("libupstart_preload.so");
        assert!(
            library.exists(),
            "build the library first: cargo build --package preload"
        );
        let folder = tempfile::tempdir().expect("a directory");
        prepare(folder.path());
        let ports = Ports::reserve();
        let mut others = start(folder.path(), &ports);
        let urls: Vec<String> = others.iter().map(Server::url).collect();
        let server = others.remove(0);
        let client = Client::new(&urls, None)
            .expect("a client")
            .with_author("tester");
        // With a thread of its own, so that connections which the server closes are noticed between two questions.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            server,
            others,
            client,
            runtime,
            ports,
            bundles: Cell::new(0),
            folder,
        }
    }

    /// The same, with this published.
    pub fn with(bundle: &Bundle) -> Self {
        let system = Self::start();
        system.publish(bundle);
        system
    }

    /// With a node of the first version that has staged the second, which waits for leave.
    pub fn staged(first: &Bundle, second: &Bundle) -> (Self, Node) {
        let system = Self::with(first);
        let node = system.settled_box("a", 1, 1);
        system.publish(second);
        system.until_staged(&node, 2);
        (system, node)
    }

    /// The test's port of that number, from 1 to 30.
    pub fn port(&self, number: u16) -> u16 {
        self.ports.get(number)
    }

    /// The test's own directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for an answer of the server.
    pub fn ask<T>(&self, question: impl Future<Output = Result<T, ClientError>>) -> T {
        self.try_ask(question).expect("the server agrees")
    }

    /// The same, where a refusal is an answer.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub fn try_ask<T>(
        &self,
        question: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.runtime.block_on(question)
    }

    /// Publishes an upgrade.
    pub fn publish(&self, bundle: &Bundle) -> UpgradeSummary {
        self.try_publish(bundle, false).expect("published")
    }

    /// Publishes a revision of an upgrade.
    pub fn revise(&self, bundle: &Bundle) -> UpgradeSummary {
        self.try_publish(bundle, true).expect("revised")
    }

    /// Publishes, where a refusal is an answer.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub fn try_publish(
        &self,
        bundle: &Bundle,
        revise: bool,
    ) -> Result<UpgradeSummary, PublishError> {
        self.try_publish_with(&self.keys(), bundle, revise)
    }

    /// The same with other keys than its publisher's.
    ///
    /// # Errors
    /// The keys do not do, or the server refuses, or does not answer.
    pub fn try_publish_with(
        &self,
        keys: &PublisherKeys,
        bundle: &Bundle,
        revise: bool,
    ) -> Result<UpgradeSummary, PublishError> {
        let number = self.bundles.get();
        self.bundles.set(number + 1);
        let folder = self.folder.path().join(format!("bundle-{number}"));
        bundle.write(&folder);
        let publishing = bundle::publish(&self.client, &folder, revise, keys);
        self.runtime.block_on(publishing)
    }

    /// The keys of its publisher.
    pub fn keys(&self) -> PublisherKeys {
        PublisherKeys {
            folder: self.folder.path().join("keys"),
            commands: Vec::new(),
            root: None,
        }
    }

    /// Withdraws the newest upgrade.
    pub fn withdraw(&self, version: Version) -> UpgradeSummary {
        let keys = self.keys();
        let withdrawing = self.client.withdraw_signed(&keys, version);
        self.runtime.block_on(withdrawing).expect("withdrawn")
    }

    /// Starts a node.
    pub fn node(&self, options: NodeOptions) -> Node {
        let servers = [&self.server].into_iter().chain(&self.others);
        let urls: Vec<String> = servers.map(Server::url).collect();
        let commands = Commands {
            server: urls.join(","),
            token_file: None,
            keys: self.keys().folder,
        };
        Node::start(self.folder.path(), commands, options)
    }

    /// Starts a box on the port of that number and waits until it has settled.
    pub fn settled_box(&self, name: &str, number: u16, version: u32) -> Node {
        let node = self.node(NodeOptions::new(name, self.port(number)));
        self.until_settled(&node, version);
        node
    }

    /// Opens a connection as a member at this version would.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn member(&self, port: u16, version: u32) -> io::Result<Caller> {
        Caller::labelled(port, self.view().system_id, version)
    }

    /// The system as the server sees it.
    pub fn view(&self) -> SystemView {
        self.ask(self.client.system())
    }

    /// What the server knows of a node.
    pub fn fact(&self, name: &str) -> NodeFact {
        self.ask(self.client.node(name))
    }

    /// One of a node's counters, as it was reported last.
    pub fn counter(&self, name: &str, counter: &str) -> u64 {
        let counters = self.fact(name).report.counters;
        counters.get(counter).copied().unwrap_or(0)
    }

    /// Waits until a node's report holds.
    pub fn until_fact(
        &self,
        node: &Node,
        what: &str,
        holds: impl Fn(&NodeFact) -> bool,
    ) -> NodeFact {
        let name = &node.options.name;
        until_ok(&format!("{name} to be {what}"), || {
            let fact = self
                .try_ask(self.client.node(name))
                .map_err(|error| error.to_string())?;
            if holds(&fact) {
                Ok(fact)
            } else {
                Err(format!("{:?}", fact.report.status))
            }
        })
    }

    /// Waits until a node has settled at a version and has nothing left to do.
    pub fn until_settled(&self, node: &Node, version: u32) -> NodeFact {
        self.until_fact(node, &format!("settled at {version}"), |fact| {
            let status = &fact.report.status;
            status.version == Version(version) && status.phase == Phase::Settled
        })
    }

    /// Waits until a node has staged a version.
    pub fn until_staged(&self, node: &Node, version: u32) -> NodeFact {
        self.until_fact(node, &format!("staged {version}"), |fact| {
            fact.report.status.staged >= Version(version)
        })
    }

    /// Waits until a node is in a phase.
    pub fn until_phase(&self, node: &Node, phase: Phase) -> NodeFact {
        self.until_fact(node, &format!("{phase:?}"), |fact| {
            fact.report.status.phase == phase
        })
    }

    /// Approves a version, for one node or for all.
    pub fn approve(&self, version: u32, node: Option<&Node>) {
        let request = ApproveRequest {
            version: Version(version),
            class: None,
            node: node.map(|node| node.options.name.clone()),
        };
        self.ask(self.client.approve(&request));
    }

    /// The whole history.
    pub fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map(|event| event.sequence.to_string());
            let page = self.ask(self.client.events(after.as_deref(), None, None));
            if page.items.is_empty() {
                return events;
            }
            events.extend(page.items);
        }
    }

    /// The history's entries of one kind about one node.
    pub fn events_of(&self, node: &Node, kind: &str) -> Vec<Event> {
        let name = Some(node.options.name.as_str());
        let mut events = self.events();
        events.retain(|event| event.kind == kind && event.node.as_deref() == name);
        events
    }
}
