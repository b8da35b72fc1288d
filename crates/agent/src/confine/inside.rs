//! The inner process: gives up what the contract does not allow, and becomes the program.

use super::{ConfineError, ConfineOrders, InnerOrders, isolation, step, walls};
use crate::launch::{descriptors, reset_signals, user};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What root keeps: enough to convert files of any owner, nothing of the system.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

pub(super) fn run() -> Result<Infallible, ConfineError> {
    let no_orders = |error: io::Error| ConfineError::NoOrders(error.to_string());
    let mut socket = descriptors::take_socket().map_err(no_orders)?;
    let mut text = String::new();
    socket.read_to_string(&mut text).map_err(no_orders)?;
    let orders: InnerOrders =
        serde_json::from_str(&text).map_err(|error| ConfineError::NoOrders(error.to_string()))?;
    let error = match prepare(&orders) {
        Err(error) => error,
        Ok(mut command) => ConfineError::Step {
            what: format!("execute {}", orders.orders.command[0]),
            source: command.exec(),
        },
    };
    // A runner that is gone hears nothing, and nothing was run.
    let _ = socket.write_all(error.to_string().as_bytes());
    Err(error)
}

fn prepare(inner: &InnerOrders) -> Result<Command, ConfineError> {
    let orders = &inner.orders;
    let (program, arguments) = orders
        .command
        .split_first()
        .ok_or_else(|| ConfineError::NoOrders("the command is empty".to_owned()))?;
    if let Some(entry) = &inner.group_entry {
        let what = format!("enter the control group {}", entry.display());
        step(what, fs::write(entry, "0"))?;
    }
    let session = rustix::process::setsid().map_err(io::Error::from);
    step("begin a session", session)?;
    step("reset the signals", reset_signals())?;
    // It may ask a service over a socket, which is out of reach from here on.
    let identity = orders.user.as_deref().map(user::look_up).transpose();
    let become_user = format!("become the user {}", orders.user.as_deref().unwrap_or(""));
    let identity = step(become_user.clone(), identity)?;
    let shared_memory = step("leave the network", isolation::isolate(orders))?;
    step(
        "set the Landlock rules",
        walls::enclose(orders, shared_memory),
    )?;
    if let Some(identity) = identity {
        step(become_user, identity.assume())?;
    }
    step("give up capabilities", give_up_capabilities())?;
    // After the change of user, which clears it: when the runner is killed, so is the program.
    let death = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    step("die with the runner", death.map_err(io::Error::from))?;
    step(
        format!("change to the directory {}", orders.directory.display()),
        std::env::set_current_dir(&orders.directory),
    )?;
    Ok(command(orders, program, arguments))
}

fn command(orders: &ConfineOrders, program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&orders.environment);
    command
}

/// `NO_NEW_PRIVS`, which Landlock has set, keeps exec from giving them back.
fn give_up_capabilities() -> io::Result<()> {
    let now = rustix::thread::capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & KEPT,
        permitted: now.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
