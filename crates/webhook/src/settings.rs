//! What an operator has said of a webhook, read: everything that can be wrong with it is found before anything is sent.

use crate::error::SettingsError;
use crate::mail::check_address;
use crate::message::EventNotice;
use crate::target::{MailEncryption, MailTarget, MessageTarget};
use crate::{EventFilter, MessageTemplate, SigningSecret, tls};
use model::api::{WebhookFormat, WebhookRequest};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// How many secrets count at once: the next, this one, the one before, and one to spare.
const SECRETS_MAX: usize = 4;

/// How many receivers a mail has.
const RECEIVERS_MAX: usize = 20;

/// The longest name of a webhook, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What is said of a webhook, read.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    pub(crate) format: WebhookFormat,
    pub(crate) target: MessageTarget,
    pub(crate) secrets: Vec<SigningSecret>,
    pub(crate) template: Option<MessageTemplate>,
    /// Whose certificates are believed; the host's authorities where none are given.
    pub(crate) roots: Option<Vec<CertificateDer<'static>>>,
    /// Which events are sent.
    pub filter: EventFilter,
}

impl WebhookSettings {
    /// Reads the settings of a webhook of this name.
    ///
    /// # Errors
    /// A setting is of no use; the error says which, and never shows a secret.
    pub fn read(name: &str, request: &WebhookRequest) -> Result<Self, SettingsError> {
        check_name(name)?;
        let target = match request.format {
            WebhookFormat::Email => MessageTarget::Mail(Box::new(mail_target(request)?)),
            _ => MessageTarget::Web(web_target(request)?),
        };
        if request.secrets.len() > SECRETS_MAX {
            let problem = format!("{SECRETS_MAX} at most; leave the oldest away");
            return Err(SettingsError::new("secrets", problem));
        }
        let secrets = request.secrets.iter().enumerate();
        let secrets = secrets.map(|(at, secret)| {
            let said =
                |problem| SettingsError::new("secrets", format!("number {} {problem}", at + 1));
            SigningSecret::read(&secret.0).map_err(said)
        });
        let secrets: Vec<SigningSecret> = secrets.collect::<Result<_, _>>()?;
        if request.format == WebhookFormat::Cloudevents && secrets.is_empty() {
            let problem = "there is none, and a receiver could not tell these messages from anybody's; give --secret-file";
            return Err(SettingsError::new("secrets", problem));
        }
        let roots = request.ca.as_deref().map(tls::certificates).transpose()?;
        let settings = Self {
            format: request.format,
            target,
            secrets,
            template: template(request)?,
            roots,
            filter: EventFilter::read(&request.filter)?,
        };
        settings.try_template()?;
        Ok(settings)
    }

    /// Sees that what a template makes can be sent.
    fn try_template(&self) -> Result<(), SettingsError> {
        let Some(template) = self
            .template
            .as_ref()
            .filter(|_| self.format == WebhookFormat::Slack)
        else {
            return Ok(());
        };
        let made = EventNotice::example().slack(Some(template));
        let read: Result<serde_json::Value, _> = serde_json::from_slice(&made);
        read.map(drop).map_err(|error| {
            let problem = format!(
                "with values in it, it is no JSON: {error}; put placeholders between quotes"
            );
            SettingsError::new("template", problem)
        })
    }
}

fn check_name(name: &str) -> Result<(), SettingsError> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_good) {
        return Ok(());
    }
    let problem = format!("it has 1 to {NAME_BYTES_MAX} lower-case letters, digits and `-`");
    Err(SettingsError::new("name", problem))
}

fn template(request: &WebhookRequest) -> Result<Option<MessageTemplate>, SettingsError> {
    let Some(text) = &request.template else {
        return Ok(None);
    };
    let wrong = |problem: &str| Err(SettingsError::new("template", problem));
    match request.format {
        WebhookFormat::Cloudevents => {
            return wrong(
                "CloudEvents have their own form; leave the template away, or choose `slack`",
            );
        }
        WebhookFormat::Email if !text.starts_with("Subject:") => {
            return wrong(
                "line 1: a mail's template begins with `Subject:`; an empty line and the text follow",
            );
        }
        WebhookFormat::Slack if text.trim().is_empty() => return wrong("it is empty"),
        _ => {}
    }
    MessageTemplate::read(text).map(Some)
}

