//! The repository is looked after: sealed anew again and again, and what people have to sign anew or to put back is told.

use crate::http::App;
use crate::problem::RequestRefusal;
use crate::repository::{self, ExpiryWarnings, PublishedUpgrades, RepositoryTexts};
use crate::rules::Order;
use jiff::Timestamp;
use model::api::EventKind;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether the signed repository is to be sealed anew.
const RENEW_PAUSE: Duration = Duration::from_secs(60);

/// How often it is looked whether the repository has every file of what is published.
const WHOLENESS_PAUSE: Duration = Duration::from_secs(3600);

/// Looks after the repository as long as the server runs.
pub(crate) async fn look_after_repository(app: App) {
    tokio::join!(keep_sealed(app.clone()), keep_whole(app));
}

/// Notes which files are missing or damaged, at the start and again and again.
async fn keep_whole(app: App) {
    let mut tick = interval(WHOLENESS_PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let published = PublishedUpgrades::of(&app.state_writer.state()).manifests();
        let texts = RepositoryTexts {
            repository: &app.repository,
            udb: &*app.udb,
        };
        let damaged = match repository::damaged(&texts, &published).await {
            Ok(damaged) => damaged,
            Err(refusal) => {
                tracing::warn!(
                    detail = refusal.detail,
                    "it is not known whether every artifact is there"
                );
                tick.reset_after(RENEW_PAUSE);
                continue;
            }
        };
        for file in &damaged {
            if let Ok(Some(problem)) = file.problem(&app.repository).await {
                tracing::error!("the repository is not whole: {problem}");
            }
        }
        *app.damaged.lock() = damaged;
    }
}

/// Seals anew what is old, again and again, and says what people have to sign anew.
async fn keep_sealed(app: App) {
    let mut tick = interval(RENEW_PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = ExpiryWarnings::default();
    let mut said = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.signed.changed.notified() => {}
        }
        if let Err(refusal) = app.signed.refresh().await {
            tracing::warn!(
                detail = refusal.detail,
                "what other servers have signed is not known"
            );
        }
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
        warn_of_ends(&app, &mut warned, &ends).await;
        *app.signed.until.lock() = ends;
    }
}

/// Says what of the signed metadata ends soon.
async fn warn_of_ends(app: &App, warned: &mut ExpiryWarnings, ends: &[(String, Timestamp)]) {
    for (role, end) in ends {
        let left = Timestamp::now().duration_until(*end);
        let Some(warning) = warned.next(role, left) else {
            continue;
        };
        let order = Order::Remark(EventKind::RepositoryExpires, warning);
        // Said again when it is nearer.
        if let Err(refusal) = app.state_writer.ask(order, "server".to_owned(), None).await {
            tracing::warn!(detail = refusal.detail, "a warning is not in the history");
        }
    }
}

async fn seal_what_is_left(app: &App) -> Result<(), RequestRefusal> {
    let _turn = app.signed.turn().await?;
    app.catch_up().await?;
    let published = PublishedUpgrades::of(&app.state_writer.state());
    app.signed.recover(&published).await
}
