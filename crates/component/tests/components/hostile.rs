//! Adapters that mean harm: each call costs itself, with a clear reason; memory and the others' latency stay flat.
//!
//! That a component answers twice cannot be written down: what a function returns, it returns once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::guests::handling;
use crate::passing;
use crate::stage::Stage;
use assemble::{DELEGATE, component};

/// Calls of hostile adapters, and how many of them at a time.
const CALLS: usize = 10_000;
const AT_A_TIME: usize = 64;
const LIMITS: &str = "[limits]\ntime_ms = 50\nmemory_mib = 4\nstate_mib = 1\n[[operation]]\ncall = \"* /{id}\"\nconflict_key = \"path.id\"\n";

/// What is said of calls that take too long.
const LATE: &str = "did not answer within 50 ms";

/// How much the process may grow while 10,000 calls do their worst: what 64 of them may have at once, and the allocator's slack.
const GROWTH_BYTES_MAX: u64 = 512 << 20;

fn guests() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let recursion = component(
        "(func $deeper (param i32) (result i32)
           (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
         (func (export \"upstart:adapter/calls@0.1.0#init\") (param i32 i32 i32 i32) (result i32)
           (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
         (func (export \"upstart:adapter/calls@0.1.0#on-recover\")
           (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable))
         (func (export \"upstart:adapter/calls@0.1.0#handle\")
           (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
           (call $deeper (i32.const 0)))",
    );
    vec![
        ("infinite loop", LATE, handling("(loop $l (br $l)) (unreachable)")),
        ("trap", "unreachable", handling("(unreachable)")),
        (
            "huge allocation",
            "more memory than its limit of 4 MiB",
            handling("(drop (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 1073741824))) (i32.const 128)"),
        ),
        ("endless recursion", "call stack exhausted", recursion),
        (
            "state flood",
            LATE,
            handling(
                "(loop $l
                   (i32.store (i32.const 200) (local.get $n))
                   (call $set (i32.const 200) (i32.const 4) (i32.const 0) (i32.const 8192) (i32.const 96))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br $l)) (unreachable)",
            ),
        ),
        (
            "delegate storm",
            LATE,
            handling(&format!("(local.set $n (global.get $heap)) (loop $l (global.set $heap (local.get $n)) {DELEGATE} (br $l)) (unreachable)")),
        ),
        ("never answering", LATE, handling("(loop $l (drop (call $now)) (br $l)) (unreachable)")),
    ]
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("pages");
    pages * 4096
}

/// Polite calls, one after the other, until told to stop; gives their latencies, in order of size.
async fn polite(stage: &Stage, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let answer = stage.ask("POST", "/x", "hello").await;
        assert_eq!(answer.expect("a polite answer").1, "hello");
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took.sort();
    took
}

/// Polite calls for a second while nobody else calls.
async fn alone(good: &Arc<Stage>, stop: &Arc<AtomicBool>) -> Vec<Duration> {
    let calls = {
        let (good, stop) = (good.clone(), stop.clone());
        tokio::spawn(async move { polite(&good, &stop).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::SeqCst);
    calls.await.expect("polite")
}

fn told(took: &[Duration]) -> String {
    let at = |part: usize| took[(took.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    format!(
        "{} calls, p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        took.len(),
        at(500),
        at(990),
        at(1000)
    )
}

#[test]
fn hostile_adapters_cost_their_own_calls_only() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "[limits]\ntime_ms = 1000\n[[operation]]\ncall = \"* /{id}\"\nconflicts = false\n";
    let good = Arc::new(Stage::new(&passing(), rest, &folder.path().join("good")));
    let hostile: Vec<_> = (guests().into_iter().enumerate())
        .map(|(number, (name, reason, bytes))| {
            let folder = folder.path().join(number.to_string());
            (name, reason, Arc::new(Stage::new(&bytes, LIMITS, &folder)))
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let quiet = alone(&good, &stop).await;
    stop.store(false, Ordering::SeqCst);
    // Each once, so that what is made once is there.
    for (number, (name, reason, stage)) in hostile.iter().enumerate() {
        let fault = stage.fault("POST", &format!("/w{number}"), "x").await;
        assert!(fault.contains(reason), "{name}: {fault}");
    }
    let before = resident_bytes();
    let most = Arc::new(AtomicU64::new(0));
    let polite_calls = {
        let (good, stop) = (good.clone(), stop.clone());
        tokio::spawn(async move { polite(&good, &stop).await })
    };
    let began = Instant::now();
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    for number in 0..CALLS {
        let place = places.clone().acquire_owned().await.expect("open");
        let (name, reason, stage) = hostile[number % hostile.len()].clone();
        let most = most.clone();
        running.spawn(async move {
            let fault = stage.fault("POST", &format!("/{number}"), "x").await;
            // What would trap soon may not come to it in its time, beside so many others.
            assert!(
                fault.contains(reason) || fault.contains(LATE),
                "{name}: {fault}"
            );
            most.fetch_max(resident_bytes(), Ordering::SeqCst);
            drop(place);
            name
        });
    }
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        *counted.entry(ended.expect("its own reason")).or_default() += 1;
    }
    let took = began.elapsed();
    stop.store(true, Ordering::SeqCst);
    let disturbed = polite_calls.await.expect("polite");
    let grown = most.load(Ordering::SeqCst).saturating_sub(before);
    println!("{CALLS} hostile calls, {AT_A_TIME} at a time, in {took:.1?}: {counted:?}");
    println!(
        "memory: {} MiB before, at most {} MiB more",
        before >> 20,
        grown >> 20
    );
    println!("polite calls alone: {}", told(&quiet));
    println!("polite calls meanwhile: {}", told(&disturbed));
    assert_eq!(counted.values().sum::<usize>(), CALLS);
    assert!(grown < GROWTH_BYTES_MAX, "grew by {grown} bytes");
    let median = disturbed[disturbed.len() / 2];
    // What one hostile call may take is more than half of the polite ones do.
    assert!(
        median < Duration::from_millis(50),
        "polite calls took {median:?}"
    );
}
