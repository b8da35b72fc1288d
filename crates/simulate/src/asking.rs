//! When nodes ask: agents ask again after the pause that the server tells them, which grows with the system.

/// How often all nodes ask each second, together: in a large system each asks more rarely.
const ASKS_PER_S: u64 = 1_000;

/// The longest pause between two questions.
const PAUSE_MS_MAX: u64 = 60_000;

/// How soon a node asks again whose turn it is when there is room.
const NEXT_ASKS_MS: u64 = 200;

/// How often all those whose turn it is ask each second, together.
const NEXT_ASKS_PER_S: u64 = 200;

/// The pause of a node that waits for what others do.
pub(crate) fn pause_ms(poll_ms: u64, nodes: u64) -> u64 {
    let all_ms = nodes.saturating_mul(1_000) / ASKS_PER_S;
    poll_ms.max(all_ms).min(PAUSE_MS_MAX)
}

/// The pause of a node that is next when there is room in its group, where nodes wait for room in so many groups.
pub(crate) fn next_pause_ms(pause_ms: u64, groups: u64, room: u64) -> u64 {
    let asking = groups.saturating_mul(room.max(1));
    let next_ms = NEXT_ASKS_MS.max(asking.saturating_mul(1_000) / NEXT_ASKS_PER_S);
    pause_ms.min(next_ms)
}

/// When a node asks that asks once in so long, at its own moment of each pause (a share from 0 to 1), and learns of something.
pub(crate) fn next_ask_ms(now_ms: u64, pause_ms: u64, share: f64) -> u64 {
    let own_ms = (pause_ms as f64 * share) as u64;
    let late_ms = now_ms.saturating_sub(own_ms) % pause_ms.max(1);
    match late_ms {
        0 => now_ms.max(own_ms),
        late_ms => now_ms + pause_ms - late_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_asks_at_its_own_moment_of_each_pause() {
        assert_eq!(next_ask_ms(10_000, 1_000, 0.25), 10_250);
        assert_eq!(next_ask_ms(10_250, 1_000, 0.25), 10_250);
        assert_eq!(next_ask_ms(10_251, 1_000, 0.25), 11_250);
    }

    #[test]
    fn many_ask_more_rarely() {
        assert_eq!(pause_ms(1_000, 10), 1_000);
        assert_eq!(pause_ms(1_000, 30_000), 30_000);
        assert_eq!(pause_ms(1_000, 1_000_000), 60_000);
        assert_eq!(next_pause_ms(1_000, 1, 1), 200);
        assert_eq!(next_pause_ms(60_000, 1_000, 2), 10_000);
    }
}
