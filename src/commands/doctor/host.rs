//! The kernel and its settings.

use super::Finding;
use std::fs;
use std::path::Path;

/// The oldest kernel that does what agents need.
const KERNEL_MIN: (u32, u32) = (5, 11);

/// Fewer open files are too few for a busy node: each connection is one.
const FILES_MIN: u64 = 4096;

/// The bit of `CAP_SYS_ADMIN` in a set of capabilities.
const SYS_ADMIN: u64 = 1 << 21;

pub(super) fn look() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).ok();
    vec![
        kernel(read("/proc/sys/kernel/osrelease").as_deref()),
        fast_open(read("/proc/sys/net/ipv4/tcp_fastopen").as_deref()),
        capabilities(read("/proc/self/status").as_deref()),
        control_group(read("/proc/self/cgroup").as_deref(), &is_writable),
        filters(read("/proc/sys/kernel/seccomp/actions_avail").as_deref()),
        open_files(read("/proc/self/limits").as_deref()),
        clock(read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref()),
    ]
}

fn kernel(release: Option<&str>) -> Finding {
    let about = "kernel";
    let Some(release) = release.map(str::trim) else {
        return Finding::note(about, "its version cannot be read", "mount /proc");
    };
    let mut numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL_MIN {
        let (major, minor) = KERNEL_MIN;
        return Finding::trouble(
            about,
            format!("Linux {release}"),
            format!("Upstart needs Linux {major}.{minor} or newer"),
        );
    }
    Finding::good(about, format!("Linux {release}"))
}

fn fast_open(setting: Option<&str>) -> Finding {
    let about = "TCP Fast Open";
    let better =
        "`echo net.ipv4.tcp_fastopen=3 > /etc/sysctl.d/50-upstart.conf && sysctl --system`";
    let Some(setting) = setting.map(str::trim) else {
        let found = "net.ipv4.tcp_fastopen cannot be read";
        return Finding::trouble(
            about,
            found,
            "mount /proc with the host's or the container's own /proc/sys",
        );
    };
    let found = format!("net.ipv4.tcp_fastopen = {setting}");
    let bits: u32 = setting.parse().unwrap_or(0);
    match (bits & 1 > 0, bits & 2 > 0) {
        (false, _) => Finding::trouble(
            about,
            format!("{found}: no data goes with the handshake, so that no agent starts"),
            better,
        ),
        (true, false) => Finding::note(
            about,
            format!("{found}: everything works; with 3 connections are cheaper"),
            better,
        ),
        (true, true) => Finding::good(about, found),
    }
}

fn capabilities(status: Option<&str>) -> Finding {
    let about = "privileges";
    let mut lines = status.unwrap_or("").lines();
    let set = lines.find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    match set {
        Some(set) if set & SYS_ADMIN > 0 => {
            Finding::good(about, "this user has CAP_SYS_ADMIN, as root has")
        }
        Some(_) => Finding::note(
            about,
            "this user has no CAP_SYS_ADMIN: an agent of this user runs its software with NO_NEW_PRIVS",
            "nothing, unless the software uses sudo, set-user-ID programs or file capabilities, or is to run as another user than its agent: start the agent as root then",
        ),
        None => Finding::note(about, "they cannot be read", "mount /proc"),
    }
}

/// Whether something may be made in a folder.
fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn control_group(own: Option<&str>, is_writable: &dyn Fn(&Path) -> bool) -> Finding {
    let about = "control groups";
    let next = "nothing: without one the software's processes are found as their holder's descendants. If you can, give each node a control group of its own that its agent may write to (`Delegate=yes` in a systemd unit)";
    let Some(own) = own.and_then(|own| own.lines().find_map(|line| line.strip_prefix("0::")))
    else {
        return Finding::note(about, "version 2 is not mounted", next);
    };
    let folder = Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    if is_writable(&folder) {
        return Finding::good(
            about,
            format!("version 2; {} can be written", folder.display()),
        );
    }
    let found = format!(
        "version 2; {} cannot be written by this user",
        folder.display()
    );
    Finding::note(about, found, next)
}

