//! A device is judged by what others of its kind measure: live, and by what they said before the collector started.

use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp, Value, semconv};
use firstline_proto::convert::encode_record;
use firstline_tests::Collector;
use firstline_tests::healthy::runtime;
use firstline_tests::simulated::{SimulatedAgent, SimulatedStream, now_ms};
use firstline_tests::wait::seconds;

/// What a device says after a start that took so long.
fn started(model: &str, took: f64, ago: i64) -> Vec<u8> {
    let component = Component::only(ComponentKind::Os);
    let facts = Value::map([("model", Value::from(model)), ("os", Value::from("linux"))]);
    let metric = semconv::BOOT_DURATION.into();
    let bodies = [Body::Facts(facts), Body::Sample { metric, attributes: Attributes::none(), value: took }];
    let observed_at = Timestamp::from_millis(now_ms() - ago * 1000);
    let observations = bodies.map(|body| Observation { component: component.clone(), observed_at, body });
    encode_record(&observations)
}

#[test]
fn a_computer_that_starts_slowly_beside_others_of_its_model_gets_a_ticket_also_after_a_restart_of_the_collector()
 {
    let runtime = runtime();
    let mut collector = Collector::started();
    let url = collector.enrollment_url(&["--uses", "9"]);
    let authority = std::fs::read_to_string(collector.authority()).expect("an authority");
    let agents: Vec<SimulatedAgent> = (0..9)
        .map(|number| {
            let hostname = format!("pc-{number}");
            runtime.block_on(SimulatedAgent::enroll(&url, &authority, &hostname)).expect("enrolled")
        })
        .collect();
    let say = |collector: &Collector, number: usize, records: Vec<Vec<u8>>| {
        let address = collector.agents().to_string();
        let epoch = [u8::try_from(number).expect("few") + 1; 16];
        runtime.block_on(async {
            let mut stream: SimulatedStream =
                agents[number].stream_at(&address, epoch).await.expect("a stream");
            for record in records {
                stream.deliver(record).await.expect("delivered");
            }
        });
    };
    for (number, took) in [38.0, 41.0, 36.0, 52.0, 44.0, 40.0].into_iter().enumerate() {
        say(&collector, number, vec![started("Latitude 5440", took, 60)]);
    }
    collector.stop();
    collector.start();
    // Its own past is two starts, which tells nothing. The same time of another model is beside nobody's.
    let twice = |model| vec![started(model, 175.0, 20), started(model, 180.0, 0)];
    say(&collector, 6, twice("Latitude 5440"));
    say(&collector, 7, twice("Precision 390"));
    say(&collector, 8, vec![started("Latitude 5440", 45.0, 20), started("Latitude 5440", 47.0, 0)]);
    let ticket =
        collector.ticket("boot.slow", "is of the slow one", seconds(90), |ticket| ticket["state"] == "new");
    assert_eq!(ticket["device"]["hostname"], "pc-6", "{ticket:#}");
    let all = collector.rest().get_json("/api/v1/tickets?limit=500");
    assert_eq!(all["items"].as_array().map_or(0, Vec::len), 1, "{all:#}");
}
