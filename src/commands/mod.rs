//! One file for each command, or for a few that belong together.

pub(crate) mod adapter;
pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod claim;
pub(crate) mod events;
mod first_process;
pub(crate) mod generate;
pub(crate) mod hidden;
pub(crate) mod lens;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod operate;
pub(crate) mod permit;
pub(crate) mod publish;
pub(crate) mod record;
mod reference;
pub(crate) mod retire;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod watch;

use crate::arguments::{Cli, Command};
use crate::failure::Outcome;

/// Runs the command that was given.
pub(crate) fn run(cli: Cli) -> Outcome {
    let globals = &cli.globals;
    match cli.command {
        Command::Server(arguments) => server::run(globals, arguments),
        Command::Agent(arguments) => agent::run(globals, arguments),
        Command::Check(arguments) => check::run(globals, &arguments),
        Command::Adapter(arguments) => adapter::run(globals, &arguments),
        Command::Lens(arguments) => lens::run(globals, &arguments),
        Command::Publish(arguments) => publish::run(globals, &arguments),
        Command::Withdraw(arguments) => operate::withdraw(globals, &arguments),
        Command::Status(arguments) => status::run(globals, &arguments),
        Command::Nodes(arguments) => nodes::run(globals, &arguments),
        Command::Watch(arguments) => watch::run(globals, &arguments),
        Command::Events(arguments) => events::run(globals, &arguments),
        Command::Logs(arguments) => logs::run(globals, &arguments),
        Command::Pause(arguments) => operate::pause(globals, &arguments),
        Command::Resume => operate::resume(globals),
        Command::Approve(arguments) => operate::approve(globals, &arguments),
        Command::Retry(arguments) => operate::retry(globals, &arguments),
        Command::Forget(arguments) => operate::forget(globals, &arguments),
        Command::Public(arguments) => operate::public(globals, &arguments),
        Command::Retire(arguments) => retire::run(globals, &arguments),
        Command::Permit(arguments) => permit::run(globals, &arguments),
        Command::Claim(arguments) => claim::run(globals, &arguments),
        Command::Stop(arguments) => stop::run(globals, &arguments),
        Command::Record(arguments) => record::run(globals, &arguments),
        Command::Schema(arguments) => generate::schema(&arguments),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::man(&arguments),
        Command::Holder(arguments) => hidden::holder(&arguments),
        Command::Launch(_) => hidden::launch(),
        Command::Confine(rest) => hidden::confine(&rest),
        Command::CompileAdapter(arguments) => hidden::compile(&arguments),
    }
}
