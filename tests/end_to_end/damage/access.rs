//! Who else may read and write in a data directory.

use super::*;

#[test]
fn what_is_the_agents_alone_is_private() {
    let (system, node) = serving();
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    // Software that begins as root may become another user, who must enter its state.
    let state = if rustix::process::geteuid().is_root() {
        0o711
    } else {
        0o700
    };
    for (path, expected) in [
        ("", 0o711),
        ("artifacts", 0o700),
        ("from-server", 0o700),
        ("adapters", 0o700),
        ("journal", 0o600),
        ("journal.witness", 0o600),
        ("journal.lock", 0o600),
        ("holder.lock", 0o600),
        ("holder.log", 0o600),
        ("versions", 0o711),
        ("versions/1.1/state", state),
        ("versions/1.1/bundle/upgrade.toml", 0o600),
    ] {
        assert_eq!(mode(&node.data.join(path)), expected, "{path}");
    }
    assert_eq!(mode(&system.folder().join("server")), 0o700);
}

#[test]
fn whatever_umask_an_agent_is_started_with_nobody_else_writes_to_what_it_makes() {
    let system = System::with(&Boxes::version(1).bundle());
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut node = system.settled_box("a", 1, 1);
    let software = node.running_child();
    let status = std::fs::read_to_string(format!("/proc/{software}/status")).expect("it runs");
    assert!(
        status.contains("Umask:\t0000"),
        "the software has another umask than it was given: {status}"
    );
    // Before and after the agent has begun anew, by itself and by hand.
    for again in [false, true] {
        if again {
            node.end_agent();
            node.stop_software();
            node.start_agent();
            node.running_child();
        }
        let find = Command::new("find")
            .arg(&node.data)
            .args(["-path", "*/state", "-prune", "-o", "-type", "l", "-o"])
            .args(["-perm", "/022", "-print"])
            .output()
            .expect("runs");
        let open = String::from_utf8_lossy(&find.stdout);
        assert!(find.status.success() && open.is_empty(), "{open}");
    }
}

#[test]
fn a_data_directory_that_others_can_change_is_not_used() {
    let (_system, mut node) = serving();
    node.end_agent();
    node.stop_software();
    // Sticky or not; and what others have made before the first start, or could change since.
    for (name, open) in [
        ("", 0o777),
        ("", 0o1777),
        ("lib", 0o777),
        ("versions", 0o1777),
    ] {
        let folder = node.data.join(name);
        std::fs::set_permissions(&folder, Permissions::from_mode(open)).expect("opened");
        node.start_agent();
        let said = node.until_agent_gives_up();
        assert!(
            said.contains("can be written by everybody") && said.contains("chmod"),
            "{said}"
        );
        std::fs::set_permissions(&folder, Permissions::from_mode(0o711)).expect("closed");
    }
    node.start_agent();
    node.running_child();
}
