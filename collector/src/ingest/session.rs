//! One stream of one device: speaks the delivery protocol, asks for tests, hands batches to the worker and acks what
//! was committed.

use super::admission::{Admission, Turn};
use super::ending::{Ending, busy, end, expired, later, protocol, quarantined, refused};
use super::identity;
use super::intake::{Done, Intake};
use super::listener::Peer;
use super::policy::policy_for;
use super::recovered;
use super::registry::{EndReason, Notice};
use super::reply::Applied;
use super::worker::{Ingest, Work};
use firstline_collector_core::knowledge::DeviceTraits;
use firstline_collector_core::lineage::Place;
use firstline_collector_store::StoreError;
use firstline_collector_store::record::DeviceStatus;
use firstline_collector_store::sabotage;
use firstline_delivery::{Ack, Batch, BatchVerdict, EpochMark, EpochOffer, Hello, Receiver};
use firstline_model::{DeviceId, Epoch, Invalid, Presence, SequenceNumber, Timestamp};
use firstline_proto::convert::diagnostic_to_wire;
use firstline_proto::v1::session_server::Session;
use firstline_proto::{limits, v1};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::{Code, Request, Response, Status, Streaming};

/// How long an agent may take to say hello.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// How long a stream sleeps when nothing is due.
const NOTHING_DUE: Duration = Duration::from_secs(24 * 3600);
/// What an agent is told that comes when too many do.
const TOO_MANY: &str = "too many agents come at once; this one has its turn later";

/// The service.
pub struct Sessions {
    ingest: Arc<Ingest>,
    admission: Arc<Admission>,
}

impl Sessions {
    /// A service in front of this ingest, with as many openings as `admission` lets in.
    pub fn new(ingest: Arc<Ingest>, admission: Arc<Admission>) -> Self {
        Self { ingest, admission }
    }
}

/// gRPC's own headers. Who the device is follows from its certificate, so any other metadata is at best a mistake
/// and at worst somebody trying another device's name.
const EXPECTED_METADATA: &[&str] =
    &["content-type", "te", "user-agent", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"];

/// Refuses a request with metadata that gRPC itself does not need.
pub(crate) fn refuse_foreign_metadata(metadata: &MetadataMap) -> Result<(), Status> {
    let name = |key: KeyRef<'_>| match key {
        KeyRef::Ascii(key) => key.as_str().to_owned(),
        KeyRef::Binary(key) => key.as_str().to_owned(),
    };
    match metadata.keys().map(name).find(|name| !EXPECTED_METADATA.contains(&name.as_str())) {
        Some(foreign) => {
            let foreign: String = foreign.chars().take(64).collect();
            Err(Status::permission_denied(format!(
                "metadata {foreign:?} is not accepted; a device is who its certificate says"
            )))
        }
        None => Ok(()),
    }
}

