//! A mail as it goes over the wire: headers and a text, in letters that every mail server takes.

use crate::message::EventNotice;
use crate::{MessageTemplate, target::MailTarget};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;
use std::time::SystemTime;

/// The longest address, in bytes (RFC 5321).
const ADDRESS_BYTES_MAX: usize = 254;

/// How many bytes of a text are in one encoded word, and in one line of the body: what its form allows (RFC 2047, RFC 2045).
const WORD_BYTES: usize = 42;
const LINE_BYTES: usize = 57;

/// The longest subject, in letters.
const SUBJECT_LETTERS_MAX: usize = 200;

/// Refuses what is no address that can stand between `<` and `>`.
pub(crate) fn check_address(address: &str) -> Result<(), &'static str> {
    let is_good = |byte: u8| byte.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&byte);
    let parts = address.split_once('@');
    let is_whole = parts
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if is_whole && address.len() <= ADDRESS_BYTES_MAX && address.bytes().all(is_good) {
        return Ok(());
    }
    Err("it is no address such as ops@example.org")
}

/// The whole mail; its lines end with CR LF, and none is longer than mail servers take.
pub(crate) fn written(
    notice: &EventNotice,
    template: Option<&MessageTemplate>,
    target: &MailTarget,
) -> String {
    let (subject, text) = notice.mail(template);
    let from = &target.addresses.from;
    let host = from.split_once('@').map_or("upstart", |(_, host)| host);
    let mut mail = String::new();
    let headers = [
        (
            "Date",
            httpdate::fmt_http_date(SystemTime::now()).replace("GMT", "+0000"),
        ),
        ("From", format!("<{from}>")),
        (
            "To",
            target
                .addresses
                .to
                .iter()
                .map(|to| format!("<{to}>"))
                .collect::<Vec<_>>()
                .join(",\r\n "),
        ),
        ("Subject", encoded(&subject)),
        // The same however often it is sent: mail programs show it once.
        ("Message-ID", format!("<{}.upstart@{host}>", notice.id)),
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("MIME-Version", "1.0".to_owned()),
        ("Content-Type", "text/plain; charset=utf-8".to_owned()),
        ("Content-Transfer-Encoding", "base64".to_owned()),
    ];
    for (name, value) in headers {
        // Writing to a text does not fail.
        let _ = write!(mail, "{name}: {value}\r\n");
    }
    mail.push_str("\r\n");
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    for line in text.as_bytes().chunks(LINE_BYTES) {
        mail.push_str(&STANDARD.encode(line));
        mail.push_str("\r\n");
    }
    mail
}

/// A header's text as encoded words, a few letters each: so it is nothing but text, whatever is in it.
fn encoded(text: &str) -> String {
    let clean = text.chars().filter(|letter| !letter.is_control());
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in clean.take(SUBJECT_LETTERS_MAX) {
        if word.len() + letter.len_utf8() > WORD_BYTES {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
    }
    words.push(word);
    let words = words
        .iter()
        .map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::MailEncryption;
    use model::api::MailAddresses;

    #[test]
    fn a_mail_has_short_lines_of_plain_letters_whatever_is_told() {
        let mut notice = EventNotice::example();
        notice.event.message = format!("{}\r\n.\r\nQUIT", "\u{e4}\u{1f600}".repeat(300));
        let target = MailTarget {
            host: "mail.example.org".to_owned(),
            port: 25,
            encryption: MailEncryption::Never,
            login: None,
            addresses: MailAddresses {
                from: "upstart@example.org".to_owned(),
                to: vec!["a@example.org".to_owned(), "b@example.org".to_owned()],
            },
        };
        let mail = written(&notice, None, &target);
        assert!(mail.is_ascii(), "{mail}");
        assert!(
            mail.split("\r\n")
                .all(|line| line.len() <= 78 && line != "." && !line.contains('\n')),
            "{mail}"
        );
        assert!(
            mail.contains("To: <a@example.org>,\r\n <b@example.org>\r\n"),
            "{mail}"
        );
        assert!(
            mail.contains(&format!("Message-ID: <{}.upstart@example.org>", notice.id)),
            "{mail}"
        );
        let (_, body) = mail.split_once("\r\n\r\n").expect("a body");
        let text = STANDARD.decode(body.replace("\r\n", "")).expect("base64");
        assert!(
            String::from_utf8(text)
                .expect("text")
                .contains("What:    node.blocked\r\n")
        );
    }

    #[test]
    fn addresses_are_plain_ones() {
        for good in ["ops@example.org", "a+b@x", "first.last@mail.example.org"] {
            check_address(good).expect(good);
        }
        for bad in [
            "",
            "ops",
            "@x",
            "a@",
            "a@b@c",
            "a b@x",
            "a@x>\r\nRCPT TO:<b@x",
            "\u{e4}@x",
        ] {
            check_address(bad).expect_err(bad);
        }
    }
}
