//! Where the database is, and with which password: a URL without secrets, and a password file as PostgreSQL's own programs
//! use it.

use super::CONNECT_LIMIT;
use super::asked_tls::AskedTls;
use super::tls::DatabaseTls;
use crate::udb::UdbError;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Where Debian's PostgreSQL listens for this host.
const SOCKET_DEFAULT: &str = "/var/run/postgresql";

/// How long what was sent may stay unacknowledged, and how often a silent connection is asked whether its other end is there.
const ACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Where passwords may be: in the environment, or in a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    pub(super) password: Option<String>,
    pub(super) file: Option<PathBuf>,
}

impl Secrets {
    /// As PostgreSQL's own programs do: `PGPASSWORD`, `PGPASSFILE`, `~/.pgpass`.
    pub(super) fn of_environment() -> Self {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
        let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
        Self {
            password: std::env::var("PGPASSWORD").ok(),
            file: named.or_else(|| home.filter(|file| file.exists())),
        }
    }
}

/// Where the database is, and how it is spoken with there.
pub(super) struct DatabaseAddress {
    pub(super) config: Config,
    pub(super) tls: DatabaseTls,
}

/// Reads a URL, and adds what it leaves out.
pub(super) fn read(url: &str, secrets: &Secrets) -> Result<DatabaseAddress, UdbError> {
    let (url, asked) = AskedTls::taken_from(url)?;
    let mut config = configured(&url, secrets)?;
    let is_tcp = |host: &Host| matches!(host, Host::Tcp(_));
    // As PostgreSQL's own programs have it: over a Unix socket nobody else listens.
    let is_reached_by_net = config.get_hosts().iter().any(is_tcp);
    config.ssl_mode(if is_reached_by_net {
        asked.ssl_mode()
    } else {
        SslMode::Disable
    });
    let tls = asked.tls()?;
    Ok(DatabaseAddress { config, tls })
}

fn configured(url: &str, secrets: &Secrets) -> Result<Config, UdbError> {
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(wrong(
            "it begins with neither postgres:// nor postgresql://",
        ));
    }
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error);
        wrong(&cause.map_or_else(|| error.to_string(), ToString::to_string))
    })?;
    if config.get_password().is_some() {
        return Err(wrong(
            "it holds a password, which everybody on this host could read in the list of processes",
        ));
    }
    if config.get_hosts().is_empty() {
        config.host_path(SOCKET_DEFAULT);
    }
    if config.get_application_name().is_none() {
        config.application_name("upstart");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_LIMIT);
    }
    config
        .tcp_user_timeout(ACKNOWLEDGED_LIMIT)
        .keepalives_idle(KEEPALIVE_INTERVAL)
        // A standby reads only: the one that was promoted is meant.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    if let Some(password) = password(&config, secrets)? {
        config.password(password);
    }
    Ok(config)
}

fn password(config: &Config, secrets: &Secrets) -> Result<Option<String>, UdbError> {
    if let Some(password) = &secrets.password {
        return Ok(Some(password.clone()));
    }
    let Some(file) = &secrets.file else {
        return Ok(None);
    };
    let unusable = |why: String| {
        UdbError::Address(format!(
            "the password file {} is of no use: {why}",
            file.display()
        ))
    };
    let about = std::fs::metadata(file).map_err(|error| unusable(error.to_string()))?;
    if is_open(&about) {
        return Err(unusable(
            "others may read it; take that away with `chmod 600`".to_owned(),
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    Ok(text.lines().find_map(|line| password_of_line(line, config)))
}

pub(super) fn is_open(about: &Metadata) -> bool {
    about.is_file() && about.permissions().mode() & 0o077 != 0
}

/// The password of a line `host:port:database:user:password`, if it is for one of these hosts.
fn password_of_line(line: &str, config: &Config) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let [host, port, database, user, password] = fields(line)?;
    let is = |field: &str, value: &str| field == "*" || field == value;
    let name = config.get_user().unwrap_or_default();
    let named = is(&user, name) && is(&database, config.get_dbname().unwrap_or(name));
    let ports = config.get_ports();
    let mut hosts = config.get_hosts().iter().enumerate();
    let there = hosts.any(|(at, of)| {
        let of_port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        is_host(&host, of) && is(&port, &of_port.to_string())
    });
    (named && there).then_some(password)
}

fn is_host(field: &str, host: &Host) -> bool {
    field == "*"
        || match host {
            Host::Tcp(name) => field == name,
            Host::Unix(path) => field == "localhost" || field == path.to_string_lossy(),
        }
}

/// The fields of a line; a backslash takes the meaning from the character after it.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(characters.next()),
            other => fields.last_mut()?.push(other),
        }
    }
    fields.try_into().ok()
}

pub(super) fn wrong(why: &str) -> UdbError {
    UdbError::Address(format!("this is no URL of a PostgreSQL database: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn a_url_that_is_none_or_holds_a_secret_is_refused_in_words() {
        let told = |url: &str| {
            let refused = read(url, &Secrets::default()).err().expect("refused");
            refused.to_string()
        };
        assert!(told("mysql://a@b/c").contains("postgres://"));
        let told_secret = told("postgres://user:s3cret@host/upstart");
        assert!(told_secret.contains("holds a password"), "{told_secret}");
        assert!(!told_secret.contains("s3cret"), "{told_secret}");
        assert!(told("postgres://user@host/upstart?colour=red").contains("colour"));
    }

    #[test]
    fn what_a_url_leaves_out_is_added() {
        let config = |url: &str| read(url, &Secrets::default()).expect("reads").config;
        let local = config("postgres:///upstart");
        assert_eq!(local.get_hosts(), [Host::Unix(SOCKET_DEFAULT.into())]);
        assert_eq!(local.get_ssl_mode(), SslMode::Disable);
        let config = config("postgres://u@one:1,two:2/d");
        assert_eq!(config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(
            (config.get_hosts().len(), config.get_ports()),
            (2, &[1, 2][..])
        );
        assert_eq!(
            config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
    }

    #[test]
    fn the_password_comes_from_a_file_that_nobody_else_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("passwords");
        let lines =
            "# a remark\nother:*:*:*:no\n*:5433:d:u:no\ntwo:2:d:u:a\\:b\\\\c:d\n*:*:*:*:last\n";
        std::fs::write(&file, lines).expect("written");
        let secrets = Secrets {
            password: None,
            file: Some(file.clone()),
        };
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
        let told = read("postgres://u@two:2/d", &secrets).err().expect("open");
        assert!(told.to_string().contains("chmod 600"), "{told}");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
        let password = |url: &str| {
            let config = read(url, &secrets).expect("reads").config;
            String::from_utf8(config.get_password().unwrap_or_default().to_vec()).expect("text")
        };
        assert_eq!(password("postgres://u@one:1,two:2/d"), "a:b\\c:d");
        assert_eq!(password("postgres://u@two:3/d"), "last");
    }
}
