//! Whatever a signing request asks for, a device gets a device's certificate or a clear refusal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use firstline_tests::Collector;
use firstline_tests::effort::effort;
use firstline_tests::enrollee::{Enrollee, own_address, signing_request, token_of};
use firstline_tests::figure::figure;
use firstline_tests::rest::Rest;
use firstline_tests::stranger::Stranger;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Code;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Numbers that look random and are the same every time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }
}

/// Changes what a request asks for.
type Wish = Box<dyn Fn(&mut CertificateParams)>;

/// Requests whose signature is good and whose wishes are not.
fn greedy() -> Vec<Vec<u8>> {
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let ask = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        change(&mut params);
        params.serialize_request(&key()).map(|request| request.der().to_vec())
    };
    let wishes: Vec<Wish> = vec![
        Box::new(|_| {}),
        Box::new(move |p| p.subject_alt_names = vec![uri("urn:firstline:device:somebody-else")]),
        Box::new(move |p| p.subject_alt_names = vec![dns("firstline-collector"), dns("*.example")]),
        Box::new(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        Box::new(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        Box::new(|p| p.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign]),
        Box::new(|p| p.distinguished_name.push(DnType::CommonName, "firstline-collector")),
        Box::new(|p| p.distinguished_name.push(DnType::OrganizationName, "x".repeat(500))),
        // id-ce-basicConstraints, cA TRUE: rcgen itself would not write it into a request.
        Box::new(|p| {
            let yes = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
            p.custom_extensions.push(yes);
        }),
        Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        Box::new(|p| p.not_after = rcgen::date_time_ymd(2200, 1, 1)),
    ];
    wishes.iter().filter_map(|change| ask(change).ok()).collect()
}

/// What must hold of every certificate that a device gets, read by a parser that the collector's issuing does not use.
fn judge(leaf: &[u8], authority: &[u8], device: &str) {
    let (rest, leaf) = X509Certificate::from_der(leaf).unwrap();
    let (_, authority) = X509Certificate::from_der(authority).unwrap();
    assert!(rest.is_empty());
    leaf.verify_signature(Some(authority.public_key())).unwrap();
    let constraints = leaf.basic_constraints().unwrap().expect("it says whether it is an authority");
    assert!(!constraints.value.ca, "{device} may issue certificates");
    let usage = leaf.extended_key_usage().unwrap().expect("it says what it is for").value;
    assert!(usage.client_auth, "{device} may not show it");
    assert!(
        !usage.any
            && !usage.server_auth
            && !usage.code_signing
            && !usage.ocsp_signing
            && usage.other.is_empty()
    );
    let key_usage = leaf.key_usage().unwrap().expect("it says what its key is for").value;
    assert!(key_usage.digital_signature() && !key_usage.key_cert_sign() && !key_usage.crl_sign());
    let names = &leaf.subject_alternative_name().unwrap().expect("it names somebody").value.general_names;
    let expected = format!("urn:firstline:device:{device}");
    assert!(matches!(names.as_slice(), [GeneralName::URI(uri)] if **uri == expected), "{names:?}");
    assert_eq!(leaf.subject().iter_common_name().count(), 1);
    assert_eq!(leaf.subject().to_string(), format!("CN={device}"), "nothing of the request's subject");
    let days = leaf.validity().not_after.timestamp() - firstline_tests::backlog::now_ms() / 1000;
    assert!((29 * 86_400..=30 * 86_400 + 60).contains(&days), "valid for {days} s");
    let algorithm = &leaf.public_key().algorithm;
    let curve = algorithm.parameters.as_ref().and_then(|value| value.as_oid().ok()).unwrap();
    assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7", "not P-256");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn r3_every_certificate_is_a_devices_whatever_ten_thousand_requests_ask_for() {
    let requests = effort(1_000, 10_000);
    let mut dice = Dice(0x5EED_0003);
    let collector = Collector::started();
    let url = collector.enrollment_url(&["--uses", "100000"]);
    let greedy = greedy();
    assert!(greedy.len() >= 9, "only {} wishes could be written down", greedy.len());
    let (mut issued, mut refused) = (0, BTreeMap::<String, usize>::new());
    runtime().block_on(async {
        let mut client =
            Enrollee::connected(own_address(1), collector.agents(), &collector.authority()).await;
        for number in 0..requests {
            let mut request = greedy[number % greedy.len()].clone();
            // The first of each stay as they are.
            if number >= greedy.len() {
                for _ in 0..=dice.below(3) {
                    match dice.below(5) {
                        0 => request.truncate(dice.below(request.len().max(1))),
                        1 => request.extend_from_slice(&vec![0; dice.below(2_000)]),
                        2 if !request.is_empty() => {
                            let (at, from) = (dice.below(request.len()), dice.below(request.len()));
                            request[at] = request[from];
                        }
                        _ if !request.is_empty() => {
                            let at = dice.below(request.len());
                            request[at] ^= 1 << dice.below(8);
                        }
                        _ => {}
                    }
                }
            }
            // A connection with more requests than an agent ever makes is a flood, and is cut.
            if number % 250 == 249 {
                client =
                    Enrollee::connected(own_address(1), collector.agents(), &collector.authority()).await;
            }
            client.request = request;
            match client.presents(token_of(&url), &[]).await {
                Ok(answer) => {
                    judge(&answer.certificate, &answer.authorities[0], &answer.device_id);
                    issued += 1;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "request {number}: {status:?}");
                    *refused.entry(status.message().to_owned()).or_default() += 1;
                }
            }
        }
    });
    assert!(issued >= greedy.len(), "{issued} issued, {refused:?} refused");
    assert!(refused.values().sum::<usize>() > requests / 4, "the mutations do no damage: {refused:?}");
    let panics = collector.log().lines().into_iter().find(|line| line.contains("panicked"));
    assert!(panics.is_none(), "{panics:?}");
    figure("signing_requests.mutated", requests, "count");
}

