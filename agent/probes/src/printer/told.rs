//! What was told of a queue, and who told it: what a printer said is over when whoever said it takes it back, and not when
//! nobody is heard any more. Pure.

use crate::ProbeError;
use crate::printer::Examined;
use crate::printer::identity::Identity;
use crate::printer::queue::{Queue, merged};
use crate::printer::reasons::{Reason, ReasonSeverity};
use crate::printer::snmp::{Known, Said};
use firstline_model::{Attributes, UnavailableReason, order};
use std::collections::{BTreeMap, BTreeSet};

/// Who speaks of a printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Voice {
    /// The print server.
    Queue,
    /// The device, over IPP.
    Ipp,
    /// The device, over SNMP.
    Snmp,
}

/// A reason: keyword, severity, and whether the device itself reports it.
pub(super) type Given = (String, ReasonSeverity, bool);

/// Reasons, each with those who gave it.
pub(super) type Reasons = BTreeMap<Given, BTreeSet<Voice>>;

/// What was told of one queue, as far as its end has to be told too.
#[derive(Debug)]
pub(super) struct Told {
    /// The reasons that are not known to be over.
    pub(super) reasons: Reasons,
    /// The status over SNMP.
    pub(super) snmp: Option<Attributes>,
    /// Who told the levels of the supplies.
    pub(super) supplies: Option<Voice>,
    /// Where the queue leads to.
    pub(super) device_uri: Option<String>,
    pub(super) identity: Option<Identity>,
}

/// Who is heard of a printer in this run, and why somebody who was asked is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    voices: BTreeSet<Voice>,
    silent: Option<(UnavailableReason, String)>,
}

impl Heard {
    pub(super) fn of(examined: &Examined, device: Option<&Queue>) -> Self {
        let mut voices = BTreeSet::from([Voice::Queue]);
        voices.extend(device.map(|_| Voice::Ipp));
        let over_snmp = examined.snmp.as_ref().map(Known::said);
        voices.extend(over_snmp.and_then(Result::ok).filter(|said| said.is_complete()).map(|_| Voice::Snmp));
        let late = |error: &ProbeError| match error {
            ProbeError::TimedOut(why) => Some((UnavailableReason::TimedOut, why.clone())),
            // Such a device does not speak for itself at all, so nobody misses its word.
            ProbeError::Unsupported(_)
            | ProbeError::NotPresent(_)
            | ProbeError::NotPermitted(_)
            | ProbeError::Malformed(_) => None,
        };
        let silent = match &examined.contact {
            Ok(contact) if !contact.reachable => {
                let why = contact.detail.as_deref().unwrap_or("it accepts no connection");
                Some((UnavailableReason::TimedOut, format!("the printer does not answer: {why}")))
            }
            Ok(contact) => match contact.said.as_ref().map(Result::as_ref) {
                // An answer that breaks off is one of a printer that has just gone.
                Some(Err(ProbeError::Malformed(why))) => Some((UnavailableReason::Malformed, why.clone())),
                Some(Err(error)) => late(error),
                Some(Ok(_)) | None => None,
            },
            Err(error) => late(error),
        };
        Self { voices, silent: silent.or_else(|| late(over_snmp?.err()?)) }
    }

    pub(super) fn is_heard(&self, voice: Voice) -> bool {
        self.voices.contains(&voice)
    }

    /// Why nothing can be said.
    pub(super) fn silence(&self) -> (UnavailableReason, String) {
        let unheard = || (UnavailableReason::TimedOut, "the printer itself is not heard any more".to_owned());
        self.silent.clone().unwrap_or_else(unheard)
    }
}

/// What follows for the reasons.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Given before, and taken back.
    pub(super) over: Vec<Given>,
    /// Given now.
    pub(super) given: Vec<Given>,
    /// Whether there may be more that nobody could be asked for.
    pub(super) unknown: bool,
    /// What is to be remembered.
    pub(super) reasons: Reasons,
}

/// Judges what is given now by what was given before. As long as one who gave a reason is silent nothing counts as over,
/// and that nothing is wrong is said only when everybody who was asked has answered.
pub(super) fn judge(now: Reasons, before: &Reasons, heard: &Heard) -> Judged {
    let missed = |voices: &BTreeSet<Voice>| -> BTreeSet<Voice> {
        order::set(voices.difference(&heard.voices).copied())
    };
    let not_now = before.iter().filter(|(given, _)| !now.contains_key(*given));
    let gone: Reasons = order::map(not_now.map(|(given, voices)| (given.clone(), voices.clone())));
    let waits = gone.values().any(|voices| !missed(voices).is_empty());
    let mut given: Vec<Given> = now.keys().cloned().collect();
    let unknown = waits || (given.is_empty() && heard.silent.is_some());
    let mut reasons = now;
    for (given, voices) in &mut reasons {
        voices.extend(before.get(given).map(missed).unwrap_or_default());
    }
    if given.is_empty() && !unknown {
        // That nothing is wrong is said, so that what was wrong is over and not merely unheard of.
        given.push(none());
        reasons.insert(none(), BTreeSet::from([Voice::Queue]));
    }
    let mut over = Vec::new();
    for (reason, voices) in gone {
        if waits && reason != none() {
            reasons.insert(reason, voices);
        } else if !waits && !given.is_empty() && !given.contains(&reason) {
            over.push(reason);
        }
    }
    Judged { over, given, unknown, reasons }
}

