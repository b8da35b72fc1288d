//! What the software finds when it begins: its limits, signals, filter and user, as from a supervisor.

use crate::support::{Node, exit, second_of_two, upstart};
use agent::holder_client::HolderClient;
use intercept::holder::ChildSpec;
use kit::{alive, kill, wait_for};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

async fn output_of(node: &Node, spec: ChildSpec) -> String {
    let (client, mut notices) = HolderClient::attach_or_spawn(upstart(), node.data())
        .await
        .unwrap();
    std::fs::remove_file(node.output()).ok();
    client.start(spec).await.unwrap();
    exit(&mut notices).await;
    std::fs::read_to_string(node.output()).unwrap()
}

/// `io_uring_setup` with a null pointer: EFAULT where it is there, ENOSYS where it is not.
const IO_URING: &str = "import ctypes\n\
    c = ctypes.CDLL(None, use_errno=True)\n\
    print(c.syscall(425, 8, None), ctypes.get_errno())";

#[tokio::test]
async fn io_uring_is_refused_where_asked() {
    let (node, _client, _notices) = Node::start().await;
    let mut spec = node.spec(1, &["/usr/bin/env", "python3", "-c", IO_URING]);
    let allowed = output_of(&node, spec.clone()).await;
    assert!(
        allowed == "-1 14\n" || allowed == "-1 1\n",
        "the kernel has io_uring: {allowed}"
    );
    spec.refuse_io_uring = true;
    assert_eq!(output_of(&node, spec).await, "-1 38\n");
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn nothing_is_inherited_that_a_supervisor_would_reset() {
    let node = Node {
        directory: tempfile::tempdir().unwrap(),
    };
    // A holder that was started with SIGHUP and SIGUSR1 ignored and a small soft limit of files.
    let script = "trap '' HUP USR1; ulimit -S -n 500; exec \"$0\" holder --data \"$1\"";
    let mut holder = Command::new("sh")
        .args(["-c", script])
        .args([upstart(), node.data()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the holder listens", || {
        agent::holder::name_path(node.data()).exists()
    });
    let script = "grep -E '^Sig(Ign|Blk)' /proc/self/status; ulimit -n; ls /proc/self/fd | wc -l; \
        cut -d' ' -f6 /proc/self/stat; echo $$; pwd; env | cut -d= -f1 | grep -v PWD | sort";
    let mut spec = node.spec(1, &["/bin/sh", "-c", script]);
    spec.directory = "/usr".to_owned();
    spec.environment.insert("MINE".to_owned(), "1".to_owned());
    let output = output_of(&node, spec).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "SigBlk:\t0000000000000000");
    // Signals 32 and 33 belong to the C library, which lets nobody change them.
    let ignored = lines[1].rsplit('\t').next().unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap() & !(0b11 << 31);
    assert_eq!(ignored, 0, "{}", lines[1]);
    assert_eq!(lines[2], "500");
    // Standard input, output and error, and the directory that `ls` reads.
    assert_eq!(lines[3].trim(), "4", "no other descriptor is inherited");
    assert_eq!(lines[4], lines[5], "a session of its own");
    assert_eq!(lines[6], "/usr");
    let names: Vec<&str> = lines[7..]
        .iter()
        .copied()
        .filter(|n| *n != "_" && *n != "SHLVL")
        .collect();
    assert_eq!(names, ["MINE", "PATH"]);
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    node.end(&client, &mut notices).await;
    holder.wait().unwrap();
}

#[tokio::test]
async fn the_software_runs_as_its_user_with_that_users_groups() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root may switch users");
        return;
    }
    let (node, _client, _notices) = Node::start().await;
    let mut spec = node.spec(1, &["/bin/sh", "-c", "id -un; id -G"]);
    spec.user = Some("nobody".to_owned());
    spec.refuse_io_uring = true;
    let expected = Command::new("id").args(["-G", "nobody"]).output().unwrap();
    let expected = String::from_utf8(expected.stdout).unwrap();
    assert_eq!(output_of(&node, spec).await, format!("nobody\n{expected}"));
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    node.end(&client, &mut notices).await;
}

/// Without the right to make control groups the child is known by its descent.
#[tokio::test]
async fn an_ordinary_users_holder_ends_everything_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "skipped: only root may become somebody else; the other tests have shown it then"
        );
        return;
    }
    let node = Node {
        directory: tempfile::tempdir().unwrap(),
    };
    let nobody = Command::new("id").args(["-u", "nobody"]).output().unwrap();
    let nobody = String::from_utf8(nobody.stdout).unwrap().trim().to_owned();
    chown(node.data(), Some(nobody.parse().unwrap()), None).unwrap();
    std::fs::set_permissions(node.data(), Permissions::from_mode(0o755)).unwrap();
    let program = node.data().join("upstart");
    std::fs::copy(upstart(), &program).unwrap();
    let mut holder = Command::new("setpriv")
        .args(["--reuid", &nobody, "--clear-groups"])
        .arg(&program)
        .args(["holder", "--data"])
        .arg(node.data())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the holder listens", || {
        agent::holder::name_path(node.data()).exists()
    });
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    let (script, file) = node.script_of_two();
    let pid = client
        .start(node.spec(1, &["sh", "-c", &script]))
        .await
        .unwrap();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(!cgroup.contains("upstart-"), "{cgroup}");
    let daemon = second_of_two(&file);
    kill(pid);
    wait_for("the main process's end", || !alive(pid));
    assert!(alive(daemon));
    client.kill().await.unwrap();
    assert_eq!(exit(&mut notices).await.signal, Some(9));
    assert!(!alive(daemon));
    // And what the main process leaves behind gets the signal.
    std::fs::remove_file(&file).unwrap();
    client
        .start(node.spec(2, &["sh", "-c", &script]))
        .await
        .unwrap();
    wait_for("the second process again", || file.exists());
    client
        .stop(15, false, crate::support::PATIENCE)
        .await
        .unwrap();
    let end = exit(&mut notices).await;
    assert_eq!((end.signal, end.killed), (Some(15), None));
    node.end(&client, &mut notices).await;
    holder.wait().unwrap();
}
