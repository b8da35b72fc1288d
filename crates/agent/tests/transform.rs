//! Transforms under their contract: what they may, what they may not, and how their failures are told apart.

#![allow(missing_docs, clippy::unwrap_used)]

use agent::transform::{TransformError, TransformRun};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

struct Ground {
    directory: tempfile::TempDir,
    user: Option<String>,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["old", "new", "adapter-in", "bundle", "outside"] {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        for folder in ["old", "new"] {
            fs::write(directory.path().join(folder).join("data"), "one\n").unwrap();
        }
        Self {
            directory,
            user: None,
        }
    }

    /// The same for a user without rights.
    fn of_nobody() -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: only root may switch users");
            return None;
        }
        let mut ground = Self::new();
        ground.user = Some("nobody".to_owned());
        fs::set_permissions(ground.path(""), Permissions::from_mode(0o755)).unwrap();
        for path in ["old", "old/data", "new", "new/data", "outside"] {
            chown(ground.path(path), Some(id("-u")), Some(id("-g"))).unwrap();
        }
        Some(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn script(&self, script: &str) -> TransformRun {
        self.command(&["sh", "-c", script])
    }

    fn command(&self, command: &[&str]) -> TransformRun {
        let outside = self.path("outside");
        TransformRun {
            upstart_binary: PathBuf::from(env!("CARGO_BIN_EXE_processes")),
            command: command.iter().map(ToString::to_string).collect(),
            environment: BTreeMap::from([
                ("OUTSIDE".to_owned(), outside.to_str().unwrap().to_owned()),
                ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ]),
            directory: self.path("bundle"),
            readable: Vec::new(),
            user: self.user.clone(),
            old_state: self.path("old"),
            new_state: self.path("new"),
            adapter_state_in: self.path("adapter-in"),
            adapter_state_out: self.path("adapter-out"),
            scratch: self.path("scratch"),
            time_limit: Duration::from_secs(30),
        }
    }

    async fn fails(&self, script: &str) -> (String, Option<i32>) {
        match self.script(script).run().await {
            Err(TransformError::Failed {
                output, exit_code, ..
            }) => (output, exit_code),
            other => panic!("{other:?}"),
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn id(option: &str) -> u32 {
    let output = Command::new("id")
        .args([option, "nobody"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

const GOOD: &str = "set -e
    cat ../bundle/part ${UPSTART_OLD_STATE}/data > /dev/null
    test -d \"$UPSTART_ADAPTER_STATE_IN\"
    echo two >> \"$UPSTART_NEW_STATE/data\"
    mkdir \"$UPSTART_NEW_STATE/folder\"
    echo state > \"$UPSTART_ADAPTER_STATE_OUT/file\"
    echo x > \"$(mktemp)\"
    id -un; pwd";

#[tokio::test]
async fn a_transform_writes_the_new_state_and_the_adapters() {
    let ground = Ground::new();
    fs::write(ground.path("bundle/part"), "").unwrap();
    ground.script(GOOD).run().await.unwrap();
    let new = fs::read_to_string(ground.path("new/data")).unwrap();
    let old = fs::read_to_string(ground.path("old/data")).unwrap();
    assert_eq!((new.as_str(), old.as_str()), ("one\ntwo\n", "one\n"));
    assert!(ground.path("new/folder").is_dir());
    assert!(ground.path("adapter-out/file").exists());
    assert!(!ground.path("scratch").exists());
    // Restartable: the same again is no error of the runner's.
    fs::remove_dir(ground.path("new/folder")).unwrap();
    ground.script(GOOD).run().await.unwrap();
}

#[tokio::test]
async fn a_transform_runs_as_the_softwares_user() {
    let Some(ground) = Ground::of_nobody() else {
        return;
    };
    fs::write(ground.path("bundle/part"), "").unwrap();
    ground.script(GOOD).run().await.unwrap();
    let made = fs::metadata(ground.path("new/folder")).unwrap();
    assert_eq!((made.uid(), made.gid()), (id("-u"), id("-g")));
}

/// Each line tries what is forbidden and says so if it works.
const FORBIDDEN: &str = "
    (echo x > \"$UPSTART_OLD_STATE/data\") 2>/dev/null && echo wrote the old state
    (echo x > \"$UPSTART_OLD_STATE/more\") 2>/dev/null && echo made a file in the old state
    rm -f \"$UPSTART_OLD_STATE/data\" 2>/dev/null && echo removed from the old state
    mv \"$UPSTART_OLD_STATE/data\" \"$UPSTART_NEW_STATE/moved\" 2>/dev/null && echo moved from the old state
    (: > \"$UPSTART_OLD_STATE/data\") 2>/dev/null && echo cut the old state
    (echo x > \"$OUTSIDE/file\") 2>/dev/null && echo wrote outside
    (echo x > /tmp/upstart-transform-test) 2>/dev/null && echo wrote to /tmp
    (echo x > \"$UPSTART_ADAPTER_STATE_IN/file\") 2>/dev/null && echo wrote the adapter state that was
    cat \"$OUTSIDE/secret\" 2>/dev/null && echo read outside
    (echo x > ./file) 2>/dev/null && echo wrote the bundle
    umount \"$UPSTART_OLD_STATE\" 2>/dev/null && echo unmounted the old state
    mount -o remount,bind,rw \"$UPSTART_OLD_STATE\" 2>/dev/null && echo remounted the old state
    ls /proc/1/root/ >/dev/null 2>&1 && echo looked around by /proc
    exit 7";

#[tokio::test]
async fn nothing_else_can_be_written_not_even_by_root() {
    let grounds = [Some(Ground::new()), Ground::of_nobody()];
    for ground in grounds.into_iter().flatten() {
        fs::write(ground.path("outside/secret"), "secret").unwrap();
        let (output, code) = ground.fails(FORBIDDEN).await;
        assert_eq!((output.as_str(), code), ("", Some(7)));
        let old = fs::read_to_string(ground.path("old/data")).unwrap();
        assert_eq!(old, "one\n");
    }
}

#[tokio::test]
async fn modes_and_times_of_the_old_state_stay_too() {
    let ground = Ground::new();
    let before = fs::metadata(ground.path("old/data")).unwrap();
    let script = "chmod 777 \"$UPSTART_OLD_STATE/data\" && echo changed the mode
        touch -d 2001-01-01 \"$UPSTART_OLD_STATE/data\" && echo changed the time
        exit 1";
    let (output, _) = ground.fails(script).await;
    if output.contains("changed") && !is_root() {
        eprintln!("skipped: no user namespaces here");
        return;
    }
    let after = fs::metadata(ground.path("old/data")).unwrap();
    assert_eq!(
        (before.mode(), before.mtime()),
        (after.mode(), after.mtime())
    );
    assert!(!output.contains("changed"), "{output}");
}

const NETWORK: &str = "import socket, sys
try:
    socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)
except OSError as error:
    sys.exit(f'refused: {error.errno}')
print('connected')";

#[tokio::test]
async fn there_is_no_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let bare = Command::new("/usr/bin/env")
        .args(["python3", "-c", NETWORK, &port])
        .output()
        .unwrap();
    assert_eq!(bare.stdout, b"connected\n");
    let ground = Ground::new();
    let transform = ground.command(&["python3", "-c", NETWORK, &port]);
    match transform.run().await {
        Err(TransformError::Failed { output, .. }) => {
            assert!(output.starts_with("refused: "), "{output}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failure_brings_its_code_and_the_end_of_its_output() {
    let ground = Ground::new();
    let (output, code) = ground
        .fails("seq 1 100000; echo the last word >&2; exit 3")
        .await;
    assert_eq!(code, Some(3));
    assert!(output.ends_with("100000\nthe last word\n"));
    assert!(
        output.len() <= 17 * 1024 && output.starts_with("...\n"),
        "{}",
        output.len()
    );
    let (_, code) = ground.fails("kill -9 $$").await;
    assert_eq!(code, None);
    let error = ground
        .command(&["/nowhere/program"])
        .run()
        .await
        .unwrap_err();
    assert!(matches!(error, TransformError::NotRun(_)), "{error}");
    assert!(error.to_string().contains("/nowhere/program"), "{error}");
}

/// Neither a service that listens at a path nor a process outside can be reached, not even by root.
#[tokio::test]
async fn neither_sockets_nor_processes_outside_are_reached() {
    let listener = tempfile::tempdir().unwrap();
    fs::set_permissions(listener.path(), Permissions::from_mode(0o777)).unwrap();
    let path = listener.path().join("socket");
    let _service = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let mut outside = Command::new("sleep").arg("60").spawn().unwrap();
    let script = format!(
        r#"
import os, socket, sys
socket.socketpair()
try:
    socket.socket(socket.AF_UNIX).connect({:?})
    print("reached a socket")
except PermissionError:
    pass
try:
    os.kill({}, 0)
    print("reached a process")
except PermissionError:
    pass
os.kill(os.getpid(), 0)
sys.exit(7)
"#,
        path.display().to_string(),
        outside.id()
    );
    for ground in [Some(Ground::new()), Ground::of_nobody()]
        .into_iter()
        .flatten()
    {
        let transform = ground.command(&["python3", "-c", &script]);
        match transform.run().await {
            Err(TransformError::Failed {
                output, exit_code, ..
            }) => assert_eq!((output.as_str(), exit_code), ("", Some(7))),
            other => panic!("{other:?}"),
        }
    }
    outside.kill().unwrap();
    outside.wait().unwrap();
}

fn processes_with(word: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            let own = entry.file_name().to_str() == Some(&std::process::id().to_string());
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            !own && String::from_utf8_lossy(&line).contains(word)
        })
        .count()
}

async fn until_gone(word: &str) {
    let begun = Instant::now();
    while processes_with(word) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{word} is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_transform_that_takes_too_long_is_killed_with_all_its_processes() {
    let ground = Ground::new();
    let mut transform = ground.script("echo begun; setsid sleep 31415 & sleep 31415");
    transform.time_limit = Duration::from_millis(300);
    match transform.run().await {
        Err(TransformError::TimedOut { limit_ms, output }) => {
            assert_eq!((limit_ms, output.as_str()), (300, "begun\n"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(processes_with("sleep\u{0}31415"), 0);
    // What is left behind by one that ended in time goes too.
    ground
        .script("setsid sleep 31415 >/dev/null & true")
        .run()
        .await
        .unwrap();
    assert_eq!(processes_with("sleep\u{0}31415"), 0);
}

#[tokio::test]
async fn a_run_that_is_given_up_is_killed() {
    let ground = Ground::new();
    let transform = ground.script("sleep 27182");
    let run = tokio::spawn(async move { transform.run().await });
    let begun = Instant::now();
    while processes_with("sleep\u{0}27182") == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it does not begin"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.abort();
    until_gone("sleep\u{0}27182").await;
}

#[tokio::test]
async fn a_full_disk_is_no_failure_of_the_transforms() {
    let ground = Ground::new();
    let error = ground
        .script("echo 'cp: No space left on device'; exit 1")
        .run()
        .await
        .unwrap_err();
    assert!(matches!(error, TransformError::NoSpace { .. }), "{error}");
    if !is_root() {
        eprintln!("skipped: only root may mount a small file system");
        return;
    }
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "none"])
        .arg(ground.path("new"))
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    let fill = "dd if=/dev/zero of=\"$UPSTART_NEW_STATE/big\" bs=1M count=8 2>/dev/null";
    let outcome = ground.script(fill).run().await;
    unmount(&ground.path("new"));
    assert!(
        matches!(outcome, Err(TransformError::NoSpace { .. })),
        "{outcome:?}"
    );
}

fn unmount(at: &Path) {
    Command::new("umount").arg(at).status().unwrap();
}

/// The same walls for an ordinary user, by user namespaces.
#[test]
fn an_ordinary_users_agent_has_the_same_walls() {
    if !is_root() {
        eprintln!("skipped: the other tests have shown it");
        return;
    }
    let ground = tempfile::tempdir().unwrap();
    fs::set_permissions(ground.path(), Permissions::from_mode(0o777)).unwrap();
    let copies = [
        (
            std::env::current_exe().unwrap(),
            ground.path().join("tests"),
        ),
        (
            PathBuf::from(env!("CARGO_BIN_EXE_processes")),
            ground.path().join("processes"),
        ),
    ];
    for (from, to) in &copies {
        fs::copy(from, to).unwrap();
    }
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            "nobody",
            "--regid",
            &id("-g").to_string(),
            "--clear-groups",
        ])
        .arg(&copies[0].1)
        .args(["--ignored", "--exact", "part_ordinary_user", "--nocapture"])
        .env("TMPDIR", ground.path())
        .env("PART_PROCESSES", &copies[1].1)
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("walls stand"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "a part that another test plays"]
async fn part_ordinary_user() {
    let ground = Ground::new();
    let processes = PathBuf::from(std::env::var("PART_PROCESSES").unwrap());
    fs::write(ground.path("outside/secret"), "secret").unwrap();
    fs::write(ground.path("bundle/part"), "").unwrap();
    let mut transform = ground.script(GOOD);
    transform.upstart_binary.clone_from(&processes);
    transform.run().await.unwrap();
    let mut transform = ground.script(&format!(
        "chmod 700 \"$UPSTART_OLD_STATE/data\" 2>/dev/null && echo changed the mode
        tail -n +3 /proc/net/dev | grep -v lo: ; {FORBIDDEN}"
    ));
    transform.upstart_binary = processes;
    match transform.run().await {
        Err(TransformError::Failed {
            output, exit_code, ..
        }) => {
            assert_eq!((output.as_str(), exit_code), ("", Some(7)));
        }
        other => panic!("{other:?}"),
    }
    println!("walls stand");
}
