//! The JSON of devices, findings and values. Written apart from the types of the store, because these shapes are
//! a promise to others.

use crate::web::session::hex;
use firstline_collector_core::finding::{Finding, Standing};
use firstline_collector_store::record::{AuditEntry, Device, DeviceFinding, LatestContent, LatestValue};
use firstline_model::{Attributes, Component, Presence, Value};
use serde::Serialize;
use serde_json::{Map, Number, Value as Json};
use utoipa::ToSchema;

/// A device, in short.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::web) struct DeviceRef {
    /// Its name for ever.
    pub(in crate::web) id: String,
    /// What it calls itself.
    pub(in crate::web) hostname: String,
}

/// A part of a device.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::web) struct ComponentJson {
    /// What sort of part.
    #[schema(example = "filesystem")]
    pub(in crate::web) kind: String,
    /// Which one.
    #[schema(example = "C:")]
    pub(in crate::web) id: String,
}

impl From<&Component> for ComponentJson {
    fn from(component: &Component) -> Self {
        Self { kind: component.kind.as_str().to_owned(), id: component.id().to_owned() }
    }
}

/// A managed machine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::web) struct DeviceJson {
    id: String,
    hostname: String,
    site: Option<String>,
    /// `active`, `revoked`, `retired` or `quarantined`.
    status: String,
    /// `online`, `asleep`, `shut_down`, `off_network`, `crashed` or `retired`; null before the device said so.
    presence: Option<String>,
    /// Since when it is so, when it is not online. RFC 3339, UTC.
    presence_since: Option<String>,
    tags: Vec<String>,
    /// What it says of itself.
    #[schema(value_type = Object)]
    facts: Json,
    agent_version: String,
    /// RFC 3339, UTC.
    enrolled_at: String,
    last_seen_at: Option<String>,
    certificate: CertificateJson,
}

/// A device's certificate.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct CertificateJson {
    /// SHA-256, hexadecimal.
    fingerprint: String,
    not_after: String,
}

impl From<&Device> for DeviceJson {
    fn from(device: &Device) -> Self {
        Self {
            id: device.id.to_string(),
            hostname: device.hostname.clone(),
            site: device.site.clone(),
            status: device.status.as_str().to_owned(),
            presence: device.presence.map(|presence| presence.to_string()),
            presence_since: device
                .last_seen_at
                .filter(|_| device.presence.is_some_and(|presence| presence != Presence::Online))
                .map(|at| at.to_string()),
            tags: device.tags.clone(),
            facts: json(&device.facts),
            agent_version: device.agent_version.clone(),
            enrolled_at: device.enrolled_at.to_string(),
            last_seen_at: device.last_seen_at.map(|at| at.to_string()),
            certificate: CertificateJson {
                fingerprint: device.certificate_fingerprint.clone(),
                not_after: device.certificate_not_after.to_string(),
            },
        }
    }
}

/// A device with its newest values and its findings.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct DeviceDetail {
    #[serde(flatten)]
    pub(in crate::web) device: DeviceJson,
    pub(in crate::web) latest: Vec<LatestJson>,
    pub(in crate::web) findings: Vec<FindingJson>,
}

/// The newest thing known of one series or document.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct LatestJson {
    component: ComponentJson,
    name: String,
    observed_at: String,
    /// The number, of a sample.
    value: Option<f64>,
    /// The attributes, of a sample.
    #[schema(value_type = Object)]
    attributes: Json,
    /// The document, of a state.
    #[schema(value_type = Object)]
    document: Option<Json>,
    /// Why there is no value: `not_permitted`, `unsupported`, `not_present`, `timed_out` or `malformed`.
    unavailable: Option<String>,
    /// More about that.
    detail: Option<String>,
    /// The device's clock was off by more than five minutes; `observed_at` is by the collector's clock.
    clock_suspect: bool,
}

impl From<&LatestValue> for LatestJson {
    fn from(latest: &LatestValue) -> Self {
        let mut shape = Self {
            component: (&latest.component).into(),
            name: latest.name.clone(),
            observed_at: latest.observed_at.to_string(),
            value: None,
            attributes: attributes(&latest.series),
            document: None,
            unavailable: None,
            detail: None,
            clock_suspect: latest.clock_suspect,
        };
        match &latest.content {
            LatestContent::Sample { value, attributes: all } => {
                shape.value = value.is_finite().then_some(*value);
                shape.attributes = attributes(all);
            }
            LatestContent::State(document) => shape.document = Some(json(document)),
            LatestContent::Unavailable { reason, detail } => {
                shape.unavailable = Some(reason.to_string());
                shape.detail = Some(detail.clone());
            }
        }
        shape
    }
}

/// What a rule asserts of one component.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct FindingJson {
    device: DeviceRef,
    rule: String,
    component: ComponentJson,
    /// `pending`, `firing` or `clearing`.
    phase: String,
    severity: String,
    since: String,
    fired_at: Option<String>,
    value: Option<f64>,
    threshold: Option<f64>,
    metric: String,
    /// Why it makes no ticket, when it does not.
    suppressed: Option<String>,
    /// The shared cause's ticket that it belongs to.
    parent: Option<u64>,
    episodes: u32,
}

impl From<&DeviceFinding> for FindingJson {
    fn from(found: &DeviceFinding) -> Self {
        let finding: &Finding = &found.finding;
        Self {
            device: DeviceRef { id: found.device.to_string(), hostname: found.hostname.clone() },
            rule: finding.rule.to_string(),
            component: (&finding.component).into(),
            phase: finding.phase.as_str().to_owned(),
            severity: finding.severity.to_string(),
            since: finding.since.to_string(),
            fired_at: finding.fired_at.map(|at| at.to_string()),
            value: finding.value.filter(|value| value.is_finite()),
            threshold: finding.threshold.filter(|threshold| threshold.is_finite()),
            metric: finding.metric.clone(),
            suppressed: finding.suppressed.clone().or_else(|| match finding.standing {
                Standing::Own | Standing::Child(_) => None,
                Standing::Waiting(until) => Some(format!("compared with other devices until {until}")),
                Standing::Member(parent) => Some(format!("part of a shared cause: ticket {parent}")),
            }),
            parent: match finding.standing {
                Standing::Own | Standing::Waiting(_) => None,
                Standing::Child(parent) | Standing::Member(parent) => Some(parent.0),
            },
            episodes: finding.episodes,
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct AuditJson {
    at: String,
    /// A user, `token:...`, `device:...` or `firstline`.
    actor: String,
    #[schema(example = "token.create")]
    action: String,
    subject: String,
    detail: String,
}

impl From<&AuditEntry> for AuditJson {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            at: entry.at.to_string(),
            actor: entry.actor.clone(),
            action: entry.action.clone(),
            subject: entry.subject.clone(),
            detail: entry.detail.clone(),
        }
    }
}

/// A document's value as JSON; whole numbers without a point.
pub(in crate::web) fn json(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Number(number) => number_json(*number),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(map) => {
            Json::Object(map.iter().map(|(name, value)| (name.clone().into_owned(), json(value))).collect())
        }
    }
}

fn number_json(number: f64) -> Json {
    /// Above this, a double does not hold every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        // Within the bounds just checked the conversion is exact.
        return Json::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

fn attributes(attributes: &Attributes) -> Json {
    let pairs = attributes.iter().map(|(name, value)| (name.to_owned(), Json::String(value.to_owned())));
    Json::Object(pairs.collect::<Map<_, _>>())
}

/// A fresh id for something that a person asked for.
pub(in crate::web) fn request_id(bytes: &[u8]) -> String {
    format!("person-{}", hex(bytes))
}
