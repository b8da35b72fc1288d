//! `upstart server`: runs the upgrade server until it is asked to end.

use crate::connection::{asked_to_end, given, no_token, unusable};
use crate::failure::{CommandEnd, CommandOutcome, failure, sentence};
use crate::file_limit;
use crate::globals::Globals;
use access::{Distrust, Judge, PathPlace};
use clap::Args;
use identity::Issuer;
use metrics::MetricsAddress;
use rustix::process::{Resource, getrlimit};
use server::udb::UdbError;
use server::{ArtifactsError, PrometheusPlace, ServerConfig, ServerError};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest silence of a node that may count as none: a day.
const EVENTS_KEPT_DAYS_MAX: u64 = 36_500;
const REACHABLE_MS_MAX: u64 = 86_400_000;

/// The longest life of a certificate: a year.
const CERTIFICATE_MS_MAX: u64 = 365 * 86_400_000;

/// What `upstart help server` says below the options.
const AFTER_HELP: &str = "\
It runs in the foreground, and says what it does on stderr: let a service manager keep it. SIGTERM or Ctrl-C ends it with exit code 0; nodes go on without it.";

/// Arguments of `upstart server`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServerArgs {
    /// Where the database and the artifacts lie
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// A PostgreSQL database to use instead of SQLite in the data directory, as a URL such as postgres://upstart@db.example/upstart; its
    /// password is read from PGPASSFILE, ~/.pgpass or PGPASSWORD
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Where the artifacts lie, if not in the data directory: a folder that all servers over one PostgreSQL database share
    #[arg(long, value_name = "DIR")]
    pub(crate) repository: Option<PathBuf>,
    /// Where the artifacts lie, if not in the repository's folder: in a bucket of S3, or of what speaks like it, as s3://BUCKET/PREFIX, or in
    /// an OCI registry, as oci://HOST/NAME. Keys, region and endpoint of a bucket are read from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    /// AWS_REGION and AWS_ENDPOINT_URL, or from the file that AWS_SHARED_CREDENTIALS_FILE names, else ~/.aws/credentials; the login to a
    /// registry from the file that REGISTRY_AUTH_FILE names, else from where Docker and Podman keep theirs
    #[arg(long, value_name = "URL")]
    pub(crate) artifacts: Option<String>,
    /// Where to listen, with TLS; from this host also without. Commands and agents of the server's own user on this host are let in by
    /// themselves; others are invited (`upstart invite`), or show the token of --token-file, else of the file `token` in the data directory
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: SocketAddr,
    /// Tell metrics to Prometheus at this address too (`/metrics`), without TLS and to everybody who reaches it: a port alone is one of this
    /// host. With a role that may look they are also at /metrics of --listen
    #[arg(long, value_name = "[IP:]PORT")]
    pub(crate) metrics_listen: Option<MetricsAddress>,
    /// Let operators in by the web tokens (JWT) of an issuer too, such as a single sign-on: a file that says whose, and what they make of whom
    #[arg(long, value_name = "FILE")]
    pub(crate) issuer: Option<PathBuf>,
    /// The address of a Prometheus that is asked for the `metrics` of schedules, such as http://prometheus.example:9090
    #[arg(long, value_name = "URL")]
    pub(crate) prometheus: Option<String>,
    /// A file with the bearer token that Prometheus is shown; read anew for each question
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub(crate) prometheus_token_file: Option<PathBuf>,
    /// A PEM file with the authorities with which Prometheus shows who it is over TLS; those of this host unless told otherwise
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub(crate) prometheus_authorities: Option<PathBuf>,
    /// A node counts as reachable until the server has not heard from it for this long
    #[arg(long, value_name = "MS", default_value_t = server::REACHABLE_MS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=REACHABLE_MS_MAX))]
    pub(crate) reachable_ms: u64,
    /// How long certificates of nodes and operators count; they are renewed when half of it is over, and can be renewed when they have expired
    #[arg(long, value_name = "MS", default_value_t = server::CERTIFICATE_MS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=CERTIFICATE_MS_MAX))]
    pub(crate) certificate_ms: u64,
    /// For how many days entries of the history are kept; 0 keeps them for ever
    #[arg(long, value_name = "DAYS", default_value_t = server::EVENTS_KEPT_DAYS)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=EVENTS_KEPT_DAYS_MAX))]
    pub(crate) keep_events: u64,
    /// How long a webhook's receiver is left alone that has not taken an event, the first time and at most; for tests
    #[arg(long, value_name = "FIRST,LONGEST", value_delimiter = ',', hide = true)]
    pub(crate) webhook_retry_ms: Vec<u64>,
}

