//! `upstart invite`, `login`, `identities`, `revoke`: who may ask the server for what.

use super::operate::done;
use crate::connection::{connect, explain, given, identity_folder, unusable, wait_for};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::globals::Globals;
use crate::output;
use clap::{Args, Subcommand};
use client::{Client, ClientError};
use identity::{CredentialFolder, Pin, PinnedToken};
use model::api::{
    CertifyRequest, IdentitiesView, IdentityFact, InviteRequest, Invited, Principal, PrincipalKind,
    Role,
};
use model::network::Network;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest time for which an invitation is good: a month.
const HOURS_MAX: u64 = 31 * 24;

/// What `upstart help invite` says below the options.
const AFTER_INVITE: &str = "\
The one-time token is a secret, and names the servers that it is for. Have it written into a file (--to), bring that to where the node or the
person is, and give it there with --token-file. It is used up by whoever is made known with it, and can be withdrawn with
`upstart revoke`. Another invitation of the same name takes its place.";

/// Arguments of `upstart invite`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_INVITE)]
pub(crate) struct InviteArgs {
    /// Write the token into this file, which only its owner can read, instead of printing it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Whom.
    #[command(subcommand)]
    pub(crate) whom: InviteCommand,
}

/// Whom to invite.
#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// Make a one-time token with which a node's agent enrols
    Node {
        /// The node's name
        name: String,
        /// A network in which the node's addresses are, if it does not call the server from all of them (repeatable)
        #[arg(long = "network", value_name = "IP/PREFIX")]
        networks: Vec<Network>,
        /// For how long it can be used
        #[arg(long, value_name = "HOURS", default_value_t = 1)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=HOURS_MAX))]
        hours: u64,
    },
    /// Make a one-time token with which a person, or a program, logs in
    Operator {
        /// The name that the history will show
        name: String,
        /// What they may do: viewer (look), operator (pause, approve, retry, retire, forget), publisher (publish, withdraw), admin (all)
        #[arg(long, value_parser = role)]
        role: Role,
        /// For how long it can be used
        #[arg(long, value_name = "HOURS", default_value_t = 1)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=HOURS_MAX))]
        hours: u64,
    },
}

/// Arguments of `upstart revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Whose key: node:NAME or operator:NAME
    #[arg(value_name = "node:NAME|operator:NAME")]
    pub(crate) principal: Principal,
}

/// Reads a role.
fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
    found.ok_or_else(|| "give viewer, operator, publisher or admin".to_owned())
}

/// `upstart invite`.
pub(crate) fn invite(globals: &Globals, arguments: &InviteArgs) -> CommandOutcome {
    let (principal, role, networks, hours) = match &arguments.whom {
        InviteCommand::Node {
            name,
            networks,
            hours,
        } => (Principal::node(name), None, networks.clone(), *hours),
        InviteCommand::Operator { name, role, hours } => {
            (Principal::operator(name), Some(*role), Vec::new(), *hours)
        }
    };
    if let Some(why) = model::names::fault(&principal.name) {
        let what = format!("`{}` cannot be the name: one {why}", principal.name);
        return Err(failure(what, "give another name"));
    }
    let client = connect(globals)?;
    let to = arguments.to.as_deref().map(private_file).transpose()?;
    let request = InviteRequest {
        principal: principal.clone(),
        role,
        networks,
        valid_ms: hours * 60 * 60 * 1_000,
    };
    let invited: Invited = wait_for(async { client.invite(&request).await.map_err(explain) })?;
    if globals.json {
        output::json(&invited)?;
        return Ok(CommandEnd::Yes);
    }
    let usage = match principal.kind {
        PrincipalKind::Node => format!(
            "upstart agent --name {} --token-file FILE --server https://HOST:PORT --address IP --root 1.root.json ...",
            principal.name
        ),
        PrincipalKind::Operator => {
            "upstart login --token-file FILE --server https://HOST:PORT".to_owned()
        }
    };
    let place = match (to, &arguments.to) {
        (Some(mut opened), Some(file)) => {
            let what = format!("the token cannot be written to {}", file.display());
            let next = "give --to FILE another place: the token that was made is withdrawn by the next `upstart invite`";
            writeln!(opened, "{}", invited.token).advise(&what, next)?;
            opened.sync_all().advise(what, next)?;
            format!("Bring {}", file.display())
        }
        _ => {
            output::line(&invited.token)?;
            "Put the line above into a file that nobody else can read, bring it".to_owned()
        }
    };
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "{principal} is invited for {hours} h. {place} there, and run:\n    {usage}"
    );
    Ok(CommandEnd::Yes)
}

