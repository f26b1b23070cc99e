//! That clients notice nothing while something is done to a cluster.

use std::{thread::sleep, time::Duration};

use crate::observer::{Observer, PAUSE};

use super::{Cluster, Fetching, NoPage};

/// What a hand-over may leave unanswered. The aim is 50 ms; a hand-over is two writes to an API
/// server that shares two processors here with three kubelets, and on a busy machine takes longer.
const HAND_OVER: Duration = Duration::from_millis(500);

/// Asks for all VIPs, and fetches a page from each every 40 ms over a new connection, while `work`
/// goes on. No new request may fail, and no VIP may have two answerers. One that is open while its
/// VIP moves may break off.
///
/// # Panics
/// When they notice.
pub fn without_a_failed_request(cluster: &Cluster, what: &str, vips: &[&str], work: impl FnOnce()) {
    let observer = Observer::ask(&cluster.client, vips, PAUSE).unwrap();
    let fetching = Fetching::start(&cluster.client, vips, Duration::from_millis(40)).unwrap();
    sleep(Duration::from_millis(500));
    work();
    sleep(Duration::from_millis(1500));
    let fetches = fetching.finish().unwrap();
    let observed = observer.finish().unwrap();
    observed.one_answerer(None).unwrap();
    let lines = observed.timelines();
    let gaps = lines.values().flat_map(|line| line.gaps());
    let mut gaps: Vec<_> = gaps.map(|gap| gap.length()).collect();
    gaps.sort();
    let longest = gaps.last().copied().unwrap_or_default();
    let moves: usize = lines.values().map(|line| line.reigns().len() - 1).sum();
    let failures = fetches.iter().filter(|fetch| fetch.page.is_err());
    let (broken, failed): (Vec<_>, Vec<_>) =
        failures.partition(|fetch| matches!(fetch.page, Err(NoPage::Broken(_))));
    let slowest = fetches.iter().map(|fetch| fetch.took).max().unwrap();
    println!(
        "{what}: of {} new requests {} failed, {} broke off, the slowest took {slowest:.0?}; \
         {moves} moves, gaps {gaps:.0?}",
        fetches.len(),
        failed.len(),
        broken.len(),
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert!(broken.len() <= moves, "{broken:?}");
    assert!(moves > 0, "nothing moved");
    assert!(longest <= HAND_OVER, "{longest:?}");
}
