//! A holder of a test's own, and the parts that the test's program plays in other processes.

#![allow(unreachable_pub)]

use agent::holder_client::{HolderClient, HolderNotice, HolderNotices};
use intercept::holder::{ChildExit, ChildSpec};
use kit::{kill, wait_for};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A port of this program's own range.
pub fn free_port() -> u16 {
    kit::free_port(25_000..27_500)
}

pub fn upstart() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_processes"))
}

/// A data directory with a holder; both end with the test.
pub struct Node {
    pub directory: tempfile::TempDir,
}

impl Node {
    pub async fn start() -> (Self, HolderClient, HolderNotices) {
        let node = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let (client, notices) = HolderClient::attach_or_spawn(upstart(), node.data())
            .await
            .unwrap();
        (node, client, notices)
    }

    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    pub fn output(&self) -> PathBuf {
        self.data().join("output.log")
    }

    pub fn hook_name(&self) -> String {
        std::fs::read_to_string(agent::holder::name_path(self.data())).unwrap()
    }

    pub fn spec(&self, generation: u64, command: &[&str]) -> ChildSpec {
        let path = std::env::var("PATH").unwrap();
        ChildSpec {
            generation,
            command: command.iter().map(ToString::to_string).collect(),
            environment: BTreeMap::from([("PATH".to_owned(), path)]),
            directory: "/".to_owned(),
            user: None,
            output: self.output().to_str().unwrap().to_owned(),
            refuse_io_uring: false,
            no_new_privileges: true,
            signs: true,
        }
    }

    /// This very test program in another part: the ignored test `part`, told by environment variables.
    pub fn part(&self, generation: u64, part: &str, variables: &[(&str, &str)]) -> ChildSpec {
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let mut spec = self.spec(
            generation,
            &[program, "--ignored", "--exact", part, "--nocapture"],
        );
        for (name, value) in variables {
            spec.environment
                .insert((*name).to_owned(), (*value).to_owned());
        }
        spec.environment
            .insert("UPSTART_HOLDER".to_owned(), self.hook_name());
        spec
    }

    /// A script whose second process is in a session of its own, and the file in which that leaves its number.
    pub fn script_of_two(&self) -> (String, PathBuf) {
        let file = self.data().join("pid");
        let script = format!(
            "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' & exec sleep 1000",
            file.display()
        );
        (script, file)
    }

    /// Ends child and holder.
    pub async fn end(self, client: &HolderClient, notices: &mut HolderNotices) {
        client.kill().await.unwrap();
        let begun = Instant::now();
        while client.exit().await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "the holder does not end");
            tokio::time::timeout(Duration::from_millis(50), notices.recv())
                .await
                .ok();
        }
        let socket = agent::holder::socket_path(self.data());
        wait_for("the holder's end", || !socket.exists());
    }
}

impl Drop for Node {
    /// A test that failed leaves no processes behind: everything that names the data directory is the holder.
    fn drop(&mut self) {
        let data = self.data().to_str().unwrap().to_owned();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_str().unwrap_or("").parse::<i32>() else {
                continue;
            };
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if line.contains("holder\0") && line.contains(&data) {
                kill(pid);
            }
        }
    }
}

/// The second process of such a script.
pub fn second_of_two(file: &Path) -> i32 {
    wait_for("the second process", || file.exists());
    let number = std::fs::read_to_string(file).unwrap();
    number.trim().parse().unwrap()
}

pub async fn next(notices: &mut HolderNotices) -> HolderNotice {
    tokio::time::timeout(PATIENCE, notices.recv())
        .await
        .expect("news in time")
        .expect("a holder")
}

/// The child's end; other news before it are passed over.
pub async fn exit(notices: &mut HolderNotices) -> ChildExit {
    loop {
        if let HolderNotice::ChildExited(exit) = next(notices).await {
            return exit;
        }
    }
}

/// What a hook in the software's process does, without the library.
pub mod hook {
    use intercept::hook_protocol::{HookMessage, HookReply, MESSAGE_BYTES_MAX};
    use rustix::net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType,
    };
    use std::io::{IoSlice, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    pub fn say(
        name: &str,
        message: HookMessage,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> std::io::Result<OwnedFd> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let length = message.encode(&mut bytes);
        say_bytes(name, &bytes[..length], descriptor)
    }

    pub fn say_bytes(
        name: &str,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> std::io::Result<OwnedFd> {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
        rustix::net::connect(&socket, &address)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let slices = [IoSlice::new(bytes)];
        rustix::net::sendmsg(&socket, &slices, &mut control, SendFlags::NOSIGNAL)?;
        Ok(socket)
    }

    /// Waits for a reply that says no more than whether it was found.
    pub fn is_so(name: &str, message: HookMessage, descriptor: Option<BorrowedFd<'_>>) -> bool {
        let Ok(socket) = say(name, message, descriptor) else {
            return false;
        };
        let mut bytes = [0; 8];
        let got = rustix::net::recv(&socket, &mut bytes, RecvFlags::empty());
        got.is_ok_and(|(_, got)| HookReply::decode(&bytes[..got]).is_ok_and(|reply| reply.found))
    }

    /// Waits for the reply; `None`: there is no such thing, or the holder closed.
    pub fn ask(name: &str, message: HookMessage) -> Option<OwnedFd> {
        let socket = say(name, message, None).ok()?;
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = rustix::net::recvmsg(socket.as_fd(), &mut slices, &mut control, flags).ok()?;
        let reply = HookReply::decode(&bytes[..got.bytes]).ok()?;
        assert!(reply.found || control.drain().next().is_none());
        control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
    }
}
