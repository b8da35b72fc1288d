//! The nodes, counted for whoever looks: one walk over all of them serves everybody for a while, the longer the more a walk costs.

use crate::http::App;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::SystemState;
use model::api::NodeFact;
use page::FleetCensus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// What costs less is done for each who looks.
const CHEAP: Duration = Duration::from_millis(20);

/// A walk that costs more is followed by a pause of so many times its cost: counting takes a tenth of one processor at most.
const PAUSE_TIMES: u32 = 10;

/// The last count.
#[derive(Clone, Debug, Default)]
pub(crate) struct CensusKeeper(Arc<Mutex<Option<KeptCensus>>>);

#[derive(Debug)]
struct KeptCensus {
    census: Arc<FleetCensus>,
    made: Instant,
    cost: Duration,
}

impl CensusKeeper {
    /// The nodes, counted a moment ago or now. Who comes while they are counted waits for that count.
    pub(super) async fn census(&self, app: &App) -> Result<Arc<FleetCensus>, RequestRefusal> {
        let mut kept = self.0.lock().await;
        let fresh = kept
            .as_ref()
            .filter(|last| last.cost > CHEAP && last.made.elapsed() < last.cost * PAUSE_TIMES);
        if let Some(last) = fresh {
            return Ok(Arc::clone(&last.census));
        }
        let counted = app.clone();
        let begun = Instant::now();
        let census = tokio::task::spawn_blocking(move || count(&counted)).await;
        let census = Arc::new(census.map_err(|error| {
            refuse(
                Kind::DATABASE_UNAVAILABLE,
                format!("The nodes cannot be counted ({error}); look at the server's log."),
            )
        })?);
        *kept = Some(KeptCensus {
            census: Arc::clone(&census),
            made: Instant::now(),
            cost: begun.elapsed(),
        });
        Ok(census)
    }
}

fn count(app: &App) -> FleetCensus {
    let now_ms = app.config.clock.now_ms();
    // The state is held for no longer than it takes to point at the nodes: nobody is decided on meanwhile.
    let (nodes, retiring) = {
        let state = app.state_writer.state();
        let nodes = state.nodes.values();
        let nodes = nodes.map(|fact| (Arc::clone(fact), class_of(&state, fact)));
        (nodes.collect::<Vec<_>>(), state.retiring_through)
    };
    let nodes = nodes.iter().map(|(fact, class)| (fact.as_ref(), &**class));
    FleetCensus::of(nodes, retiring, now_ms)
}

/// The class of a node at its version, as it is counted; that of its enrolment where it has none there.
pub(super) fn class_of(state: &SystemState, fact: &NodeFact) -> Arc<str> {
    let counted = state.fleet.node(fact.node);
    let seat = counted.and_then(|node| node.seats.get(&fact.report.status.version));
    seat.map_or_else(
        || Arc::from(fact.class.as_str()),
        |seat| Arc::clone(&seat.class),
    )
}
