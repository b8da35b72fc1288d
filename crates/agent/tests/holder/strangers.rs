//! Who is heard as a hook: processes of the child's group, whatever strangers call theirs.

use crate::support::{Node, hook, next};
use agent::holder_client::{HolderClient, HolderNotice};
use intercept::hook_protocol::HookMessage;
use rustix::net::RecvFlags;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the parts say that they listen.
const CHILDS: &str = "192.0.2.1:1";
const STRANGERS: &str = "192.0.2.2:2";

/// The part of a process that says as a hook where it listens, and waits until it was heard or turned away.
#[test]
#[ignore = "a part that another test plays"]
fn part_speaker() {
    let variable = |name| std::env::var(name).unwrap();
    if let Ok(sign) = std::env::var("PART_WAITS") {
        kit::wait_for("the sign", || Path::new(&sign).exists());
    }
    let local: SocketAddr = variable("PART_ADDRESS").parse().unwrap();
    let message = HookMessage::Listening { local };
    // One that is turned away may be so before it has said anything.
    if let Ok(said) = hook::say(&variable("UPSTART_HOLDER"), message, None) {
        rustix::net::recv(&said, &mut [0; 8], RecvFlags::empty()).ok();
    }
    if let Ok(sign) = std::env::var("PART_SPOKE") {
        std::fs::write(sign, "").unwrap();
    }
    // Lives on, so that it can be looked up.
    if std::env::var("PART_STAYS").is_ok() {
        loop {
            std::thread::park();
        }
    }
}

/// A control group of another place, with a name that somebody else's has; removed at the end.
struct Forged(PathBuf);

impl Forged {
    fn of(group: &Path) -> std::io::Result<Self> {
        let mount = group
            .ancestors()
            .filter(|folder| folder.join("cgroup.procs").exists())
            .last()
            .unwrap();
        let delegated = mount.join(format!("upstart-test-delegated-{}", std::process::id()));
        let forged = Self(delegated.join(group.file_name().unwrap()));
        std::fs::create_dir_all(&forged.0)?;
        Ok(forged)
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
        std::fs::remove_dir(self.0.parent().unwrap()).ok();
    }
}

#[tokio::test]
async fn a_group_of_the_same_name_elsewhere_is_a_strangers() {
    let (node, client, mut notices) = Node::start().await;
    let child = node.part(
        1,
        "strangers::part_speaker",
        &[("PART_ADDRESS", CHILDS), ("PART_STAYS", "1")],
    );
    client.start(child).await.unwrap();
    loop {
        if let HolderNotice::Listening(address) = next(&mut notices).await {
            assert_eq!(address, CHILDS.parse().unwrap());
            break;
        }
    }
    let (client, mut notices) = {
        drop((client, notices));
        HolderClient::attach(node.data()).await.unwrap()
    };
    let group = client.state().group.clone().map(PathBuf::from);
    let forged = group.as_deref().map(Forged::of);
    let Some(Ok(forged)) = forged else {
        println!(
            "SKIPPED: a_group_of_the_same_name_elsewhere_is_a_strangers: no control group can be made here"
        );
        return node.end(&client, &mut notices).await;
    };
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let script = format!(
        "echo 0 > {}/cgroup.procs && exec {program} --ignored --exact part_speaker",
        forged.0.display()
    );
    let spoke = Command::new("sh")
        .args(["-c", &script])
        .env("PART_ADDRESS", STRANGERS)
        .env("UPSTART_HOLDER", node.hook_name())
        .status()
        .unwrap();
    assert!(spoke.success(), "{spoke}");
    drop((client, notices));
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    let heard = client.state().listening.clone();
    assert_eq!(heard, [CHILDS.parse().unwrap()]);
    drop(forged);
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn what_a_lost_holder_left_outside_is_ended_and_not_heard() {
    let (node, client, _) = Node::start().await;
    let (sign, spoke) = (node.data().join("sign"), node.data().join("spoke"));
    let mut stray = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "strangers::part_speaker"])
        .env("PART_ADDRESS", STRANGERS)
        .env("PART_STAYS", "1")
        .env("PART_WAITS", &sign)
        .env("PART_SPOKE", &spoke)
        .env("UPSTART_HOLDER", node.hook_name())
        .spawn()
        .unwrap();
    kit::kill(client.process().unwrap());
    kit::wait_for("the holder's end", || {
        agent::holder::owner(node.data()).is_none()
    });
    let (client, notices) = HolderClient::attach_or_spawn(crate::support::upstart(), node.data())
        .await
        .unwrap();
    let child = client.state().child.clone();
    assert!(child.is_some(), "it is not taken for the node's");
    std::fs::write(&sign, "").unwrap();
    kit::wait_for("it to have spoken", || spoke.exists());
    drop((client, notices));
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    assert_eq!(client.state().listening, []);
    node.end(&client, &mut notices).await;
    stray.wait().unwrap();
}
