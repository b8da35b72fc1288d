//! Which bucket artifacts lie in, and with which keys: a URL without secrets, and variables or a file as AWS's own programs use
//! them.

use super::ArtifactsError;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long nothing may come: a part may have to be sent meanwhile.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// What did not come about is tried once more, and not for long: whoever asked is told, and asks again.
const RETRIES_MAX: usize = 2;
const RETRY_LIMIT: Duration = Duration::from_secs(5);

/// Any of these says that the host or its container has a role in the place of keys.
const ROLES: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The variable that names the key.
const KEY: &str = "AWS_ACCESS_KEY_ID";

/// What a file of keys may say, and the variables that say the same.
const OF_FILE: [(&str, &str); 5] = [
    ("aws_access_key_id", KEY),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
    ("region", "AWS_DEFAULT_REGION"),
    ("endpoint_url", "AWS_ENDPOINT_URL"),
];

/// A bucket and what stands before the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BucketAddress {
    pub(super) bucket: String,
    /// Without slashes around it; may be empty.
    pub(super) prefix: String,
}

impl BucketAddress {
    /// Reads `s3://BUCKET/PREFIX`.
    pub(super) fn read(text: &str) -> Result<Self, ArtifactsError> {
        let wrong = |why: &str| ArtifactsError::Address {
            address: text.to_owned(),
            why: why.to_owned(),
        };
        let rest = text
            .strip_prefix("s3://")
            .ok_or_else(|| wrong("it begins neither with s3:// nor with oci://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |it: &str, more: &str| {
            it.chars()
                .all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
        };
        if bucket.is_empty() || !is_plain(bucket, ".-_") {
            return Err(wrong(
                "a bucket has letters, digits, dots and dashes only, and keys do not belong here",
            ));
        }
        let prefix = prefix.trim_matches('/');
        let has_gap = prefix.split('/').any(|part| matches!(part, "." | ".."));
        if !is_plain(prefix, ".-_/") || prefix.contains("//") || has_gap {
            return Err(wrong(
                "what follows the bucket has letters, digits, dots, dashes and single slashes only",
            ));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(super) struct AwsSurroundings {
    /// Its variables that begin with `AWS_`.
    pub(super) variables: BTreeMap<String, String>,
    /// Where AWS's own programs look for keys if no variable says where.
    pub(super) usual_file: Option<PathBuf>,
}

impl AwsSurroundings {
    /// Those of this process.
    pub(super) fn here() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let ours = std::env::vars_os().filter_map(text);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self {
            variables: ours.filter(|(name, _)| name.starts_with("AWS_")).collect(),
            usual_file: home.map(|home| home.join(".aws/credentials")),
        }
    }

    /// Its variables, and what a file of keys says besides.
    pub(super) fn with_file(
        mut self,
        address: &str,
    ) -> Result<BTreeMap<String, String>, ArtifactsError> {
        let unusable = |file: &Path, why: &str| ArtifactsError::Keys {
            address: address.to_owned(),
            why: format!("{} is of no use: {why}", file.display()),
        };
        let named = self.variables.get("AWS_SHARED_CREDENTIALS_FILE");
        let has_key = self.variables.contains_key(KEY);
        let usual = self.usual_file.filter(|file| !has_key && file.exists());
        let Some(file) = named.map(PathBuf::from).or(usual) else {
            return Ok(self.variables);
        };
        let about =
            std::fs::metadata(&file).map_err(|error| unusable(&file, &error.to_string()))?;
        if about.is_file() && about.permissions().mode() & 0o077 != 0 {
            let why = "others may read it; take that away with `chmod 600`";
            return Err(unusable(&file, why));
        }
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|error| unusable(&file, &error.to_string()))?;
        let profile = self.variables.get("AWS_PROFILE");
        let profile = profile.map_or("default", String::as_str).to_owned();
        for (name, value) in profile_of(&text, &profile) {
            let variable = OF_FILE.iter().find(|(of_file, _)| *of_file == name);
            // Keys belong together: none of the file's beside one of the environment's.
            if let Some((_, variable)) = variable.filter(|_| !has_key || !name.starts_with("aws_"))
            {
                self.variables
                    .entry((*variable).to_owned())
                    .or_insert(value);
            }
        }
        Ok(self.variables)
    }
}

/// The lines `name = value` of a section.
fn profile_of(text: &str, profile: &str) -> Vec<(String, String)> {
    let mut is_here = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            is_here = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_here) {
            found.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

/// A way to the bucket.
pub(super) fn connected(
    address: &str,
    bucket: &str,
    surroundings: AwsSurroundings,
) -> Result<AmazonS3, ArtifactsError> {
    let variables = surroundings.with_file(address)?;
    let has = |name: &str| variables.contains_key(name);
    if !has(KEY) && !ROLES.into_iter().any(has) {
        return Err(ArtifactsError::Keys {
            address: address.to_owned(),
            why: "neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor a file with them says which".to_owned(),
        });
    }
    let options = ClientOptions::new()
        .with_allow_http(true)
        .with_connect_timeout(CONNECT_LIMIT)
        .with_read_timeout(SILENCE_LIMIT)
        // What is large takes its time.
        .with_timeout_disabled();
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_LIMIT,
    };
    let named = |(name, value): (&String, &String)| {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
        Some((key.ok()?, value.clone()))
    };
    let settings = variables.iter().filter_map(named);
    let builder = settings.fold(AmazonS3Builder::new(), |builder, (key, value)| {
        builder.with_config(key, value)
    });
    let builder = builder
        .with_bucket_name(bucket)
        .with_client_options(options)
        .with_retry(retry);
    builder.build().map_err(|error| ArtifactsError::Address {
        address: address.to_owned(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn an_address_is_a_bucket_and_a_prefix() {
        let read = |text: &str| BucketAddress::read(text).map(|it| (it.bucket, it.prefix));
        let is = |bucket: &str, prefix: &str| (bucket.to_owned(), prefix.to_owned());
        assert_eq!(read("s3://shop").expect("reads"), is("shop", ""));
        assert_eq!(read("s3://shop/").expect("reads"), is("shop", ""));
        assert_eq!(read("s3://shop/a/b/").expect("reads"), is("shop", "a/b"));
        for wrong in [
            "shop",
            "s3://",
            "s3:///a",
            "https://shop/a",
            "s3://key:secret@shop/a",
            "s3://shop/a?region=x",
            "s3://shop/a//b",
            "s3://shop/../b",
        ] {
            let told = read(wrong).expect_err(wrong).to_string();
            assert!(told.contains(wrong), "{told}");
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn keys_come_from_variables_or_a_file_that_nobody_else_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("credentials");
        let lines = "[other]\naws_access_key_id = no\n[default]\naws_access_key_id = one\naws_secret_access_key=a=b\nregion = here\n";
        std::fs::write(&file, lines).expect("written");
        let with = |pairs: &[(&str, &str)], usual: bool| {
            let surroundings = AwsSurroundings {
                variables: variables(pairs),
                usual_file: usual.then(|| file.clone()),
            };
            surroundings.with_file("s3://shop")
        };
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("set");
        let told = with(&[], true).expect_err("open").to_string();
        assert!(told.contains("chmod 600"), "{told}");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
        let found = with(&[], true).expect("reads");
        let expected = [
            (KEY, "one"),
            ("AWS_DEFAULT_REGION", "here"),
            ("AWS_SECRET_ACCESS_KEY", "a=b"),
        ];
        assert_eq!(found, variables(&expected));
        let own = [(KEY, "mine"), ("AWS_SECRET_ACCESS_KEY", "c")];
        assert_eq!(with(&own, true).expect("no file"), variables(&own));
        let named = file.display().to_string();
        let both = [
            own[0],
            own[1],
            ("AWS_SHARED_CREDENTIALS_FILE", named.as_str()),
        ];
        let found = with(&both, false).expect("reads");
        assert_eq!(
            (found[KEY].as_str(), found["AWS_DEFAULT_REGION"].as_str()),
            ("mine", "here")
        );
        let gone = [("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/keys")];
        let told = with(&gone, false).expect_err("gone").to_string();
        assert!(told.contains("/nowhere/keys"), "{told}");
    }

    #[test]
    fn without_keys_nothing_is_asked() {
        let told = connected("s3://shop", "shop", AwsSurroundings::default());
        let told = told.expect_err("no keys").to_string();
        assert!(told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    }
}
