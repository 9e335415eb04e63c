//! Follows the authorities' folder while the collector runs: a rotation by an administrator takes effect within two
//! seconds, and the collector's own certificates are replaced long before their end.

use crate::authority::{self, Authority, rotation, tls};
use crate::clock;
use crate::ingest::identity::Trust;
use crate::ingest::worker::Ingest;
use anyhow::Result;
use arc_swap::ArcSwap;
use firstline_model::Timestamp;
use rustls::ServerConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often the folder is looked at: three calls of the operating system.
const LOOK: Duration = Duration::from_secs(1);
/// The collector's own certificates are replaced after this share of their life.
const SERVER_SHARE: u32 = 4;

/// How often the log says that an authority comes to its end.
const WARN: Duration = Duration::from_secs(24 * 3600);

/// What is replaced when the authorities change.
#[derive(Clone)]
pub(crate) struct Identities {
    pub authority: Arc<ArcSwap<Authority>>,
    pub agents: Arc<ArcSwap<ServerConfig>>,
    pub web: Arc<ArcSwap<ServerConfig>>,
    /// When the collector's own certificates end, in milliseconds since 1970.
    server_not_after_ms: Arc<AtomicI64>,
}

impl Identities {
    /// With certificates for these names.
    pub(crate) fn new(authority: Authority, names: &[String]) -> Result<Self> {
        Ok(Self {
            agents: Arc::new(ArcSwap::new(tls::for_agents(&authority)?)),
            web: Arc::new(ArcSwap::new(tls::for_browsers(&authority, names)?)),
            authority: Arc::new(ArcSwap::from_pointee(authority)),
            server_not_after_ms: Arc::new(AtomicI64::new(fresh_not_after().as_millis())),
        })
    }

    /// When the collector's own certificates end.
    pub(crate) fn server_not_after(&self) -> Timestamp {
        Timestamp::from_millis(self.server_not_after_ms.load(Ordering::Relaxed))
    }

    fn replace(&self, authority: Authority, names: &[String]) -> Result<()> {
        let (agents, web) = (tls::for_agents(&authority)?, tls::for_browsers(&authority, names)?);
        self.agents.store(agents);
        self.web.store(web);
        self.authority.store(Arc::new(authority));
        self.server_not_after_ms.store(fresh_not_after().as_millis(), Ordering::Relaxed);
        Ok(())
    }

    /// What agents are told.
    pub(crate) fn trust(&self, lifetime: Duration) -> Trust {
        let authority = self.authority.load();
        Trust {
            authorities: authority.trusted().iter().map(|der| der.to_vec()).collect(),
            issuing: authority.issuing_fingerprint(),
            lifetime,
        }
    }
}

/// The end of a server certificate that is made now.
fn fresh_not_after() -> Timestamp {
    clock::now().plus(authority::SERVER_LIFETIME)
}

/// Runs until `stop`.
pub(crate) async fn follow(
    data: PathBuf,
    names: Vec<String>,
    lifetime: Duration,
    identities: Identities,
    ingest: Arc<Ingest>,
    mut stop: watch::Receiver<bool>,
) {
    let mut seen = rotation::stamp(&data);
    let mut replaced_at = clock::now();
    let mut warned_at = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let (stamp, now) = (rotation::stamp(&data), clock::now());
        if warned_at.is_none_or(|at| now.since(at) >= WARN) {
            warned_at = Some(now);
            warn_of_ends(&identities.authority.load(), now);
        }
        let is_old = now.since(replaced_at) >= authority::SERVER_LIFETIME / SERVER_SHARE;
        if stamp == seen && !is_old {
            continue;
        }
        match Authority::open(&data).and_then(|authority| identities.replace(authority, &names)) {
            Ok(()) => {
                (seen, replaced_at) = (stamp, now);
                let trust = identities.trust(lifetime);
                tracing::info!(
                    trusted = trust.authorities.len(),
                    issuing = trust.issuing,
                    "authorities in force"
                );
                ingest.set_trust(trust);
            }
            // The folder may be in the middle of a step; the next look finds its end.
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the authorities cannot be read again")
            }
        }
    }
}

fn warn_of_ends(authority: &Authority, now: Timestamp) {
    match authority.ends() {
        Ok(ends) => {
            for (fingerprint, end) in ends.iter().filter(|(_, end)| authority::is_near_its_end(*end, now)) {
                tracing::warn!(authority = fingerprint, %end, "an authority comes to its end; run: firstline-collector authority rotate");
            }
        }
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "the ends of the authorities cannot be read")
        }
    }
}
