//! What a connection to a server of RESP has agreed on: which values are answers and which are pushes depends on it, and so does
//! whether the connection may be replaced by another.

use std::collections::HashSet;

use wire::words::beginning;

/// Kinds of subscriptions: to channels, patterns, channels of a shard.
const KINDS: [(&str, &str, &str); 3] = [
    ("SUBSCRIBE", "UNSUBSCRIBE", "message"),
    ("PSUBSCRIBE", "PUNSUBSCRIBE", "pmessage"),
    ("SSUBSCRIBE", "SUNSUBSCRIBE", "smessage"),
];

/// Commands whose effect stays with the connection, as long as it lives or until `RESET`.
const SET_UP: [&str; 6] = [
    "AUTH",
    "HELLO",
    "SELECT",
    "READONLY",
    "READWRITE",
    "MONITOR",
];

/// What can be asked with `CLIENT` that changes nothing about the connection.
const CLIENT_READS: [&str; 8] = [
    "GETNAME",
    "GETREDIR",
    "HELP",
    "ID",
    "INFO",
    "KILL",
    "LIST",
    "TRACKINGINFO",
];

/// One connection to the software.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Pushes are marked as such.
    is_version_3: bool,
    /// Names, by the kind of subscription.
    subscribed: [HashSet<Vec<u8>>; 3],
    /// Every command of others is shown.
    monitors: bool,
    /// Something was set up that stays.
    is_set_up: bool,
    /// `MULTI` or `WATCH` is open.
    in_transaction: bool,
    /// The caller has asked for the end, which belongs to it as what it has set up does.
    is_ending: bool,
}

/// A command that waits for its answer.
#[derive(Debug)]
pub(super) struct Awaited {
    name: String,
    argument: Vec<u8>,
    /// It subscribes, or ends subscriptions, of this kind; this many names are still to be confirmed.
    confirmations: Option<(usize, usize)>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nobody asked for it: it goes to the caller as it is.
    Push,
    /// Part of the answer; more follows.
    Part,
    /// The answer, or its last part.
    Answer,
}

impl Talk {
    /// Whether something would be lost with the connection.
    pub(super) fn has_state(&self) -> bool {
        self.is_set_up || self.in_transaction || self.is_ending || self.is_subscribed()
    }

    fn is_subscribed(&self) -> bool {
        self.subscribed.iter().any(|names| !names.is_empty())
    }

    /// A command is about to be sent.
    ///
    /// The error says why it has no answer that could be told from others.
    pub(super) fn begin(&mut self, words: &[Vec<u8>]) -> Result<Awaited, String> {
        let upper = |at: usize| {
            let word = words.get(at).map(|word| String::from_utf8_lossy(word));
            word.unwrap_or_default().to_ascii_uppercase()
        };
        let (name, argument) = (upper(0), upper(1));
        match (name.as_str(), argument.as_str()) {
            ("SYNC" | "PSYNC" | "REPLCONF", _) => {
                return Err(format!(
                    "{name} begins a replication, which is no sequence of calls: it cannot pass between versions"
                ));
            }
            ("CLIENT", "REPLY") => {
                return Err(
                    "CLIENT REPLY takes answers away, and cannot pass between versions".to_owned(),
                );
            }
            ("CLIENT", what) => self.is_set_up |= !CLIENT_READS.contains(&what),
            ("MULTI" | "WATCH", _) => self.in_transaction = true,
            ("QUIT", _) => self.is_ending = true,
            (name, _) => self.is_set_up |= SET_UP.contains(&name),
        }
        let names = words.len() - 1;
        let confirmations = KINDS
            .iter()
            .enumerate()
            .find_map(|(kind, (begins, ends, _))| {
                if name == *begins {
                    // Without a name the answer is an error.
                    (names > 0).then_some((kind, names))
                } else if name == *ends {
                    let all = self.subscribed[kind].len().max(1);
                    Some((kind, if names > 0 { names } else { all }))
                } else {
                    None
                }
            });
        Ok(Awaited {
            name,
            argument: words.get(1).cloned().unwrap_or_default(),
            confirmations,
        })
    }

    /// A value has come from the software.
    pub(super) fn hear(&mut self, value: &[u8], awaited: Option<&mut Awaited>) -> Heard {
        let first = beginning(value, 2);
        if let Some(awaited) = awaited {
            if let Some((kind, left)) = &mut awaited.confirmations {
                let (begins, ends, _) = KINDS[*kind];
                let said = first.first().copied().unwrap_or_default();
                let has_begun = said.eq_ignore_ascii_case(begins.as_bytes());
                if has_begun || said.eq_ignore_ascii_case(ends.as_bytes()) {
                    let channel = first.get(1).copied().unwrap_or_default();
                    if has_begun {
                        self.subscribed[*kind].insert(channel.to_vec());
                    } else {
                        self.subscribed[*kind].remove(channel);
                    }
                    *left -= 1;
                    return if *left == 0 {
                        Heard::Answer
                    } else {
                        Heard::Part
                    };
                }
            }
            if !self.is_push(value, &first) {
                self.answered(awaited, value.first() == Some(&b'-'));
                return Heard::Answer;
            }
        }
        // A server ends subscriptions to a shard by itself when their slot moves.
        if first.first() == Some(&&b"sunsubscribe"[..]) {
            self.subscribed[2].remove(first.get(1).copied().unwrap_or_default());
        }
        Heard::Push
    }

