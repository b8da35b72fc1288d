//! The command line as a whole: what every command understands, and the list of commands.

use crate::commands as c;
use crate::failure::CommandOutcome;
use crate::globals::Globals;
use clap::{CommandFactory, Parser, Subcommand};

/// What `--help` says below the options.
const AFTER_HELP: &str = "\
Exit codes: 0 done or yes; 1 a negative answer (a check failed, the server refused what was asked as things stand, a wait was in vain); 2 an
error (wrong arguments, a missing or wrong token, a server that does not answer or is in trouble, such as a full disk). What Ctrl-C or another
signal ends, ends by it (130, 143 in a shell); a server, an agent or a recording that is asked to end so has done its work.
When the reader of a pipe closes it (`| head`), a command that only prints ends with 0; any other goes on, and ends with the code of its result.
`upstart help COMMAND` explains one command; `upstart man --output DIR` writes manual pages.";

/// Upgrades the software of distributed systems automatically while they keep serving.
#[derive(Debug, Parser)]
#[command(name = "upstart", version, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: UpstartCommand,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub(crate) enum UpstartCommand {
    /// Run the upgrade server: repository, upgrade database and API
    Server(c::server::ServerArgs),
    /// Run a node's agent: it runs the software and upgrades it
    Agent(c::agent::AgentArgs),
    /// Check an upgrade's folder without a server
    Check(c::check::CheckArgs),
    /// Say what an upgrade will do to whom and when, by its schedules in virtual time
    Plan(c::plan::PlanArgs),
    /// Test and explain lenses
    Lens(c::lens::LensArgs),
    /// Make adapters as WebAssembly components
    Adapter(c::adapter::AdapterArgs),
    /// Upload an upgrade's folder and publish it
    Publish(c::publish::PublishArgs),
    /// Take an upgrade back while no node has settled at it
    Withdraw(c::operate::WithdrawArgs),
    /// Show the system: versions, nodes, what waits and why
    Status(c::status::StatusArgs),
    /// List the nodes, or show everything about one
    Nodes(c::nodes::NodesArgs),
    /// Watch the nodes live; without a terminal, print each change as a line
    Watch(c::watch::WatchArgs),
    /// Print a one-time link to the fleet's web page
    Page(c::page::PageArgs),
    /// Print the history
    Events(c::events::EventsArgs),
    /// Export the history, with a digest that shows whether anything is missing
    Audit(c::audit::AuditArgs),
    /// List, add, test and remove webhooks: who is sent the history as it happens
    Webhooks(c::webhooks::WebhooksArgs),
    /// Print what a node's software has printed, on the node's machine
    Logs(c::logs::LogsArgs),
    /// Write conversations of a service's live traffic, on the node's machine
    Record(c::record::RecordArgs),
    /// Let no node begin an upgrade
    Pause(c::operate::PauseArgs),
    /// End a pause
    Resume,
    /// Approve an upgrade whose schedule waits for a person
    Approve(c::operate::ApproveArgs),
    /// Tell a blocked node to try its upgrade again
    Retry(c::operate::RetryArgs),
    /// Forget a node that will never come back
    Forget(c::operate::ForgetArgs),
    /// Move the version at which callers without a label are served
    Public(c::operate::PublicArgs),
    /// Show whether labels are signed, or have them signed, demanded signed, or not signed any more
    Labels(c::labels::LabelsArgs),
    /// Retire every version up to this one: nodes reset its callers and delete its adapters and old state
    Retire(c::retire::RetireArgs),
    /// List permits (a node's permission to be unavailable), or take one away
    Permit(c::permit::PermitArgs),
    /// Make a copied, moved or restored data directory the node's own
    Claim(c::claim::ClaimArgs),
    /// End a node's software and its holder, after its agent has ended
    Stop(c::stop::StopArgs),
    /// Make a one-time token for a node or a person
    Invite(c::identities::InviteArgs),
    /// Log in with a one-time token: make a key, and have it certified
    Login,
    /// List whose keys the servers have certified, and who is invited
    Identities,
    /// Revoke the key of a node or a person
    Revoke(c::identities::RevokeArgs),
    /// Make, list, renew and rotate the keys that sign upgrades
    Keys(c::keys::KeysArgs),
    /// Write a signed repository into one file, or into a folder
    Export(c::carry::ExportArgs),
    /// Verify a signed repository that was exported, and take it
    Import(c::carry::ImportArgs),
    /// Save or restore a server's database
    Database(c::database::DatabaseArgs),
    /// Look whether this host, the servers and the way to the nodes are as Upstart needs them
    Doctor(c::doctor::DoctorArgs),
    /// Print a JSON schema, for editors
    Schema(c::generate::SchemaArgs),
    /// Print a shell's completion script
    Completions(c::generate::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(c::generate::ManArgs),
    /// Own a node's child; started by its agent
    #[command(hide = true)]
    Holder(c::hidden::HolderArgs),
    /// Become the child; started by its holder
    #[command(hide = true)]
    Launch(c::hidden::HandedOn),
    /// Become a transform; started by its agent
    #[command(hide = true)]
    Confine(c::hidden::HandedOn),
    /// Compile a component; started by an agent or by `check`
    #[command(hide = true)]
    CompileAdapter(c::hidden::CompileArgs),
}

