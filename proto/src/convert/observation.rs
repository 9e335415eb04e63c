//! Records: a list of observations with a shared table of texts.

use super::inventory::{self, InventoryChange};
use super::value::{check_size, cut};
use super::{DecodeError, depth, repeat, value};
use crate::{limits, v1};
use firstline_model::{
    Attributes, Body, Component, ComponentKind, DiagnosticOutcome, DiagnosticReport, Epoch, Observation,
    Presence, Repeat, Timestamp, Told, UnavailableReason, resolution,
};
use prost::Message;
use std::borrow::Cow;
use std::collections::HashMap;
use v1::observation::Body as WireBody;

/// Encodes observations as one record. Texts longer than the limits are cut; the caller keeps records small
/// (see [`limits::RECORD_OBSERVATIONS`]).
pub fn encode_record(observations: &[Observation]) -> Vec<u8> {
    encode_record_with(observations, &[], &[])
}

/// Encodes observations as one record, and what is repeated of earlier ones: each with the number of own observations
/// that come before it. Inventories come last.
pub fn encode_record_with(
    observations: &[Observation],
    repeats: &[(usize, Repeat)],
    inventories: &[InventoryChange],
) -> Vec<u8> {
    let first = observations.first().map(|first| first.observed_at);
    let base = first.or_else(|| repeats.first().map(|(_, repeat)| repeat.at));
    let base = base.or_else(|| inventories.first().map(|change| change.observed_at));
    let base_ms = base.map_or(0, Timestamp::as_millis);
    let mut texts = Texts::default();
    let wire = observations.iter().map(|observation| to_wire(observation, base_ms, &mut texts)).collect();
    let repeats = repeats.iter().map(|(place, repeat)| repeat::to_wire(*place, repeat, base_ms)).collect();
    let inventories = inventories.iter().map(|change| inventory::to_wire(change, base_ms)).collect();
    v1::Record { base_ms, texts: texts.table, observations: wire, repeats, inventories }.encode_to_vec()
}

/// What a record says itself, and what it repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedRecord {
    /// Its own observations.
    pub own: Vec<Told>,
    /// What it repeats: each with the number of own observations that come before it, rising.
    pub repeats: Vec<(usize, Repeat)>,
    /// Inventories that were looked at again; they come last.
    pub inventories: Vec<InventoryChange>,
}

impl DecodedRecord {
    /// The observations that it says itself.
    pub fn into_own(self) -> Vec<Observation> {
        self.own.into_iter().map(|told| told.observation).collect()
    }
}

/// Decodes one record: the observations that it says itself.
pub fn decode_record(bytes: &[u8]) -> Result<Vec<Observation>, DecodeError> {
    decode_record_with(bytes).map(DecodedRecord::into_own)
}

/// Decodes one record.
pub fn decode_record_with(bytes: &[u8]) -> Result<DecodedRecord, DecodeError> {
    check_size("bytes in a record", bytes.len(), limits::RECORD_BYTES)?;
    depth::check_record(bytes)?;
    let record = v1::Record::decode(bytes)?;
    check_size("texts in a record", record.texts.len(), limits::RECORD_TEXTS)?;
    if let Some(long) = record.texts.iter().find(|text| text.len() > limits::TEXT_BYTES) {
        check_size("bytes in a text", long.len(), limits::TEXT_BYTES)?;
    }
    let v1::Record { base_ms, texts, observations, repeats, inventories } = record;
    check_size("inventories in a record", inventories.len(), limits::RECORD_INVENTORIES)?;
    let repeated = repeats.iter().map(|repeat| repeat.count as usize).fold(0, usize::saturating_add);
    let all = observations.len().saturating_add(repeated);
    check_size("observations in a record", all, limits::RECORD_OBSERVATIONS)?;
    let repeats = repeat::from_wire(repeats, observations.len(), base_ms)?;
    let told = |observation: v1::Observation| {
        let decimals = match &observation.body {
            Some(WireBody::Sample(sample)) => sample.decimals,
            Some(_) | None => 0,
        };
        Ok::<_, DecodeError>(Told { observation: from_wire(observation, base_ms, &texts)?, decimals })
    };
    Ok(DecodedRecord {
        own: observations.into_iter().map(told).collect::<Result<_, _>>()?,
        repeats,
        inventories: inventories
            .into_iter()
            .map(|one| inventory::from_wire(one, base_ms))
            .collect::<Result<_, _>>()?,
    })
}

