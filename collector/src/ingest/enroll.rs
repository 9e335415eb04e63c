//! Makes devices known: a token and a signing request in, a certificate out.
//!
//! Whatever is wrong with a token, the answer is the same; what it was stands in the audit log only.

use super::admission::Admission;
use super::listener::Peer;
use super::recovered;
use crate::authority::{Authority, Leaf};
use crate::clock::Clock;
use crate::secret;
use arc_swap::ArcSwap;
use firstline_collector_store::identity::NextCertificate;
use firstline_collector_store::record::{AuditEntry, Device, DeviceStatus, EnrollOutcome};
use firstline_collector_store::{Store, StoreError};
use firstline_model::{DeviceId, Value};
use firstline_proto::v1::enrollment_server::Enrollment;
use firstline_proto::{limits, v1};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

/// Refused attempts that one address may make within [`WINDOW`].
const MOST_REFUSALS: u32 = 10;
/// See [`MOST_REFUSALS`].
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are remembered; beyond, the memory starts anew.
const MOST_ADDRESSES: usize = 10_000;

/// The service.
pub(crate) struct Enroller {
    store: Arc<dyn Store>,
    authority: Arc<ArcSwap<Authority>>,
    lifetime: Duration,
    clock: Clock,
    admission: Arc<Admission>,
    refusals: Mutex<HashMap<IpAddr, (u32, firstline_model::Timestamp)>>,
}