fn none() -> Given {
    ("none".to_owned(), ReasonSeverity::Report, false)
}

/// What is given now, by whom.
pub(super) fn reasons(examined: &Examined, device: Option<&Queue>) -> Reasons {
    let over_ipp = device.map(|device| device.reasons.clone()).unwrap_or_default();
    let over_snmp = over_snmp(examined).map(Said::reasons).unwrap_or_default();
    let of_device: Vec<Reason> = over_ipp.iter().chain(&over_snmp).cloned().collect();
    let by = [
        (Voice::Queue, examined.queue.reasons.as_slice()),
        (Voice::Ipp, over_ipp.as_slice()),
        (Voice::Snmp, over_snmp.as_slice()),
    ];
    let all = merged(&examined.queue.reasons, &of_device).into_iter();
    order::map(all.map(|(keyword, (severity, from_device))| {
        let says = |reasons: &[Reason]| reasons.iter().any(|reason| reason.keyword == keyword);
        let voices = order::set(by.iter().filter(|(_, reasons)| says(reasons)).map(|(voice, _)| *voice));
        ((keyword, severity, from_device), voices)
    }))
}

/// What the printer says over SNMP.
pub(super) fn over_snmp(examined: &Examined) -> Option<&Said> {
    examined.snmp.as_ref()?.said().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(keyword: &str) -> Given {
        (keyword.to_owned(), ReasonSeverity::Error, true)
    }

    fn by(all: &[(&str, &[Voice])]) -> Reasons {
        all.iter().map(|(keyword, voices)| (given(keyword), voices.iter().copied().collect())).collect()
    }

    fn heard(voices: &[Voice]) -> Heard {
        Heard { voices: voices.iter().copied().chain([Voice::Queue]).collect(), silent: None }
    }

    fn silent() -> Heard {
        Heard { silent: Some((UnavailableReason::TimedOut, "gone".to_owned())), ..heard(&[]) }
    }

    #[test]
    fn a_reason_is_over_when_all_who_gave_it_take_it_back() {
        let before = by(&[("media-jam", &[Voice::Ipp, Voice::Snmp])]);
        let judged = judge(Reasons::new(), &before, &heard(&[Voice::Ipp, Voice::Snmp]));
        assert_eq!(
            (judged.over, judged.given, judged.unknown),
            (vec![given("media-jam")], vec![none()], false)
        );
        let again = judge(by(&[("media-jam", &[Voice::Ipp])]), &judged.reasons, &heard(&[Voice::Ipp]));
        assert_eq!((again.over, again.given), (vec![none()], vec![given("media-jam")]));
    }

    #[test]
    fn silence_of_one_who_gave_it_ends_nothing_until_it_is_heard_again() {
        let before = by(&[("media-jam", &[Voice::Snmp]), ("cover-open", &[Voice::Queue])]);
        let judged = judge(Reasons::new(), &before, &heard(&[Voice::Ipp]));
        assert_eq!((judged.over.len(), judged.given.len(), judged.unknown), (0, 0, true));
        assert_eq!(judged.reasons, before);
        let later = judge(Reasons::new(), &judged.reasons, &heard(&[Voice::Ipp, Voice::Snmp]));
        assert_eq!(later.over, [given("cover-open"), given("media-jam")]);
        assert_eq!(later.given, [none()]);
    }

    #[test]
    fn what_another_still_says_holds_and_is_not_over_when_only_that_one_takes_it_back() {
        let before = by(&[("media-jam", &[Voice::Queue, Voice::Snmp])]);
        let judged = judge(by(&[("media-jam", &[Voice::Queue])]), &before, &heard(&[]));
        assert_eq!((judged.given, judged.unknown), (vec![given("media-jam")], false));
        let later = judge(Reasons::new(), &judged.reasons, &heard(&[]));
        assert!(later.unknown && later.over.is_empty(), "the device has not taken it back");
    }

    #[test]
    fn that_nothing_is_wrong_is_not_said_in_the_name_of_a_silent_printer() {
        let judged = judge(Reasons::new(), &Reasons::new(), &silent());
        assert!(judged.unknown && judged.given.is_empty() && judged.reasons.is_empty());
        let known = judge(by(&[("paused", &[Voice::Queue])]), &Reasons::new(), &silent());
        assert_eq!((known.given, known.unknown), (vec![given("paused")], false));
    }
}
