//! Somebody looks at the system now and then, as people and their monitoring do: a page of the nodes, and the state of the whole.

use crate::Crowd;
use crate::enrolment::token_holder;
use crate::line::Line;
use http::Method;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Asks until the process ends.
pub(crate) async fn ask_again_and_again(crowd: Arc<Crowd>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = ask(&crowd).await {
            crowd.tally.failed("fleet query", &error);
        }
    }
}

async fn ask(crowd: &Crowd) -> anyhow::Result<()> {
    let (tls, way) = token_holder(crowd)?;
    let mut line = Line::open(&tls, &way, None).await?;
    let after = rand::random_range(0..crowd.options.nodes);
    let page = format!("/v1/nodes?limit=100&after=n{after:06}");
    for path in [page.as_str(), "/v1/fleet"] {
        let begun = Instant::now();
        line.bytes(Method::GET, path, None).await?;
        crowd.tally.fleet_queries.note(begun.elapsed());
    }
    Ok(())
}
