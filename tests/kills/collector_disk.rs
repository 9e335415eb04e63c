//! The disk that the collector's data lie on refuses while devices send: no record is acked that is not stored, devices are
//! told to come again, people still read, and everybody who should hear of it does within ten seconds. Ten seconds after
//! the repair it stores again, without a restart. The oracle judges.

use crate::collector_dies::Scene;
use firstline_tests::Collector;
use firstline_tests::backlog::now_ms;
use firstline_tests::database::number;
use firstline_tests::disk::SmallDisk;
use firstline_tests::figure::figure;
use firstline_tests::needs::{Need, met};
use firstline_tests::tracer::Tracer;
use firstline_tests::wait::{seconds, until, until_ok};
use std::time::{Duration, Instant};

/// From the fault to the alarm, and from the repair to the next ack.
const WITHIN: Duration = seconds(10);
const ORACLE: Need = Need::Program("python3");

fn prepared(collector: Collector) -> Collector {
    collector
        .expecting_error("nothing of this group was saved")
        .expecting_error("cannot store; agents keep their records")
        .expecting_error("a device cannot be read")
        .expecting_error("no ticket numbers can be reserved")
}

/// While the disk refuses: the alarm, the pages, no ack. Then `repair`, and all of it is over.
fn refuses_and_heals(scene: &mut Scene, part: &str, repair: impl FnOnce()) {
    let begun = Instant::now();
    let rest = scene.collector.rest();
    let anybody = rest.anonymous();
    let said = until_ok("the collector is not ready", WITHIN, || {
        let ready = anybody.get("/readyz");
        if ready.status == 503 { Ok(ready.body) } else { Err(format!("{} {}", ready.status, ready.body)) }
    });
    assert!(said.contains("the store cannot be written"), "{said}");
    figure(&format!("collector_disk.{part}.alarm"), begun.elapsed().as_millis(), "ms");
    scene.collector.log().wait("the log says it", WITHIN, |line| {
        (line.contains("the store cannot be written") || line.contains("cannot store")).then_some(())
    });
    let doctor = scene.collector.run(&["doctor"]);
    assert!(!doctor.status.success(), "doctor finds nothing: {}", String::from_utf8_lossy(&doctor.stdout));
    // What was under way when the disk began to refuse may still be acked; from then on nothing is.
    let stored = |scene: &Scene| number(&scene.collector.database(), "SELECT count(*) FROM record");
    let (acks, records) = (scene.fleet.acks(), stored(scene));
    for path in ["/api/v1/devices", "/api/v1/tickets", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(rest.get(path).status, 200, "{path} cannot be read");
        assert!(asked.elapsed() < seconds(3), "{path} took {:?}", asked.elapsed());
    }
    assert_eq!(anybody.get("/healthz").status, 200, "a restart would not help");
    let (acks_now, records_now) = (scene.fleet.acks(), stored(scene));
    assert!(
        acks_now == acks || records_now > records,
        "{} acks came while nothing was stored",
        acks_now - acks
    );
    repair();
    let repaired = Instant::now();
    scene.fleet.wait_for_acks(1, WITHIN);
    figure(&format!("collector_disk.{part}.recovery"), repaired.elapsed().as_millis(), "ms");
    until("the collector is ready again", WITHIN.saturating_sub(repaired.elapsed()), || {
        (anybody.get("/readyz").status == 200).then_some(())
    });
    scene.fleet.wait_for_acks(40, seconds(30));
}

#[test]
fn r23_collector_on_a_disk_that_fills_up_alarms_keeps_reading_and_recovers_when_there_is_room() {
    if !met(&[ORACLE, Need::Root]) {
        return;
    }
    let disk = SmallDisk::mounted(64);
    let collector = prepared(Collector::prepared_in(disk.path().join("collector")));
    let mut scene = Scene::under_load(collector, now_ms().unsigned_abs());
    let _ = scene.collector.rest();
    disk.fill();
    refuses_and_heals(&mut scene, "full", || disk.empty());
    scene.judged();
}

#[test]
fn r23_collector_whose_writes_or_syncs_fail_alarms_keeps_reading_and_recovers() {
    if !met(&[ORACLE, Need::Root, Need::Program("strace")]) {
        return;
    }
    let mut scene = Scene::under_load(prepared(Collector::prepared()), now_ms().unsigned_abs());
    let _ = scene.collector.rest();
    for (calls, error) in [("pwrite64", "EIO"), ("pwrite64", "EROFS"), ("fdatasync,fsync", "EIO")] {
        let tracer = Tracer::of(scene.collector.pid(), calls, Some(&format!("{calls}:error={error}")));
        let part = format!("{}.{error}", calls.split(',').next().unwrap_or(calls));
        refuses_and_heals(&mut scene, &part, || drop(tracer));
    }
    scene.judged();
}
