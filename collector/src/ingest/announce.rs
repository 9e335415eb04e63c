//! What a commit means for pages that follow.

use super::device::Live;
use super::worker::Changed;
use firstline_collector_store::plan::CommitPlan;
use firstline_model::DeviceId;
use std::collections::HashMap;

/// Which devices and tickets a plan changes.
pub(super) fn announce(plan: &CommitPlan, live: &HashMap<DeviceId, Live>) -> Vec<Changed> {
    let devices = plan.devices.iter().map(|part| Changed {
        site: live.get(&part.device).and_then(|live| live.device.site.clone()),
        device: Some(part.device.clone()),
        tickets: part.tickets.iter().map(|ticket| ticket.id).collect(),
    });
    let shared = plan.shared.tickets.iter().map(|ticket| Changed {
        site: ticket.site.clone(),
        device: None,
        tickets: vec![ticket.id],
    });
    devices.chain(shared).collect()
}