#[test]
fn r3_other_keys_and_unproven_ones_are_refused_with_what_is_expected() {
    let collector = Collector::started();
    let url = collector.enrollment_url(&["--uses", "100"]);
    let mut requests: Vec<(String, Vec<u8>)> = Vec::new();
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        requests.push((format!("{algorithm:?}"), request));
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/signing");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        requests.push((path.display().to_string(), std::fs::read(path).unwrap()));
    }
    assert!(requests.len() >= 8, "the captured requests are missing");
    // Somebody else's key under one's own signature: the last byte of the key's point differs from the key that signed.
    let (mut stolen, _) = signing_request();
    let (other, _) = signing_request();
    let point = |der: &[u8]| der.windows(3).position(|part| part == [0x42, 0x00, 0x04]).unwrap() + 3;
    let (mine, theirs) = (point(&stolen), point(&other));
    stolen[mine..mine + 64].copy_from_slice(&other[theirs..theirs + 64]);
    requests.push(("somebody else's key".to_owned(), stolen));
    let (mut torn, _) = signing_request();
    let last = torn.len() - 1;
    torn[last] ^= 1;
    requests.push(("a broken signature".to_owned(), torn));
    runtime().block_on(async {
        let mut client =
            Enrollee::connected(own_address(2), collector.agents(), &collector.authority()).await;
        for (what, request) in requests {
            client.request = request;
            let status = client.presents(token_of(&url), &[]).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
            assert!(
                status.message().contains("P-256") || status.message().contains("too large"),
                "{what}: {status:?}"
            );
        }
        client.request = signing_request().0;
        client.presents(token_of(&url), &[]).await.unwrap();
    });
}

#[test]
fn r3_a_devices_certificate_opens_no_page_and_makes_no_server() {
    let collector = Collector::started();
    let agent = firstline_tests::Agent::enrolled(&collector);
    let identity = agent.identity();
    // The web listener asks nobody for a certificate, and one that is offered unasked signs nobody in.
    let stranger = Stranger::with_identity(&identity);
    assert_eq!(stranger.asks_for_a_page(collector.web(), "/api/v1/devices"), 401);
    let anonymous = Rest::new(collector.web(), &collector.authority(), None);
    assert_eq!(anonymous.get("/api/v1/devices").status, 401, "as everybody without a token");

    let pem = |text: &str| rustls::pki_types::pem::PemObject::from_pem_slice(text.as_bytes()).unwrap();
    let leaf: CertificateDer<'static> = pem(&identity.certificate);
    let key: PrivatePkcs8KeyDer<'static> =
        rustls::pki_types::pem::PemObject::from_pem_slice(identity.private_key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pem(&identity.authorities[0])).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in ["firstline-collector", identity.device_id.as_str()] {
        let mut server = rustls::ServerConnection::new(Arc::new(server.clone())).unwrap();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client.clone()), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        let error = client.process_new_packets().unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
}