fn filters(actions: Option<&str>) -> Finding {
    let about = "seccomp";
    let has =
        |wanted: &str| actions.is_some_and(|all| all.split_whitespace().any(|one| one == wanted));
    if has("errno") {
        return Finding::good(about, "filters that answer with an error can be set");
    }
    let found = "filters that answer with an error cannot be set, or the kernel does not say so";
    let next = "transforms and adapters are confined by them: use a kernel with CONFIG_SECCOMP_FILTER, and mount /proc";
    Finding::trouble(about, found, next)
}

fn open_files(limits: Option<&str>) -> Finding {
    let about = "open files";
    let mut lines = limits.unwrap_or("").lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    match hard {
        None => Finding::note(about, "the limit cannot be read", "mount /proc"),
        Some("unlimited") => Finding::good(about, "no limit"),
        Some(hard) => {
            let count: u64 = hard.parse().unwrap_or(0);
            if count >= FILES_MIN {
                return Finding::good(
                    about,
                    format!("up to {hard} (the hard limit, which agents and servers take)"),
                );
            }
            Finding::note(
                about,
                format!("up to {hard}: each connection is one"),
                format!(
                    "raise the hard limit to {FILES_MIN} or more (`LimitNOFILE=` in a systemd unit, `ulimit -Hn`)"
                ),
            )
        }
    }
}

fn clock(source: Option<&str>) -> Finding {
    let about = "clock";
    match source.map(str::trim) {
        Some(source @ ("hpet" | "acpi_pm" | "jiffies")) => Finding::note(
            about,
            format!("the kernel's source of time is {source}, which is slow to ask"),
            "see `dmesg | grep -i clocksource` for why the kernel does not use tsc, kvm-clock or the like",
        ),
        Some(source) => Finding::good(about, format!("the kernel's source of time is {source}")),
        None => Finding::note(
            about,
            "the kernel's source of time cannot be read",
            "nothing, in a container without /sys",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn kernels_are_told_apart_by_number() {
        let health = |release| kernel(Some(release)).health;
        assert_eq!(health("6.18.44-fc-v657\n"), Health::Good);
        assert_eq!(health("5.11.0"), Health::Good);
        assert_eq!(health("5.9.16-generic"), Health::Trouble);
        assert_eq!(health("4.19"), Health::Trouble);
        assert_eq!(kernel(None).health, Health::Note);
    }

    #[test]
    fn fast_open_is_judged_by_its_bits() {
        let health = |setting| fast_open(Some(setting)).health;
        assert_eq!(health("0\n"), Health::Trouble);
        assert_eq!(health("1\n"), Health::Note);
        assert_eq!(health("2\n"), Health::Trouble);
        assert_eq!(health("3\n"), Health::Good);
        assert_eq!(health("1027\n"), Health::Good);
        assert_eq!(fast_open(None).health, Health::Trouble);
    }

    #[test]
    fn privileges_groups_filters_and_limits_say_what_to_do() {
        let status = |set: &str| format!("Name:\tupstart\nCapEff:\t{set}\n");
        assert_eq!(
            capabilities(Some(&status("000001ffffffffff"))).health,
            Health::Good
        );
        assert_eq!(
            capabilities(Some(&status("0000000000000000"))).health,
            Health::Note
        );
        let own = Some("0::/system.slice/a.service\n");
        let here = control_group(own, &|folder| {
            folder == Path::new("/sys/fs/cgroup/system.slice/a.service")
        });
        assert_eq!(here.health, Health::Good);
        assert!(control_group(own, &|_| false).next.contains("Delegate=yes"));
        assert_eq!(
            control_group(Some("1:cpu:/\n"), &|_| true).health,
            Health::Note
        );
        assert_eq!(
            filters(Some("kill_process errno allow\n")).health,
            Health::Good
        );
        assert_eq!(
            filters(Some("kill_process allow\n")).health,
            Health::Trouble
        );
        let limits = |hard: &str| {
            format!(
                "Limit Soft Hard Units\nMax open files            1024                 {hard}               files\n"
            )
        };
        assert_eq!(open_files(Some(&limits("1024"))).health, Health::Note);
        assert_eq!(open_files(Some(&limits("524288"))).health, Health::Good);
        assert_eq!(open_files(Some(&limits("unlimited"))).health, Health::Good);
    }
}
