//! Work that several do at once, for whatever is tried piece by piece.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `work` for every item, `jobs` at once, the first ones first, and gives what came of it in the items' order. `ended` is told
/// each result as it comes, with how many there are then.
///
/// # Panics
/// When `work` or `ended` does.
pub(crate) fn in_order<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    ended: impl Fn(usize, &R) + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    let mut results = results.lock();
                    ended(results.len() + 1, &result);
                    results.push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let counted = parking_lot::Mutex::new(Vec::new());
        let work = |item: &u64| {
            std::thread::sleep(std::time::Duration::from_millis(20 - 5 * item));
            item * 2
        };
        let ended = |count, _: &u64| counted.lock().push(count);
        assert_eq!(in_order(&[0, 1, 2, 3], 3, work, ended), [0, 2, 4, 6]);
        assert_eq!(*counted.lock(), [1, 2, 3, 4]);
    }
}