impl Enroller {
    /// A service that issues with this authority, for this long, to as many at once as `admission` lets in.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        authority: Arc<ArcSwap<Authority>>,
        lifetime: Duration,
        clock: Clock,
        admission: Arc<Admission>,
    ) -> Self {
        Self { store, authority, lifetime, clock, admission, refusals: Mutex::default() }
    }

    fn issue(
        &self,
        authority: &Authority,
        request: &[u8],
        device: &DeviceId,
        peer: &Peer,
    ) -> Result<Leaf, Status> {
        authority.issue(request, device, self.lifetime).map_err(|error| {
            tracing::info!(peer = %peer.address, error = format!("{error:#}"), "a signing request was refused");
            Status::invalid_argument("the certificate signing request cannot be used; a P-256 key is expected")
        })
    }

    /// Whether this address was refused too often lately.
    fn is_throttled(&self, address: IpAddr) -> bool {
        let now = (self.clock)();
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals
            .get(&address)
            .is_some_and(|(count, since)| *count >= MOST_REFUSALS && now.since(*since) < WINDOW)
    }

    fn count_refusal(&self, address: IpAddr) {
        let now = (self.clock)();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MOST_ADDRESSES {
            refusals.clear();
        }
        let entry = refusals.entry(address).or_insert((0, now));
        if now.since(entry.1) >= WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

#[tonic::async_trait]
impl Enrollment for Enroller {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("the connection has no peer"));
        };
        super::session::refuse_foreign_metadata(request.metadata())?;
        if self.is_throttled(peer.address.ip()) {
            return Err(Status::resource_exhausted("too many refused attempts; wait a minute"));
        }
        let _turn = self.admission.enrollment().await.map_err(later)?;
        let request = request.into_inner();
        if request.certificate_signing_request.len() > limits::SIGNING_REQUEST_BYTES
            || request.token.len() > 256
            || request.hostname.len() > 255
            || request.agent_version.len() > 64
        {
            return Err(Status::invalid_argument("a field of the request is too large"));
        }
        let device = secret::uuid()
            .and_then(|id| Ok(DeviceId::new(id)?))
            .map_err(|error| internal(&error, "cannot name a device"))?;
        let authority = self.authority.load_full();
        let leaf = self.issue(&authority, &request.certificate_signing_request, &device, &peer)?;
        let now = (self.clock)();
        let new = Device {
            id: device.clone(),
            hostname: shown(&request.hostname),
            site: None,
            status: DeviceStatus::Active,
            tags: Vec::new(),
            facts: Value::map([("hostname", Value::from(shown(&request.hostname)))]),
            agent_version: shown(&request.agent_version),
            enrolled_at: now,
            last_seen_at: None,
            presence: None,
            certificate_fingerprint: leaf.fingerprint.clone(),
            certificate_not_after: leaf.not_after,
        };
        let outcome = self.store.enroll(&secret::hash(&request.token), &new, now).await;
        match outcome {
            Ok(EnrollOutcome::Enrolled) => {
                tracing::info!(device = %device, hostname = new.hostname, "device enrolled");
                if let Err(error) = self.store.note_issuer(&device, &authority.issuing_fingerprint()).await {
                    // The device counts as one of an older authority until it renews.
                    tracing::warn!(device = %device, error = %error, "the issuer cannot be noted");
                }
                Ok(Response::new(v1::EnrollResponse {
                    device_id: device.to_string(),
                    certificate: leaf.der,
                    authorities: trusted(&authority),
                }))
            }
            Ok(EnrollOutcome::Refused { reason }) => {
                self.count_refusal(peer.address.ip());
                tracing::info!(peer = %peer.address, reason, "an enrollment token was refused");
                Err(Status::permission_denied("the token is not accepted"))
            }
            Err(error) => {
                tracing::error!(error = %error, "a device cannot be stored");
                Err(Status::unavailable("the collector cannot store devices now; try again"))
            }
        }
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(Status::internal("the connection has no peer"));
        };
        super::session::refuse_foreign_metadata(request.metadata())?;
        let Some((device, fingerprint)) = peer.device.clone() else {
            return Err(Status::unauthenticated("a client certificate of this collector is needed"));
        };
        let _turn = self.admission.enrollment().await.map_err(later)?;
        let request = request.into_inner();
        if request.certificate_signing_request.len() > limits::SIGNING_REQUEST_BYTES {
            return Err(Status::invalid_argument("the certificate signing request is too large"));
        }
        let unavailable = |error: StoreError| {
            tracing::warn!(error = %error, "a certificate cannot be renewed");
            Status::unavailable("the collector cannot renew certificates now; try again")
        };
        let known = self.store.device(&device).await.map_err(unavailable)?;
        let Some(known) = known.filter(|known| known.status == DeviceStatus::Active) else {
            return Err(Status::unauthenticated("AccessDenied: this device's identity was withdrawn"));
        };
        let identity = self.store.identity(&device).await.map_err(unavailable)?;
        let is_next = identity.next.is_some_and(|next| next.fingerprint == fingerprint);
        let is_known = known.certificate_fingerprint == fingerprint || is_next;
        let now = (self.clock)();
        if !is_known
            && !recovered::adopt(&*self.store, &known, &fingerprint, peer.validity, now)
                .await
                .map_err(unavailable)?
        {
            return Err(Status::unauthenticated("this certificate was replaced by a newer one"));
        }
        if is_next {
            self.store.adopt_certificate(&device, &fingerprint).await.map_err(unavailable)?;
        }
        let authority = self.authority.load_full();
        let leaf = self.issue(&authority, &request.certificate_signing_request, &device, &peer)?;
        let line = AuditEntry {
            at: (self.clock)(),
            actor: format!("device:{device}"),
            action: "device.renew".to_owned(),
            subject: device.to_string(),
            detail: format!("until {}", leaf.not_after),
        };
        let next = NextCertificate {
            fingerprint: leaf.fingerprint,
            not_after: leaf.not_after,
            issuer: authority.issuing_fingerprint(),
        };
        self.store.offer_certificate(&device, &next, &line).await.map_err(unavailable)?;
        tracing::info!(device = %device, not_after = %leaf.not_after, "a certificate was renewed");
        Ok(Response::new(v1::RenewResponse { certificate: leaf.der, authorities: trusted(&authority) }))
    }
}

fn trusted(authority: &Authority) -> Vec<Vec<u8>> {
    authority.trusted().iter().map(|der| der.to_vec()).collect()
}

fn internal(error: &anyhow::Error, what: &'static str) -> Status {
    tracing::error!(error = format!("{error:#}"), what, "enrollment failed");
    Status::internal(what)
}

/// The answer to whom there is no turn for; when to come again stands where gRPC has it.
fn later(retry_after: Duration) -> Status {
    let mut status = Status::unavailable(format!(
        "too many devices are enrolled at once; come again in {} s",
        retry_after.as_millis().div_ceil(1000)
    ));
    let milliseconds = MetadataValue::from(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX));
    status.metadata_mut().insert(limits::RETRY_PUSHBACK, milliseconds);
    status
}

/// What a device says of itself, without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
