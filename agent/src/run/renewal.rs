//! The agent's side of its identity for life: takes over whom to trust, renews its certificate when it is told to, and
//! keeps its place in the chain of its device's streams.
//!
//! When it is time is the collector's decision, because this machine's clock may be wrong by years. What is kept stands
//! in two files of the data folder, each replaced as a whole.

use super::Agent;
use crate::identity::{self, Identity};
use crate::uplink::{self, Happened, tls};
use anyhow::{Context, Result, bail};
use firstline_agent_platform::private_file;
use firstline_proto::v1;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Renewals are at least this far apart, whatever the collector says.
const LEAST_PAUSE: Duration = Duration::from_secs(2);
/// One renewal may take this long.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Most authorities that are trusted; a rotation needs two.
const MOST_AUTHORITIES: usize = 8;
/// Largest certificate.
const CERTIFICATE_BYTES: usize = 8 << 10;

/// Whether a renewal is under way, and when the last one began.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    is_running: bool,
    begun: Option<Duration>,
}

/// This process in the chain of its device's streams.
#[derive(Debug)]
pub(super) struct Lineage {
    incarnation: [u8; 16],
    attempt: u64,
    place: Place,
    /// Whether the place is on the disk, so that no later process can show an older one.
    is_durable: bool,
}

/// What the last welcome said, as it is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Of this device; an identity that was replaced begins a chain of its own.
    device_id: String,
    generation: u64,
    token: String,
}

impl Lineage {
    pub(super) fn begin(incarnation: [u8; 16]) -> Self {
        Self { incarnation, attempt: 0, place: Place::default(), is_durable: false }
    }

    /// What an earlier process kept.
    pub(super) fn load(data: &Path, device_id: &str) -> Place {
        let path = place_path(data);
        if !path.exists() {
            return Place::default();
        }
        let read = private_file::read(&path)
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(toml::from_str::<Place>(std::str::from_utf8(&bytes)?)?));
        match read {
            Ok(place) if place.device_id == device_id => place,
            Ok(_) => Place::default(),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the place in the chain of streams cannot be read"
                );
                Place::default()
            }
        }
    }

    pub(super) fn continue_from(&mut self, place: Place) {
        self.place = place;
    }

    /// The place that is on the disk; 0: none.
    pub(super) fn durable_generation(&self) -> u64 {
        if self.is_durable { self.place.generation } else { 0 }
    }

    pub(super) fn next_hello(&mut self) -> v1::HelloLineage {
        self.attempt += 1;
        v1::HelloLineage {
            incarnation: self.incarnation.to_vec(),
            attempt: self.attempt,
            generation: self.place.generation,
            token: bytes_of(&self.place.token).unwrap_or_default(),
        }
    }
}

