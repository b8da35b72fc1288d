//! How long the history is kept.

use crate::http::App;
use crate::rules::Order;

/// How many entries are looked at, and forgotten, at once.
const AT_ONCE: u32 = 1_000;

/// Forgets the oldest entries of the history that are older than is kept, some at a time; says whether there may be more. The newest entry
/// stays: its number is where the history goes on.
pub(crate) async fn forget_events(app: &App) -> bool {
    let Some(kept_ms) = app.config.events_kept_ms else {
        return false;
    };
    let before_ms = app.config.clock.now_ms().saturating_sub(kept_ms);
    let Ok(oldest) = app.udb.events(0, AT_ONCE).await else {
        return false;
    };
    let newest = app.state_writer.state().last_event;
    let old = oldest.iter().take_while(|event| event.at_ms < before_ms);
    let Some(last) = old.last() else {
        return false;
    };
    let before = (last.sequence + 1).min(newest);
    if oldest.first().is_none_or(|first| first.sequence >= before) {
        return false;
    }
    let order = Order::ForgetEvents(before);
    let forgotten = app.state_writer.ask(order, "server".to_owned(), None).await;
    forgotten.is_ok() && oldest.len() == AT_ONCE as usize
}
