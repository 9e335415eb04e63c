//! How long the certificates of configured endpoints and files are valid still.
//!
//! Of an endpoint, the handshake is followed until it shows its certificate and then left: nothing of this machine is
//! shown, no key is agreed on and nothing is believed, for only the date is read. Whether the certificate is trusted is
//! not judged here. Nothing is asked unless the configuration names it.

mod handshake;
mod validity;

use crate::{Context, Descriptor, Due, Probe, ProbeError, Sink, reach};
use firstline_model::semconv;
use firstline_model::{Attributes, Component, ComponentKind, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// More endpoints than this are not asked.
const MAX_ENDPOINTS: usize = 16;
const MAX_FILES: usize = 64;
/// Endpoints that are asked at the same time.
const PARALLEL: usize = 8;
const CAPTURED: &str = "nothing is asked on behalf of a captured machine";
const DAY: Duration = Duration::from_secs(86_400);
/// A certificate with much time left is looked at a few times a day.
const CALM: Duration = Duration::from_secs(6 * 3600);
/// One that is about to be renewed, every hour: a rule wants to see two looks.
const CLOSE: Duration = Duration::from_secs(3600);
const CLOSE_TO_END_S: f64 = 21.0 * 86_400.0;

/// The certificates of configured endpoints and files.
#[derive(Debug)]
pub struct Certificate {
    /// When each is to be looked at again.
    next: BTreeMap<String, Timestamp>,
    slow: Due,
}

impl Default for Certificate {
    fn default() -> Self {
        Self { next: BTreeMap::new(), slow: Due::every(DAY) }
    }
}

impl Probe for Certificate {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "certificate",
            // How soon one that could not be read is tried again.
            interval: Duration::from_secs(900),
            trigger_interval: None,
            time_limit: Duration::from_secs(45),
            cpu_budget: Duration::from_millis(50),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let metric = semconv::TLS_CERTIFICATE_TIME_TO_EXPIRY;
        let (endpoints, files) = (&context.overrides.tls_endpoints, &context.overrides.tls_files);
        if endpoints.is_empty() && files.is_empty() {
            if self.slow.is_due(context.now) {
                let why = "neither tls_endpoints nor tls_files are configured".to_owned();
                sink.failed(&Component::only(ComponentKind::Endpoint), metric, &ProbeError::NotPresent(why));
            }
            return;
        }
        let mut found = Vec::new();
        for path in files.iter().take(MAX_FILES).filter(|path| self.is_due(path, context.now)) {
            let text = context.root.read_text(path);
            found.push((path, text.and_then(|text| of_pem(&text)).and_then(|der| left(&der, context.now))));
        }
        let due: Vec<&String> =
            endpoints.iter().take(MAX_ENDPOINTS).filter(|name| self.is_due(name, context.now)).collect();
        for some in due.chunks(PARALLEL) {
            found.extend(ask(some, context));
        }
        for (name, left) in found {
            let Ok(component) = Component::new(ComponentKind::Endpoint, name.as_str()) else { continue };
            let pause = match left {
                Ok(left) => {
                    sink.sample(&component, metric, Attributes::none(), left);
                    if left < CLOSE_TO_END_S { CLOSE } else { CALM }
                }
                Err(error) => {
                    sink.failed(&component, metric, &error);
                    Duration::ZERO
                }
            };
            self.next.insert(name.clone(), context.now.plus(pause));
        }
        let known = |name: &String| endpoints.contains(name) || files.contains(name);
        self.next.retain(|name, _| known(name));
    }
}

impl Certificate {
    /// A clock that was set back by more than the longest pause makes it due.
    fn is_due(&self, name: &str, now: Timestamp) -> bool {
        self.next.get(name).is_none_or(|next| now >= *next || next.since(now) > CALM)
    }
}

fn ask<'name>(some: &[&'name String], context: &Context) -> Vec<(&'name String, Result<f64, ProbeError>)> {
    let one = |name: &str| {
        if !context.root.is_system() {
            return Err(ProbeError::Unsupported(CAPTURED.to_owned()));
        }
        let malformed = || ProbeError::Malformed(format!("{name} is not host:port"));
        let (host, port) = reach::authority(name, None).ok_or_else(malformed)?;
        left(&handshake::shown(&host, port, handshake::LIMIT)?, context.now)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> =
            some.iter().map(|name| (*name, scope.spawn(move || one(name.as_str())))).collect();
        let broken = |_| Err(ProbeError::Malformed("the handshake broke down".to_owned()));
        running.into_iter().map(|(name, thread)| (name, thread.join().unwrap_or_else(broken))).collect()
    })
}

