//! What processes use, as the kernel counts it: processor time and memory.

use anyhow::Context;
use std::fs;
use std::time::Instant;

/// What is measured of one process, and of those that it has started if they are to count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauged {
    pub(super) pid: u32,
    pub(super) with_children: bool,
}

/// Processor time since a moment.
#[derive(Debug)]
pub(super) struct Gauge {
    process: Gauged,
    begun: Instant,
    ticks: u64,
}

impl Gauge {
    pub(super) fn begin(process: Gauged) -> anyhow::Result<Self> {
        Ok(Self {
            process,
            begun: Instant::now(),
            ticks: ticks(process)?,
        })
    }

    /// How many processors were at work on it.
    pub(super) fn cores(&self) -> anyhow::Result<f64> {
        let used = ticks(self.process)?.saturating_sub(self.ticks);
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        Ok(used as f64 / per_second / self.begun.elapsed().as_secs_f64())
    }
}

/// The processor time of a process; of its children what they use, and used before they ended.
fn ticks(process: Gauged) -> anyhow::Result<u64> {
    let own = times(process.pid).context("the process has ended")?;
    if !process.with_children {
        return Ok(own.own);
    }
    let folders = fs::read_dir("/proc")?;
    let pids = folders.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let others = pids.filter_map(times);
    let children = others.filter(|other| other.parent == process.pid);
    let living: u64 = children.map(|child| child.own + child.of_ended).sum();
    Ok(own.own + own.of_ended + living)
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
struct ProcessTimes {
    parent: u32,
    own: u64,
    of_ended: u64,
}

fn times(pid: u32) -> Option<ProcessTimes> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have blanks in it: what follows begins behind its last bracket, with the third field.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(ProcessTimes {
        parent: u32::try_from(number(4)?).ok()?,
        own: number(14)? + number(15)?,
        of_ended: number(16)? + number(17)?,
    })
}

/// How much memory a process has in use, in MiB.
pub(super) fn rss_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_and_so_is_memory() {
        let pid = std::process::id();
        let process = Gauged {
            pid,
            with_children: true,
        };
        let gauge = Gauge::begin(process).expect("runs");
        let before = ticks(process).expect("runs");
        let mut sum = 0_u64;
        while ticks(process).expect("runs") < before + 2 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(gauge.cores().expect("runs") > 0.0);
        assert!(rss_mib(pid) > 0.1);
    }
}
