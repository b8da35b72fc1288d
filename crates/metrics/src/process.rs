//! What every process tells of itself, by the names that Prometheus' own libraries use.

use crate::catalogue::{
    BUILD_INFO, PROCESS_CPU_SECONDS, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT_BYTES,
    PROCESS_START_TIME,
};
use crate::readings::Readings;
use std::time::{SystemTime, UNIX_EPOCH};

/// The kernel's ticks per second: what it tells programs has been in hundredths on every architecture of Linux since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds what this process is, with the version of its program.
pub fn read_process(readings: &mut Readings, version: &str) {
    readings.put_of(&BUILD_INFO, [version], true);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name may have blanks and brackets; what follows the last bracket has neither.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    // Fields 14, 15 and 22 of proc(5), counted after the name, which is field 2.
    if let (Some(user), Some(system)) = (ticks(11), ticks(12)) {
        readings.put(&PROCESS_CPU_SECONDS, (user + system) / TICKS_PER_SECOND);
    }
    if let Some(started) = ticks(19)
        && let Some(start) = since_epoch(started / TICKS_PER_SECOND)
    {
        readings.put(&PROCESS_START_TIME, start);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    if let Some(kibibytes) = resident {
        readings.put(&PROCESS_RESIDENT_BYTES, kibibytes * 1024);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        readings.put(&PROCESS_OPEN_FDS, open.count());
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(most) = most {
        readings.put(&PROCESS_MAX_FDS, most);
    }
}

/// The time so many seconds after the host was started, in seconds since 1970.
fn since_epoch(after_boot_s: f64) -> Option<f64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - uptime + after_boot_s)
}
