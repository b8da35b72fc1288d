//! How commands reach the upgrade server, and how its refusals read.

use crate::arguments::Globals;
use crate::failure::{failure, refusal};
use client::{Client, ClientError};
use server::token::TokenError;
use std::env::VarError;
use std::future::Future;

/// Holds the bearer token itself; an argument would show in `ps`.
const TOKEN_VARIABLE: &str = "UPSTART_TOKEN";

/// The statuses by which a server that understood the request says no.
const REFUSALS: [u16; 4] = [404, 409, 410, 422];

/// A client for the servers that the arguments name, writing under the user's name.
pub(crate) fn connect(globals: &Globals) -> anyhow::Result<Client> {
    let client = Client::new(&globals.servers, token(globals)?).map_err(explain)?;
    Ok(client.with_author(author()))
}

/// The bearer token: from the file, else from the environment. Without one, servers on this host tell it to their user and to root.
pub(crate) fn token(globals: &Globals) -> anyhow::Result<Option<String>> {
    let Some(file) = &globals.token_file else {
        return match std::env::var(TOKEN_VARIABLE) {
            Ok(token) => Ok(Some(token).filter(|token| !token.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(failure(
                format!("{TOKEN_VARIABLE} is no text"),
                "put the server's token into a file and give it with --token-file FILE",
            )),
        };
    };
    server::token::read(file)
        .map(Some)
        .map_err(|error| no_token(&error))
}

/// Why a token file is of no use.
pub(crate) fn no_token(error: &TokenError) -> anyhow::Error {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    failure(format!("{error}{cause}"), error.advice())
}

/// Runs a client command's requests to their end.
pub(crate) fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Resolves when the process is asked to end: SIGTERM, or Ctrl-C at a terminal.
pub(crate) fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A client's error as people read it: what happened, and what to do next.
pub(crate) fn explain(error: ClientError) -> anyhow::Error {
    match &error {
        ClientError::Problem(problem) if problem.status == 401 || problem.status == 403 => failure(
            error.to_string(),
            "give the server's token with --token-file FILE or UPSTART_TOKEN; it is the file `token` in the server's data directory",
        ),
        ClientError::Problem(problem) if REFUSALS.contains(&problem.status) => refusal(
            error.to_string(),
            "see `upstart status` for how the system stands",
        ),
        ClientError::Problem(_) => failure(
            error.to_string(),
            "look at the server's own messages, then try again",
        ),
        ClientError::Unreachable { .. } => failure(
            error.to_string(),
            "start one with `upstart server --data DIR`, or name it with --server URL; give the token of another user's with --token-file",
        ),
        ClientError::Unexpected { .. } | ClientError::Address { .. } | ClientError::NoServer => {
            failure(
                error.to_string(),
                "name the server with --server http://HOST:PORT",
            )
        }
        ClientError::File { source, .. } => failure(
            format!("{error}: {source}"),
            "make the file readable and run the command again; uploads are resumed",
        ),
        ClientError::Setup(source) => failure(format!("{error}: {source}"), "report this"),
    }
}

/// Who the history says it was: the login name at this machine.
fn author() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "operator".to_owned());
    format!("{user}@{}", host())
}

/// This machine's name.
pub(crate) fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}
