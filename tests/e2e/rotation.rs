//! The authority is replaced while everything runs, and nobody notices.

use firstline_tests::agent::SYNCED;
use firstline_tests::database::{delivered_exactly_once, number};
use firstline_tests::effort::effort;
use firstline_tests::figure::figure;
use firstline_tests::simulated::{SimulatedAgent, SimulatedStream, healthy_minute};
use firstline_tests::wait::{seconds, until, until_ok};
use firstline_tests::{Agent, Collector};

struct Player {
    agent: SimulatedAgent,
    stream: SimulatedStream,
    acked: usize,
    life: u8,
}

impl Player {
    /// Delivers one record; renews and comes back with a new stream when told to, or when the stream was ended.
    async fn plays(&mut self, number: usize) -> anyhow::Result<()> {
        if self.stream.is_told_to_renew {
            self.agent.renew().await?;
            self.life += 1;
            let mut epoch = [self.life; 16];
            epoch[..8].copy_from_slice(&(number as u64).to_be_bytes());
            self.stream = self.agent.stream(epoch).await?;
        }
        self.stream.deliver(healthy_minute(self.acked as u64)).await?;
        self.acked += 1;
        Ok(())
    }
}

fn step(collector: &Collector) -> String {
    let output = collector.run(&["authority", "rotate", "--step"]);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

fn status(collector: &Collector) -> serde_json::Value {
    collector.run_json(&["authority", "status", "--json"])
}

#[test]
fn r6_the_authority_is_replaced_under_streaming_agents_without_a_lost_batch() {
    let agents = effort(20, 200);
    let mut collector = Collector::prepared().with_arguments(&["--certificate-lifetime", "60s"]);
    collector.start();
    let mut real = Agent::enrolled(&collector).probing(&["memory"], SYNCED).started();
    let mut absent = Agent::enrolled(&collector).probing(&["memory"], SYNCED).started();
    collector.wait_for_device(real.device());
    collector.wait_for_device(absent.device());
    absent.stop();
    let url = collector.enrollment_url(&["--uses", "1000"]);
    let authority = std::fs::read_to_string(collector.authority()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut players: Vec<Player> = (0..agents)
        .map(|number| {
            runtime.block_on(async {
                let agent = SimulatedAgent::enroll(&url, &authority, "pc").await.unwrap();
                let mut epoch = [0; 16];
                epoch[..8].copy_from_slice(&(number as u64).to_be_bytes());
                let stream = agent.stream(epoch).await.unwrap();
                Player { agent, stream, acked: 0, life: 0 }
            })
        })
        .collect();
    let mut play = |rounds: usize| {
        for _ in 0..rounds {
            for (number, player) in players.iter_mut().enumerate() {
                runtime.block_on(player.plays(number)).unwrap();
            }
        }
    };
    play(2);
    let old = status(&collector)["authorities"][0]["fingerprint"].clone();

    assert!(step(&collector).contains("prepared"));
    collector.log().wait("the new authority is trusted", seconds(10), |line| {
        line.contains("authorities in force").then_some(())
    });
    play(2);
    assert!(step(&collector).contains("activated"));
    // Each round is a few records of every agent; the agents renew as they are told.
    until("all that are there hold certificates of the new authority", seconds(60), || {
        play(1);
        let behind = status(&collector);
        let old = behind["authorities"].as_array()?.iter().find(|one| one["fingerprint"] == old)?;
        (old["devices"] == 1 && behind["devices_unknown"] == 0).then_some(())
    });
    let refused = collector.run(&["authority", "rotate", "--step"]);
    assert!(!refused.status.success(), "it retires although a device would be left behind");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("1 devices hold certificates of the old authority"), "{said}");

    // The one that was away all the time comes back by itself.
    absent.start();
    until("the absent one renewed", seconds(60), || {
        play(1);
        let standing = status(&collector);
        let old = standing["authorities"].as_array()?.iter().find(|one| one["fingerprint"] == old)?;
        (old["devices"] == 0).then_some(())
    });
    assert!(step(&collector).contains("retired"));
    let settled = status(&collector);
    assert_eq!(settled["phase"], "settled");
    assert_ne!(settled["authorities"][0]["fingerprint"], old);
    until("the collector shows the new authority", seconds(10), || {
        play(1);
        let probe = collector.enrollment_url(&[]);
        let folder = tempfile::tempdir().unwrap();
        firstline_tests::agent::enroll(&folder.path().join("agent"), &probe).status.success().then_some(())
    });
    real.stop();
    real.start();
    absent.stop();
    absent.start();
    play(2);

    for player in &players {
        let stored = format!("SELECT count(*) FROM record WHERE device = '{}'", player.agent.device_id);
        assert_eq!(number(&collector.database(), &stored), i64::try_from(player.acked).unwrap());
    }
    for agent in [&real, &absent] {
        until_ok("everything is delivered once", seconds(60), || {
            delivered_exactly_once(&agent.spool(), &collector.database(), agent.device())
        });
    }
    figure("authority_rotation.agents", agents, "count");
}

#[test]
fn r6_one_command_goes_through_all_steps_and_can_be_called_again() {
    let collector = Collector::started();
    let before = status(&collector);
    assert_eq!(before["phase"], "settled");
    step(&collector);
    assert_eq!(status(&collector)["phase"], "prepared");
    let output = collector.run(&["authority", "rotate", "--overlap", "1s"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("activated") && said.contains("retired"), "{said}");
    let after = status(&collector);
    assert_eq!(after["phase"], "settled");
    assert_ne!(after["authorities"][0]["fingerprint"], before["authorities"][0]["fingerprint"]);
    let audit = "SELECT count(*) FROM audit WHERE action LIKE 'authority.%'";
    assert_eq!(number(&collector.database(), audit), 3);
}
