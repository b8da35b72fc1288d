//! How commands reach the upgrade server, and how its refusals read.

use crate::failure::{failure, refusal};
use crate::globals::Globals;
use client::{Client, ClientError};
use identity::{Credential, CredentialFolder, IdentityError};
use model::api::{CertifyRequest, Problem};
use model::gate;
use server::token::TokenError;
use std::env::VarError;
use std::future::Future;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Holds the bearer token itself; an argument would show in `ps`.
const TOKEN_VARIABLE: &str = "UPSTART_TOKEN";

/// The statuses by which a server that understood the request says no.
const REFUSALS: [u16; 4] = [404, 409, 410, 422];

/// The problem that somebody else has changed the signed repository meanwhile.
const SIGNED_MEANWHILE: &str = "/problems/signed-meanwhile";

/// The problem of a caller who shows nothing that the server knows.
const UNAUTHORIZED: &str = "/problems/unauthorized";

/// The problem of a request that no server understands: its address has a path too many, or it is of another version.
const UNKNOWN_ROUTE: &str = "/problems/unknown-route";

/// A client for the servers that the arguments name, writing under the user's name.
pub(crate) fn connect(globals: &Globals) -> anyhow::Result<Client> {
    let OperatorToken { token, owner } = given(globals)?;
    let credential = match &token {
        Some(_) => None,
        None => own_credential(globals)?,
    };
    let client = Client::new(&globals.servers, token).map_err(explain)?;
    let client = client.believing(owner).with_author(author());
    let client = match (&globals.identity, credential) {
        // Whoever names a folder wants to be known by it, also where a server would tell its token.
        (Some(folder), Some(credential)) => {
            if !client.is_encrypted() {
                return Err(failure(
                    format!("the key in {} is shown over TLS only", folder.display()),
                    "give the server's address as https://HOST:PORT, or leave --identity (UPSTART_IDENTITY) away",
                ));
            }
            client.show(Some(credential));
            client
        }
        (_, credential) => client.otherwise_showing(credential),
    };
    Ok(client.telling_silence(tell_silence))
}

/// Where the key and certificate of `upstart login` are.
pub(crate) fn identity_folder(globals: &Globals) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &globals.identity {
        return Ok(folder.clone());
    }
    let configuration = configuration_folder().ok_or_else(|| {
        failure(
            "there is no home directory to keep your key in",
            "name a folder for it: --identity DIR",
        )
    })?;
    Ok(configuration.join("upstart").join("identity"))
}

/// The folder of this user's configuration, if one is known.
pub(crate) fn configuration_folder() -> Option<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".config"));
    absolute("XDG_CONFIG_HOME").or_else(home)
}

/// Why a key or a certificate is of no use.
pub(crate) fn unusable(error: &IdentityError) -> anyhow::Error {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    failure(format!("{error}{cause}"), error.advice())
}

/// What `upstart login` has left, renewed where it is time for that.
fn own_credential(globals: &Globals) -> anyhow::Result<Option<Credential>> {
    let Ok(folder) = identity_folder(globals) else {
        return Ok(None);
    };
    let found = match CredentialFolder::find(&folder) {
        // Where HOME is another user's, as it is under some programs that change the user.
        Err(IdentityError::File { source, .. })
            if globals.identity.is_none() && source.kind() == ErrorKind::PermissionDenied =>
        {
            None
        }
        found => found.map_err(|error| unusable(&error))?,
    };
    let Some(own) = found else {
        return not_logged_in(globals);
    };
    let Some(credential) = own.credential().map_err(|error| unusable(&error))? else {
        return not_logged_in(globals);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis());
    if now_ms < u128::from(credential.says().renew_at_ms()) {
        return Ok(Some(credential));
    }
    // Of several commands one renews it, and the others take what that has kept.
    let _lock = own.lock().map_err(|error| unusable(&error))?;
    let credential = own.credential().ok().flatten().unwrap_or(credential);
    if now_ms < u128::from(credential.says().renew_at_ms()) {
        return Ok(Some(credential));
    }
    let renewed = wait_for(renewed(globals, &own, credential.clone()));
    Ok(Some(renewed.unwrap_or(credential)))
}

