//! What an agent's log says of the upgrade server: that it does not answer, or refuses the node, for how long, and that it is over.
//! Nothing that lasts longer than a few seconds passes in silence, and nothing fills the log.

use client::{Client, ClientError};
use std::time::{Duration, Instant};

/// A server that is started again is back by then: shorter silence is not worth a line.
const SILENCE_UNSAID: Duration = Duration::from_secs(3);

/// How long an agent that can start its software without the server waits for one that has taken its question and says nothing.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// The longest time between two lines about the same trouble.
const SAID_AGAIN_MAX: Duration = Duration::from_secs(600);

/// How a question to the server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAnswer {
    /// It was answered.
    Good,
    /// The server refuses, or is not asked, for this reason.
    Refused(String),
    /// No server answers, for this reason.
    None(String),
}

impl ServerAnswer {
    /// What a failed request says of the server.
    pub(crate) fn of(error: &ClientError) -> Self {
        match error {
            ClientError::Problem(_) => {
                Self::Refused(format!("the upgrade server refuses this node: {error}"))
            }
            ClientError::NotAsked { doubt, .. } => {
                Self::Refused(format!("{error}; {}", doubt.advice()))
            }
            _ => Self::None(error.to_string()),
        }
    }
}

/// The answer to what an agent asks when it starts. Where it can go on without one, a server that says nothing does not keep its software
/// from starting.
///
/// # Errors
/// As the question itself, or that nothing came in time.
pub(crate) async fn answer_to_start<T>(
    client: &Client,
    answer: impl Future<Output = Result<T, ClientError>>,
    can_go_on: bool,
) -> Result<T, ClientError> {
    if !can_go_on {
        return answer.await;
    }
    let answered = tokio::time::timeout(START_PATIENCE, answer).await;
    answered.unwrap_or_else(|_| Err(client.silent(START_PATIENCE)))
}

/// How the contact has been so far.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    trouble: Option<ContactTrouble>,
}

#[derive(Debug)]
struct ContactTrouble {
    since: Instant,
    text: String,
    /// When it is to be said (again), and how long after that once more.
    say_at: Instant,
    pause: Duration,
    said: bool,
}

impl Contact {
    /// Takes in how a question ended; gives what is to be said of it now.
    pub(crate) fn note(&mut self, now: Instant, answer: ServerAnswer) -> Option<String> {
        let (text, patience) = match answer {
            ServerAnswer::Good => return self.end(now),
            ServerAnswer::Refused(why) => (why, Duration::ZERO),
            ServerAnswer::None(why) => (why, SILENCE_UNSAID),
        };
        let trouble = self.trouble.get_or_insert_with(|| ContactTrouble {
            since: now,
            text: text.clone(),
            say_at: now + patience,
            pause: SILENCE_UNSAID,
            said: false,
        });
        if trouble.text != text {
            trouble.text = text;
            // Silence has many words; a refusal is news.
            if patience.is_zero() {
                trouble.say_at = now;
            }
        }
        if now < trouble.say_at {
            return None;
        }
        trouble.pause = (trouble.pause * 2).min(SAID_AGAIN_MAX);
        trouble.say_at = now + trouble.pause;
        trouble.said = true;
        let for_s = now.saturating_duration_since(trouble.since).as_secs();
        Some(format!("{} (for {for_s} s now)", trouble.text))
    }

    fn end(&mut self, now: Instant) -> Option<String> {
        let trouble = self.trouble.take().filter(|trouble| trouble.said)?;
        let for_s = now.saturating_duration_since(trouble.since).as_secs();
        Some(format!("the upgrade server answers again, after {for_s} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at which second of a trouble that goes on.
    fn said(answer: &ServerAnswer, seconds: std::ops::Range<u64>) -> (Contact, Vec<u64>) {
        let (mut contact, begin) = (Contact::default(), Instant::now());
        let said = seconds.filter(|second| {
            let now = begin + Duration::from_secs(*second);
            contact.note(now, answer.clone()).is_some()
        });
        let said = said.collect();
        (contact, said)
    }

    #[test]
    fn silence_is_said_after_a_moment_and_ever_more_rarely() {
        let silent = ServerAnswer::None("no upgrade server answers".to_owned());
        assert_eq!(said(&silent, 0..3).1, [0; 0]);
        assert_eq!(said(&silent, 0..100).1, [3, 9, 21, 45, 93]);
        let many = said(&silent, 0..24 * 3_600).1.len() as u64;
        assert!((24 * 6..24 * 6 + 10).contains(&many), "{many}");
    }

    #[test]
    fn a_refusal_is_said_at_once_with_its_reason_and_so_is_another() {
        let mut contact = Contact::default();
        let now = Instant::now();
        let refused = |why: &str| ServerAnswer::Refused(why.to_owned());
        let first = contact.note(now, refused("the token is wrong"));
        assert!(first.is_some_and(|said| said.contains("the token is wrong")));
        assert_eq!(contact.note(now, refused("the token is wrong")), None);
        let other = contact.note(now, refused("nothing is published"));
        assert!(other.is_some_and(|said| said.contains("nothing is published")));
    }

    #[test]
    fn a_server_that_is_not_asked_is_said_at_once_and_then_ever_more_rarely() {
        let doubt = client::Doubt::Untold;
        let server = "http://127.0.0.1:7070/".to_owned();
        let answer = ServerAnswer::of(&ClientError::NotAsked { server, doubt });
        assert_eq!(said(&answer, 0..100).1, [0, 6, 18, 42, 90]);
        let said = Contact::default().note(Instant::now(), answer);
        let said = said.expect("said");
        assert!(!said.contains("no upgrade server answers"), "{said}");
        assert!(said.contains("--token-file"), "{said}");
    }

    #[test]
    fn the_end_is_said_only_of_what_was_said() {
        let silent = ServerAnswer::None("no upgrade server answers".to_owned());
        let (mut short, _) = said(&silent, 0..2);
        assert_eq!(short.note(Instant::now(), ServerAnswer::Good), None);
        let (mut long, _) = said(&silent, 0..45);
        let after = long.note(Instant::now() + Duration::from_secs(45), ServerAnswer::Good);
        assert_eq!(
            after.as_deref(),
            Some("the upgrade server answers again, after 45 s")
        );
        assert_eq!(long.note(Instant::now(), ServerAnswer::Good), None);
    }
}
