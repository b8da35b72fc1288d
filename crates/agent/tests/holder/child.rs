//! The holder as the child's parent: starting, ending, outliving agents.

use crate::support::{Node, exit, second_of_two, upstart};
use agent::holder_client::{HolderClient, HolderClientError};
use kit::{alive, kill, wait_for};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[tokio::test]
async fn a_child_starts_and_ends_by_a_signal_and_by_itself() {
    let (node, client, mut notices) = Node::start().await;
    assert!(client.state().child.is_none());
    let pid = client
        .start(node.spec(7, &["sleep", "1000"]))
        .await
        .unwrap();
    assert!(alive(pid));
    let again = client.start(node.spec(8, &["true"])).await;
    assert!(
        matches!(again, Err(HolderClientError::Refused(_))),
        "{again:?}"
    );
    let group = control_group(pid);
    client
        .stop(15, false, crate::support::PATIENCE)
        .await
        .unwrap();
    let end = exit(&mut notices).await;
    assert_eq!((end.generation, end.code, end.signal), (7, None, Some(15)));
    if let Some(group) = group {
        // As a service manager that tidies up.
        std::fs::remove_dir(group).unwrap();
    }
    client
        .start(node.spec(8, &["sh", "-c", "echo out; echo err >&2; exit 3"]))
        .await
        .unwrap();
    let end = exit(&mut notices).await;
    assert_eq!((end.generation, end.code, end.signal), (8, Some(3), None));
    let output = std::fs::read_to_string(node.output()).unwrap();
    assert_eq!(output, "out\nerr\n");
    let (_, again) = (client, HolderClient::attach(node.data()).await.unwrap());
    assert_eq!(again.0.state().last_exit, Some(end));
    let (client, mut notices) = again;
    node.end(&client, &mut notices).await;
}

