//! The outer process: keeps the time, the output, and the door shut behind whoever goes.

use super::tail::OutputTail;
use super::{
    ConfineError, ConfineOrders, INSIDE, InnerOrders, OUTPUT_BYTES_MAX, ProgramEnded, RunVerdict,
    step,
};
use crate::holder::group::Group;
use crate::launch::descriptors;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often the group is looked at while it is being emptied, and the inner process while nothing happens.
const TICK: Duration = Duration::from_millis(20);

/// How long a killed group may take to be empty: what cannot be killed (a disk that hangs) must not hang us.
const EMPTYING_MS_MAX: u64 = 10_000;

/// The program and what belongs to it.
struct RunningProgram {
    agent: UnixStream,
    pid: Pid,
    /// Readable when the process has ended.
    ending: OwnedFd,
    /// Says why the program was not executed; closed by exec.
    inner: UnixStream,
    output: OwnedFd,
    tail: OutputTail,
    group: Group,
}

pub(super) fn run() -> Result<(), ConfineError> {
    let no_orders = |error: io::Error| ConfineError::NoOrders(error.to_string());
    let mut agent = descriptors::take_socket().map_err(no_orders)?;
    let mut line = String::new();
    BufReader::new(&agent)
        .read_line(&mut line)
        .map_err(no_orders)?;
    let orders: ConfineOrders =
        serde_json::from_str(&line).map_err(|error| ConfineError::NoOrders(error.to_string()))?;
    let verdict = match carry_out(orders, &agent) {
        Ok(verdict) => verdict,
        Err(error) => RunVerdict {
            ended: ProgramEnded::NotRun(error.to_string()),
            output: String::new(),
        },
    };
    let text = serde_json::to_vec(&verdict).map_err(io::Error::from);
    // An agent that is gone hears nothing, and its successor begins anew.
    let _ = text.and_then(|text| agent.write_all(&text));
    Ok(())
}

fn carry_out(orders: ConfineOrders, agent: &UnixStream) -> Result<RunVerdict, ConfineError> {
    let own = rustix::process::getpid();
    let session = rustix::process::setsid().map_err(io::Error::from);
    step("begin a session", session)?;
    let adopted = rustix::process::set_child_subreaper(Some(own)).map_err(io::Error::from);
    step("adopt orphans", adopted)?;
    let group = Group::open(&orders.group);
    step("end what a former attempt left behind", empty(&group))?;
    let limit = Duration::from_millis(orders.time_limit_ms);
    let agent = step("share the agent's socket", agent.try_clone())?;
    let mut program = step(
        "start the program",
        RunningProgram::start(orders, group, agent),
    )?;
    let ended = program.wait(limit);
    let emptied = empty(&program.group);
    program.drain();
    let (group, output) = (program.group, program.tail.text());
    group.remove();
    let ended = step("watch the program", ended)?;
    step("end what the program left behind", emptied)?;
    Ok(RunVerdict { ended, output })
}

impl RunningProgram {
    fn start(orders: ConfineOrders, group: Group, agent: UnixStream) -> io::Result<Self> {
        let (inner, theirs) = UnixStream::pair()?;
        let (output, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our end: the program writes as to any pipe.
        rustix::io::ioctl_fionbio(&output, true)?;
        let process = Command::new("/proc/self/exe")
            .arg0("upstart")
            .args(["confine", INSIDE])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(writing.try_clone()?)
            .stderr(writing)
            .spawn()?;
        let pid = i32::try_from(process.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("no process number"))?;
        // Not reaped yet, so the number is still this process.
        let ending = pidfd_open(pid, PidfdFlags::empty())?;
        let orders = InnerOrders {
            group_entry: group.entry(),
            orders,
        };
        (&inner).write_all(&serde_json::to_vec(&orders)?)?;
        inner.shutdown(std::net::Shutdown::Write)?;
        Ok(Self {
            agent,
            pid,
            ending,
            inner,
            output,
            tail: OutputTail::new(OUTPUT_BYTES_MAX),
            group,
        })
    }

    /// Waits for the end of the program, of the time, or of the agent, whichever is first.
    fn wait(&mut self, limit: Duration) -> io::Result<ProgramEnded> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = reap(self.pid) {
                return Ok(self.ended(status));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(ProgramEnded::TimedOut);
            }
            if self.agent_is_gone(left)? {
                return Ok(ProgramEnded::NotRun("the agent has gone".to_owned()));
            }
            self.drain();
        }
    }

    /// Waits for something to happen; says whether it is the agent's end.
    fn agent_is_gone(&self, left: Duration) -> io::Result<bool> {
        let mut watched = vec![
            PollFd::new(&self.agent, PollFlags::IN),
            PollFd::new(&self.ending, PollFlags::IN),
            PollFd::new(&self.output, PollFlags::IN),
        ];
        // A pipe that is at its end stays ready: then only time and the process count.
        if self.output_is_over() {
            watched.pop();
        }
        let timeout = Timespec::try_from(left + Duration::from_millis(1)).ok();
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(!watched[0].revents().is_empty())
    }

    fn output_is_over(&self) -> bool {
        let mut watched = [PollFd::new(&self.output, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let looked = poll(&mut watched, Some(&now)).is_ok();
        let events = watched[0].revents();
        looked && events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN)
    }

    /// Takes what the program has printed so far.
    fn drain(&mut self) {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = rustix::io::read(&self.output, &mut buffer) {
            self.tail.push(&buffer[..length]);
        }
    }

    fn ended(&self, status: WaitStatus) -> ProgramEnded {
        let mut reason = String::new();
        let heard = (&self.inner).take(4096).read_to_string(&mut reason);
        if heard.is_ok() && !reason.is_empty() {
            return ProgramEnded::NotRun(reason);
        }
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ProgramEnded::Exited(code),
            (None, Some(signal)) => ProgramEnded::Killed(signal),
            (None, None) => ProgramEnded::NotRun("its end is unknown".to_owned()),
        }
    }
}

/// Reaps whatever has ended; gives the status of this process, if it is among it.
fn reap(main: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main {
            found = Some(status);
        }
    }
    found
}

/// Kills until the group is empty.
fn empty(group: &Group) -> io::Result<()> {
    let begun = Instant::now();
    while !group.is_empty().unwrap_or(false) {
        if begun.elapsed() > Duration::from_millis(EMPTYING_MS_MAX) {
            return Err(io::Error::other("some processes cannot be killed"));
        }
        group.kill();
        std::thread::sleep(TICK / 10);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
    Ok(())
}