#[tonic::async_trait]
impl Session for Sessions {
    type StreamStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        refuse_foreign_metadata(request.metadata())?;
        let peer = request.extensions().get::<Peer>().cloned();
        let validity = peer.as_ref().and_then(|peer| peer.validity);
        let Some((device, fingerprint)) = peer.and_then(|peer| peer.device) else {
            return Err(Status::unauthenticated("a client certificate of this collector is needed"));
        };
        // Until the answer, which waits for nobody but the store.
        let _turn = match self.admission.opening().await {
            Ok(turn) => turn,
            Err(retry_after) => return Ok(answered(later(TOO_MANY, retry_after))),
        };
        let known = self.ingest.store.device(&device).await.map_err(|error| {
            tracing::warn!(device = %device, error = %error, "a device cannot be looked up");
            Status::unavailable("the collector cannot look devices up now")
        })?;
        let Some(mut known) = known else {
            return Err(Status::unauthenticated("this device is not known here; enroll again"));
        };
        match known.status {
            DeviceStatus::Active => {}
            DeviceStatus::Quarantined => {
                tracing::info!(device = %device, "a device in quarantine is turned away");
                return Ok(answered(quarantined()));
            }
            DeviceStatus::Revoked | DeviceStatus::Retired => {
                return Err(Status::unauthenticated("AccessDenied: this device's identity was withdrawn"));
            }
        }
        let unavailable = |error: StoreError| {
            tracing::warn!(error = %error, "a device's identity cannot be looked up");
            Status::unavailable("the collector cannot look devices up now")
        };
        let is_current = identity::is_current(&self.ingest, &mut known, &fingerprint, validity).await;
        if !is_current.map_err(unavailable)? {
            identity::replaced_certificate(&self.ingest, &device).await.map_err(unavailable)?;
            return Err(Status::unauthenticated("this certificate was replaced by a newer one"));
        }
        let (outgoing, messages) = mpsc::channel(32);
        let running = Running {
            ingest: Arc::clone(&self.ingest),
            admission: Arc::clone(&self.admission),
            traits: DeviceTraits {
                device: device.clone(),
                site: known.site.clone(),
                tags: known.tags.clone(),
                device_class: None,
            },
            device,
            outgoing,
            asked: HashSet::new(),
            certificate_not_after: known.certificate_not_after,
            unsettled: None,
            renew_at: None,
        };
        tokio::spawn(running.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

struct Running {
    ingest: Arc<Ingest>,
    admission: Arc<Admission>,
    device: DeviceId,
    traits: DeviceTraits,
    outgoing: mpsc::Sender<Result<v1::CollectorMessage, Status>>,
    /// Tests that this stream asked for; a new stream asks again for what is not answered.
    asked: HashSet<String>,
    /// When the certificate of this stream ends, and the stream with it.
    certificate_not_after: Timestamp,
    /// When the agent is told to renew; `None` while this collector issues nothing.
    /// The place that this stream was given, until the agent says that it has it on its disk.
    unsettled: Option<u64>,
    renew_at: Option<Timestamp>,
}

impl Running {
    async fn run(mut self, mut incoming: Streaming<v1::AgentMessage>) {
        let (hello, place, turn) = match self.hear(&mut incoming).await {
            Ok(heard) => heard,
            // Nothing began, so the stream that the device may have is not disturbed.
            Err(Ending::Gone(_)) => return,
            Err(Ending::Refused(refusal)) => return self.refuse(refusal).await,
        };
        let (number, mut notices) = self.ingest.registry.enter(&self.device);
        // What is withdrawn from here on comes as a notice; what was withdrawn before stands in the store.
        let ending = match self.standing().await {
            Ok(()) => match self.open(&hello, place, turn).await {
                Ok((receiver, intake)) => self.exchange(receiver, intake, &mut incoming, &mut notices).await,
                Err(ending) => ending,
            },
            Err(ending) => ending,
        };
        let presence = match ending {
            Ending::Gone(presence) => presence,
            Ending::Refused(refusal) => {
                self.refuse(refusal).await;
                Presence::OffNetwork
            }
        };
        if self.ingest.registry.leave(&self.device, number) {
            let work = Work::Presence { device: self.device.clone(), presence, agent_version: None };
            // Without a worker the collector is stopping.
            let _ = self.ingest.work.send(work).await;
        }
    }

    async fn refuse(&self, refusal: v1::Refusal) {
        tracing::info!(device = %self.device, reason = ?refusal.reason(), text = refusal.text, "stream refused");
        self.send(v1::collector_message::Message::Refusal(refusal)).await;
    }

    /// Whether the device may still speak: its status can have changed since the stream was asked for.
    async fn standing(&self) -> Result<(), Ending> {
        match self.ingest.store.device(&self.device).await {
            Ok(Some(known)) if known.status == DeviceStatus::Active => Ok(()),
            Ok(Some(known)) if known.status == DeviceStatus::Quarantined => {
                Err(self.end(EndReason::Quarantined))
            }
            Ok(Some(_) | None) => Err(self.end(EndReason::Revoked)),
            Err(error) => {
                tracing::warn!(device = %self.device, error = %error, "a device cannot be looked up");
                Err(self.busy("the collector cannot look devices up now"))
            }
        }
    }

    fn busy(&self, text: &str) -> Ending {
        busy(text, &self.admission)
    }

    fn end(&self, reason: EndReason) -> Ending {
        end(reason, &self.admission)
    }

    /// The hello, the place in the chain of the device's streams that it continues at, and a turn to open the stream.
    async fn hear(
        &mut self,
        incoming: &mut Streaming<v1::AgentMessage>,
    ) -> Result<(v1::Hello, Option<Place>, Turn), Ending> {
        let first = tokio::time::timeout(HELLO_LIMIT, incoming.message()).await;
        let Ok(Ok(Some(v1::AgentMessage { message: Some(v1::agent_message::Message::Hello(hello)) }))) =
            first
        else {
            return Err(protocol("a stream begins with a hello"));
        };
        if hello.protocol != limits::PROTOCOL {
            return Err(Ending::Refused(v1::Refusal {
                reason: v1::RefusalReason::Version.into(),
                text: format!(
                    "the agent speaks protocol {}, this collector {}; update the older one",
                    hello.protocol,
                    limits::PROTOCOL
                ),
                retry_after_s: 3600,
            }));
        }
        if self.is_expired() {
            return Err(expired());
        }
        // Only now: whoever keeps its hello back takes nobody's turn.
        let turn = self.admission.opening().await;
        let turn = turn.map_err(|retry_after| Ending::Refused(later(TOO_MANY, retry_after)))?;
        let traced = identity::trace(&self.ingest, &self.device, hello.lineage.as_ref()).await;
        let place = match traced {
            Ok(identity::Traced::Continues(place)) => place,
            Ok(identity::Traced::Late) => {
                return Err(self.busy("this hello does not follow on the ones before it; come again"));
            }
            Ok(identity::Traced::Forked) => return Err(self.end(EndReason::Quarantined)),
            Err(error) => {
                tracing::warn!(device = %self.device, error = %error, "a lineage cannot be kept");
                return Err(self.busy("the collector cannot keep where this stream stands"));
            }
        };
        Ok((hello, place, turn))
    }

    async fn open(
        &mut self,
        hello: &v1::Hello,
        place: Option<Place>,
        turn: Turn,
    ) -> Result<(Receiver, Intake), Ending> {
        let offers = read_hello(hello).map_err(|error| protocol(&error.to_string()))?;
        let (reply, marks) = oneshot::channel();
        let version: String = hello.agent_version.chars().filter(|c| !c.is_control()).take(64).collect();
        for work in [
            Work::Presence {
                device: self.device.clone(),
                presence: Presence::Online,
                agent_version: Some(version),
            },
            Work::Marks { device: self.device.clone(), reply },
        ] {
            if self.ingest.work.send(work).await.is_err() {
                return Err(self.busy("the collector stops"));
            }
        }
        let Ok(Some(marks)) = marks.await else {
            return Err(self.busy("the collector cannot read its store"));
        };
        let lost = recovered::lost(&marks, &offers);
        let marks = marks.into_iter().map(|(epoch, through)| EpochMark { epoch, through });
        let newest = offers.epochs.first().map(|offer| offer.epoch);
        let mut intake = Intake::new(Arc::clone(&self.ingest), self.device.clone(), newest);
        let mut receiver = Receiver::new(marks, intake.budget(0));
        let accepted = receiver.handle_hello(&offers).map_err(|refusal| refused(&refusal))?;
        for skipped in &accepted.skipped {
            tracing::info!(
                device = %self.device,
                epoch = %skipped.epoch,
                first = %skipped.first,
                through = %skipped.through,
                "the agent gave records up"
            );
        }
        recovered::note(&self.ingest, &self.device, &lost).await;
        self.unsettled = place.map(|place| place.generation);
        intake.told(accepted.welcome.credit);
        self.send(v1::collector_message::Message::Welcome(v1::Welcome {
            marks: accepted
                .welcome
                .marks
                .iter()
                .map(|mark| v1::EpochMark { epoch: mark.epoch.0.to_vec(), through_seq: mark.through.0 })
                .collect(),
            credit: accepted.welcome.credit,
            sent_at_ms: self.ingest.now().as_millis(),
            generation: place.map_or(0, |place| place.generation),
            token: place.map(|place| place.token.to_vec()).unwrap_or_default(),
        }))
        .await;
        // The welcome found room; what follows may wait for the agent to read.
        drop(turn);
        self.plan_renewal().await;
        self.send_trust(false).await;
        self.send_policy().await;
        self.send_diagnostics().await;
        Ok((receiver, intake))
    }

    async fn exchange(
        &mut self,
        mut receiver: Receiver,
        mut intake: Intake,
        incoming: &mut Streaming<v1::AgentMessage>,
        notices: &mut mpsc::UnboundedReceiver<Notice>,
    ) -> Ending {
        loop {
            if !intake.hand_over().await {
                return self.busy("the collector stops");
            }
            let may_read_in = intake.may_read_in();
            let grants_in = intake.grants_in(receiver.in_flight());
            let wait = [may_read_in.filter(|wait| !wait.is_zero()), grants_in]
                .into_iter()
                .flatten()
                .fold(self.next_wake(), Duration::min);
            tokio::select! {
                biased;
                notice = notices.recv() => match notice {
                    Some(Notice::Diagnostics) => self.send_diagnostics().await,
                    Some(Notice::Policy) => self.send_policy().await,
                    Some(Notice::Trust) => {
                        self.plan_renewal().await;
                        self.send_trust(false).await;
                    }
                    Some(Notice::SendWhole) => {
                        self.directive(v1::directive::Directive::SendWhole(v1::SendWhole {})).await;
                    }
                    Some(Notice::Live(time)) => {
                        let for_s = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                        self.directive(v1::directive::Directive::LiveView(v1::LiveView { for_s })).await;
                    }
                    Some(Notice::End(reason)) => return self.end(reason),
                    None => return self.end(EndReason::Stopping),
                },
                Some(done) = intake.next_done(), if !intake.is_idle() => {
                    if let Some(ending) = self.dealt_with(&done, &mut receiver, &mut intake).await {
                        return ending;
                    }
                }
                message = incoming.message(), if may_read_in == Some(Duration::ZERO) => match message {
                    Ok(Some(message)) => {
                        if let Err(ending) = self.received(message, &mut receiver, &mut intake).await {
                            return ending;
                        }
                    }
                    Ok(None) => return Ending::Gone(Presence::OffNetwork),
                    Err(status) => {
                        tracing::debug!(device = %self.device, status = %status, "stream lost");
                        // When the message is at fault and not the way here, its sender is told.
                        let is_unreadable =
                            matches!(status.code(), Code::OutOfRange | Code::Internal | Code::Unimplemented);
                        if is_unreadable {
                            return protocol(&format!("a message cannot be read: {}", status.message()));
                        }
                        return Ending::Gone(Presence::OffNetwork);
                    }
                },
                () = tokio::time::sleep(wait) => {
                    if let Some(ending) = self.time_passed().await {
                        return ending;
                    }
                    if grants_in.is_some()
                        && let Some(ack) = intake.grant(&mut receiver)
                    {
                        self.ack(&ack, &mut intake).await;
                    }
                }
            }
        }
    }

    /// The worker has dealt with a slice of what this stream brought.
    async fn dealt_with(&self, done: &Done, receiver: &mut Receiver, intake: &mut Intake) -> Option<Ending> {
        match done.applied {
            Some(Applied::Committed) => {
                if let Some(ack) = intake.committed(receiver, done) {
                    self.ack(&ack, intake).await;
                }
                None
            }
            Some(Applied::Withdrawn) => Some(self.end(EndReason::Revoked)),
            Some(Applied::NotStored) | None => Some(self.busy("the collector cannot store now")),
        }
    }

    fn is_expired(&self) -> bool {
        self.ingest.trust().is_some() && self.ingest.now() >= self.certificate_not_after
    }

    /// How long until the certificate has to be thought of.
    fn next_wake(&self) -> Duration {
        let Some(renew_at) = self.renew_at else { return NOTHING_DUE };
        let wait = renew_at.min(self.certificate_not_after).since(self.ingest.now());
        wait.min(NOTHING_DUE) + Duration::from_millis(1)
    }

    /// Decides when the agent is told to renew its certificate.
    async fn plan_renewal(&mut self) {
        let Some(trust) = self.ingest.trust() else { return };
        let now = self.ingest.now();
        match self.ingest.store.identity(&self.device).await {
            Ok(known) => {
                self.renew_at = Some(trust.renew_at(&self.device, self.certificate_not_after, &known, now));
            }
            Err(error) => {
                tracing::warn!(device = %self.device, error = %error, "a device's identity cannot be read");
                self.renew_at = Some(now.plus(identity::RENEW_AGAIN));
            }
        }
    }

    /// Tells the agent to renew, ends a stream whose certificate ended, and sends an agent away that has a renewed
    /// certificate and goes on with the old one.
    async fn time_passed(&mut self) -> Option<Ending> {
        if self.is_expired() {
            return Some(expired());
        }
        let now = self.ingest.now();
        if self.renew_at.is_some_and(|at| at <= now) {
            match self.ingest.store.identity(&self.device).await {
                Ok(known) if known.next.is_some() => {
                    return Some(self.busy("the certificate was renewed; come back with the new one"));
                }
                Ok(_) | Err(_) => self.send_trust(true).await,
            }
            if let Some(trust) = self.ingest.trust() {
                let left = self.certificate_not_after.since(now);
                if trust.is_overdue(left) {
                    identity::say_left(&self.ingest, &self.device, left).await;
                }
                self.renew_at = Some(now.plus(trust.patience()));
            }
        }
        None
    }

    async fn send_trust(&self, renew: bool) {
        if let Some(trust) = self.ingest.trust() {
            self.send(v1::collector_message::Message::Trust(trust.message(renew))).await;
        }
    }

    async fn received(
        &mut self,
        message: v1::AgentMessage,
        receiver: &mut Receiver,
        intake: &mut Intake,
    ) -> Result<(), Ending> {
        match message.message {
            Some(v1::agent_message::Message::Batch(batch)) => {
                self.settle(batch.generation).await;
                let sent_at = Timestamp::from_millis(batch.sent_at_ms);
                let clock =
                    if batch.clock_ms == 0 { sent_at } else { Timestamp::from_millis(batch.clock_ms) };
                let epoch = Epoch::from_bytes(&batch.epoch).map_err(|error| protocol(&error.to_string()))?;
                let batch = Batch { epoch, first: SequenceNumber(batch.first_seq), records: batch.records };
                match receiver.handle_batch(&batch) {
                    BatchVerdict::Apply { skip, first_new, .. } => {
                        intake.take(batch, skip, first_new, (sent_at, clock));
                        Ok(())
                    }
                    BatchVerdict::Duplicate { .. } => {
                        if sabotage::is(sabotage::NO_DEDUPE_KEY) {
                            let first = batch.first;
                            intake.take(batch, 0, first, (sent_at, clock));
                        }
                        Ok(())
                    }
                    BatchVerdict::Refused(refusal) => Err(refused(&refusal)),
                }
            }
            Some(v1::agent_message::Message::Goodbye(goodbye)) => {
                // What is under way is still committed; the agent resends what it has no ack for.
                intake.drain().await;
                Err(Ending::Gone(match goodbye.reason() {
                    v1::GoodbyeReason::Sleeping => Presence::Asleep,
                    // An agent that is told to stop does not know whether its machine stops with it. Either way it
                    // went in order, over a network that works: until it is back it is off, not lost.
                    v1::GoodbyeReason::ShuttingDown
                    | v1::GoodbyeReason::Restarting
                    | v1::GoodbyeReason::Unspecified => Presence::ShutDown,
                }))
            }
            Some(v1::agent_message::Message::Hello(_)) => Err(protocol("a hello comes once")),
            // A newer agent may say things that this version does not know.
            None => Ok(()),
        }
    }

    /// The agent says which place it has on its disk.
    async fn settle(&mut self, durable: u64) {
        if self.unsettled.take_if(|place| *place == durable).is_none() {
            return;
        }
        if let Err(error) = identity::settle(&self.ingest, &self.device, durable).await {
            // Nothing is lost: a machine that is set back by one stream would go unnoticed, by more would not.
            tracing::warn!(device = %self.device, error = %error, "a lineage cannot be kept");
        }
    }

    async fn ack(&self, ack: &Ack, intake: &mut Intake) {
        intake.told(ack.credit);
        self.send(v1::collector_message::Message::Ack(v1::Ack {
            epoch: ack.epoch.0.to_vec(),
            through_seq: ack.through.0,
            credit: ack.credit,
        }))
        .await;
    }

    async fn send_policy(&self) {
        let (knowledge, revision) = self.ingest.knowledge();
        let policy = policy_for(&knowledge, &self.traits, revision);
        self.directive(v1::directive::Directive::Policy(policy)).await;
    }

    async fn send_diagnostics(&mut self) {
        match self.ingest.store.pending_diagnostics(&self.device).await {
            Ok(pending) => {
                for pending in pending {
                    if self.asked.insert(pending.request_id.clone()) {
                        let mut request = diagnostic_to_wire(&pending.request_id, &pending.request);
                        let ago = self.ingest.now().since(pending.created_at).as_secs();
                        request.asked_ago_s = u32::try_from(ago).unwrap_or(u32::MAX);
                        self.directive(v1::directive::Directive::RunDiagnostic(request)).await;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(device = %self.device, error = %error, "pending tests cannot be read")
            }
        }
    }

    async fn directive(&self, directive: v1::directive::Directive) {
        self.send(v1::collector_message::Message::Directive(v1::Directive { directive: Some(directive) }))
            .await;
    }

    async fn send(&self, message: v1::collector_message::Message) {
        // When the agent is gone, the next read says so.
        let _ = self.outgoing.send(Ok(v1::CollectorMessage { message: Some(message) })).await;
    }
}

/// The answer to a device that is turned away: a stream that says so, because its agent comes back by itself.
fn answered(refusal: v1::Refusal) -> Response<ReceiverStream<Result<v1::CollectorMessage, Status>>> {
    let (outgoing, messages) = mpsc::channel(1);
    let refusal = v1::collector_message::Message::Refusal(refusal);
    // The channel has room for its one message.
    let _ = outgoing.try_send(Ok(v1::CollectorMessage { message: Some(refusal) }));
    Response::new(ReceiverStream::new(messages))
}

fn read_hello(hello: &v1::Hello) -> Result<Hello, Invalid> {
    let offer = |offer: &v1::EpochOffer| {
        Ok(EpochOffer {
            epoch: Epoch::from_bytes(&offer.epoch)?,
            first_unacked: SequenceNumber(offer.first_unacked),
            next: SequenceNumber(offer.next),
        })
    };
    Ok(Hello { epochs: hello.epochs.iter().map(offer).collect::<Result<_, _>>()? })
}
