//! The last gasp: when the machine is about to sleep or to shut down, the agent says so while it still can, so that its
//! silence has a name at once and is not taken for a lost network.

use super::Agent;
use firstline_agent_probes::Root;
use firstline_agent_probes::bus::leaving::{self, Leaving};
use firstline_proto::v1::GoodbyeReason;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The machine is expected to be asleep after so much time awake. When it still is not, the agent comes back: whoever
/// announced the sleep did not mean it, or does not say that it is over.
const LONGEST: Duration = Duration::from_secs(30);
/// How soon the login manager is looked for again when there is none. It starts with the machine and stays.
const AGAIN: Duration = Duration::from_secs(600);

/// Listens on a thread of its own, until `news` is closed.
pub(super) fn listen(root: Root, news: UnboundedSender<Leaving>) -> std::io::Result<()> {
    let listening = move || {
        while !news.is_closed() {
            if let Err(error) = leaving::listen(&root, |leaving| news.send(leaving).is_ok()) {
                tracing::debug!(error = %error, "sleep and shutdown are not announced; sleep is told after waking");
                std::thread::park_timeout(AGAIN);
            }
        }
    };
    std::thread::Builder::new().name("leaving".to_owned()).stack_size(128 << 10).spawn(listening)?;
    Ok(())
}

impl Agent {
    /// The machine said what it is about to do.
    pub(super) async fn leave(&mut self, leaving: Leaving) {
        match leaving {
            Leaving::ToSleep => {
                tracing::info!("the machine goes to sleep");
                self.away_until = Some(self.clock.read().awake + LONGEST);
                // What waits leaves with the goodbye.
                self.write_waiting();
                self.write_held();
                self.deliver();
                if let Some(stream) = self.stream.take() {
                    self.disconnected();
                    self.status.disconnected("the machine goes to sleep", self.clock.wall());
                    stream.close(GoodbyeReason::Sleeping).await;
                }
            }
            Leaving::Awake => {
                tracing::info!("the machine is awake");
                self.away_until = None;
            }
            // The stop follows, and says it.
            Leaving::ToShutDown => self.goodbye = GoodbyeReason::ShuttingDown,
            Leaving::Stays => self.goodbye = GoodbyeReason::Restarting,
        }
    }

    /// Whether the agent has said goodbye to sleep and the machine is not asleep yet. No stream is opened meanwhile.
    pub(super) fn is_away(&mut self) -> bool {
        let now = self.clock.read().awake;
        self.away_until.take_if(|until| now >= *until);
        self.away_until.is_some()
    }
}