fn place_path(data: &Path) -> PathBuf {
    data.join("lineage.toml")
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl Agent {
    /// Keeps the place that a welcome gives, before anything is sent on its stream.
    pub(super) fn keep_place(&mut self, welcome: &v1::Welcome) -> Result<()> {
        if welcome.generation == 0 {
            return Ok(());
        }
        if welcome.token.len() != 16 {
            bail!("the place in the chain of streams has a token of {} bytes", welcome.token.len());
        }
        let place = Place {
            device_id: self.identity.device_id.clone(),
            generation: welcome.generation,
            token: welcome.token.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        if let Some(home) = &self.home {
            let text = toml::to_string(&place).context("cannot write the place as text")?;
            // On a full disk the stream still goes on: the place before is as good once more.
            if let Err(error) = private_file::replace(&place_path(home), text.as_bytes()) {
                tracing::warn!(error = %error, "the place in the chain of streams cannot be kept");
                self.lineage.is_durable = false;
                return Ok(());
            }
        }
        self.lineage.is_durable = self.home.is_some();
        self.lineage.place = place;
        Ok(())
    }

    /// Trusts whom the collector names from now on, and renews if it is time.
    pub(super) fn take_trust(&mut self, trust: v1::Trust) {
        match authorities(&trust.authorities) {
            Ok(authorities) if authorities == self.identity.authorities => {}
            Ok(authorities) => {
                let count = authorities.len();
                let identity = Identity { authorities, ..Identity::clone(&self.identity) };
                if self.keep_identity(identity) {
                    tracing::info!(authorities = count, "the collector's authorities changed");
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the collector named authorities that cannot be"
                );
                return;
            }
        }
        if trust.renew {
            self.renew();
        }
    }

    /// Asks for a new certificate, unless that is under way or was just done.
    pub(super) fn renew(&mut self) {
        let now = self.clock.read().awake;
        let is_early = self.renewal.begun.is_some_and(|begun| now.saturating_sub(begun) < LEAST_PAUSE);
        if self.renewal.is_running || is_early {
            return;
        }
        self.renewal = Renewal { is_running: true, begun: Some(now) };
        let (network, identity) = (Arc::clone(&self.network), Arc::clone(&self.identity));
        let events = self.happened.0.clone();
        tokio::spawn(async move {
            let renewed = match tokio::time::timeout(TIME_LIMIT, uplink::renew(network, identity)).await {
                Ok(renewed) => renewed,
                Err(_) => Err(anyhow::anyhow!("the collector did not answer in time")),
            };
            // The main loop is gone only when the process ends.
            let _ = events.send(Happened::Renewed(Box::new(renewed))).await;
        });
    }

    /// Takes the new certificate over and comes back with it.
    pub(super) fn renewed(&mut self, renewed: Result<v1::RenewResponse>) {
        self.renewal.is_running = false;
        let identity = renewed.and_then(|answer| {
            let authorities = authorities(&answer.authorities)?;
            if answer.certificate.is_empty() || answer.certificate.len() > CERTIFICATE_BYTES {
                bail!("the certificate has {} bytes", answer.certificate.len());
            }
            let certificate = tls::certificate_pem(&answer.certificate);
            let identity = Identity { certificate, authorities, ..Identity::clone(&self.identity) };
            // Only what TLS itself takes, with this device's key, takes the place of what works.
            tls::mutual(&identity)?;
            Ok(identity)
        });
        match identity {
            Ok(identity) => {
                if self.keep_identity(identity) {
                    tracing::info!("the certificate was renewed");
                    self.stream = None;
                    let now = self.tick();
                    self.sender.handle_disconnected(now, 0.0);
                }
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the certificate cannot be renewed");
            }
        }
    }

    /// Whether it was kept; what is not durable is not used either.
    fn keep_identity(&mut self, identity: Identity) -> bool {
        if let Some(home) = &self.home
            && let Err(error) = identity::save(home, &identity)
        {
            tracing::warn!(error = format!("{error:#}"), "the identity cannot be kept; the one before stays");
            return false;
        }
        self.identity = Arc::new(identity);
        true
    }
}

/// Authorities as they are kept, if they can be trusted at all.
fn authorities(der: &[Vec<u8>]) -> Result<Vec<String>> {
    if der.is_empty() || der.len() > MOST_AUTHORITIES {
        bail!("{} authorities were named", der.len());
    }
    let mut roots = rustls::RootCertStore::empty();
    for der in der {
        if der.len() > CERTIFICATE_BYTES {
            bail!("an authority's certificate has {} bytes", der.len());
        }
        roots.add(der.as_slice().into()).context("an authority's certificate cannot be used")?;
    }
    Ok(der.iter().map(|der| tls::certificate_pem(der)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_that_nobody_can_trust_are_refused() {
        assert!(authorities(&[]).is_err());
        assert!(authorities(&[vec![0; 10]]).is_err());
        assert!(authorities(&vec![vec![0; 10]; 9]).is_err());
    }

    #[test]
    fn r7_a_place_is_of_one_device_and_counts_hellos() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { device_id: "pc".to_owned(), generation: 3, token: "ab".repeat(16) };
        private_file::replace(&place_path(folder.path()), toml::to_string(&place).unwrap().as_bytes())
            .unwrap();
        let mut lineage = Lineage::begin([1; 16]);
        lineage.continue_from(Lineage::load(folder.path(), "pc"));
        let hello = lineage.next_hello();
        assert_eq!((hello.generation, hello.token, hello.attempt), (3, vec![0xab; 16], 1));
        assert_eq!(lineage.next_hello().attempt, 2);
        assert_eq!(Lineage::load(folder.path(), "replaced").generation, 0);
    }
}
