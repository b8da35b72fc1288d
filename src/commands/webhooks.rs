//! `upstart webhooks`: who is sent the history as it happens.

use super::events::clock;
use super::operate::done;
use crate::connection::{connect, explain, wait_for};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::globals::Globals;
use crate::{files, output};
use clap::{Args, Subcommand, ValueEnum};
use model::api::{
    EventSeverity, MailAddresses, WebhookFilter, WebhookFormat, WebhookRequest, WebhookSecret,
    WebhookStart, WebhookState, WebhookView,
};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use webhook::SigningSecret;

/// What `upstart help webhooks add` says below the options.
const AFTER_ADD: &str = "\
A webhook of the same name is changed: it goes on where it was, and keeps its secrets and its password unless others are given. Servers over
one database deliver each event once, whichever of them is up. Every option of a filter that is given must hold.";

/// Arguments of `upstart webhooks`.
#[derive(Debug, Args)]
pub(crate) struct WebhooksArgs {
    /// What to do; without it, they are listed.
    #[command(subcommand)]
    pub(crate) command: Option<WebhooksCommand>,
}

/// What can be done about webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List them: what each does, how far it has come, how much waits, what went wrong
    List,
    /// Add one, or change it
    Add(Box<AddWebhookArgs>),
    /// Remove one; how far it had come is forgotten
    Remove(NamedWebhook),
    /// Send a test event, and print what the receiver answers
    Test(NamedWebhook),
    /// Try a receiver at once that has failed, or has said that it is gone
    Retry(NamedWebhook),
}

/// Which webhook.
#[derive(Debug, Args)]
pub(crate) struct NamedWebhook {
    /// Its name
    pub(crate) name: String,
}

/// Arguments of `upstart webhooks add`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_ADD)]
pub(crate) struct AddWebhookArgs {
    /// Its name: lower-case letters, digits and `-`
    pub(crate) name: String,
    /// Where to send: https://HOST/PATH; for email smtps://USER@HOST, smtp://USER@HOST (STARTTLS) or smtp+plain://HOST
    #[arg(long, value_name = "URL", required_unless_present = "to_file")]
    pub(crate) to: Option<String>,
    /// A file that holds the URL, if it is a secret, as those of Slack are; nobody else may read it
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) to_file: Option<PathBuf>,
    /// In which form
    #[arg(long, value_enum, default_value_t = FormatArgument::Cloudevents)]
    pub(crate) format: FormatArgument,
    /// A file with the secret that signs, or several, one a line, the newest first; nobody else may read it. Made with a new secret if it is
    /// not there
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A file with the password for email; nobody else may read it
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// From whom mails come
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mail_from: Option<String>,
    /// To whom mails go (repeatable)
    #[arg(long = "mail-to", value_name = "ADDRESS")]
    pub(crate) mail_to: Vec<String>,
    /// A file with the certificates (PEM) of the authority that the receiver's is of, if this is none that the server's host knows
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// A file that says what a message says, for slack and email
    #[arg(long, value_name = "FILE")]
    pub(crate) template_file: Option<PathBuf>,
    /// Only this kind of event, or kinds that begin so, `node.` (repeatable)
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Only events of this severity or a higher one: info, warning, error
    #[arg(long)]
    pub(crate) severity: Option<EventSeverity>,
    /// Only events about nodes of this class (repeatable)
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) classes: Vec<String>,
    /// Only events about nodes of this name, in which * and ? may stand (repeatable)
    #[arg(long = "node", value_name = "NAME")]
    pub(crate) nodes: Vec<String>,
    /// Only events for which this CEL expression holds, over event, node and attributes
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) when: Option<String>,
    /// Where a new one begins
    #[arg(long, value_enum, default_value_t = StartArgument::Newest)]
    pub(crate) from: StartArgument,
}

