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

use crate::arguments::{Cli, UpstartCommand};
use crate::failure::CommandOutcome;

/// Runs the command that was given.
pub(crate) fn run(cli: Cli) -> CommandOutcome {
    let globals = &cli.globals;
    match cli.command {
        UpstartCommand::Server(arguments) => server::run(globals, arguments),
        UpstartCommand::Agent(arguments) => agent::run(globals, arguments),
        UpstartCommand::Check(arguments) => check::run(globals, &arguments),
        UpstartCommand::Adapter(arguments) => adapter::run(globals, &arguments),
        UpstartCommand::Lens(arguments) => lens::run(globals, &arguments),
        UpstartCommand::Publish(arguments) => publish::run(globals, &arguments),
        UpstartCommand::Withdraw(arguments) => operate::withdraw(globals, &arguments),
        UpstartCommand::Status(arguments) => status::run(globals, &arguments),
        UpstartCommand::Nodes(arguments) => nodes::run(globals, &arguments),
        UpstartCommand::Watch(arguments) => watch::run(globals, &arguments),
        UpstartCommand::Events(arguments) => events::run(globals, &arguments),
        UpstartCommand::Logs(arguments) => logs::run(globals, &arguments),
        UpstartCommand::Pause(arguments) => operate::pause(globals, &arguments),
        UpstartCommand::Resume => operate::resume(globals),
        UpstartCommand::Approve(arguments) => operate::approve(globals, &arguments),
        UpstartCommand::Retry(arguments) => operate::retry(globals, &arguments),
        UpstartCommand::Forget(arguments) => operate::forget(globals, &arguments),
        UpstartCommand::Public(arguments) => operate::public(globals, &arguments),
        UpstartCommand::Retire(arguments) => retire::run(globals, &arguments),
        UpstartCommand::Permit(arguments) => permit::run(globals, &arguments),
        UpstartCommand::Claim(arguments) => claim::run(globals, &arguments),
        UpstartCommand::Stop(arguments) => stop::run(globals, &arguments),
        UpstartCommand::Record(arguments) => record::run(globals, &arguments),
        UpstartCommand::Schema(arguments) => generate::schema(&arguments),
        UpstartCommand::Completions(arguments) => generate::completions(&arguments),
        UpstartCommand::Man(arguments) => generate::man(&arguments),
        UpstartCommand::Holder(arguments) => hidden::holder(&arguments),
        UpstartCommand::Launch(_) => hidden::launch(),
        UpstartCommand::Confine(rest) => hidden::confine(&rest),
        UpstartCommand::CompileAdapter(arguments) => hidden::compile(&arguments),
    }
}
