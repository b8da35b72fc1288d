//! `upstart retire`: asks for the retirement of old versions and, if wanted, waits until every node has done it.

use super::operate::done;
use crate::connection::{connect, end_after, explain, until, wait_for};
use crate::failure::{CommandOutcome, refusal};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use client::Client;
use model::api::{RetireRequest, Retirement};
use model::ids::Version;
use std::io::Write;
use std::time::{Duration, Instant};

/// How often the system is asked while waiting.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The problem that says that the versions are still in use.
const REFUSED: &str = "/problems/retire-refused";

/// Arguments of `upstart retire`.
#[derive(Debug, Args)]
pub(crate) struct RetireArgs {
    /// The newest version to retire; older ones go with it
    pub(crate) version: Version,
    /// Reset connections that are still open at these versions, instead of refusing to retire them
    #[arg(long)]
    pub(crate) close: bool,
    /// Wait until nobody uses them any more and every node has acknowledged, at most this long (300 seconds if no number is given)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    pub(crate) wait: Option<u64>,
}

/// `upstart retire`.
pub(crate) fn run(globals: &Globals, arguments: &RetireArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let version = arguments.version;
    let request = RetireRequest {
        version,
        close: arguments.close,
    };
    let retirement = wait_for(async {
        let Some(seconds) = arguments.wait else {
            return client.retire(&request).await.map_err(explain);
        };
        let end = end_after(seconds);
        let begun = begun(&client, &request, end).await?;
        acknowledged(&client, begun, version, end).await
    })?;
    let sentence = if retirement.retired_through >= version {
        format!("Every version up to {version} is retired.")
    } else {
        format!(
            "Versions up to {version} are being retired; waiting for nodes {}.",
            retirement.waiting_for.join(", ")
        )
    };
    done(globals, &retirement, &sentence)
}

/// Asks until nothing holds the versions any more: what nodes say of their connections is some moments old. What is
/// waited for is said once, and again when it changes.
async fn begun(
    client: &Client,
    request: &RetireRequest,
    end: Instant,
) -> anyhow::Result<Retirement> {
    let mut said = String::new();
    loop {
        let error = match until(client, end, client.retire(request)).await {
            Ok(begun) => return Ok(begun),
            Err(error) => error,
        };
        if error.kind() != Some(REFUSED) || Instant::now() >= end {
            return Err(explain(error));
        }
        let reason = error.to_string();
        if reason != said {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "waiting: {}", output::within(&reason));
            said = reason;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Waits until the second phase has ended.
async fn acknowledged(
    client: &Client,
    begun: Retirement,
    version: Version,
    end: Instant,
) -> anyhow::Result<Retirement> {
    let mut retirement = begun;
    while retirement.retired_through < version {
        if Instant::now() >= end {
            let nodes = retirement.waiting_for.join(", ");
            return Err(refusal(
                format!("time is up, and these nodes have not acknowledged: {nodes}"),
                "look at them with `upstart nodes`, or forget those that never come back with `upstart forget NODE`",
            ));
        }
        tokio::time::sleep(ASK_EVERY).await;
        let view = until(client, end, client.system()).await;
        let view = view.map_err(explain)?;
        let waiting = view
            .nodes
            .iter()
            .filter(|node| node.report.retired_acknowledged < version);
        retirement = Retirement {
            retiring_through: view.retiring_through,
            retired_through: view.retired_through,
            waiting_for: waiting.map(|node| node.name.clone()).collect(),
        };
    }
    Ok(retirement)
}
