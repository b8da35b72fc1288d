//! The upgrade servers: whether they answer, how far their clocks are, and as whom they know whoever asks.

use super::Finding;
use crate::connection::{connect, explain, wait_for};
use crate::failure::CommandFailure;
use crate::globals::Globals;
use client::Client;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Certificates and one-time tokens bear no more difference of clocks than this.
const APART_MS_MAX: u64 = 60_000;

/// So much is worth a word.
const APART_MS_NOTED: u64 = 2_000;

/// An answer that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Looks at each server by itself; gives a client where one answers.
pub(super) fn look(globals: &Globals, findings: &mut Vec<Finding>) -> Option<Client> {
    let mut answering = false;
    for server in &globals.servers {
        let about = format!("server {server}");
        let one = Globals {
            servers: vec![server.clone()],
            ..globals.clone()
        };
        match answer_of(&one) {
            Ok(answer) => {
                answering = true;
                findings.push(answer.pace(&about));
                findings.push(answer.clock(&about));
            }
            Err(error) => findings.push(failed(&about, &error)),
        }
    }
    answering.then(|| connect(globals).ok()).flatten()
}

/// What a server has answered.
struct LookedAtServer {
    system: String,
    took: Duration,
    /// The server's clock, in whole seconds, and ours in the middle of the question.
    clocks_ms: Option<[u64; 2]>,
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

fn answer_of(globals: &Globals) -> anyhow::Result<LookedAtServer> {
    let client = connect(globals)?;
    // The first one opens the connection.
    let fleet = wait_for(async { client.fleet().await.map_err(explain) })?;
    let (before_ms, begun) = (now_ms(), Instant::now());
    let theirs_ms = wait_for(async { client.date_ms().await.map_err(explain) })?;
    let took = begun.elapsed();
    let middle_ms = before_ms + took.as_millis() as u64 / 2;
    Ok(LookedAtServer {
        system: fleet.system.system,
        took,
        // It bears a whole second: the middle of it is as good a guess as any.
        clocks_ms: theirs_ms.map(|theirs_ms| [theirs_ms + 500, middle_ms]),
    })
}

impl LookedAtServer {
    fn pace(&self, about: &str) -> Finding {
        let system = if self.system.is_empty() {
            "it has no system yet".to_owned()
        } else {
            format!("system `{}`", self.system)
        };
        let found = format!(
            "answers within {} ms; {system}",
            self.took.as_millis().max(1)
        );
        if self.took > SLOW {
            return Finding::note(
                about,
                found,
                "see the load of its machine, and of its database",
            );
        }
        Finding::good(about, found)
    }

    fn clock(&self, about: &str) -> Finding {
        let Some([theirs_ms, ours_ms]) = self.clocks_ms else {
            return Finding::note(
                about,
                "its answers bear no date, so that its clock cannot be compared",
                "see what stands between this host and the server",
            );
        };
        let apart_ms = theirs_ms.abs_diff(ours_ms);
        let found = if apart_ms < APART_MS_NOTED {
            "its clock agrees with this host's".to_owned()
        } else if theirs_ms > ours_ms {
            format!("its clock is {} s ahead of this host's", apart_ms / 1_000)
        } else {
            format!("its clock is {} s behind this host's", apart_ms / 1_000)
        };
        let next = "have both hosts' clocks set by the same source (chrony, systemd-timesyncd); certificates and tokens count by them";
        match apart_ms {
            APART_MS_MAX.. => Finding::trouble(about, found, next),
            APART_MS_NOTED.. => Finding::note(about, found, next),
            _ => Finding::good(about, found),
        }
    }
}

fn failed(about: &str, error: &anyhow::Error) -> Finding {
    let advice = error.downcast_ref::<CommandFailure>();
    let next = advice.map_or("", |advice| advice.next.as_str());
    let next = if next.is_empty() {
        "see that the server runs, and that this host reaches it"
    } else {
        next
    };
    Finding::trouble(about, format!("{error:#}"), next)
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_with_how_far_and_to_which_side() {
        let answer = |theirs_ms, ours_ms| LookedAtServer {
            system: "store".to_owned(),
            took: Duration::from_millis(3),
            clocks_ms: Some([theirs_ms, ours_ms]),
        };
        let now_ms = 1_796_040_000_000;
        assert_eq!(answer(now_ms, now_ms + 900).clock("s").health, Health::Good);
        let ahead = answer(now_ms + 5_000, now_ms).clock("s");
        assert_eq!(ahead.health, Health::Note);
        assert_eq!(ahead.found, "its clock is 5 s ahead of this host's");
        let behind = answer(now_ms, now_ms + 61_000).clock("s");
        assert_eq!(behind.health, Health::Trouble);
        assert_eq!(behind.found, "its clock is 61 s behind this host's");
    }
}