/// There is no key and certificate: that is an error where a folder was named for them.
fn not_logged_in(globals: &Globals) -> anyhow::Result<Option<Credential>> {
    let Some(folder) = &globals.identity else {
        return Ok(None);
    };
    let folder = folder.display();
    Err(failure(
        format!("{folder} has no key and certificate of `upstart login`"),
        format!(
            "name the folder that has them, or leave --identity (UPSTART_IDENTITY) away; `upstart login --token-file FILE --identity {folder}` makes them"
        ),
    ))
}

/// Asks for the next certificate. Where that fails the one that is there is shown, and the server says what is wrong with it.
async fn renewed(
    globals: &Globals,
    own: &CredentialFolder,
    credential: Credential,
) -> anyhow::Result<Credential> {
    let client = Client::new(&globals.servers, None).map_err(explain)?;
    client.show(Some(credential));
    let request = CertifyRequest {
        certificate_request: own.request().map_err(|error| unusable(&error))?,
    };
    let asked = tokio::time::timeout(LAST_ANSWER_LIMIT, client.certify(&request)).await?;
    let certified = asked.map_err(explain)?;
    own.keep(&certified.certificate)
        .map_err(|error| unusable(&error))
}

fn tell_silence(server: &str) {
    let server = crate::output::within(server);
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "waiting: the upgrade server at {server} has taken the request and has not answered yet"
    );
}

/// The longest time that a command waits: what is written beyond it means that.
const SECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60;

/// How long a request may take although the time of its command is up: a command says how things stand in the end.
const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The end of a wait of so many seconds.
pub(crate) fn end_after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds.min(SECONDS_MAX))
}

/// Waits for an answer until the command's time is up.
pub(crate) async fn until<T>(
    client: &Client,
    end: Instant,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let limit = end.saturating_duration_since(Instant::now());
    let limit = limit.max(LAST_ANSWER_LIMIT);
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|_| Err(client.silent(limit)))
}

/// The bearer token as it was given.
#[derive(Debug, Default)]
pub(crate) struct OperatorToken {
    pub(crate) token: Option<String>,
    /// The user whose file it was in: a server that this one runs on this host is believed, too.
    pub(crate) owner: Option<u32>,
}

/// The bearer token: from the file, else from the environment. Without one, servers on this host tell it to their user and to root.
pub(crate) fn given(globals: &Globals) -> anyhow::Result<OperatorToken> {
    let Some(file) = &globals.token_file else {
        let token = from_environment()?;
        return Ok(OperatorToken { token, owner: None });
    };
    let held = server::token::read(file).map_err(|error| no_token(&error))?;
    Ok(OperatorToken {
        token: Some(held.token),
        owner: Some(held.owner),
    })
}

