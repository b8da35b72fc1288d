//! The agent as the first process of a container, as podman starts it: with its usual capabilities and seccomp filter.

use crate::harness::{Boxes, Caller, Commands, NodeOptions, System, until, until_ok, upstart};
use model::ids::Version;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a container sees of this machine: its programs, none of its files.
const LINKS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
const FOLDERS: [&str; 10] = [
    "data", "dev", "etc", "proc", "run", "sys", "tmp", "upstart", "usr", "var",
];

/// A container with an agent as its first process.
struct Container {
    folder: PathBuf,
    name: String,
}

impl Container {
    /// Prepares one; `None`, and a note, where containers cannot be run.
    fn prepare(test: &str, system: &System) -> Option<Self> {
        let container = Self {
            folder: system.folder().join("container"),
            name: format!("upstart-test-{}", std::process::id()),
        };
        let root = container.folder.join("root");
        for folder in FOLDERS {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for link in LINKS {
            let to = Path::new("usr").join(link);
            std::os::unix::fs::symlink(to, root.join(link)).expect("a link");
        }
        // Limits that this machine may not allow are podman's default.
        let settings = container.folder.join("containers.conf");
        std::fs::write(settings, "[containers]\ndefault_ulimits = []\n").expect("written");
        let tried = container.podman(&["run", "--rm"], &["/bin/true"]);
        let why = match tried {
            Ok(output) if output.status.success() => return Some(container),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        println!("SKIPPED: {test}: podman runs no container here: {why}");
        None
    }

    /// Podman with everything of its own in the test's folder: `words`, and for a run what is run.
    fn podman(&self, words: &[&str], run: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"))
            .arg("--root")
            .arg(self.folder.join("storage"))
            .arg("--runroot")
            .arg(self.folder.join("run"))
            .args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"])
            .args(words);
        if !run.is_empty() {
            let built = upstart();
            let built = Path::new(built.get_program()).parent().expect("a folder");
            let data = self.folder.join("data");
            std::fs::create_dir_all(&data)?;
            command
                .args(["--network", "host", "--volume", "/usr:/usr:ro"])
                .arg(format!("--volume={}:/upstart:ro", built.display()))
                .arg(format!("--volume={}:/data", data.display()))
                .arg("--rootfs")
                .arg(self.folder.join("root"))
                .args(run);
        }
        command.output()
    }

    /// Starts the agent of a box in it.
    fn start(&self, system: &System, options: &NodeOptions) {
        let commands = Commands {
            server: system.server.url(),
            token_file: None,
            keys: system.keys().folder,
        };
        let upstart = Command::new("/upstart/upstart");
        let agent = commands.agent(upstart, options, Path::new("/data/node"));
        let agent: Vec<&str> = [agent.get_program()]
            .into_iter()
            .chain(agent.get_args())
            .map(|word| word.to_str().expect("text"))
            .collect();
        let words = [
            "run",
            "--detach",
            "--stop-timeout",
            "30",
            "--name",
            &self.name,
        ];
        let output = self.podman(&words, &agent).expect("podman runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// Stops it as an operator does, and removes it; its exit code, and what it said.
    fn stop(&self) -> (String, String) {
        let output = self
            .podman(&["stop", &self.name], &[])
            .expect("podman runs");
        assert!(output.status.success(), "{output:?}");
        let format = "--format={{.State.ExitCode}}";
        let code = self.podman(&["inspect", format, &self.name], &[]);
        let said = self.said();
        self.podman(&["rm", &self.name], &[]).expect("podman runs");
        let code = code.expect("podman runs").stdout;
        (String::from_utf8_lossy(&code).trim().to_owned(), said)
    }

    fn said(&self) -> String {
        let output = self
            .podman(&["logs", &self.name], &[])
            .expect("podman runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What is printed by a command in it.
    fn inside(&self, script: &str) -> String {
        let words = ["exec", &self.name, "sh", "-c", script];
        let output = self.podman(&words, &[]).expect("podman runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What its software has printed.
    fn printed(&self) -> String {
        let log = self.folder.join("data/node/output.log");
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- container\n{}\n--- software\n{}",
                self.said(),
                self.printed()
            );
        }
        let _ = self.podman(&["rm", "--force", "--time", "0", &self.name], &[]);
    }
}

/// Software that says goodbye when it is asked to end, a moment later, and leaves a process behind now and then.
const FLUSHING: [&str; 3] = [
    "sh",
    "-c",
    "trap 'kill $child; sleep 0.3; echo flushed; exit 0' TERM; (sleep 0.2 & ) ; \\\"$@\\\" & child=$!; while :; do wait $child; done",
];

#[test]
fn an_agent_in_a_container_ends_its_software_in_order_and_comes_back_at_its_version() {
    let test = "an_agent_in_a_container_ends_its_software_in_order_and_comes_back_at_its_version";
    let flushing = [&FLUSHING[..], &["software"]].concat();
    let system = System::with(&Boxes::version(1).behind(&flushing).bundle());
    let Some(container) = Container::prepare(test, &system) else {
        return;
    };
    let port = system.port(1);
    let options = NodeOptions::new("a", port);
    container.start(&system, &options);
    until_version(&system, 1);
    put(port, 7);
    let second = Boxes::version(2).behind(&flushing);
    system.publish(&second.bundle());
    until_version(&system, 2);
    assert_eq!(
        container
            .inside("tr '\\0' ' ' < /proc/1/cmdline | cut -d' ' -f1,2")
            .trim(),
        "/upstart/upstart agent"
    );
    until("every process that has ended to be reaped", || {
        let zombies = container.inside("grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null");
        zombies.trim().is_empty().then_some(())
    });

    // An agent that is killed there is started again, and the software serves on.
    let answers = || {
        let mut caller = system.member(port, 2)?;
        caller.get("apples")
    };
    container.inside("for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in '/upstart/upstart agent'*) [ $p = /proc/1 ] || kill -9 ${p#/proc/};; esac; done");
    assert_eq!(answers().expect("by software that runs on"), Some(7));
    until_ok("the agent to be started again", || {
        if container.said().contains("started again") {
            Ok(())
        } else {
            Err(container.said())
        }
    });
    let before = system.fact("a").seen_at_ms;
    until("the agent to be heard", || {
        (system.fact("a").seen_at_ms > before).then_some(())
    });

    let flushed = container.printed().matches("flushed").count();
    let (code, said) = container.stop();
    assert_eq!(code, "0", "{said}");
    assert_eq!(
        container.printed().matches("flushed").count(),
        flushed + 1,
        "{said}"
    );

    // From its volume, in another container.
    container.start(&system, &options);
    until_ok("the node to serve again", answers);
    assert_eq!(system.fact("a").report.status.version, Version(2));
    let (code, said) = container.stop();
    assert_eq!(code, "0", "{said}");
}

fn until_version(system: &System, version: u32) {
    until_ok("the node to settle", || {
        let nodes = system.view().nodes;
        let status = nodes
            .iter()
            .find(|fact| fact.name == "a")
            .map(|fact| fact.report.status.clone());
        match status {
            Some(status) if status.version == Version(version) => Ok(()),
            status => Err(format!("{status:?}")),
        }
    });
}

fn put(port: u16, number: i64) {
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    caller.put("apples", number).expect("answered");
}

#[test]
fn a_second_container_on_the_same_volume_leaves_the_first_ones_software_alone() {
    let test = "a_second_container_on_the_same_volume_leaves_the_first_ones_software_alone";
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let software = node.running_child();
    // Its agent is the first process, as a container's.
    let second = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(upstart().get_program())
        .args(["agent", "--name", "a", "--class", "box", "--var", "port=1"])
        .args(["--server", &system.server.url(), "--data"])
        .arg(&node.data)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&second.stderr);
    if said.starts_with("unshare:") {
        println!("SKIPPED: {test}: no namespaces can be made here: {said}");
        return;
    }
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert_eq!(said.matches("another agent runs this node").count(), 1);
    assert!(!said.contains("stopped"), "{said}");
    assert_eq!(node.running_child(), software, "{said}");
}
