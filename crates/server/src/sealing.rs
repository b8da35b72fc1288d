//! The signed repository is sealed anew again and again, and what people have to sign anew is told.

use crate::http::App;
use crate::problem::RequestRefusal;
use crate::repository::{self, PublishedUpgrades};
use crate::rules::Order;
use model::api::EventKind;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether the signed repository is to be sealed anew.
const RENEW_PAUSE: Duration = Duration::from_secs(60);

/// Seals anew what is old, again and again, and says what people have to sign anew.
pub(crate) async fn keep_sealed(app: App) {
    let mut tick = interval(RENEW_PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = BTreeMap::new();
    let mut said = None;
    loop {
        tick.tick().await;
        if !app.signed.is_begun() {
            continue;
        }
        if let Err(refusal) = seal_what_is_left(&app).await {
            tracing::error!(
                detail = refusal.detail,
                "what is published is not sealed yet"
            );
        }
        let trouble = app.signed.trouble().await;
        if let Some(trouble) = trouble.as_ref().filter(|it| said.as_ref() != Some(*it)) {
            tracing::error!("{trouble}");
            let order = Order::Remark(EventKind::RepositoryUnsealed, trouble.clone());
            // It stands in the log, too.
            let _ = app.state_writer.ask(order, "server".to_owned(), None).await;
        }
        said = trouble;
        if said.is_some() {
            continue;
        }
        if let Err(refusal) = app.signed.renew().await {
            tracing::error!(
                detail = refusal.detail,
                "the signed repository is not sealed anew: nodes take new versions until its time is over, and none after"
            );
        }
        let ends = app.signed.ends().await.unwrap_or_default();
        for (role, end) in ends {
            let left = jiff::Timestamp::now().duration_until(end);
            let Some(warning) = repository::warning(&role, left) else {
                warned.remove(&role);
                continue;
            };
            if warned.insert(role, warning.days) == Some(warning.days) {
                continue;
            }
            let order = Order::Remark(EventKind::RepositoryExpires, warning.text);
            // Said again when it is nearer.
            if let Err(refusal) = app.state_writer.ask(order, "server".to_owned(), None).await {
                tracing::warn!(detail = refusal.detail, "a warning is not in the history");
            }
        }
    }
}

async fn seal_what_is_left(app: &App) -> Result<(), RequestRefusal> {
    let _turn = app.signed.turn().await?;
    app.catch_up().await?;
    let published = PublishedUpgrades::of(&app.state_writer.state());
    app.signed.recover(&published).await
}
