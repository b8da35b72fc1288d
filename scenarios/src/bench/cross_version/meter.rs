//! The processor time that a hop has used, as the kernel counts it.

use anyhow::Context;
use std::fs;

/// The processes of a hop; none for direct connections.
#[derive(Clone, Debug, Default)]
pub(in crate::bench) struct Meter {
    processes: Vec<u32>,
}

/// Ticks of `/proc/<pid>/stat` in a second (`USER_HZ`, fixed for programs on the architectures that Upstart is built for).
const TICKS_PER_SECOND: f64 = 100.0;

impl Meter {
    /// Of this process alone.
    pub(in crate::bench) fn of(process: u32) -> Self {
        Self {
            processes: vec![process],
        }
    }

    /// Of this process and its children: a master and its worker.
    pub(in crate::bench) fn with_children(process: u32) -> anyhow::Result<Self> {
        let mut processes = vec![process];
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            // A process that ends meanwhile is no child that matters.
            if let Some(pid) = pid
                && stat(pid).is_ok_and(|stat| stat.parent == process)
            {
                processes.push(pid);
            }
        }
        Ok(Self { processes })
    }

    /// Seconds of processor time so far, in user and kernel mode, of all threads.
    pub(in crate::bench) fn seconds(&self) -> anyhow::Result<f64> {
        let mut ticks = 0;
        for process in &self.processes {
            ticks += stat(*process)?.ticks;
        }
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// `/proc/<pid>/stat` (proc_pid_stat(5)): the name in it may contain anything, so what follows its last parenthesis counts.
fn stat(process: u32) -> anyhow::Result<Stat> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse(&text).with_context(|| format!("{path} is of another form: {text}"))
}

fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Counted from the state, which is field 3: ppid is 4, utime 14, stime 15.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_parent_are_read_behind_any_name() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 1 0 5 6 7";
        let stat = parse(text).expect("a stat");
        assert_eq!((stat.parent, stat.ticks), (3, 400));
        assert!(Meter::of(std::process::id()).seconds().is_ok());
    }
}