/// Opens a new file that nobody else can read.
fn private_file(file: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    opened.advise(
        format!("the token cannot be written to {}", file.display()),
        "give --to FILE a place for a new file",
    )
}

/// The problem of a key that is revoked.
const ENDED: &str = "/problems/identity-ended";

fn certify_request(own: &CredentialFolder) -> anyhow::Result<CertifyRequest> {
    Ok(CertifyRequest {
        certificate_request: own.request().map_err(|error| unusable(&error))?,
    })
}

/// What `upstart login` has done.
#[derive(Debug, Serialize)]
struct LoggedIn {
    principal: Principal,
    role: Option<Role>,
    expires_at_ms: u64,
    folder: String,
}

/// The problem of a token that is good for nothing.
const UNAUTHORIZED: &str = "/problems/unauthorized";

/// Why nobody is logged in.
fn not_certified(error: ClientError) -> anyhow::Error {
    if error.kind() == Some(UNAUTHORIZED) {
        return failure(
            "the one-time token cannot be used: it was used already, was withdrawn, or has expired",
            "ask an admin for another: `upstart invite operator NAME --role ROLE`",
        );
    }
    explain(error)
}

/// One folder is for one system: what it has of another is not replaced.
fn is_of_this_system(
    own: &CredentialFolder,
    token: Option<Pin>,
    folder: &Path,
) -> anyhow::Result<()> {
    let Some(there) = own.credential().map_err(|error| unusable(&error))? else {
        return Ok(());
    };
    let Some(pin) = token else {
        return Err(failure(
            format!(
                "the token does not say which system it is for, and {} is logged in at one",
                folder.display()
            ),
            "give the whole token, with the pin behind its last dot; or give this system a folder of its own (--identity DIR, or UPSTART_IDENTITY)",
        ));
    };
    if there.pin() == pin {
        return Ok(());
    }
    Err(failure(
        format!(
            "{} is logged in at another system (its servers' authority has the pin {})",
            folder.display(),
            there.pin()
        ),
        format!(
            "give this system a folder of its own, here and with every command for it (--identity DIR, or UPSTART_IDENTITY); or remove {}, if nobody needs that login any more",
            folder.display()
        ),
    ))
}

/// `upstart login`.
pub(crate) fn login(globals: &Globals) -> CommandOutcome {
    let token = given(globals)?.token;
    let Some(token) = token else {
        return Err(failure(
            "there is no one-time token to log in with",
            "give the one that an admin made with `upstart invite operator NAME --role ROLE`: --token-file FILE",
        ));
    };
    let folder = identity_folder(globals)?;
    let mut own = CredentialFolder::open(&folder).map_err(|error| unusable(&error))?;
    let token_pin = PinnedToken::of(&token).pin;
    let client = Client::new(&globals.servers, Some(token)).map_err(explain)?;
    if !client.is_encrypted() {
        return Err(failure(
            "a key is certified over TLS only",
            "give the server's address as https://HOST:PORT",
        ));
    }
    is_of_this_system(&own, token_pin, &folder)?;
    let logged_in = wait_for(async {
        let mut asked = client.certify(&certify_request(&own)?).await;
        if asked
            .as_ref()
            .is_err_and(|error| error.kind() == Some(ENDED))
        {
            // The key that is there was revoked.
            own = own.with_new_key().map_err(|error| unusable(&error))?;
            asked = client.certify(&certify_request(&own)?).await;
        }
        let certified = asked.map_err(not_certified)?;
        let credential = own
            .keep(&certified.certificate)
            .map_err(|error| unusable(&error))?;
        // With the first request that shows the certificate the token is used up.
        client.show(Some(credential));
        client.certificate_is_good().await.map_err(explain)?;
        Ok(certified)
    })?;
    let role = logged_in.role.map_or("", Role::as_str);
    let sentence = format!(
        "Logged in as {} ({role}): the key is in {}, and its certificate is renewed by the commands that use it.",
        logged_in.principal.name,
        folder.display()
    );
    let answer = LoggedIn {
        principal: logged_in.principal,
        role: logged_in.role,
        expires_at_ms: logged_in.expires_at_ms,
        folder: folder.display().to_string(),
    };
    done(globals, &answer, &sentence)
}