/// In which form.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArgument {
    /// CloudEvents 1.0 in JSON, signed
    Cloudevents,
    /// A message to an incoming webhook of Slack
    Slack,
    /// A mail
    Email,
}

/// Where a new one begins.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StartArgument {
    /// With what happens from now on
    Newest,
    /// With the oldest event that is kept
    Oldest,
}

/// `upstart webhooks`.
pub(crate) fn run(globals: &Globals, arguments: &WebhooksArgs) -> CommandOutcome {
    match &arguments.command {
        None | Some(WebhooksCommand::List) => list(globals),
        Some(WebhooksCommand::Add(arguments)) => add(globals, arguments),
        Some(WebhooksCommand::Remove(NamedWebhook { name })) => {
            let client = connect(globals)?;
            wait_for(async { client.remove_webhook(name).await.map_err(explain) })?;
            done(globals, &(), &format!("The webhook {name} is removed."))
        }
        Some(WebhooksCommand::Retry(NamedWebhook { name })) => {
            let client = connect(globals)?;
            wait_for(async { client.retry_webhook(name).await.map_err(explain) })?;
            done(
                globals,
                &(),
                &format!(
                    "The receiver of {name} is tried now; `upstart webhooks list` shows how that ends."
                ),
            )
        }
        Some(WebhooksCommand::Test(NamedWebhook { name })) => test(globals, name),
    }
}

fn list(globals: &Globals) -> CommandOutcome {
    let client = connect(globals)?;
    let view = wait_for(async { client.webhooks().await.map_err(explain) })?;
    if globals.json {
        output::json(&view)?;
        return Ok(CommandEnd::Yes);
    }
    if view.webhooks.is_empty() {
        output::line("There are no webhooks; `upstart webhooks add` adds one.")?;
        return Ok(CommandEnd::Yes);
    }
    let mut table = output::table([
        "NAME",
        "FORMAT",
        "TO",
        "STATE",
        "DELIVERED",
        "WAITING",
        "TROUBLE",
    ]);
    for webhook in &view.webhooks {
        table.add_row([
            webhook.name.clone(),
            webhook.format.to_string(),
            webhook.to.clone(),
            webhook.state.to_string(),
            delivered(webhook),
            waiting(webhook),
            trouble(webhook),
        ]);
    }
    output::print_table(&table)?;
    Ok(CommandEnd::Yes)
}

fn delivered(webhook: &WebhookView) -> String {
    match (webhook.delivered, webhook.delivered_at_ms) {
        (Some(number), Some(at_ms)) => format!("{number} at {}", clock(at_ms)),
        _ => "-".to_owned(),
    }
}

fn waiting(webhook: &WebhookView) -> String {
    match webhook.waiting {
        many if many >= model::api::WAITING_MAX => format!("{many} or more"),
        few => few.to_string(),
    }
}

fn trouble(webhook: &WebhookView) -> String {
    let why = webhook.trouble.as_deref().unwrap_or_default();
    match (webhook.state, webhook.next_try_ms) {
        (WebhookState::Disabled, _) => {
            format!(
                "gone until `upstart webhooks retry {}`: {why}",
                webhook.name
            )
        }
        (WebhookState::Failing, Some(next_ms)) => {
            format!(
                "{} in vain, next at {}: {why}",
                output::counted(webhook.attempts as usize, "try", "tries"),
                clock(next_ms)
            )
        }
        _ => "-".to_owned(),
    }
}

fn test(globals: &Globals, name: &str) -> CommandOutcome {
    let client = connect(globals)?;
    let tried = wait_for(async { client.test_webhook(name).await.map_err(explain) })?;
    let answer = output::within(&tried.answer);
    let taken = if tried.taken { "has" } else { "has not" };
    let sentence = format!("The receiver of {name} {taken} taken a test event: {answer}");
    done(globals, &tried, &sentence)?;
    Ok(if tried.taken {
        CommandEnd::Yes
    } else {
        CommandEnd::No
    })
}

