//! What keeps a finding from opening anything: another finding that explains it, or a time that is none for tickets.

use super::hidden::hidden_by;
use super::judge::{Judge, deciding_attributes};
use super::{TransitionKind, transition};
use crate::finding::{DeviceState, Finding, Phase};
use crate::knowledge::KnowledgeEntry;
use crate::quiet::{self, Held};
use firstline_model::{Attributes, Presence, Timestamp};

impl Judge<'_> {
    /// The device went away while findings were on their way: their hold times stand still, which is why none of them
    /// becomes a ticket meanwhile.
    pub(super) fn note_away(&mut self, state: &DeviceState, presence: Presence, at: Timestamp) {
        let Some(reason) = quiet::away(presence) else { return };
        for finding in state.findings.values().filter(|finding| finding.phase == Phase::Pending) {
            let attributes = deciding_attributes(state, finding);
            let kind = TransitionKind::Suppressed { reason: reason.to_owned() };
            self.out.push(transition(finding, kind, at, &attributes));
        }
    }

    /// A hidden finding fires when nothing hides it any more, unless it recovers already. One that was held back has to be
    /// true now (`is_true`): what was last seen before a window says nothing about its end.
    pub(super) fn recheck(
        &mut self,
        entry: &KnowledgeEntry,
        state: &DeviceState,
        finding: &mut Finding,
        is_true: bool,
        at: Timestamp,
    ) {
        let Some(before) = finding.suppressed.clone() else { return };
        if finding.phase != Phase::Firing {
            return;
        }
        match self.held_back(entry, state, finding, at) {
            Some(Held { reason, until }) => {
                let is_news = before != reason && (quiet::is_quiet(&before) || quiet::is_quiet(&reason));
                finding.suppressed = Some(reason.clone());
                finding.held_until = until;
                if is_news {
                    let attributes = deciding_attributes(state, finding);
                    let kind = TransitionKind::Suppressed { reason };
                    self.out.push(transition(finding, kind, at, &attributes));
                }
            }
            None if quiet::is_quiet(&before) && !is_true => finding.held_until = None,
            None => {
                finding.suppressed = None;
                finding.held_until = None;
                finding.fired_at = Some(at);
                let attributes = deciding_attributes(state, finding);
                self.out.push(transition(finding, TransitionKind::Unsuppressed, at, &attributes));
                self.out.push(transition(finding, TransitionKind::Fired, at, &attributes));
            }
        }
    }

    pub(super) fn fire_or_hide(
        &mut self,
        entry: &KnowledgeEntry,
        state: &DeviceState,
        finding: &mut Finding,
        attributes: &Attributes,
        at: Timestamp,
    ) {
        let held = self.held_back(entry, state, finding, at);
        finding.held_until = held.as_ref().and_then(|held| held.until);
        finding.suppressed = held.map(|held| held.reason);
        let kind = match &finding.suppressed {
            Some(reason) => TransitionKind::Suppressed { reason: reason.clone() },
            None => TransitionKind::Fired,
        };
        self.out.push(transition(finding, kind, at, attributes));
    }

    /// Why the finding opens nothing: another one explains it, or this is no time for tickets.
    fn held_back(
        &self,
        entry: &KnowledgeEntry,
        state: &DeviceState,
        finding: &Finding,
        at: Timestamp,
    ) -> Option<Held> {
        if self.is_told_already(entry, state, finding) {
            return Some(Held { reason: Finding::hidden_text(&entry.code), until: None });
        }
        if let Some(reason) = hidden_by(self.knowledge, self.device, entry, state, finding, at) {
            return Some(Held { reason, until: None });
        }
        self.knowledge.quiet.holds_back(self.device, entry, state, finding, at)
    }

    /// Whether the same is said of another component already, by a rule that asks for every component of its kind: that no
    /// name server answers is one fault, however many there are.
    fn is_told_already(&self, entry: &KnowledgeEntry, state: &DeviceState, finding: &Finding) -> bool {
        self.knowledge.index().asks_all_components(&entry.code)
            && state.findings.values().any(|other| {
                other.rule == entry.code
                    && other.component != finding.component
                    && other.fires()
                    && other.suppressed.is_none()
            })
    }
}