/// `upstart identities`.
pub(crate) fn list(globals: &Globals) -> CommandOutcome {
    let client = connect(globals)?;
    let view = wait_for(async { client.identities().await.map_err(explain) })?;
    if globals.json {
        output::json(&view)?;
        return Ok(CommandEnd::Yes);
    }
    let mut table = output::table(["WHO", "ROLE", "KEY", "CERTIFICATES", "STATE"]);
    for fact in &view.identities {
        table.add_row([
            fact.principal.to_string(),
            fact.role.map_or("", Role::as_str).to_owned(),
            fact.key.chars().take(12).collect(),
            fact.counter.to_string(),
            state(fact, view.now_ms),
        ]);
    }
    for open in &view.invitations {
        let left = output::duration(open.expires_at_ms.saturating_sub(view.now_ms));
        table.add_row([
            open.principal.to_string(),
            open.role.map_or("", Role::as_str).to_owned(),
            String::new(),
            String::new(),
            format!("invited, {left} left"),
        ]);
    }
    if is_empty(&view) {
        output::line("Nobody has a key yet: `upstart invite` makes one-time tokens.")?;
    } else {
        output::print_table(&table)?;
    }
    output::line(format!("The servers' authority has the pin {}.", view.pin))?;
    Ok(CommandEnd::Yes)
}

fn is_empty(view: &IdentitiesView) -> bool {
    view.identities.is_empty() && view.invitations.is_empty()
}

fn state(fact: &IdentityFact, now_ms: u64) -> String {
    match fact.revoked_at_ms {
        Some(at_ms) => format!(
            "revoked {} ago",
            output::duration(now_ms.saturating_sub(at_ms))
        ),
        None if fact.expires_at_ms <= now_ms => format!(
            "expired {} ago",
            output::duration(now_ms - fact.expires_at_ms)
        ),
        None => format!("good for {}", output::duration(fact.expires_at_ms - now_ms)),
    }
}

/// Whether this is the one admin whose key counts. A certificate that has expired is renewed.
fn is_last_admin(view: &IdentitiesView, principal: &Principal) -> bool {
    let admins = view
        .identities
        .iter()
        .filter(|fact| fact.role == Some(Role::Admin) && fact.revoked_at_ms.is_none());
    let admins: Vec<&Principal> = admins.map(|fact| &fact.principal).collect();
    admins == [principal]
}

/// `upstart revoke`.
pub(crate) fn revoke(globals: &Globals, arguments: &RevokeArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let is_last_admin = wait_for(async {
        let view = client.identities().await.map_err(explain)?;
        let is_last = is_last_admin(&view, &arguments.principal);
        let revoked = client.revoke(&arguments.principal).await;
        revoked.map(|()| is_last).map_err(explain)
    })?;
    if is_last_admin {
        output::note(
            "no admin has a key any more: only the server's own user and root on its host, whoever else has its token, and those whom an issuer (`--issuer`) calls admins can invite and revoke now; `upstart invite operator NAME --role admin` makes another",
        );
    }
    let sentence = format!(
        "{} is known no longer: neither the key, nor an invitation. `upstart invite` makes a new one-time token.",
        arguments.principal
    );
    done(globals, &arguments.principal, &sentence)
}
