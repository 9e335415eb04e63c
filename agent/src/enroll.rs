//! First contact: from one pasted address to an identity.
//!
//! The address holds the collector's host and port, a token, and the fingerprint of its authority. The key is made
//! here and never leaves this machine; the collector is believed only if its certificate chain contains the
//! authority with that very fingerprint.
#![expect(clippy::print_stdout, reason = "the command's answer to the person who called it")]

use crate::cli::{Cli, EnrollArgs};
use crate::identity::{self, Identity};
use crate::run::jitter;
use crate::seams::{Random, random_bytes};
use crate::trust;
use crate::uplink::{channel, tls};
use anyhow::{Context, Result, bail};
use firstline_proto::{limits, v1};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long the whole enrollment may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Devices that are told the same time come spread over this.
const JITTER: Duration = Duration::from_secs(1);

/// The parts of `firstline://HOST:PORT/?token=...&ca=sha256:...`.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    collector: String,
    token: String,
    authority: [u8; 32],
}

pub(crate) fn command(cli: &Cli, args: &EnrollArgs) -> Result<ExitCode> {
    let data = cli.data_folder();
    trust::establish(&data, None)?;
    if !args.replace
        && let Some(existing) = identity::load(&data)?
    {
        bail!(
            "this machine is already enrolled as {} with {}; use --replace to give it a new identity",
            existing.device_id,
            existing.collector
        );
    }
    let text = if args.url == "-" {
        let mut text = String::new();
        std::io::stdin().lock().take(4096).read_to_string(&mut text).context("cannot read the address")?;
        text
    } else {
        args.url.clone()
    };
    let address = parse(text.trim())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let identity =
        runtime.block_on(async { tokio::time::timeout(TIME_LIMIT, enroll(&address)).await }).with_context(
            || format!("{} did not answer within {} s", address.collector, TIME_LIMIT.as_secs()),
        )??;
    identity::save(&data, &identity)?;
    println!("enrolled as {} with {}", identity.device_id, identity.collector);
    println!("start the agent with: firstline-agent run");
    Ok(ExitCode::SUCCESS)
}

async fn enroll(address: &Address) -> Result<Identity> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")?;
    let request = CertificateParams::default()
        .serialize_request(&key)
        .context("cannot make the certificate signing request")?;
    let tls = tls::pinned(address.authority)?;
    let channel = channel(&address.collector, tls).await?;
    let mut client = v1::enrollment_client::EnrollmentClient::new(channel);
    let request = v1::EnrollRequest {
        token: address.token.clone(),
        certificate_signing_request: request.der().to_vec(),
        hostname: firstline_agent_platform::host::name(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let random: Random = Arc::new(random_bytes);
    let response = loop {
        match client.enroll(request.clone()).await {
            Ok(response) => break response.into_inner(),
            Err(status) => {
                let wait = told_to_wait(&status).ok_or_else(|| refusal(&status))?;
                println!("the collector enrolls many devices now; asking again in {} s", wait.as_secs() + 1);
                tokio::time::sleep(wait + JITTER.mul_f64(jitter(&random))).await;
            }
        }
    };
    let authorities: Vec<String> = response.authorities.iter().map(|der| tls::certificate_pem(der)).collect();
    if !response.authorities.iter().any(|der| tls::fingerprint(der) == address.authority) {
        bail!("the collector answered without the authority that the address names; nothing was kept");
    }
    Ok(Identity {
        device_id: response.device_id,
        collector: address.collector.clone(),
        private_key: key.serialize_pem(),
        certificate: tls::certificate_pem(&response.certificate),
        authorities,
    })
}

/// How long the collector asks to wait, if that is all it says. More than the whole enrollment may take ends in that limit.
fn told_to_wait(status: &tonic::Status) -> Option<Duration> {
    if status.code() != tonic::Code::Unavailable {
        return None;
    }
    let milliseconds = status.metadata().get(limits::RETRY_PUSHBACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds).min(TIME_LIMIT))
}

