//! The sequence requirement: whatever mix of calls of both versions arrives, before, during and after the upgrade, every call sees the
//! effects of all earlier ones through its version's eyes. And adapters that are wrong are found out.

mod set;

use set::adapters::{
    Adapter, DeafToOthers, DoubledDelegate, LostUpdate, MissingRefusal, Right, StaleAfterCrash,
    WrongBeginning,
};
use set::history;

/// Histories of the right adapter for each kind of dispatch.
const HISTORIES: u64 = 300;
/// A wrong adapter is found within so many histories.
const HISTORIES_MAX: u64 = 50;

#[test]
fn every_call_sees_all_earlier_ones_and_observed_dispatch_refuses_nothing() {
    let mut refused = [0, 0];
    for is_observed in [false, true] {
        let (mut foreign, mut crashes) = (0, 0);
        for seed in 0..HISTORIES {
            let account = history::run(seed, Box::new(Right), is_observed);
            let account =
                account.unwrap_or_else(|why| panic!("seed {seed}, observed {is_observed}: {why}"));
            refused[usize::from(is_observed)] += account.refused;
            foreign += account.foreign;
            crashes += account.crashes;
        }
        println!(
            "observed {is_observed}: {HISTORIES} histories, {foreign} calls of the other version, {} refused, {crashes} crashes",
            refused[usize::from(is_observed)]
        );
        assert!(
            crashes > HISTORIES,
            "the histories have too few crashes to show anything"
        );
    }
    let [direct, observed] = refused;
    // What is left with observed dispatch are calls that a crash kept from the adapter.
    assert!(
        direct > 10 * (observed + 1),
        "direct {direct}, observed {observed}"
    );
}

/// In how many histories a wrong adapter is not found out, and what gave it away.
fn found_out(make: fn() -> Box<dyn Adapter>, is_observed: bool) -> Option<(u64, String)> {
    (0..HISTORIES_MAX).find_map(|seed| Some((seed, history::run(seed, make(), is_observed).err()?)))
}

/// An adapter that is wrong: in which way, how it is made, and whether it is told of other calls.
type Wrong = (&'static str, fn() -> Box<dyn Adapter>, bool);

#[test]
fn wrong_adapters_are_found_out() {
    let wrong: [Wrong; 6] = [
        ("lost update", || Box::new(LostUpdate), false),
        (
            "stale state after a crash",
            || Box::<StaleAfterCrash>::default(),
            true,
        ),
        ("doubled delegate", || Box::new(DoubledDelegate), false),
        ("missing refusal", || Box::new(MissingRefusal), false),
        ("wrong initial state", || Box::new(WrongBeginning), false),
        ("deaf to the others", || Box::new(DeafToOthers), true),
    ];
    for (name, make, is_observed) in wrong {
        let found = found_out(make, is_observed);
        let (histories, why) =
            found.unwrap_or_else(|| panic!("{name}: {HISTORIES_MAX} histories say nothing"));
        println!("{name}: found out by history {histories}: {why}");
    }
}
