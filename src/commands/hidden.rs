//! The processes that an agent starts from this same binary: holder, launch, confine, compile-adapter.

use crate::failure::{CommandEnd, CommandOutcome};
use crate::file_limit;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `upstart holder`.
#[derive(Debug, Args)]
pub(crate) struct HolderArgs {
    /// The node's data directory
    #[arg(long)]
    pub(crate) data: PathBuf,
}

/// Arguments that are handed on as they are.
#[derive(Debug, Args)]
pub(crate) struct HandedOn {
    /// What the holder or the agent says
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// Owns a node's child until it is told to end.
pub(crate) fn holder(arguments: &HolderArgs) -> CommandOutcome {
    file_limit::survive()?;
    agent::holder::run(&arguments.data)?;
    Ok(CommandEnd::Yes)
}

/// Becomes the child. On failure the holder has been told already; the exit code is a shell's for "not executed".
pub(crate) fn launch() -> CommandOutcome {
    let Err(error) = agent::launch::run();
    tracing::error!(%error, "the software was not executed");
    std::process::exit(agent::launch::EXIT_CODE_NOT_EXECUTED)
}

/// Arguments of the process that compiles a component.
#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    /// The component
    pub(crate) component: PathBuf,
    /// Where its machine code goes
    pub(crate) to: PathBuf,
}

/// Compiles a component, for the agent or for `check`.
pub(crate) fn compile(arguments: &CompileArgs) -> CommandOutcome {
    match component::compile_here(&arguments.component, &arguments.to) {
        0 => Ok(CommandEnd::Yes),
        code => std::process::exit(code),
    }
}

/// Becomes a transform.
pub(crate) fn confine(rest: &HandedOn) -> CommandOutcome {
    agent::confine::run(&rest.arguments)?;
    Ok(CommandEnd::Yes)
}
