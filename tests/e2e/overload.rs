//! More than the collector can take: from one device, and from all of them at once.

use firstline_tests::Collector;
use firstline_tests::database::number;
use firstline_tests::effort::effort;
use firstline_tests::figure::{figure, percentile};
use firstline_tests::healthy::{Healthy, enrolled, runtime};
use firstline_tests::keeper::{Keeper, record};
use firstline_tests::wait::{never, seconds, until, until_ok};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a device may bring at once, and for each further second, as `collector/README.md` tells operators.
const QUOTA: (u64, u64) = (10_000, 5);
/// How often a healthy device sends: often enough to measure, and no more than the writer of a debug build takes.
const EVERY: Duration = Duration::from_secs(4);
/// Records that the one that floods always has more than were taken: thousands of times what a healthy one sends.
const FLOOD: u64 = 300;
/// Ack times of a busy machine differ by this much from one half minute to the next, whatever the collector does.
const UNSTEADY: Duration = Duration::from_millis(100);

#[test]
fn r18_a_flooding_device_waits_in_its_own_spool_and_the_others_notice_nothing() {
    let collector = Collector::started();
    let healthy = Healthy::sending_every(EVERY, &collector, effort(200, 999));
    let runtime = runtime();
    let flooder = enrolled(&collector, &runtime, 1).remove(0);
    let device = flooder.device_id.clone();
    let rows = || {
        number(&collector.database(), &format!("SELECT count(*) FROM record WHERE device = '{device}'"))
            .unsigned_abs()
    };
    let window = seconds(effort(12, 60));
    let before = percentile("r18.ack_before", 99, &healthy.during(window));

    let keeper = Keeper::new();
    let name = *b"one that floods.";
    keeper.begin(name, 0);
    let (stop, stopped) = watch::channel(false);
    let (_at, address) = watch::channel(collector.agents());
    let begun = Instant::now();
    let delivering = Arc::clone(&keeper);
    let delivery = runtime.spawn(async move { delivering.deliver(&flooder, address, stopped).await });
    // Its whole quota at once, and always more than the collector takes.
    let mut made = QUOTA.0;
    keeper.fill(made, |seq| record(name, seq));
    until("the flooder's quota is used up", seconds(effort(180, 300)), || {
        let more = FLOOD.saturating_sub(keeper.waiting());
        keeper.fill(more, |seq| record(name, seq));
        made += more;
        (rows() >= QUOTA.0).then_some(())
    });
    let is_within = |rows: u64| rows <= QUOTA.0 + begun.elapsed().as_secs() * QUOTA.1 + QUOTA.1;
    never("the store takes more of it than its quota", window.saturating_sub(begun.elapsed()), || {
        let rows = rows();
        (!is_within(rows)).then(|| format!("{rows} rows after {:?}", begun.elapsed()))
    });
    let stored = rows();
    assert!(is_within(stored), "{stored} rows after {:?}", begun.elapsed());
    let kept = keeper.waiting();
    assert!(kept > 0, "what is too much waits with the flooder");
    figure("r18.flooder_keeps", kept, "records");
    let beside = percentile("r18.ack_beside_a_flood", 99, &healthy.since(begun));

    // It calms down: the rest comes at the quota's pace, each record once.
    until_ok("everything of the flooder is stored once", seconds(300), || {
        keeper.is_stored(&device, &collector.database())
    });
    let least = Duration::from_secs((made - QUOTA.0) / QUOTA.1);
    assert!(begun.elapsed() + seconds(8) >= least, "faster than the quota: {:?}", begun.elapsed());
    assert_eq!(keeper.refused(), Vec::<String>::new(), "nothing is refused");
    assert_eq!(keeper.streams(), 1, "nor is a stream ended");
    let after = percentile("r18.ack_after", 99, &healthy.during(window));
    // The machine is not equally busy before and after, so the flood is compared with the worse of the two.
    let alone = before.max(after);
    figure("r18.ack_ratio", format!("{:.2}", beside.as_secs_f64() / alone.as_secs_f64()), "x");
    assert!(beside <= alone.mul_f64(1.2) + UNSTEADY, "{beside:?} beside the flood, {alone:?} alone");
    let _ = stop.send(true);
    runtime.block_on(delivery).expect("the flooder ends");
    healthy.stop();
}