/// `upstart server`.
pub(crate) fn run(globals: &Globals, arguments: ServerArgs) -> CommandOutcome {
    file_limit::survive()?;
    let data = arguments.data.clone();
    look_above(&data)?;
    let database = arguments.database.clone();
    let config = configuration(globals, arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let end = asked_to_end()?;
        server::run(config, end)
            .await
            .map_err(|error| match (error, database) {
                (ServerError::Udb(error), Some(url)) => explain_postgres(error, &url),
                (error @ ServerError::Repository { .. }, Some(_)) => failure(
                    sentence(&error.into()),
                    "give --repository DIR, the folder that all servers over this database share; nodes go on meanwhile",
                ),
                (error, _) => explain(error, &data),
            })
    })?;
    Ok(CommandEnd::Yes)
}

/// Looks at the folders above the data directory: whoever can rename it can give the server another one, of yesterday for example.
fn look_above(data: &Path) -> anyhow::Result<()> {
    let given = std::path::absolute(data)?;
    let real = std::fs::canonicalize(&given).unwrap_or_else(|_| given.clone());
    let looked = above(&given).and_then(|()| above(&real));
    looked.map_err(|distrust| {
        let next = "give --data a folder of which only root and the server's user own and write the folders above, such as /var/lib/upstart/server; or start the server as their owner";
        failure(sentence(&distrust.into()), next)
    })
}

fn above(path: &Path) -> Result<(), Distrust> {
    let judge = Judge::new("which data the server has");
    // What is not there yet is made below this one.
    let there = path.ancestors().skip(1).find(|folder| folder.exists());
    let real = judge.way(there.unwrap_or(Path::new("/")))?;
    judge.look(&real, PathPlace::Above)
}

/// Whether a folder is neither root's nor this user's.
fn is_anothers(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let about = std::fs::metadata(folder);
    about.is_ok_and(|about| ![0, user].contains(&about.uid()))
}

fn configuration(globals: &Globals, arguments: ServerArgs) -> anyhow::Result<ServerConfig> {
    let mut config = ServerConfig::new(arguments.listen, arguments.data);
    config.database = arguments.database;
    config.repository = arguments.repository;
    config.artifacts = arguments.artifacts;
    config.metrics_listen = arguments.metrics_listen.map(|metrics| metrics.0);
    config.token = given(globals)?.token;
    config.issuer = arguments.issuer.as_deref().map(issuer).transpose()?;
    config.prometheus = arguments.prometheus.map(|url| PrometheusPlace {
        url,
        token: arguments.prometheus_token_file,
        certificates: arguments.prometheus_authorities,
    });
    config.reachable_ms = arguments.reachable_ms;
    config.certificate_ms = arguments.certificate_ms;
    if let [first_ms, longest_ms] = arguments.webhook_retry_ms[..] {
        config.webhook_pause = webhook::RetryPause {
            first_ms,
            longest_ms,
        };
    }
    config.events_kept_ms =
        (arguments.keep_events > 0).then_some(arguments.keep_events * server::DAY_MS);
    Ok(config)
}

/// What to do about a file of an issuer.
const MEND_ISSUER: &str = "mend the file of --issuer; `Who may do what` in the guides shows one";

/// Whose web tokens let operators in. Whoever can write the file, or what it names, says who is an admin.
fn issuer(file: &Path) -> anyhow::Result<Issuer> {
    let judge = Judge::new("who may do what");
    let looked = |path: &Path| {
        judge.all(path).map_err(|distrust| {
            let next =
                "let only root and the server's user own and write it, and the folders above it";
            failure(sentence(&distrust.into()), next)
        })
    };
    looked(file)?;
    if !file.is_file() {
        let what = format!("{} is no file", file.display());
        return Err(failure(what, MEND_ISSUER));
    }
    let issuer = Issuer::read(file).map_err(|error| failure(error.to_string(), MEND_ISSUER))?;
    for named in [&issuer.keys, &issuer.certificates].into_iter().flatten() {
        looked(named)?;
    }
    Ok(issuer)
}

/// What to do where nothing better is known.
const KEEP: &str = "keep the data directory as it is and look at the cause; nodes go on meanwhile";

