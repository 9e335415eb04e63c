//! Who may become a device.

use firstline_tests::agent::{enroll, enroll_command};
use firstline_tests::database::number;
use firstline_tests::process::run_with_input;
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};

#[test]
fn used_expired_and_wrong_tokens_are_refused_alike() {
    let collector = Collector::started();
    let good = collector.enrollment_url(&[]);
    let used = good.clone();
    let _agent = Agent::enrolled_at(&good);
    let expired = collector.enrollment_url(&["--ttl", "1s"]);
    let wrong = {
        let (before, after) = good.split_once("token=").unwrap();
        let (token, rest) = after.split_once('&').unwrap();
        format!("{before}token={}&{rest}", token.chars().rev().collect::<String>())
    };
    let database = collector.database();
    until("the token expires", seconds(10), || {
        let left = number(&database, "SELECT min(expires_at) FROM enrollment_token");
        (firstline_tests::backlog::now_ms() > left).then_some(())
    });

    let refusals = [("used", used), ("expired", expired), ("wrong", wrong)].map(|(what, url)| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("agent");
        let output = enroll(&data, &url);
        assert!(!data.join("identity.toml").exists(), "a refused device keeps no identity");
        (what, output.status.code(), String::from_utf8(output.stderr).unwrap())
    });

    for (what, code, text) in &refusals {
        assert_eq!(*code, Some(1), "{what}: {text}");
        assert!(text.contains("refused the token"), "{what}: {text}");
        assert_eq!(text, &refusals[0].2, "a {what} token is told from a used one");
    }
    assert_eq!(number(&database, "SELECT count(*) FROM device"), 1);
}

#[test]
fn of_many_that_use_one_token_at_once_exactly_one_becomes_a_device() {
    const AT_ONCE: usize = 64;
    let collector = Collector::started();
    let url = collector.enrollment_url(&[]);
    let folders: Vec<_> = (0..AT_ONCE).map(|_| tempfile::tempdir().unwrap()).collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = folders
            .iter()
            .map(|folder| scope.spawn(|| run_with_input(enroll_command(&folder.path().join("agent")), &url)))
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let enrolled = outcomes.iter().filter(|output| output.status.success()).count();
    assert_eq!(
        enrolled,
        1,
        "{:?}",
        outcomes.iter().map(|o| String::from_utf8_lossy(&o.stderr)).collect::<Vec<_>>()
    );
    assert_eq!(number(&collector.database(), "SELECT count(*) FROM device"), 1);
    assert_eq!(number(&collector.database(), "SELECT sum(uses_left) FROM enrollment_token"), 0);
    let identities =
        folders.iter().filter(|folder| folder.path().join("agent/identity.toml").exists()).count();
    assert_eq!(identities, 1, "only who was enrolled keeps an identity");
}

#[test]
fn two_agents_with_one_hostname_are_two_devices() {
    let mut collector = Collector::started();
    let agents = [(), ()].map(|()| Agent::enrolled(&collector).probing(&["memory"], "").started());
    for agent in &agents {
        collector.wait_for_device(agent.device());
    }
    let devices = collector.rest().get_json("/api/v1/devices");
    let devices = devices["items"].as_array().unwrap();
    assert_eq!(devices.len(), 2, "{devices:?}");
    assert_eq!(devices[0]["hostname"], devices[1]["hostname"]);
    assert_ne!(devices[0]["id"], devices[1]["id"]);
}
