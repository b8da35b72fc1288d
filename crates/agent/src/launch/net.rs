//! The net that is laid under the software before it is executed, and what the holder is told of it.
//!
//! With privileges (CAP_SYS_ADMIN) it changes nothing for the software. Without, the kernel takes a filter only from a process that has given up
//! the rights that programs gain by being executed: set-user-id programs and file capabilities have no effect then.

use intercept::holder::Interception;
use interpose::net::filter::{self, FilterRefused, FilterRules};
use std::io;
use std::os::fd::OwnedFd;

/// Sets the filter that is to be had here: with a net if the kernel gives one.
///
/// # Errors
/// When `io_uring_setup` is to be refused and no filter can be set though rights may be given up.
pub(super) fn lay(
    refuse_io_uring: bool,
    may_give_up: bool,
) -> io::Result<(Interception, Option<OwnedFd>)> {
    let rules = FilterRules {
        net: true,
        refuse_io_uring,
    };
    let laid = filter::set(rules).or_else(|refused| again(refused, rules, may_give_up));
    let why = match laid {
        Ok(notices) => return Ok((interception(notices.is_some(), None), notices)),
        Err(refused) => describe(refused),
    };
    if refuse_io_uring {
        let alone = FilterRules {
            net: false,
            refuse_io_uring,
        };
        match filter::set(alone).or_else(|refused| again(refused, alone, may_give_up)) {
            Ok(_) => {}
            Err(FilterRefused::NeedsPrivileges) if !may_give_up => {}
            Err(refused) => return Err(io::Error::other(describe(refused))),
        }
    }
    Ok((interception(false, Some(why)), None))
}

/// Sets the filter once more where only privileges were missing.
fn again(
    refused: FilterRefused,
    rules: FilterRules,
    may_give_up: bool,
) -> Result<Option<OwnedFd>, FilterRefused> {
    if refused != FilterRefused::NeedsPrivileges || !may_give_up {
        return Err(refused);
    }
    filter::set_no_new_privileges().map_err(FilterRefused::Because)?;
    filter::set(rules)
}

fn interception(net: bool, why_no_net: Option<String>) -> Interception {
    Interception {
        net,
        no_new_privileges: filter::has_no_new_privileges(),
        why_no_net,
    }
}

fn describe(refused: FilterRefused) -> String {
    match refused {
        FilterRefused::NeedsPrivileges => {
            "without CAP_SYS_ADMIN it needs NO_NEW_PRIVS, which the upgrade file forbids".to_owned()
        }
        FilterRefused::Because(libc::EBUSY) => {
            "another program (a container's runtime) catches this process's calls already"
                .to_owned()
        }
        FilterRefused::Because(error) => {
            format!(
                "the kernel refuses it: {}",
                io::Error::from_raw_os_error(error)
            )
        }
    }
}
