//! How a server and the commands of its own user find each other on one host, without anybody having to carry a token.
//!
//! A server that listens at an address also listens at an abstract Unix socket that is named after it. Whoever connects there is known
//! by the kernel, on both sides: the server tells its token to its own user and to root, and a client believes it to those two. A client
//! asks nobody but the one whose listener has the port, as the kernel says.

use std::net::SocketAddr;

/// The longest token that is told.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// The name of the socket, in the abstract namespace, at which the server that listens here tells its token.
#[must_use]
pub fn name(listens: SocketAddr) -> String {
    format!("upstart-server/{listens}")
}

/// The shortest token that a server takes: whoever can call it can guess as often as they like.
pub const TOKEN_BYTES_MIN: usize = 16;

/// What keeps a text from being a token, if anything does.
#[must_use]
pub fn fault(token: &str) -> Option<&'static str> {
    if token.is_empty() {
        return Some("there is nothing in it");
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Some("it is longer than 8192 bytes");
    }
    if token.contains(['\n', '\r']) {
        return Some("it has more than one line");
    }
    if token.contains(char::is_whitespace) {
        return Some("it has white space inside");
    }
    let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    (!visible).then_some("it has others than ASCII letters, digits and signs")
}

#[cfg(test)]
mod tests {
    use super::{TOKEN_BYTES_MAX, fault, name};

    #[test]
    fn a_server_is_found_by_where_it_listens() {
        let at = |text: &str| text.parse().expect("an address");
        assert_eq!(name(at("[::1]:7070")), "upstart-server/[::1]:7070");
        assert_eq!(name(at("0.0.0.0:7070")), "upstart-server/0.0.0.0:7070");
    }

    #[test]
    fn a_token_is_one_word_of_visible_ascii() {
        assert_eq!(fault("a-token-for-tests"), None);
        assert_eq!(fault(&"a".repeat(TOKEN_BYTES_MAX)), None);
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        let bad = [
            "", "a\nb", "a\rb", "a b", "a\tb", "a\u{1b}", "\u{e4}", &long,
        ];
        for text in bad {
            assert!(fault(text).is_some(), "{text:?}");
        }
    }
}