fn address(
    request: &WebhookRequest,
    schemes: &[&str],
    example: &str,
) -> Result<Url, SettingsError> {
    let wrong = |problem: String| SettingsError::new("to", problem);
    let text = &request.to.0;
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(wrong(format!(
            "an address has {ADDRESS_BYTES_MAX} bytes at most"
        )));
    }
    let url = Url::parse(text)
        .map_err(|error| wrong(format!("it is no address ({error}); give {example}")))?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(format!(
            "`{}://` is not for {}; give {example}",
            url.scheme(),
            request.format
        )));
    }
    if url.password().is_some() {
        return Err(wrong(
            "it holds a password, which others would see; give --password-file".to_owned(),
        ));
    }
    Ok(url)
}

fn web_target(request: &WebhookRequest) -> Result<Url, SettingsError> {
    let mut url = address(request, &["https", "http"], "https://HOST/PATH")?;
    if !url.username().is_empty() {
        return Err(SettingsError::new(
            "to",
            "it holds a name to log in with; messages are signed in the place of that",
        ));
    }
    if request.password.is_some() || request.mail.is_some() {
        let problem = format!(
            "passwords and mail addresses are for email, and this is {}",
            request.format
        );
        return Err(SettingsError::new("password", problem));
    }
    url.set_fragment(None);
    Ok(url)
}

fn mail_target(request: &WebhookRequest) -> Result<MailTarget, SettingsError> {
    let example = "smtps://USER@HOST, smtp://USER@HOST or smtp+plain://HOST";
    let url = address(request, &["smtps", "smtp", "smtp+plain"], example)?;
    let (encryption, usual) = match url.scheme() {
        "smtps" => (MailEncryption::FromTheStart, 465),
        "smtp" => (MailEncryption::Asked, 587),
        _ => (MailEncryption::Never, 25),
    };
    let user = percent_decode_str(url.username())
        .decode_utf8_lossy()
        .into_owned();
    let password = request
        .password
        .as_ref()
        .map(|password| password.0.trim_end().to_owned());
    let login = match (user.is_empty(), password) {
        (true, None) => None,
        (false, Some(password)) => Some((user, password)),
        (true, Some(_)) => {
            return Err(SettingsError::new(
                "to",
                "there is a password and no user; give smtps://USER@HOST",
            ));
        }
        (false, None) => {
            return Err(SettingsError::new(
                "password",
                "there is a user and no password; give --password-file",
            ));
        }
    };
    if login.is_some() && encryption == MailEncryption::Never {
        return Err(SettingsError::new(
            "to",
            "everybody on the way would see the password; give smtps:// or smtp://",
        ));
    }
    let Some(mail) = &request.mail else {
        return Err(SettingsError::new(
            "mail",
            "there are no addresses; give --mail-from and --mail-to",
        ));
    };
    check_address(&mail.from).map_err(|problem| SettingsError::new("mail.from", problem))?;
    if mail.to.is_empty() || mail.to.len() > RECEIVERS_MAX {
        return Err(SettingsError::new(
            "mail.to",
            format!("a mail goes to 1 to {RECEIVERS_MAX} addresses"),
        ));
    }
    for to in &mail.to {
        check_address(to).map_err(|problem| SettingsError::new("mail.to", problem))?;
    }
    let host = url.host_str().unwrap_or_default();
    Ok(MailTarget {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(usual),
        encryption,
        login,
        addresses: mail.clone(),
    })
}