/// With less room than this a database does not begin; SQLite does not always tell that from other trouble with a disk.
const ROOM_BYTES_MIN: u64 = 64 * 1024;

/// How much room there is for what is written below a directory.
fn room(directory: &Path) -> Option<u64> {
    let mut there = directory.ancestors();
    let about = there.find_map(|directory| rustix::fs::statvfs(directory).ok())?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

/// What to do where PostgreSQL is of no use.
pub(super) fn explain_postgres(error: UdbError, url: &str) -> anyhow::Error {
    let next = match &error {
        UdbError::Address(_) => "give --database postgres://USER@HOST/DATABASE, and the password in ~/.pgpass, or in a file that PGPASSFILE names (mode 600), as lines HOST:PORT:DATABASE:USER:PASSWORD".to_owned(),
        UdbError::Newer { .. } => "start the server with the newest Upstart that has used this database".to_owned(),
        UdbError::Full => "free some space on PostgreSQL's disk and start the server again; nodes go on meanwhile".to_owned(),
        _ => format!(
            "see that `psql {url}` gets in from here, and may create a schema in that database; then run the command again; nodes go on meanwhile"
        ),
    };
    let error = ServerError::from(error);
    failure(sentence(&error.into()), next)
}

/// What to do where artifacts cannot lie.
fn no_artifacts(error: ArtifactsError) -> anyhow::Error {
    let next = match &error {
        ArtifactsError::Address { .. } => {
            "give --artifacts s3://BUCKET/PREFIX, and the endpoint, where it is not Amazon's, in AWS_ENDPOINT_URL; or --artifacts oci://HOST/NAME, and the login in the file that REGISTRY_AUTH_FILE names"
        }
        ArtifactsError::Keys { .. } => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name in AWS_SHARED_CREDENTIALS_FILE a file (mode 600) with a section [default] and lines aws_access_key_id = ... and aws_secret_access_key = ..."
        }
        ArtifactsError::Login { .. } => {
            "name in REGISTRY_AUTH_FILE a file (mode 600) as `docker login` and `podman login` write it: {\"auths\": {\"HOST\": {\"auth\": \"USER:PASSWORD in base64\"}}}"
        }
        ArtifactsError::NoBucket(_) => {
            "make the bucket, or give another --artifacts s3://BUCKET/PREFIX; nodes go on meanwhile"
        }
        ArtifactsError::Notes { .. } => "give --data a directory that can be written",
    };
    failure(sentence(&error.into()), next)
}

fn explain(error: ServerError, data: &Path) -> anyhow::Error {
    if let ServerError::Token(error) = &error {
        return no_token(error);
    }
    if let ServerError::Authority(error) = &error {
        return unusable(error);
    }
    if let ServerError::Artifacts(error) = error {
        return no_artifacts(error);
    }
    if matches!(error, ServerError::Udb(_)) {
        let what = sentence(&error.into());
        let shown = data.display();
        if let Some(room) = room(data).filter(|room| *room < ROOM_BYTES_MIN) {
            return failure(
                format!("{what}: the disk of {shown} is full, it has room for {room} bytes"),
                "free some space and start the server again; nodes go on meanwhile",
            );
        }
        let limit = getrlimit(Resource::Fsize).current;
        let next = match limit {
            Some(limit) => format!(
                "no file may have more than {limit} bytes here: raise that limit (`ulimit -f unlimited`) and start the server again; nodes go on meanwhile"
            ),
            None => KEEP.to_owned(),
        };
        return failure(what, next);
    }
    let next = match &error {
        ServerError::Listen { .. } => "end what listens there, or give another --listen IP:PORT",
        ServerError::MetricsListen { .. } => {
            "end what listens there, or give another --metrics-listen [IP:]PORT"
        }
        ServerError::Data { path, .. } if is_anothers(path) => {
            "start the server as the folder's owner, or give it a folder of its own: --data DIR"
        }
        ServerError::Data { .. } => "give --data a directory that can be written",
        ServerError::Broken(..) => {
            "start the server again, nothing is lost; report this with the server's log"
        }
        ServerError::Key(error) => error.advice(),
        ServerError::Issuer(_) => MEND_ISSUER,
        ServerError::InUse(_) => "end that server, or give another --data DIR",
        _ => KEEP,
    };
    failure(sentence(&error.into()), next)
}