#[derive(Default)]
struct Texts {
    table: Vec<String>,
    places: HashMap<String, u32>,
}

impl Texts {
    fn place(&mut self, text: &str) -> u32 {
        let text = cut(text, limits::TEXT_BYTES);
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        self.table.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    fn attributes(&mut self, attributes: &Attributes) -> Vec<u32> {
        attributes.iter().flat_map(|(name, value)| [self.place(name), self.place(value)]).collect()
    }
}

fn to_wire(observation: &Observation, base_ms: i64, texts: &mut Texts) -> v1::Observation {
    let body = match &observation.body {
        Body::Sample { metric, attributes, value } => WireBody::Sample(v1::Sample {
            metric_text: texts.place(metric),
            attribute_texts: texts.attributes(attributes),
            value: *value,
            decimals: resolution::decimals(metric).unwrap_or(0),
        }),
        Body::State { name, document } => WireBody::State(v1::State {
            name_text: texts.place(name),
            document: Some(value::to_wire(document)),
        }),
        Body::Event { name, attributes } => WireBody::Event(v1::Event {
            name_text: texts.place(name),
            attribute_texts: texts.attributes(attributes),
        }),
        Body::Unavailable { what, reason, detail } => WireBody::Unavailable(v1::Unavailable {
            what_text: texts.place(what),
            reason: reason_to_wire(*reason).into(),
            detail_text: texts.place(detail),
        }),
        Body::Presence(presence) => WireBody::Presence(presence_to_wire(*presence).into()),
        Body::Diagnostic(report) => WireBody::Diagnostic(v1::DiagnosticReport {
            request_id: report.request_id.clone(),
            name: report.name.clone(),
            subject: report.subject.clone(),
            outcome: outcome_to_wire(report.outcome).into(),
            summary: cut(&report.summary, limits::TEXT_BYTES).to_owned(),
            facts: Some(value::to_wire(&report.facts)),
            took_ms: report.took_ms,
        }),
        Body::Facts(facts) => WireBody::Facts(value::to_wire(facts)),
        Body::Gap { epoch, first, last, reason } => WireBody::Gap(v1::Gap {
            epoch: epoch.0.to_vec(),
            first_seq: *first,
            last_seq: *last,
            reason: reason.clone().into_owned(),
        }),
    };
    v1::Observation {
        component_kind: kind_to_wire(observation.component.kind).into(),
        component_id_text: texts.place(observation.component.id()),
        offset_ms: observation.observed_at.as_millis().saturating_sub(base_ms),
        body: Some(body),
    }
}

fn from_wire(
    observation: v1::Observation,
    base_ms: i64,
    texts: &[String],
) -> Result<Observation, DecodeError> {
    let observed_at = Timestamp::from_millis(base_ms.saturating_add(observation.offset_ms));
    let kind = kind_from_wire(observation.component_kind())?;
    let component = Component::new(kind, text(texts, observation.component_id_text)?)?;
    let body = match observation.body.ok_or(DecodeError::Missing { what: "observation body" })? {
        WireBody::Sample(sample) => {
            if sample.value.is_nan() {
                return Err(DecodeError::Missing { what: "sample value" });
            }
            Body::Sample {
                metric: Cow::Owned(text(texts, sample.metric_text)?.to_owned()),
                attributes: attributes(texts, &sample.attribute_texts)?,
                value: sample.value,
            }
        }
        WireBody::State(state) => Body::State {
            name: Cow::Owned(text(texts, state.name_text)?.to_owned()),
            document: value::from_wire(state.document.ok_or(DecodeError::Missing { what: "document" })?)?,
        },
        WireBody::Event(event) => Body::Event {
            name: Cow::Owned(text(texts, event.name_text)?.to_owned()),
            attributes: attributes(texts, &event.attribute_texts)?,
        },
        WireBody::Unavailable(unavailable) => Body::Unavailable {
            reason: reason_from_wire(unavailable.reason())?,
            what: Cow::Owned(text(texts, unavailable.what_text)?.to_owned()),
            detail: text(texts, unavailable.detail_text)?.to_owned(),
        },
        WireBody::Presence(presence) => Body::Presence(presence_from_wire(presence)?),
        WireBody::Diagnostic(report) => {
            let outcome = outcome_from_wire(report.outcome())?;
            for short in [&report.request_id, &report.name, &report.subject, &report.summary] {
                check_size("bytes in a text", short.len(), limits::TEXT_BYTES)?;
            }
            Body::Diagnostic(DiagnosticReport {
                request_id: report.request_id,
                name: report.name,
                subject: report.subject,
                outcome,
                summary: report.summary,
                facts: value::from_wire(report.facts.ok_or(DecodeError::Missing { what: "facts" })?)?,
                finished_at: observed_at,
                took_ms: report.took_ms,
            })
        }
        WireBody::Facts(facts) => Body::Facts(value::from_wire(facts)?),
        WireBody::Gap(gap) => {
            check_size("bytes in a reason", gap.reason.len(), 64)?;
            Body::Gap {
                epoch: Epoch::from_bytes(&gap.epoch)?,
                first: gap.first_seq,
                last: gap.last_seq,
                reason: Cow::Owned(gap.reason),
            }
        }
    };
    Ok(Observation { component, observed_at, body })
}

fn text(texts: &[String], place: u32) -> Result<&str, DecodeError> {
    usize::try_from(place)
        .ok()
        .and_then(|place| texts.get(place))
        .map(String::as_str)
        .ok_or(DecodeError::Missing { what: "text" })
}

fn attributes(texts: &[String], places: &[u32]) -> Result<Attributes, DecodeError> {
    check_size("attributes", places.len() / 2, 32)?;
    let mut set = Attributes::none();
    for pair in places.chunks(2) {
        let [name, value] = pair else { return Err(DecodeError::Missing { what: "attribute value" }) };
        set = set.with(text(texts, *name)?.to_owned(), text(texts, *value)?);
    }
    Ok(set)
}

/// Each kind with its number on the wire, once, for both directions.
const KINDS: &[(ComponentKind, v1::ComponentKind)] = &[
    (ComponentKind::Cpu, v1::ComponentKind::Cpu),
    (ComponentKind::Memory, v1::ComponentKind::Memory),
    (ComponentKind::Os, v1::ComponentKind::Os),
    (ComponentKind::Filesystem, v1::ComponentKind::Filesystem),
    (ComponentKind::PhysicalDisk, v1::ComponentKind::PhysicalDisk),
    (ComponentKind::LogicalDisk, v1::ComponentKind::LogicalDisk),
    (ComponentKind::Battery, v1::ComponentKind::Battery),
    (ComponentKind::Sensor, v1::ComponentKind::Sensor),
    (ComponentKind::Fan, v1::ComponentKind::Fan),
    (ComponentKind::Gpu, v1::ComponentKind::Gpu),
    (ComponentKind::Network, v1::ComponentKind::Network),
    (ComponentKind::NetworkInterface, v1::ComponentKind::NetworkInterface),
    (ComponentKind::Gateway, v1::ComponentKind::Gateway),
    (ComponentKind::DnsServer, v1::ComponentKind::DnsServer),
    (ComponentKind::Vpn, v1::ComponentKind::Vpn),
    (ComponentKind::Wifi, v1::ComponentKind::Wifi),
    (ComponentKind::Endpoint, v1::ComponentKind::Endpoint),
    (ComponentKind::Printer, v1::ComponentKind::Printer),
    (ComponentKind::Service, v1::ComponentKind::Service),
    (ComponentKind::Application, v1::ComponentKind::Application),
    (ComponentKind::Process, v1::ComponentKind::Process),
    (ComponentKind::Security, v1::ComponentKind::Security),
    (ComponentKind::Device, v1::ComponentKind::Device),
    (ComponentKind::User, v1::ComponentKind::User),
    (ComponentKind::Agent, v1::ComponentKind::Agent),
    (ComponentKind::Site, v1::ComponentKind::Site),
];

const REASONS: &[(UnavailableReason, v1::UnavailableReason)] = &[
    (UnavailableReason::NotPermitted, v1::UnavailableReason::NotPermitted),
    (UnavailableReason::Unsupported, v1::UnavailableReason::Unsupported),
    (UnavailableReason::NotPresent, v1::UnavailableReason::NotPresent),
    (UnavailableReason::TimedOut, v1::UnavailableReason::TimedOut),
    (UnavailableReason::Malformed, v1::UnavailableReason::Malformed),
];

pub(super) fn kind_to_wire(kind: ComponentKind) -> v1::ComponentKind {
    KINDS.iter().find(|(model, _)| *model == kind).map_or(v1::ComponentKind::Unspecified, |(_, wire)| *wire)
}

pub(super) fn kind_from_wire(kind: v1::ComponentKind) -> Result<ComponentKind, DecodeError> {
    let found = KINDS.iter().find(|(_, wire)| *wire == kind).map(|(model, _)| *model);
    found.ok_or(DecodeError::Missing { what: "component kind" })
}

fn reason_to_wire(reason: UnavailableReason) -> v1::UnavailableReason {
    REASONS
        .iter()
        .find(|(model, _)| *model == reason)
        .map_or(v1::UnavailableReason::Unspecified, |(_, wire)| *wire)
}

fn reason_from_wire(reason: v1::UnavailableReason) -> Result<UnavailableReason, DecodeError> {
    let found = REASONS.iter().find(|(_, wire)| *wire == reason).map(|(model, _)| *model);
    found.ok_or(DecodeError::Missing { what: "reason" })
}

fn presence_to_wire(presence: Presence) -> v1::Presence {
    match presence {
        Presence::Online => v1::Presence::Online,
        Presence::Asleep => v1::Presence::Asleep,
        Presence::ShutDown => v1::Presence::ShutDown,
        Presence::OffNetwork => v1::Presence::OffNetwork,
        Presence::Crashed => v1::Presence::Crashed,
        Presence::Retired => v1::Presence::Retired,
    }
}

fn presence_from_wire(number: i32) -> Result<Presence, DecodeError> {
    match v1::Presence::try_from(number).unwrap_or(v1::Presence::Unspecified) {
        v1::Presence::Unspecified => Err(DecodeError::Missing { what: "presence" }),
        v1::Presence::Online => Ok(Presence::Online),
        v1::Presence::Asleep => Ok(Presence::Asleep),
        v1::Presence::ShutDown => Ok(Presence::ShutDown),
        v1::Presence::OffNetwork => Ok(Presence::OffNetwork),
        v1::Presence::Crashed => Ok(Presence::Crashed),
        v1::Presence::Retired => Ok(Presence::Retired),
    }
}

fn outcome_to_wire(outcome: DiagnosticOutcome) -> v1::DiagnosticOutcome {
    match outcome {
        DiagnosticOutcome::Ok => v1::DiagnosticOutcome::Ok,
        DiagnosticOutcome::Problem => v1::DiagnosticOutcome::Problem,
        DiagnosticOutcome::CouldNotTell => v1::DiagnosticOutcome::CouldNotTell,
    }
}

fn outcome_from_wire(outcome: v1::DiagnosticOutcome) -> Result<DiagnosticOutcome, DecodeError> {
    match outcome {
        v1::DiagnosticOutcome::Unspecified => Err(DecodeError::Missing { what: "outcome" }),
        v1::DiagnosticOutcome::Ok => Ok(DiagnosticOutcome::Ok),
        v1::DiagnosticOutcome::Problem => Ok(DiagnosticOutcome::Problem),
        v1::DiagnosticOutcome::CouldNotTell => Ok(DiagnosticOutcome::CouldNotTell),
    }
}
