//! With which login a registry is asked: from the file in which Docker, Podman and the like keep theirs.

use super::super::ArtifactsError;
use super::address::RegistryAddress;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The variable that names the file.
const NAMED: &str = "REGISTRY_AUTH_FILE";

/// What the environment says of logins.
#[derive(Clone, Debug, Default)]
pub(super) struct LoginSurroundings {
    /// The file that a variable names.
    pub(super) named: Option<PathBuf>,
    /// Where such programs look without it; the first that is there counts.
    pub(super) usual: Vec<PathBuf>,
}

impl LoginSurroundings {
    /// Those of this process.
    pub(super) fn here() -> Self {
        let path = |variable: &str| {
            let value = std::env::var_os(variable).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        let usual = [
            ("DOCKER_CONFIG", "config.json"),
            ("XDG_RUNTIME_DIR", "containers/auth.json"),
            ("HOME", ".docker/config.json"),
        ]
        .map(|(variable, rest)| path(variable).map(|folder| folder.join(rest)));
        Self {
            named: path(NAMED),
            usual: usual.into_iter().flatten().collect(),
        }
    }

    /// The login to this registry; a registry that no usual file knows is asked without one.
    pub(super) fn login(&self, to: &RegistryAddress) -> Result<RegistryAuth, ArtifactsError> {
        let there = self.usual.iter().find(|file| file.exists());
        let Some(file) = self.named.as_ref().or(there) else {
            return Ok(RegistryAuth::Anonymous);
        };
        let unusable = |why: String| ArtifactsError::Login {
            address: to.to_string(),
            why: format!("{} is of no use: {why}", file.display()),
        };
        let text = read(file).map_err(unusable)?;
        let logins: LoginFile = serde_json::from_str(&text)
            .map_err(|error| unusable(format!("it is not as `docker login` writes it: {error}")))?;
        match logins.found(to) {
            Some(login) => login.given().map_err(unusable),
            None if self.named.is_some() => Err(unusable(format!(
                "it has no login for {} below `auths`",
                to.host
            ))),
            None => Ok(RegistryAuth::Anonymous),
        }
    }
}

/// The text of a file that nobody else can read.
fn read(file: &Path) -> Result<String, String> {
    let about = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if about.is_file() && about.permissions().mode() & 0o077 != 0 {
        return Err("others may read it; take that away with `chmod 600`".to_owned());
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// A file of logins, as far as it matters here.
#[derive(Debug, Deserialize)]
struct LoginFile {
    #[serde(default)]
    auths: BTreeMap<String, LoginEntry>,
    /// For all registries, and for some: which program keeps the logins.
    #[serde(default, rename = "credsStore")]
    keeper: Option<String>,
    #[serde(default, rename = "credHelpers")]
    keepers: BTreeMap<String, String>,
}

/// A login.
#[derive(Clone, Debug, Default, Deserialize)]
struct LoginEntry {
    /// `USER:PASSWORD` in base64.
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

impl LoginFile {
    /// The login whose registry, or part of one, is named most exactly.
    fn found(&self, to: &RegistryAddress) -> Option<LoginEntry> {
        let whole = format!("{}/{}", to.host, to.name);
        let is_part = |named: &str| {
            let rest = whole.strip_prefix(named);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fits = self.auths.iter().map(|(named, login)| (bare(named), login));
        let fits = fits.filter(|(named, _)| is_part(named));
        if let Some((_, login)) = fits.max_by_key(|(named, _)| named.len()) {
            return Some(login.clone());
        }
        let is_kept = self.keeper.is_some() || self.keepers.contains_key(&to.host);
        is_kept.then(LoginEntry::default)
    }
}

/// What names a registry, without what older programs write around it.
fn bare(named: &str) -> &str {
    let named = named.strip_prefix("https://").unwrap_or(named);
    let named = named.strip_prefix("http://").unwrap_or(named);
    let named = named.trim_end_matches('/');
    let versions = ["/v1", "/v2"];
    let mut stripped = versions.into_iter().filter_map(|it| named.strip_suffix(it));
    stripped.next().unwrap_or(named)
}

impl LoginEntry {
    fn given(&self) -> Result<RegistryAuth, String> {
        if !self.identitytoken.is_empty() {
            return Err("it has an identity token, which only `docker` itself uses; log in with a password or an access token".to_owned());
        }
        if self.auth.is_empty() {
            return Err("another program keeps the login (`credsStore`, `credHelpers`), and a server starts none; write `auth`, which is USER:PASSWORD in base64".to_owned());
        }
        let bytes = BASE64_STANDARD.decode(&self.auth).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        match text.split_once(':') {
            Some((user, password)) => {
                let password = password.trim_end_matches('\0');
                Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
            }
            None => Err("its `auth` is not USER:PASSWORD in base64".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    fn address() -> RegistryAddress {
        RegistryAddress::read("oci://r.example:5000/shop/artifacts").expect("reads")
    }

    /// What a file with this text says, if it is named, or if it is where such programs look.
    fn login(text: &str, mode: u32, is_named: bool) -> Result<RegistryAuth, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("auth.json");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("set");
        let surroundings = LoginSurroundings {
            named: is_named.then(|| file.clone()),
            usual: vec![folder.path().join("nothing"), file],
        };
        let found = surroundings.login(&address());
        found.map_err(|error| error.to_string())
    }

    fn basic(user: &str, password: &str) -> Result<RegistryAuth, String> {
        Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
    }

    #[test]
    fn a_login_comes_from_a_file_that_nobody_else_reads() {
        // me:one, me:two, me:a:b
        let text = r#"{"auths": {
            "https://r.example:5000/v1/": {"auth": "bWU6b25l"},
            "r.example:5000/shop": {"auth": "bWU6dHdv"},
            "r.example:5000/sh": {"auth": "bWU6YTpi"}
        }}"#;
        for is_named in [true, false] {
            assert_eq!(login(text, 0o600, is_named), basic("me", "two"));
            let told = login(text, 0o640, is_named).expect_err("open");
            assert!(told.contains("chmod 600"), "{told}");
        }
        let whole = r#"{"auths": {"https://r.example:5000/v1/": {"auth": "bWU6YTpi"}}}"#;
        assert_eq!(login(whole, 0o600, true), basic("me", "a:b"));
        let gone = LoginSurroundings {
            named: Some("/nowhere/auth.json".into()),
            usual: Vec::new(),
        };
        let told = gone.login(&address()).expect_err("gone").to_string();
        assert!(told.contains("/nowhere/auth.json"), "{told}");
    }

    #[test]
    fn without_a_login_a_registry_is_asked_as_anybody_unless_a_file_was_named_for_it() {
        let other = r#"{"auths": {"r.example": {"auth": "bWU6b25l"}}}"#;
        assert_eq!(login(other, 0o600, false), Ok(RegistryAuth::Anonymous));
        let told = login(other, 0o600, true).expect_err("no login");
        assert!(told.contains("no login for r.example:5000"), "{told}");
        let nothing = LoginSurroundings::default().login(&address());
        assert_eq!(nothing.expect("anybody"), RegistryAuth::Anonymous);
    }

    #[test]
    fn a_login_that_a_server_cannot_use_is_told_with_what_to_write() {
        for (text, part) in [
            ("me:secret", "docker login"),
            (r#"{"credsStore": "desktop"}"#, "USER:PASSWORD"),
            (
                r#"{"auths": {"r.example:5000": {}}, "credHelpers": {"r.example:5000": "x"}}"#,
                "USER:PASSWORD",
            ),
            (
                r#"{"auths": {"r.example:5000": {"auth": "!!!!"}}}"#,
                "base64",
            ),
            (
                r#"{"auths": {"r.example:5000": {"identitytoken": "x"}}}"#,
                "access token",
            ),
        ] {
            let told = login(text, 0o600, true).expect_err(text);
            assert!(told.contains(part), "{told}");
        }
    }
}
