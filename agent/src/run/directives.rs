//! What a collector may ask of an agent: settings, a test from the list, everything in full. Nothing else is understood.

use super::Agent;
use super::diagnostics::Asked;
use crate::collect::{Collected, Order};
use crate::uplink;
use firstline_agent_core::policy::LONGEST_LIVE;
use firstline_proto::convert::diagnostic_from_wire;
use firstline_proto::v1;
use std::time::Duration;

/// A collector that asks for everything in full gets it at most this often.
const SAY_WHOLE_AGAIN: Duration = Duration::from_secs(60);

impl Agent {
    /// Does what the collector asks, if it is on the list and within the bounds.
    pub(super) fn obey(&mut self, directive: v1::Directive) {
        match directive.directive {
            Some(v1::directive::Directive::Policy(message)) => {
                self.policy = uplink::policy(message);
                tracing::info!(
                    revision = self.policy.revision,
                    triggers = self.policy.triggers.len(),
                    "policy in force"
                );
                if let Some(lanes) = &self.lanes {
                    lanes.tell(&Order::Policy(self.policy.clone()));
                }
            }
            Some(v1::directive::Directive::RunDiagnostic(message)) => {
                let asked_ago = Duration::from_secs(u64::from(message.asked_ago_s));
                match diagnostic_from_wire(message) {
                    Ok((request_id, request)) => {
                        self.diagnostics.ask(Asked {
                            asked_ago,
                            request_id,
                            request,
                            directory_depth: self.policy.directory_depth,
                            overrides: self.settings.overrides.clone(),
                        });
                    }
                    Err(error) => {
                        tracing::warn!(error = %error, "the collector asked for a test that is refused")
                    }
                }
            }
            Some(v1::directive::Directive::SendWhole(v1::SendWhole {})) => self.say_whole(),
            Some(v1::directive::Directive::LiveView(v1::LiveView { for_s })) => {
                let time = Duration::from_secs(u64::from(for_s)).min(LONGEST_LIVE);
                tracing::info!(for_s = time.as_secs(), "somebody at the helpdesk watches this machine live");
                if let Some(lanes) = &self.lanes {
                    lanes.tell(&Order::Live(time));
                }
            }
            None => tracing::debug!("the collector asked for something that this version does not know"),
        }
    }

    /// At most once a minute: a collector that asks all the time must not be sent everything all the time.
    fn say_whole(&mut self) {
        let awake = self.clock.read().awake;
        if self.whole_said.is_some_and(|said| awake.saturating_sub(said) < SAY_WHOLE_AGAIN) {
            return;
        }
        tracing::info!("the collector lacks what was said before; everything is said in full again");
        self.whole_said = Some(awake);
        self.coalescer.forget();
        let inventory = self.inventory.take_all(self.clock.wall());
        if !inventory.is_empty() {
            self.take(Collected::new(inventory, true));
        }
    }
}
