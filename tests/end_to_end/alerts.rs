//! Every alert that is shipped fires when its situation happens, and not before: a real Prometheus watches a real system.

use crate::harness::{
    Boxes, Caller, Clock, Disk, Node, NodeOptions, System, kill, until_ok, upstart,
};
use crate::prometheus::{Prometheus, alert_names, get, shipped_rules};
use kit::copy_all;
use model::api::{LabelsAction, LabelsRequest, PauseRequest, Principal};
use model::manifest::Digest;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const TEST: &str = "alerts";

/// A file of version 1 that nobody fetches any more.
const FORGOTTEN_FILE: &[u8] = b"nobody needs this any more";

/// What is left of the small disk, and how large it is.
const LEFT_BYTES: u64 = 4 << 20;
const DISK_MEBIBYTES: u64 = 128;

/// The test's ports at which nodes tell metrics, after those at which they serve.
const METRICS_PORTS: u16 = 10;

/// The nodes: `small` lies on a small disk, `gone` loses its agent.
const NODES: [&str; 4] = ["first", "crashing", "small", "gone"];

/// A system with those who watch it.
struct WatchedSystem {
    prometheus: Prometheus,
    nodes: Vec<Node>,
    disk: Disk,
    /// Its folder goes after everything that lies in it.
    system: System,
    /// The alerts whose situation has happened.
    expected: BTreeSet<String>,
}

impl WatchedSystem {
    /// Four nodes at version 2, and a copy of the server's data from before it was published.
    fn start(program: &Path) -> Option<Self> {
        let mut system = System::start_with_metrics();
        let disk = Disk::mount(TEST, "ext4", DISK_MEBIBYTES, &system.folder().join("small"))?;
        let first = Boxes::version(1).bundle();
        system.publish(&first.file("software/forgotten", FORGOTTEN_FILE.to_vec()));
        let nodes: Vec<Node> = (1..)
            .zip(NODES)
            .map(|(number, name)| system.node(options(&system, name, number)))
            .collect();
        for node in &nodes {
            system.until_settled(node, 1);
        }
        let copy = system.folder().join("earlier");
        system.server.changed(|data| copy_all(data, &copy));
        system.publish(&Boxes::version(2).bundle());
        for node in &nodes {
            system.until_settled(node, 2);
        }
        let agents: Vec<u16> = (1..6)
            .map(|number| system.port(METRICS_PORTS + number))
            .collect();
        let folder = system.folder().join("prometheus");
        let (own, server) = (system.port(29), system.port(30));
        let prometheus = Prometheus::start(&folder, program, own, server, &agents[..4]);
        prometheus.until_up(5);
        Some(Self {
            prometheus,
            system,
            nodes,
            disk,
            expected: BTreeSet::new(),
        })
    }

    /// A situation happens, for which these alerts are to fire.
    fn happens(&mut self, alerts: &[&str]) {
        self.expected
            .extend(alerts.iter().map(|name| (*name).to_owned()));
    }

    /// What fires now; nothing may whose situation has not happened.
    fn firing(&self) -> Result<BTreeSet<String>, String> {
        let firing = self.prometheus.firing()?;
        let early: Vec<&String> = firing.difference(&self.expected).collect();
        assert!(early.is_empty(), "{early:?} fire without a reason");
        Ok(firing)
    }

    /// Waits until these fire, each of them once; meanwhile something may have to be done again.
    fn until_firing(&self, alerts: &[&str], mut meanwhile: impl FnMut()) {
        let mut missing: BTreeSet<&str> = alerts.iter().copied().collect();
        until_ok(&format!("{alerts:?} to fire"), || {
            meanwhile();
            let firing = self.firing()?;
            missing.retain(|name| !firing.contains(*name));
            missing
                .is_empty()
                .then_some(())
                .ok_or_else(|| format!("{missing:?} do not"))
        });
    }