/// An address without what may be secret in it: scheme, host and port.
#[must_use]
pub fn origin(address: &str) -> String {
    let Ok(url) = Url::parse(address) else {
        return String::new();
    };
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", url.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::{MailAddresses, WebhookSecret};

    fn secret() -> WebhookSecret {
        WebhookSecret(SigningSecret::written(&[7; 32]))
    }

    fn request(format: WebhookFormat, to: &str) -> WebhookRequest {
        WebhookRequest {
            format,
            to: WebhookSecret(to.to_owned()),
            secrets: vec![secret()],
            ..WebhookRequest::default()
        }
    }

    fn mail(to: &str) -> WebhookRequest {
        WebhookRequest {
            mail: Some(MailAddresses {
                from: "upstart@example.org".to_owned(),
                to: vec!["ops@example.org".to_owned()],
            }),
            ..request(WebhookFormat::Email, to)
        }
    }

    fn refused(request: &WebhookRequest) -> String {
        let refused = WebhookSettings::read("a", request);
        refused.expect_err("of no use").to_string()
    }

    #[test]
    fn what_can_be_sent_is_read() {
        for to in [
            "https://hooks.example.org/a?b=c",
            "http://127.0.0.1:9000",
            "http://[::1]:9000/x",
        ] {
            let read = WebhookSettings::read("a-1", &request(WebhookFormat::Cloudevents, to));
            read.expect(to);
        }
        for to in ["smtp://mail.example.org", "smtp+plain://127.0.0.1:2525"] {
            WebhookSettings::read("mail", &mail(to)).expect(to);
        }
        let with_login = WebhookRequest {
            password: Some(WebhookSecret("hunter2\n".to_owned())),
            ..mail("smtps://ann%40example.org@mail.example.org")
        };
        let read = WebhookSettings::read("mail", &with_login).expect("read");
        let MessageTarget::Mail(target) = &read.target else {
            panic!("a mail")
        };
        let login = Some(("ann@example.org".to_owned(), "hunter2".to_owned()));
        assert_eq!((target.port, &target.login), (465, &login));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is_shown() {
        let web = |to: &str| refused(&request(WebhookFormat::Cloudevents, to));
        assert!(web("nowhere").starts_with("to: "));
        assert!(web("ftp://example.org").contains("`ftp://`"));
        let told = web("https://ann:hunter2@example.org");
        assert!(
            told.contains("--password-file") && !told.contains("hunter2"),
            "{told}"
        );
        let unsigned = WebhookRequest {
            secrets: Vec::new(),
            ..request(WebhookFormat::Cloudevents, "https://a.example")
        };
        assert!(refused(&unsigned).starts_with("secrets: "));
        let odd = WebhookRequest {
            secrets: vec![secret(), WebhookSecret("hunter2".to_owned())],
            ..unsigned
        };
        let told = refused(&odd);
        assert!(
            told.contains("number 2") && !told.contains("hunter2"),
            "{told}"
        );
        assert!(refused(&mail("smtp://ann@mail.example.org")).starts_with("password: "));
        let open = WebhookRequest {
            password: Some(WebhookSecret("x".to_owned())),
            ..mail("smtp+plain://ann@mail.example.org")
        };
        assert!(refused(&open).contains("smtps://"));
        for name in ["", "A", "a b", "a/b"] {
            let read =
                WebhookSettings::read(name, &request(WebhookFormat::Slack, "https://a.example"));
            assert_eq!(read.expect_err("no name").key, "name");
        }
    }

    #[test]
    fn templates_are_tried_before_anything_is_sent() {
        let with = |format, text: &str| WebhookRequest {
            template: Some(text.to_owned()),
            ..request(format, "https://a.example")
        };
        let read = |request: &WebhookRequest| WebhookSettings::read("a", request);
        read(&with(WebhookFormat::Slack, "{{kind}}: {{message}}")).expect("text");
        read(&with(
            WebhookFormat::Slack,
            "{\"blocks\": [{\"type\": \"x\", \"text\": \"{{message}}\"}]}",
        ))
        .expect("JSON");
        assert!(
            refused(&with(WebhookFormat::Slack, "{\"text\": {{message}}}")).contains("no JSON")
        );
        assert!(refused(&with(WebhookFormat::Cloudevents, "x")).contains("their own form"));
        let body = WebhookRequest {
            template: Some("Hello".to_owned()),
            ..mail("smtp://mail.example.org")
        };
        assert!(refused(&body).contains("`Subject:`"));
    }

    #[test]
    fn what_is_shown_of_an_address_has_no_secret_in_it() {
        assert_eq!(
            origin("https://hooks.slack.com/services/T0/B0/secret?x=y"),
            "https://hooks.slack.com"
        );
        assert_eq!(origin("http://ann@[::1]:90/a"), "http://[::1]:90");
        assert_eq!(origin("nothing"), "");
    }
}