fn from_environment() -> anyhow::Result<Option<String>> {
    let advice = "give the server's token in a file: --token-file FILE";
    let token = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) if token.is_empty() => return Ok(None),
        Ok(token) => token,
        Err(VarError::NotPresent) => return Ok(None),
        Err(VarError::NotUnicode(_)) => {
            return Err(failure(format!("{TOKEN_VARIABLE} is no text"), advice));
        }
    };
    match gate::fault(&token) {
        None => Ok(Some(token)),
        Some(why) => Err(failure(
            format!("{TOKEN_VARIABLE} holds no token: {why}"),
            advice,
        )),
    }
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
        ClientError::Problem(problem)
            if problem.status == 403 || problem.kind != UNAUTHORIZED && problem.status == 401 =>
        {
            failure(error.to_string(), advice_to_the_refused(problem))
        }
        ClientError::Problem(problem) if problem.status == 401 => failure(
            error.to_string(),
            "give another token with --token-file FILE or UPSTART_TOKEN: the server's, which is the file `token` in its data directory, or one of an issuer that the server knows",
        ),
        ClientError::Problem(problem) if problem.kind == UNKNOWN_ROUTE => failure(
            error.to_string(),
            "look at the path of the server's address: --server https://HOST:PORT, without one unless it is behind a gateway",
        ),
        ClientError::Problem(problem)
            if REFUSALS.contains(&problem.status) && problem.kind != SIGNED_MEANWHILE =>
        {
            refusal(error.to_string(), advice(problem))
        }
        ClientError::Problem(problem) if problem.kind == SIGNED_MEANWHILE => {
            refusal(error.to_string(), "run the command again")
        }
        ClientError::Problem(problem) if problem.status == 507 => failure(
            error.to_string(),
            "make room on the server's disk, then try again",
        ),
        ClientError::Problem(_) => failure(
            error.to_string(),
            "look at the server's own messages, then try again",
        ),
        ClientError::Unreachable { .. } => failure(
            error.to_string(),
            "start one with `upstart server --data DIR`, or name it with --server URL",
        ),
        ClientError::Silent { .. } => failure(
            error.to_string(),
            "see whether it stands still (stopped, or its disk hangs), is overloaded or out of descriptors (its log says so), and let it go on or start it again; nodes go on meanwhile",
        ),
        ClientError::NotAsked { doubt, .. } => failure(error.to_string(), doubt.advice()),
        ClientError::Token(_) => failure(
            error.to_string(),
            "give the server's token, one line of ASCII without white space: --token-file FILE",
        ),
        ClientError::Author(_) => failure(
            error.to_string(),
            "set USER (or SUDO_USER, where that is set) to your login name",
        ),
        ClientError::Unexpected { .. } | ClientError::Address { .. } | ClientError::NoServer => {
            failure(
                error.to_string(),
                "name the server with --server https://HOST:PORT",
            )
        }
        ClientError::File { source, .. } => failure(
            format!("{error}: {source}"),
            "make the file readable and run the command again; uploads are resumed",
        ),
        ClientError::Identity(error) => unusable(error),
        ClientError::Setup(source) => failure(format!("{error}: {source}"), "report this"),
    }
}

/// What somebody does who may not ask for that; nothing where the refusal says so itself.
fn advice_to_the_refused(problem: &Problem) -> &'static str {
    if problem.detail.contains("`upstart ") {
        return "";
    }
    "ask an admin of the server; `upstart identities` shows who may do what"
}

/// What to do about a refusal; nothing where it says so itself.
fn advice(problem: &Problem) -> &'static str {
    if problem.detail.contains("`upstart ") {
        return "";
    }
    match problem.kind.as_str() {
        "/problems/publish-refused" => {
            "`upstart status` lists what is published; mend upgrade.toml and publish again"
        }
        // The detail says it.
        "/problems/unsigned" => "",
        "/problems/history-set-back" => "`upstart events` without --after prints all that there is",
        "/problems/unknown-version" => "`upstart status` lists the versions",
        "/problems/not-blocked" => "`upstart nodes` shows which nodes are blocked",
        _ => "see `upstart status` for how the system stands",
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

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::failure::CommandFailure;
    use client::ClientError;
    use model::api::Problem;

    /// A refusal is an answer; that somebody may not ask, or that a server is in trouble, is none.
    #[test]
    fn only_an_answer_of_the_server_is_a_negative_one() {
        let refused = |status: u16| {
            let text = String::new();
            let error = explain(ClientError::Problem(Problem {
                kind: text.clone(),
                title: text.clone(),
                status,
                detail: text,
            }));
            error
                .downcast_ref::<CommandFailure>()
                .expect("advice")
                .refused
        };
        assert!([404, 409, 410, 422].into_iter().all(refused));
        assert!(
            ![400, 401, 403, 413, 421, 500, 503, 507]
                .into_iter()
                .any(refused)
        );
    }
}