    fn node(&mut self, name: &str) -> &mut Node {
        let found = self.nodes.iter_mut().find(|node| node.options.name == name);
        found.expect("a node")
    }
}

fn options(system: &System, name: &str, number: u16) -> NodeOptions {
    NodeOptions::new(name, system.port(number)).metrics_port(system.port(METRICS_PORTS + number))
}

#[test]
fn every_alert_fires_in_its_situation_and_none_before() {
    let Some(program) = kit::programs::find(TEST, "prometheus") else {
        return;
    };
    if !Clock::can_be_wrong(TEST) {
        return;
    }
    let Some(mut watched) = WatchedSystem::start(&program) else {
        return;
    };
    watched.prometheus.until_evaluated();
    assert_eq!(watched.firing().expect("asked"), BTreeSet::new());
    calls_go_wrong(&mut watched);
    an_upgrade_fails(&mut watched);
    nodes_go_wrong(&mut watched);
    nobody_looks_after_it(&mut watched);
    the_server_is_gone(&mut watched);
    the_server_is_set_back(&mut watched);
    assert_eq!(
        watched.expected,
        alert_names(&shipped_rules()),
        "every alert that is shipped has its situation here"
    );
}

/// A node is asked for what its version does not have, and with a label of another system.
fn calls_go_wrong(watched: &mut WatchedSystem) {
    let system = &watched.system;
    let port = system.port(1);
    let mut old = system.member(port, 1).expect("connected");
    let answer = old.call("DELETE", "/boxes/apples", None).expect("answered");
    assert_eq!(answer.status, 404, "{answer:?}");
    let other = Caller::labelled(port, system.view().system_id ^ 1, 2);
    let reset = other.and_then(|mut caller| caller.get("apples"));
    assert!(reset.is_err(), "{reset:?}");
    let alerts = ["UpstartCallsRefused", "UpstartLabelsRefused"];
    watched.happens(&alerts);
    watched.until_firing(&alerts, || ());
    let told = get(watched.system.port(METRICS_PORTS + 1), "/metrics").expect("told");
    for line in [
        "upstart_agent_refused_calls_total{reason=\"unmatched\"} 1",
        "upstart_agent_calls_total{caller=\"1\",software=\"2\",kind=\"past\"} 1",
        "upstart_agent_resets_total{reason=\"other_system\"} 1",
        "upstart_agent_phase{phase=\"settled\"} 1",
        "upstart_agent_transforms_total 1",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
}

/// Version 3 never gets healthy, and the upgrade is stuck.
fn an_upgrade_fails(watched: &mut WatchedSystem) {
    let probe = "http = \"/alive\", service = \"data\", interval_ms = 50, timeout_ms = 700";
    let third = Boxes::version(3).arguments(&["--unhealthy"]).probe(probe);
    let alerts = [
        "UpstartNodesBlocked",
        "UpstartErrorInHistory",
        "UpstartUpgradeStuck",
    ];
    watched.happens(&alerts);
    watched.system.publish(&third.bundle());
    watched.until_firing(&alerts, || ());
}

/// Software crashes again and again, a disk gets full, an agent dies, a key is revoked, and then others.
fn nodes_go_wrong(watched: &mut WatchedSystem) {
    let alerts = [
        "UpstartSoftwareFailing",
        "UpstartSoftwareCrashLoop",
        "UpstartDiskNearlyFull",
        "UpstartAgentDown",
        "UpstartManyNodesUnreachable",
        "UpstartNodesUnreachable",
        "UpstartAgentWithoutServer",
        "UpstartNodesRevoked",
    ];
    watched.happens(&alerts);
    let free = watched.disk.free();
    watched.disk.write("ballast", free - LEFT_BYTES);
    watched.node("gone").kill_agent();
    let system = &watched.system;
    system.ask(system.client.revoke(&Principal::node("small")));
    let crashing = watched
        .nodes
        .iter()
        .find(|node| node.options.name == "crashing");
    let crashing = crashing.expect("a node");
    watched.until_firing(&alerts, || {
        if let Some(child) = crashing.child() {
            kill(child);
        }
    });
}

/// Holds the lock of the server's database until it is dropped.
struct LockHolder(Child);

impl LockHolder {
    fn start(database: &Path) -> Self {
        const HOLD: &str = "import sqlite3, sys\n\
            held = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n\
            held.execute('BEGIN IMMEDIATE')\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let mut child = Command::new("python3")
            .args(["-c", HOLD])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        let said = child.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("said");
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for LockHolder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Labels are to be signed, and a node does not acknowledge; signatures run out; somebody pauses; and then nothing can be stored.
fn nobody_looks_after_it(watched: &mut WatchedSystem) {
    let alerts = [
        "UpstartLabelsAwaited",
        "UpstartSignaturesExpireSoon",
        "UpstartSignaturesExpire",
        "UpstartPaused",
        "UpstartDatabaseInTrouble",
        "UpstartServerErrors",
    ];
    watched.happens(&alerts);
    let system = &watched.system;
    let request = LabelsRequest {
        action: LabelsAction::Sign,
    };
    system.ask(system.client.change_labels(&request));
    let mut renew = upstart();
    renew.args(["keys", "renew", "targets", "--days", "5", "--server"]);
    renew.arg(system.server.url()).arg("--keys");
    kit::programs::run(renew.arg(system.keys().folder));
    let request = PauseRequest {
        reason: "to look at it".to_owned(),
    };
    system.ask(system.client.pause(&request));
    let held = LockHolder::start(&system.server.data().join("udb.sqlite"));
    let refused = system.try_ask(system.client.resume());
    assert!(refused.is_err(), "{refused:?}");
    watched.until_firing(&alerts, || ());
    drop(held);
}

/// The server ends, lacks a file when it is back, and a node joins whose clock is wrong.
fn the_server_is_gone(watched: &mut WatchedSystem) {
    watched.happens(&["UpstartServerDown"]);
    watched.system.server.kill();
    watched.until_firing(&["UpstartServerDown"], || ());
    let alerts = [
        "UpstartRepositoryDamaged",
        "UpstartClocksApart",
        "UpstartAgentCertificateExpires",
    ];
    watched.happens(&alerts);
    let lost = Digest::of(FORGOTTEN_FILE).to_string();
    let data = watched.system.server.data().to_owned();
    let artifact = data
        .join("repository/artifacts")
        .join(&lost[..2])
        .join(&lost);
    let flat = data.join("repository/artifacts").join(&lost);
    let removed = std::fs::remove_file(&artifact).or_else(|_| std::fs::remove_file(&flat));
    removed.expect("an artifact of version 1");
    watched
        .system
        .server
        .resume_with(&["--certificate-ms", "3600000"]);
    let late = options(&watched.system, "late", 5).clock(Clock::minutes_ahead(10));
    let late = watched.system.node(late);
    watched.until_firing(&["UpstartRepositoryDamaged", "UpstartClocksApart"], || ());
    // Its certificate is good for an hour. Prometheus hears of the node only now.
    watched.happens(&["UpstartAgentCertificateExpires"]);
    watched
        .prometheus
        .also_ask(watched.system.port(METRICS_PORTS + 5));
    watched.until_firing(&["UpstartAgentCertificateExpires"], || ());
    watched.nodes.push(late);
}

/// The server's data is what it was before version 2.
fn the_server_is_set_back(watched: &mut WatchedSystem) {
    watched.happens(&["UpstartNodesDisagree"]);
    let copy = watched.system.folder().join("earlier");
    watched.system.server.changed(|data| {
        std::fs::remove_dir_all(data).expect("removed");
        copy_all(&copy, data);
    });
    watched.until_firing(&["UpstartNodesDisagree"], || ());
}