impl Cli {
    /// Runs the command that was given.
    pub(crate) fn run(self) -> CommandOutcome {
        let globals = &self.globals;
        match self.command {
            UpstartCommand::Server(arguments) => c::server::run(globals, arguments),
            UpstartCommand::Agent(arguments) => c::agent::run(globals, arguments),
            UpstartCommand::Check(arguments) => c::check::run(globals, &arguments),
            UpstartCommand::Plan(arguments) => c::plan::run(globals, &arguments),
            UpstartCommand::Adapter(arguments) => c::adapter::run(globals, &arguments),
            UpstartCommand::Lens(arguments) => c::lens::run(globals, &arguments),
            UpstartCommand::Publish(arguments) => c::publish::run(globals, &arguments),
            UpstartCommand::Withdraw(arguments) => c::operate::withdraw(globals, &arguments),
            UpstartCommand::Status(arguments) => c::status::run(globals, &arguments),
            UpstartCommand::Nodes(arguments) => c::nodes::run(globals, &arguments),
            UpstartCommand::Watch(arguments) => c::watch::run(globals, &arguments),
            UpstartCommand::Page(arguments) => c::page::run(globals, &arguments),
            UpstartCommand::Events(arguments) => c::events::run(globals, &arguments),
            UpstartCommand::Audit(arguments) => c::audit::run(globals, &arguments),
            UpstartCommand::Webhooks(arguments) => c::webhooks::run(globals, &arguments),
            UpstartCommand::Logs(arguments) => c::logs::run(globals, &arguments),
            UpstartCommand::Pause(arguments) => c::operate::pause(globals, &arguments),
            UpstartCommand::Resume => c::operate::resume(globals),
            UpstartCommand::Approve(arguments) => c::operate::approve(globals, &arguments),
            UpstartCommand::Retry(arguments) => c::operate::retry(globals, &arguments),
            UpstartCommand::Forget(arguments) => c::operate::forget(globals, &arguments),
            UpstartCommand::Public(arguments) => c::operate::public(globals, &arguments),
            UpstartCommand::Labels(arguments) => c::labels::run(globals, &arguments),
            UpstartCommand::Retire(arguments) => c::retire::run(globals, &arguments),
            UpstartCommand::Permit(arguments) => c::permit::run(globals, &arguments),
            UpstartCommand::Claim(arguments) => c::claim::run(globals, &arguments),
            UpstartCommand::Stop(arguments) => c::stop::run(globals, &arguments),
            UpstartCommand::Record(arguments) => c::record::run(globals, &arguments),
            UpstartCommand::Invite(arguments) => c::identities::invite(globals, &arguments),
            UpstartCommand::Login => c::identities::login(globals),
            UpstartCommand::Identities => c::identities::list(globals),
            UpstartCommand::Revoke(arguments) => c::identities::revoke(globals, &arguments),
            UpstartCommand::Keys(arguments) => c::keys::run(globals, &arguments),
            UpstartCommand::Export(arguments) => c::carry::export(globals, &arguments),
            UpstartCommand::Import(arguments) => c::carry::import(globals, &arguments),
            UpstartCommand::Database(arguments) => c::database::run(globals, &arguments),
            UpstartCommand::Doctor(arguments) => c::doctor::run(globals, &arguments),
            UpstartCommand::Schema(arguments) => c::generate::schema(&arguments),
            UpstartCommand::Completions(arguments) => {
                c::generate::completions(&arguments, Self::command())
            }
            UpstartCommand::Man(arguments) => c::generate::man(&arguments, Self::command()),
            UpstartCommand::Holder(arguments) => c::hidden::holder(&arguments),
            UpstartCommand::Launch(_) => c::hidden::launch(),
            UpstartCommand::Confine(rest) => c::hidden::confine(&rest),
            UpstartCommand::CompileAdapter(arguments) => c::hidden::compile(&arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
