//! What one group of work has to do with one device, and its judgement.

use crate::ingest::device::{Draft, Incoming, Live};
use crate::ingest::fleet::Noticed;
use crate::ingest::repeats::Earlier;
use crate::ingest::reply::Reply;
use firstline_collector_core::knowledge::KnowledgeSet;
use firstline_collector_core::peers::Peers;
use firstline_collector_store::sabotage;
use firstline_model::{Observation, Presence, Timestamp};

/// What one group has to do with one device.
#[derive(Default)]
pub(super) struct Todo {
    pub(super) batches: Vec<(Incoming, Reply)>,
    pub(super) presence: Option<(Presence, Option<String>)>,
    pub(super) observed: Vec<Observation>,
    pub(super) time: bool,
}

/// Takes in what a device brought and lets time pass for it.
pub(super) fn judge(
    live: &mut Live,
    knowledge: &KnowledgeSet,
    peers: &mut Peers,
    todo: &Todo,
    earlier: &Earlier,
    now: Timestamp,
    draft: &mut Draft,
) -> Noticed {
    if let Some((presence, version)) = &todo.presence {
        draft.plan.presence = Some(*presence);
        draft.plan.seen_at = Some(now);
        live.device.presence = Some(*presence);
        if let Some(version) = version {
            draft.plan.agent_version = Some(version.clone());
            live.device.agent_version.clone_from(version);
        }
    }
    for (incoming, _) in &todo.batches {
        if sabotage::is(sabotage::NO_DEDUPE_KEY) {
            live.marks.retain(|(epoch, _)| *epoch != incoming.epoch);
        }
        live.take_batch(knowledge, peers, incoming, earlier, draft);
    }
    for observation in &todo.observed {
        live.take(knowledge, peers, observation.clone(), now, draft);
    }
    live.device.last_seen_at = draft.plan.seen_at.max(live.device.last_seen_at);
    // Time passes for a device with every batch too: its own clock says how much.
    live.pass_time(knowledge, now, draft);
    Noticed {
        presence: todo.presence.as_ref().map(|(presence, _)| *presence),
        said: draft.said,
        facts: draft.plan.facts.is_some(),
    }
}