/// Seconds until a certificate ends; negative afterwards.
fn left(der: &[u8], now: Timestamp) -> Result<f64, ProbeError> {
    let end = validity::end(der)
        .map_err(|_| ProbeError::Malformed("the certificate makes no sense".to_owned()))?
        .as_millis();
    Ok((end as f64 / 1000.0 - now.as_millis() as f64 / 1000.0).floor())
}

/// The first certificate of a file: in a chain, that is the one which the others vouch for. Keys in the same file are
/// passed over.
fn of_pem(text: &str) -> Result<Vec<u8>, ProbeError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let malformed = |why: &str| ProbeError::Malformed(format!("the file {why}"));
    let begin = text.find(BEGIN).ok_or_else(|| malformed("holds no certificate in PEM"))?;
    let block = &text[begin..];
    let end = block.find(END).ok_or_else(|| malformed("ends within its first certificate"))? + END.len();
    let pem = pem::parse(&block[..end]).map_err(|_| malformed("holds a damaged certificate"))?;
    Ok(pem.into_contents())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use firstline_model::{Body, UnavailableReason};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// 2026-01-01T00:00:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn until(year: i32, month: u8, day: u8) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    }

    fn look(probe: &mut Certificate, root: &Root, files: &[&str], now: Timestamp) -> Vec<Body> {
        let mut context = Context::new(root.clone(), now);
        context.overrides.tls_files = files.iter().map(|&name| name.to_owned()).collect();
        let mut sink = Sink::new(now);
        probe.collect(&context, &mut sink);
        sink.into_parts().0.into_iter().map(|observation| observation.body).collect()
    }

    fn value(body: &Body) -> Option<f64> {
        if let Body::Sample { value, .. } = body { Some(*value) } else { None }
    }

    #[test]
    fn the_first_certificate_of_a_file_counts_and_its_key_is_passed_over() {
        let ((leaf, key), (authority, _)) = (until(2026, 1, 6), until(2040, 1, 1));
        let text = format!("{}{}{}", key.serialize_pem(), leaf.pem(), authority.pem());
        assert_eq!(left(&of_pem(&text).unwrap(), NOW).unwrap(), 5.0 * 86_400.0);
        let (ended, _) = until(2025, 12, 31);
        assert_eq!(left(&of_pem(&ended.pem()).unwrap(), NOW).unwrap(), -86_400.0);
    }

    #[test]
    fn damaged_files_are_malformed_wherever_they_are_cut() {
        let whole = until(2026, 1, 6).0.pem();
        for cut in 0..whole.trim_end().len() {
            assert!(of_pem(&whole[..cut]).is_err(), "{cut}");
        }
        let der = of_pem(&whole).unwrap();
        for cut in 0..der.len() {
            assert_eq!(left(&der[..cut], NOW).unwrap_err().reason(), UnavailableReason::Malformed, "{cut}");
        }
        assert!(of_pem("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----").is_err());
    }

    #[test]
    fn one_with_time_left_is_read_every_six_hours_one_close_to_its_end_hourly_and_a_missing_one_each_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("calm.pem"), until(2030, 1, 1).0.pem()).unwrap();
        std::fs::write(dir.path().join("close.pem"), until(2026, 1, 10).0.pem()).unwrap();
        let (root, mut probe) = (Root::at(dir.path()), Certificate::default());
        let mut count = |minutes: u64| {
            let now = NOW.plus(Duration::from_secs(minutes * 60));
            look(&mut probe, &root, &["/calm.pem", "/close.pem", "/none.pem"], now).len()
        };
        assert_eq!([count(0), count(15), count(60), count(359), count(360)], [3, 1, 2, 2, 2]);
    }

    #[test]
    fn without_configuration_it_says_so_and_asks_nobody() {
        let root = Root::system();
        let seen = look(&mut Certificate::default(), &root, &[], NOW);
        assert!(matches!(&seen[..], [Body::Unavailable { reason: UnavailableReason::NotPresent, .. }]));
    }

    #[test]
    fn an_endpoint_gives_the_end_of_the_certificate_that_it_shows() {
        let (certificate, key) = until(2026, 1, 6);
        let server = handshake::testing::serve(certificate.der().to_vec(), &key, &rustls::version::TLS13).0;
        let mut context = Context::new(Root::system(), NOW);
        context.overrides.tls_endpoints = vec![server.to_string()];
        let mut sink = Sink::new(NOW);
        Certificate::default().collect(&context, &mut sink);
        let seen = sink.into_parts().0;
        assert_eq!(seen[0].component.to_string(), format!("endpoint/{server}"));
        assert_eq!(value(&seen[0].body), Some(5.0 * 86_400.0));
    }
}