fn refusal(status: &tonic::Status) -> anyhow::Error {
    let code = status.code();
    if code == tonic::Code::PermissionDenied {
        anyhow::anyhow!(
            "the collector refused the token: it is wrong, used or expired; make a new one with: firstline-collector token create"
        )
    } else if code == tonic::Code::ResourceExhausted {
        anyhow::anyhow!("too many attempts; wait a minute and try again")
    } else {
        anyhow::anyhow!("the collector refused the enrollment ({code:?}): {}", status.message())
    }
}

fn parse(text: &str) -> Result<Address> {
    let wrong =
        "this is not an enrollment address; it looks like firstline://HOST:PORT/?token=...&ca=sha256:...";
    let rest = text.strip_prefix("firstline://").context(wrong)?;
    let (collector, query) = rest.split_once("/?").context(wrong)?;
    let (host, port) = collector.rsplit_once(':').context("the address has no port")?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        bail!("{collector:?} is not a host and a port");
    }
    let mut token = None;
    let mut authority = None;
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("token", value)) => token = Some(value.to_owned()),
            Some(("ca", value)) => {
                let hex =
                    value.strip_prefix("sha256:").context("the fingerprint does not begin with sha256:")?;
                authority = Some(fingerprint(hex).context("the fingerprint is not 64 hexadecimal digits")?);
            }
            _ => bail!("the address holds {pair:?}, which this agent does not understand"),
        }
    }
    let token = token.filter(|token| !token.is_empty()).context("the address has no token")?;
    Ok(Address {
        collector: collector.to_owned(),
        token,
        authority: authority.context("the address has no fingerprint (ca=sha256:...)")?,
    })
}

fn fingerprint(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f13_an_enrollment_among_too_many_waits_as_told_and_other_refusals_end_it() {
        let said = |code, milliseconds: &'static str| {
            let mut status = tonic::Status::new(code, "");
            status.metadata_mut().insert(limits::RETRY_PUSHBACK, milliseconds.parse().unwrap());
            told_to_wait(&status)
        };
        let unavailable = tonic::Code::Unavailable;
        assert_eq!(said(unavailable, "2500"), Some(Duration::from_millis(2_500)));
        assert_eq!(said(unavailable, "99999999999"), Some(TIME_LIMIT), "no longer than the whole may take");
        for nonsense in ["-1", "soon", ""] {
            assert_eq!(said(unavailable, nonsense), None, "{nonsense:?}");
        }
        assert_eq!(said(tonic::Code::PermissionDenied, "1"), None, "a token that is refused stays so");
        assert_eq!(told_to_wait(&tonic::Status::unavailable("the store is full")), None);
    }

    #[test]
    fn an_address_is_taken_apart() {
        let hex = "ab".repeat(32);
        let address = parse(&format!("firstline://desk.example:7443/?token=t-1_X&ca=sha256:{hex}")).unwrap();
        assert_eq!(address.collector, "desk.example:7443");
        assert_eq!(address.token, "t-1_X");
        assert_eq!(address.authority, [0xab; 32]);
    }

    #[test]
    fn bad_addresses_are_refused_with_the_reason() {
        let hex = "ab".repeat(32);
        for (text, expected) in [
            ("https://desk.example".to_owned(), "not an enrollment address"),
            (format!("firstline://desk.example/?token=x&ca=sha256:{hex}"), "port"),
            ("firstline://desk.example:1/?token=x".to_owned(), "fingerprint"),
            ("firstline://desk.example:1/?token=x&ca=sha256:12".to_owned(), "64 hexadecimal"),
            (format!("firstline://desk.example:1/?token=&ca=sha256:{hex}"), "no token"),
            (format!("firstline://desk.example:1/?token=x&exec=ls&ca=sha256:{hex}"), "does not understand"),
        ] {
            let error = format!("{:#}", parse(&text).unwrap_err());
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }
}