/// The directory of the control group that was made for this process.
fn control_group(pid: i32) -> Option<std::path::PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 "))?;
    let directory = std::path::Path::new(mount.split(' ').nth(1)?).join(own);
    own.contains("upstart-").then_some(directory)
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let (node, client, mut notices) = Node::start().await;
    let reason = |answer: Result<i32, HolderClientError>| match answer {
        Err(HolderClientError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let mut spec = node.spec(1, &["/nowhere/program"]);
    spec.refuse_io_uring = true;
    let why = reason(client.start(spec).await);
    assert!(why.contains("/nowhere/program"), "{why}");
    let mut spec = node.spec(2, &["true"]);
    spec.directory = "/nowhere".to_owned();
    let why = reason(client.start(spec).await);
    assert!(why.contains("/nowhere"), "{why}");
    let mut spec = node.spec(3, &["true"]);
    spec.user = Some("no-such-user".to_owned());
    let why = reason(client.start(spec).await);
    assert!(why.contains("no-such-user"), "{why}");
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn everything_that_came_out_of_the_child_is_killed_and_waited_for() {
    let (node, client, notices) = Node::start().await;
    let (script, file) = node.script_of_two();
    let pid = client
        .start(node.spec(1, &["sh", "-c", &script]))
        .await
        .unwrap();
    let daemon = second_of_two(&file);
    kill(pid);
    wait_for("the main process's end", || !alive(pid));
    assert!(alive(daemon));
    let (client, mut notices) = {
        drop((client, notices));
        HolderClient::attach(node.data()).await.unwrap()
    };
    let child = client.state().child.clone().unwrap();
    assert_eq!((child.generation, child.pid), (1, None));
    let refused = client.start(node.spec(2, &["true"])).await;
    assert!(
        matches!(refused, Err(HolderClientError::Refused(_))),
        "{refused:?}"
    );
    client.kill().await.unwrap();
    assert_eq!(exit(&mut notices).await.signal, Some(9));
    assert!(!alive(daemon));
    node.end(&client, &mut notices).await;
}

/// The part of an agent that is killed: attaches, starts a child, and waits.
#[tokio::test]
#[ignore = "a part that another test plays"]
async fn part_agent() {
    let data = std::path::PathBuf::from(std::env::var("PART_DATA").unwrap());
    let (client, _notices) = HolderClient::attach_or_spawn(upstart(), &data)
        .await
        .unwrap();
    let node_output = data.join("output.log");
    let spec = intercept::holder::ChildSpec {
        generation: 42,
        command: vec!["sleep".to_owned(), "1000".to_owned()],
        environment: std::env::vars().collect(),
        directory: "/".to_owned(),
        user: None,
        output: node_output.to_str().unwrap().to_owned(),
        refuse_io_uring: false,
        no_new_privileges: true,
        signs: true,
    };
    println!("child {}", client.start(spec).await.unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_agent_does_not_touch_the_child_and_its_successor_adopts_it() {
    let node = Node {
        directory: tempfile::tempdir().unwrap(),
    };
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child::part_agent", "--nocapture"])
        .env("PART_DATA", node.data())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let pid: i32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.split("child ").nth(1)?.trim().parse().ok())
        .unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(alive(pid));
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    let child = client.state().child.clone().unwrap();
    assert_eq!((child.generation, child.pid), (42, Some(pid)));
    assert!(alive(pid));
    client
        .stop(15, false, crate::support::PATIENCE)
        .await
        .unwrap();
    assert_eq!(exit(&mut notices).await.signal, Some(15));
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_newer_agent_replaces_the_older_and_nonsense_costs_its_connection_only() {
    let (node, first, mut first_notices) = Node::start().await;
    let (second, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    assert!(first_notices.recv().await.is_none());
    assert!(matches!(first.kill().await, Err(HolderClientError::Gone)));
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        None,
    )
    .unwrap();
    let address =
        rustix::net::SocketAddrUnix::new(agent::holder::socket_path(node.data())).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    rustix::net::send(&socket, b"nonsense", rustix::net::SendFlags::empty()).unwrap();
    let mut buffer = [0_u8; 16];
    let got = rustix::net::recv(&socket, &mut buffer, rustix::net::RecvFlags::empty()).unwrap();
    assert_eq!(got.0, 0, "the connection is closed");
    second.start(node.spec(1, &["true"])).await.unwrap();
    assert_eq!(exit(&mut notices).await.code, Some(0));
    node.end(&second, &mut notices).await;
}

#[tokio::test]
async fn one_holder_a_directory() {
    let (node, client, mut notices) = Node::start().await;
    let error = agent::holder::spawn(upstart(), node.data()).unwrap_err();
    assert!(error.to_string().contains("another holder"), "{error}");
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn nobody_else_locks_a_holder_out_and_who_has_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = std::fs::canonicalize(folder.path()).unwrap();
    let lock = data.join("holder.lock");
    // One that an older holder has left, open to all, and locked by somebody.
    std::fs::write(&lock, "").unwrap();
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut stranger = std::process::Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sleep", "1000"])
        .spawn()
        .unwrap();
    wait_for("the stranger's lock", || {
        agent::holder::owner(&data).is_some()
    });
    let refused = HolderClient::attach_or_spawn(upstart(), &data).await;
    let told = refused.map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("which is no holder"), "{told}");
    let mode = std::fs::metadata(&lock).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let (client, _notices) = HolderClient::attach_or_spawn(upstart(), &data)
        .await
        .unwrap();
    client.exit().await.unwrap();
}

#[tokio::test]
async fn a_new_holder_finds_what_a_killed_one_left_behind() {
    let (node, client, _) = Node::start().await;
    let name = node.hook_name();
    let pid = client
        .start(node.spec(1, &["sleep", "1000"]))
        .await
        .unwrap();
    let holder = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let holder = holder.rsplit_once(')').unwrap().1;
    kill(holder.split_whitespace().nth(1).unwrap().parse().unwrap());
    wait_for("the holder's end", || {
        std::fs::File::open(node.data().join("holder.lock")).is_ok_and(|lock| {
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
        })
    });
    assert!(alive(pid));
    let (client, mut notices) = HolderClient::attach_or_spawn(upstart(), node.data())
        .await
        .unwrap();
    assert_eq!(node.hook_name(), name);
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    if !cgroups.contains("upstart-") {
        eprintln!(
            "skipped: no control group can be made here, so the child was lost with its holder"
        );
        kill(pid);
        return;
    }
    assert!(client.state().child.is_some());
    client.kill().await.unwrap();
    assert_eq!(exit(&mut notices).await.generation, 0);
    assert!(!alive(pid));
    node.end(&client, &mut notices).await;
}
