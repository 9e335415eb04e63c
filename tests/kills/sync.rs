//! What a promise of durability rests on: a sync for every ack, and no ack for a sync that failed. Power cuts show a
//! missing sync only now and then; the system calls show it each time.

use crate::collector_dies::Scene;
use firstline_model::Timestamp;
use firstline_tests::Collector;
use firstline_tests::needs::{Need, met};
use firstline_tests::oracle::generator::record;
use firstline_tests::simulated::SimulatedAgent;
use firstline_tests::tracer::Tracer;
use firstline_tests::wait::seconds;

const NEEDS: [Need; 2] = [Need::Program("strace"), Need::Program("python3")];

#[test]
fn r21_every_ack_follows_a_sync_of_its_own() {
    const ACKS: u64 = 60;
    if !met(&NEEDS) {
        return;
    }
    let collector = Collector::started();
    let url = collector.enrollment_url(&[]);
    let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let device = SimulatedAgent::enroll(&url, &authority, "synced").await.expect("a device");
        let mut stream = device.stream([9; 16]).await.expect("a stream");
        let at = Timestamp::from_millis(firstline_tests::backlog::now_ms());
        stream.deliver(record(1, 0, 1, at)).await.expect("an ack");
        let tracer = Tracer::of(collector.pid(), "fdatasync,fsync", None);
        for seq in 2..2 + ACKS {
            let before = tracer.count("sync(");
            stream.deliver(record(1, 0, seq, at)).await.expect("an ack");
            tracer.wait_for("sync(", before + 1, seconds(5));
        }
    });
}

#[test]
fn r21_a_commit_whose_sync_failed_is_not_acked() {
    if !met(&NEEDS) {
        return;
    }
    let collector = Collector::prepared()
        .expecting_error("nothing of this group was saved")
        .expecting_error("cannot store; agents keep their records")
        .expecting_error("a device cannot be read")
        .expecting_error("no ticket numbers can be reserved");
    let scene = Scene::under_load(collector, firstline_tests::backlog::now_ms().unsigned_abs());
    {
        let tracer =
            Tracer::of(scene.collector.pid(), "fdatasync,fsync", Some("fdatasync,fsync:error=EIO:when=3+4"));
        tracer.wait_for("(INJECTED)", 10, seconds(60));
    }
    scene.fleet.wait_for_acks(40, seconds(30));
    scene.judged();
}