    fn is_push(&self, value: &[u8], first: &[&[u8]]) -> bool {
        match value.first() {
            Some(b'>') => true,
            Some(b'+') => self.monitors,
            Some(b'*') if !self.is_version_3 && self.is_subscribed() => {
                let said = first.first().copied().unwrap_or_default();
                said == b"sunsubscribe" || KINDS.iter().any(|(_, _, news)| said == news.as_bytes())
            }
            _ => false,
        }
    }

    fn answered(&mut self, awaited: &Awaited, is_error: bool) {
        match awaited.name.as_str() {
            // Also what fails ends it.
            "EXEC" | "DISCARD" => self.in_transaction = false,
            _ if is_error => {}
            "UNWATCH" => self.in_transaction = false,
            "HELLO" if awaited.argument == b"3" => self.is_version_3 = true,
            "HELLO" if awaited.argument == b"2" => self.is_version_3 = false,
            "MONITOR" => self.monitors = true,
            "RESET" => *self = Self::default(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(talk: &mut Talk, command: &str) -> Result<Awaited, String> {
        let words: Vec<Vec<u8>> = command.split(' ').map(|word| word.into()).collect();
        talk.begin(&words)
    }

    /// Sends a command, and says what its values are.
    fn say(talk: &mut Talk, command: &str, values: &[&str]) -> Vec<Heard> {
        let mut awaited = begin(talk, command).expect("it has an answer");
        let hear = |value: &&str| talk.hear(value.as_bytes(), Some(&mut awaited));
        values.iter().map(hear).collect()
    }

    const MESSAGE: &str = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
    const OF_A: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
    const OF_B: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";

    #[test]
    fn each_name_is_confirmed_and_messages_may_come_between() {
        let mut talk = Talk::default();
        assert_eq!(
            say(&mut talk, "LRANGE l 0 -1", &[MESSAGE]),
            [Heard::Answer],
            "not subscribed"
        );
        let heard = say(&mut talk, "SUBSCRIBE a b", &[OF_A, MESSAGE, OF_B]);
        assert_eq!(heard, [Heard::Part, Heard::Push, Heard::Answer]);
        assert!(talk.has_state());
        assert_eq!(talk.hear(MESSAGE.as_bytes(), None), Heard::Push);
        let end = |name: &str| format!("*3\r\n$11\r\nunsubscribe\r\n$1\r\n{name}\r\n:0\r\n");
        let heard = say(&mut talk, "unsubscribe", &[&end("a"), &end("b")]);
        assert_eq!(heard, [Heard::Part, Heard::Answer], "of both");
        assert!(!talk.has_state());
        let none = "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n";
        assert_eq!(
            say(&mut talk, "UNSUBSCRIBE", &[none]),
            [Heard::Answer],
            "of none"
        );
    }

    #[test]
    fn an_error_ends_a_subscription_too() {
        let mut talk = Talk::default();
        assert_eq!(
            say(&mut talk, "SUBSCRIBE a b", &["-NOPERM no\r\n"]),
            [Heard::Answer]
        );
        assert_eq!(
            say(&mut talk, "SUBSCRIBE", &["-ERR wrong number\r\n"]),
            [Heard::Answer]
        );
    }

    #[test]
    fn version_3_marks_its_pushes() {
        let mut talk = Talk::default();
        say(&mut talk, "HELLO 3", &["%1\r\n$5\r\nproto\r\n:3\r\n"]);
        assert!(talk.has_state());
        let confirmed = OF_A.replacen('*', ">", 1);
        let heard = say(
            &mut talk,
            "SUBSCRIBE a",
            &[">2\r\n$10\r\ninvalidate\r\n_\r\n", &confirmed],
        );
        assert_eq!(heard, [Heard::Push, Heard::Answer]);
        assert_eq!(
            say(&mut talk, "LRANGE l 0 -1", &[MESSAGE]),
            [Heard::Answer],
            "an array is an answer"
        );
        say(&mut talk, "RESET", &["+RESET\r\n"]);
        assert!(!talk.has_state());
    }

    #[test]
    fn a_transaction_is_state_until_it_ends() {
        let mut talk = Talk::default();
        for (begins, ends) in [
            ("MULTI", "EXEC"),
            ("WATCH a", "UNWATCH"),
            ("MULTI", "DISCARD"),
        ] {
            say(&mut talk, begins, &["+OK\r\n"]);
            assert!(talk.has_state(), "{begins}");
            say(&mut talk, ends, &["+OK\r\n"]);
            assert!(!talk.has_state(), "{ends}");
        }
        say(&mut talk, "CLIENT ID", &[":3\r\n"]);
        assert!(!talk.has_state());
        say(&mut talk, "CLIENT SETNAME me", &["+OK\r\n"]);
        assert!(talk.has_state());
        let mut ending = Talk::default();
        say(&mut ending, "quit", &["+OK\r\n"]);
        assert!(ending.has_state(), "an end that was asked for");
    }

    #[test]
    fn what_has_no_answer_of_its_own_is_refused() {
        for command in ["PSYNC ? -1", "client reply off", "SYNC"] {
            begin(&mut Talk::default(), command).expect_err(command);
        }
    }

    #[test]
    fn a_monitor_sees_lines_that_nobody_asked_for() {
        let mut talk = Talk::default();
        assert_eq!(say(&mut talk, "MONITOR", &["+OK\r\n"]), [Heard::Answer]);
        assert_eq!(
            talk.hear(b"+1.0 [0 127.0.0.1:1] \"GET\"\r\n", None),
            Heard::Push
        );
    }
}
