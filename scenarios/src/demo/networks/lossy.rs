//! An impaired network: the same upgrades, the same zeros.

use crate::demo::Ending;
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use crate::demo::store::{Setting, Store, through_all_versions};
use crate::demo::summary::Demands;
use intercept::stats::Counter;
use network::Impairment;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Two packets of a hundred are lost each way: a bad mobile link. With delay and jitter a round trip takes 6 to 14 ms.
const IMPAIRMENT: Impairment = Impairment {
    lost_permille: 20,
    delay: Duration::from_millis(3),
    jitter: Duration::from_millis(4),
    no_data_in_syn_to: Vec::new(),
};

/// The hosts that are reached only by handshakes without data: a service behind the callers, and one that they call.
const NO_DATA_IN_SYN: [&str; 2] = ["storage-1", "gateway-1"];

/// Runs the store in it.
pub(super) async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    setting: Setting,
    demands: Demands,
) -> anyhow::Result<Ending> {
    let addresses = NO_DATA_IN_SYN.map(|host| place.hosts.address(host));
    place.hosts.net()?.impair(Impairment {
        no_data_in_syn_to: addresses.to_vec(),
        ..IMPAIRMENT
    })?;
    let store = Store::prepare_in(place, processes, program, setting).await?;
    store.start(|_| None).await?;
    let mut ending = through_all_versions(&store, demands).await?;
    for (what, counter) in [
        (
            "path that drops handshakes with data was noticed",
            Counter::PathRemembered,
        ),
        ("label took the slow path", Counter::ConnectSlowPath),
        ("label came late", Counter::HandOverUndecided),
    ] {
        let count = store.watcher.count(counter.name());
        store.watcher.say(&format!("{}: {count}", counter.name()));
        if count == 0 {
            ending.shortcomings.push(format!("not one {what}"));
        }
    }
    Ok(ending)
}
