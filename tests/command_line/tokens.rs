//! Who is believed, and who is told the token.

use crate::upstart::{Server, free_port, run, upstart};
use kit::wait_for;
use rustix::process::Uid;
use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// An ordinary user who owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) fn as_nobody(mut command: Command) -> Command {
    command.uid(NOBODY).gid(NOBODY);
    command
}

/// Whether this test may become somebody else, and that one may run the binary; says so where not.
pub(crate) fn can_be_nobody(test: &str) -> bool {
    let can = as_nobody(upstart()).arg("--version").output().is_ok();
    if !can {
        println!("SKIPPED: {test}: needs root, and a program that everybody may run");
    }
    can
}

/// What an ordinary user's program would have made.
pub(crate) fn made_by_nobody<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(Uid::from_raw(NOBODY)).expect("root can");
        make()
    });
    thread.join().expect("made")
}

/// An address of this host that is not loopback's, where it has one.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses a way.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The numbers of the processes that were told of a node's directory.
pub(crate) fn processes_of(data: &Path) -> String {
    let found = Command::new("pgrep").arg("-f").arg(data).output();
    String::from_utf8_lossy(&found.expect("it runs").stdout).into_owned()
}

pub(crate) fn nobody_called(listener: &TcpListener) {
    let called = listener.accept().expect_err("nobody called");
    assert_eq!(called.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_server_makes_its_token_and_commands_of_its_user_find_it() {
    let server = Server::start_with_its_own_token();
    let file = server.folder().join("data/token");
    let mode = std::fs::metadata(&file).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    for url in [
        server.url().to_owned(),
        server.url().replace("127.0.0.1", "localhost"),
    ] {
        run(upstart().args(["status", "--server", &url])).expect(0);
    }
    let mut given = upstart();
    given.args(["status", "--server", server.url(), "--token-file"]);
    run(given.arg(&file)).expect(0);
}

#[test]
fn other_users_are_not_told_the_token_and_can_do_nothing() {
    let test = "other_users_are_not_told_the_token_and_can_do_nothing";
    if !can_be_nobody(test) {
        return;
    }
    let server = Server::start_with_its_own_token();
    for words in [&["status"][..], &["pause"], &["retire", "1"]] {
        let mut command = as_nobody(upstart());
        command.args(words).args(["--server", server.url()]);
        let said = run(&mut command).expect_advice(2).stderr();
        assert!(said.contains("--token-file"), "{said}");
    }
    let file = server.folder().join("data/token");
    let mut stolen = as_nobody(upstart());
    stolen.args(["status", "--server", server.url(), "--token-file"]);
    run(stolen.arg(file)).expect_advice(2);
}

#[test]
fn a_server_that_somebody_else_runs_is_not_believed_without_its_token() {
    let test = "a_server_that_somebody_else_runs_is_not_believed_without_its_token";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut server = as_nobody(upstart());
    server
        .args(["server", "--listen", &url["http://".len()..], "--data"])
        .arg(folder.path().join("data"));
    let mut server = server.spawn().expect("starts");
    let token = folder.path().join("data/token");
    let status = || {
        let mut command = upstart();
        command.args(["status", "--server", &url, "--token-file"]);
        run(command.arg(&token))
    };
    // With the token it is our own business whom we believe.
    while status().code() != Some(0) {
        assert!(server.try_wait().expect("waits").is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let without = run(upstart().args(["status", "--server", &url]));
    server.kill().expect("killed");
    server.wait().expect("reaped");
    let said = without.expect_advice(2).stderr();
    assert!(
        said.contains(&format!("a program of user {NOBODY}")),
        "{said}"
    );
}

/// What listens at a loopback address and tells no token is asked nothing: it could say anything.
#[test]
fn a_program_that_only_has_the_port_is_asked_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let said = run(upstart().args(["status", "--server", &url]))
        .expect_advice(2)
        .stderr();
    assert!(said.contains("gives no token"), "{said}");
    let called = listener.accept();
    assert_eq!(
        called.expect_err("nobody").kind(),
        std::io::ErrorKind::WouldBlock
    );
}

/// An agent whose configuration, this very file, holds the token.
pub(crate) fn agent_with_token(file: &Path, data: &Path) -> Command {
    let text = format!(
        "data = '{}'\nname = 'a'\nclass = 'c'\nservers = ['http://127.0.0.1:9']\ntoken = 't'\n",
        data.display()
    );
    let mode = std::fs::metadata(file).expect("there").permissions();
    let config = file.with_extension("toml");
    std::fs::write(&config, text).expect("written");
    std::fs::set_permissions(&config, mode).expect("set");
    let mut agent = upstart();
    agent.args(["agent", "--config"]).arg(config);
    agent
}

#[test]
fn no_proxy_is_ever_given_the_token() {
    let server = Server::start();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("set");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let mut command = server.upstart();
    command
        .arg("status")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
    ] {
        command.env(name, &url);
    }
    run(&mut command).expect(0);
    let called = proxy.accept();
    assert_eq!(
        called.expect_err("nobody").kind(),
        std::io::ErrorKind::WouldBlock
    );
}

/// Whoever takes the server's port while it is away hears neither a request nor a token, whatever address of this host it is.
#[test]
fn a_stranger_who_has_the_servers_port_is_asked_nothing_and_shown_no_token() {
    let test = "a_stranger_who_has_the_servers_port_is_asked_nothing_and_shown_no_token";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let token = folder.path().join("token");
    std::fs::write(&token, crate::upstart::TOKEN).expect("written");
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("set");
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    match own_address() {
        Some(own) => addresses.push(own),
        None => println!("SKIPPED: {test}: an address besides loopback's: there is none"),
    }
    for address in addresses {
        let thief = made_by_nobody(move || TcpListener::bind((address, 0)).expect("a port"));
        thief.set_nonblocking(true).expect("set");
        let url = format!("http://{}", thief.local_addr().expect("an address"));
        let status = || {
            let mut command = upstart();
            command.args(["status", "--server", &url]);
            command
        };
        for mut command in
            [status(), status(), status()]
                .into_iter()
                .enumerate()
                .map(|(given, mut command)| {
                    match given {
                        0 => &mut command,
                        1 => command.env("UPSTART_TOKEN", crate::upstart::TOKEN),
                        _ => command.arg("--token-file").arg(&token),
                    };
                    command
                })
        {
            let said = run(&mut command).expect_advice(2).stderr();
            let stranger = format!("a program of user {NOBODY}");
            assert!(said.contains(&stranger), "{said}");
            nobody_called(&thief);
        }
    }
}

/// A name of this host may mean several addresses: only the one is called whose listener was looked at.
#[test]
fn a_stranger_at_another_address_of_the_servers_name_is_not_called() {
    let test = "a_stranger_at_another_address_of_the_servers_name_is_not_called";
    if !can_be_nobody(test) {
        return;
    }
    let server = Server::start_with_its_own_token();
    let (_, port) = server.url().rsplit_once(':').expect("a port");
    let at = (IpAddr::V6(Ipv6Addr::LOCALHOST), port.parse().expect("one"));
    let thief = made_by_nobody(move || TcpListener::bind(at).expect("a port"));
    thief.set_nonblocking(true).expect("set");
    let url = format!("http://localhost:{port}");
    run(upstart().args(["status", "--server", &url])).expect(0);
    nobody_called(&thief);
}

#[test]
fn a_server_on_another_host_is_not_asked_without_its_token() {
    let elsewhere = run(upstart().args(["status", "--server", "https://192.0.2.1:9"]));
    let said = elsewhere.expect_advice(2).stderr();
    assert!(said.contains("on another host"), "{said}");
    assert!(said.contains("--token-file"), "{said}");
    let token = ("UPSTART_TOKEN", "a-token-without-a-pin");
    let mut unpinned = upstart();
    unpinned.args(["status", "--server", "https://192.0.2.1:9"]);
    let said = run(unpinned.env(token.0, token.1))
        .expect_advice(2)
        .stderr();
    assert!(said.contains("which servers it is for"), "{said}");
    let mut plain = upstart();
    plain.args(["status", "--server", "http://192.0.2.1:9"]);
    let said = run(plain.env(token.0, token.1)).expect_advice(2).stderr();
    assert!(said.contains("could read along"), "{said}");
    assert!(said.contains("https://"), "{said}");
}

/// Who takes the name of the socket at which a server tells its token is named, and shuts out nobody once he has gone.
#[test]
fn a_stranger_who_takes_the_socket_of_the_token_is_named_and_waited_for() {
    let test = "a_stranger_who_takes_the_socket_of_the_token_is_named_and_waited_for";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let listen = format!("127.0.0.1:{}", free_port());
    let name = format!("upstart-server/{listen}");
    let squatted = name.clone();
    let squatter = made_by_nobody(move || {
        let name = SocketAddr::from_abstract_name(squatted).expect("a name");
        UnixListener::bind_addr(&name).expect("taken")
    });
    let log = std::fs::File::create(folder.path().join("log")).expect("a file");
    let mut server = upstart()
        .args(["server", "--listen", &listen, "--data"])
        .arg(folder.path().join("data"))
        .stderr(log)
        .spawn()
        .expect("starts");
    let token = folder.path().join("data/token");
    let url = format!("http://{listen}");
    let status = || {
        let mut command = upstart();
        command.args(["status", "--server", &url]);
        command
    };
    wait_for("a server with its token", || {
        run(status().arg("--token-file").arg(&token)).code() == Some(0)
    });
    let said = run(&mut status()).expect_advice(2).stderr();
    assert!(said.contains(&format!("user {NOBODY} has taken")), "{said}");
    assert!(said.contains(&name), "{said}");
    let shown = run(status().arg("--token-file").arg(&token)).stdout();
    assert!(shown.contains(&name), "{shown}");
    drop(squatter);
    wait_for("a server that tells its token", || {
        run(&mut status()).code() == Some(0)
    });
    server.kill().expect("killed");
    server.wait().expect("reaped");
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert_eq!(log.matches("cannot be had").count(), 1, "{log}");
    assert!(log.contains("by themselves again"), "{log}");
}

/// An agent that may not be told the token says so, once, and how to give it; where nothing ever ran it leaves nothing behind.
#[test]
fn an_agent_that_is_not_told_the_token_says_how_to_give_it_and_leaves_nothing() {
    let test = "an_agent_that_is_not_told_the_token_says_how_to_give_it_and_leaves_nothing";
    if !can_be_nobody(test) {
        return;
    }
    let server = Server::start_with_its_own_token();
    let folder = tempfile::tempdir().expect("a directory");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
    let data = folder.path().join("data");
    let mut agent = as_nobody(upstart());
    agent.args(["agent", "--name", "a", "--class", "c"]);
    agent.args(["--server", server.url(), "--data"]).arg(&data);
    let log = folder.path().join("log");
    let stderr = std::fs::File::create(&log).expect("a file");
    let mut agent = agent.stderr(stderr).spawn().expect("starts");
    let said = || std::fs::read_to_string(&log).expect("a log");
    wait_for("a line of the agent's", || {
        said().contains("not enrolled yet")
    });
    // It has asked again meanwhile.
    std::thread::sleep(Duration::from_millis(2_500));
    let process = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("asked");
    assert!(agent.wait().expect("reaped").success(), "{}", said());
    let said = said();
    assert_eq!(said.matches("not enrolled yet").count(), 1, "{said}");
    assert!(!said.contains("no upgrade server answers"), "{said}");
    assert!(said.contains("--token-file"), "{said}");
    assert!(processes_of(&data).is_empty(), "a holder is left");
}

#[test]
fn who_may_not_look_into_a_data_directory_is_told_whose_it_is() {
    let test = "who_may_not_look_into_a_data_directory_is_told_whose_it_is";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("set");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    for (file, mode) in [
        ("journal", 0o600),
        ("journal.lock", 0o600),
        ("output.log", 0o600),
    ] {
        let file = data.join(file);
        std::fs::write(&file, "").expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("set");
    }
    for mode in [0o711, 0o700] {
        std::fs::set_permissions(&data, Permissions::from_mode(mode)).expect("set");
        for word in ["logs", "stop", "claim"] {
            let mut command = as_nobody(upstart());
            command.args([word, "--data"]).arg(&data);
            let said = run(command.stdin(Stdio::null())).expect_advice(2).stderr();
            assert!(said.contains("belongs to user 0"), "{word}: {said}");
        }
    }
}