fn add(globals: &Globals, arguments: &AddWebhookArgs) -> CommandOutcome {
    let to = match (&arguments.to, &arguments.to_file) {
        (Some(to), _) => to.clone(),
        (None, Some(file)) => secret_in(file)?,
        (None, None) => String::new(),
    };
    let text = |file: &PathBuf| {
        let what = format!("{} cannot be read", file.display());
        files::read_text(file).advise(what, "give a file of text")
    };
    let secrets = arguments.secret_file.as_deref().map(secrets).transpose()?;
    let mail = MailAddresses {
        from: arguments.mail_from.clone().unwrap_or_default(),
        to: arguments.mail_to.clone(),
    };
    let request = WebhookRequest {
        format: match arguments.format {
            FormatArgument::Cloudevents => WebhookFormat::Cloudevents,
            FormatArgument::Slack => WebhookFormat::Slack,
            FormatArgument::Email => WebhookFormat::Email,
        },
        to: WebhookSecret(to),
        secrets: secrets.unwrap_or_default(),
        password: (arguments
            .password_file
            .as_deref()
            .map(secret_in)
            .transpose()?)
        .map(WebhookSecret),
        mail: (mail != MailAddresses::default()).then_some(mail),
        ca: arguments.ca_file.as_ref().map(text).transpose()?,
        template: arguments.template_file.as_ref().map(text).transpose()?,
        filter: WebhookFilter {
            kinds: arguments.kinds.clone(),
            severity: arguments.severity,
            classes: arguments.classes.clone(),
            nodes: arguments.nodes.clone(),
            when: arguments.when.clone(),
        },
        from: match arguments.from {
            StartArgument::Newest => WebhookStart::Newest,
            StartArgument::Oldest => WebhookStart::Oldest,
        },
    };
    let client = connect(globals)?;
    let name = &arguments.name;
    wait_for(async { client.set_webhook(name, &request).await.map_err(explain) })?;
    done(
        globals,
        &(),
        &format!("The webhook {name} is set up; `upstart webhooks test {name}` tries it."),
    )
}

/// The secrets in a file, one a line. Where there is no file, one is made with a new secret.
fn secrets(file: &Path) -> anyhow::Result<Vec<WebhookSecret>> {
    if !file.exists() {
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(file);
        let what = format!("the secret cannot be written to {}", file.display());
        let next = "give --secret-file a place for a new file, or a file with secrets";
        let mut made: File = made.advise(&what, next)?;
        let secret = SigningSecret::written(&rand::random());
        writeln!(made, "{secret}").advise(&what, next)?;
        made.sync_all().advise(&what, next)?;
        output::note(&format!(
            "a new secret is in {}; the receiver needs it, too",
            file.display()
        ));
    }
    let text = secret_in(file)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(|line| WebhookSecret(line.to_owned())).collect())
}

/// What a file holds that nobody else can read.
fn secret_in(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let about = std::fs::metadata(file);
    let about = about.advise(
        format!("{shown} cannot be read"),
        "give a file that is there",
    )?;
    if about.mode() & 0o077 != 0 {
        let what = format!("{shown} holds a secret, and others can read it");
        return Err(failure(
            what,
            format!("chmod 600 {shown}, and think of the secret as known"),
        ));
    }
    let text =
        files::read_text(file).advise(format!("{shown} cannot be read"), "give a file of text")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_that_others_can_read_is_refused_and_a_new_one_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        let made = secrets(&file).expect("made");
        let mode = std::fs::metadata(&file)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        SigningSecret::read(&made[0].0).expect("a secret");
        std::fs::write(&file, format!("whsec_x\n\n{}\n", made[0].0)).expect("written");
        assert_eq!(secrets(&file).expect("read").len(), 2);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("set");
        let told = secrets(&file).expect_err("readable").to_string();
        assert!(
            told.contains("others can read it") && !told.contains("whsec_x"),
            "{told}"
        );
    }
}
