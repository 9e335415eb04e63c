//! Commands of an administrator. They write to the store directly and work while `serve` runs, which notices.
#![expect(clippy::print_stdout, reason = "the commands' answers to the person who called them")]

use crate::authority::Authority;
use crate::cli::{ApiTokenCommand, DeviceCommand, TokenCommand, UserCommand};
use crate::serve::{Listeners, open_store};
use crate::{clock, private, secret, web};
use anyhow::{Context, Result, bail};
use firstline_collector_store::Store;
use firstline_collector_store::record::{
    ApiToken, AuditEntry, DeviceFilter, DeviceStatus, EnrollmentToken, Page, User,
};
use firstline_model::DeviceId;
use firstline_model::deceptive::one_line;
use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The port that agents use unless told otherwise.
const AGENT_PORT: u16 = 7443;

fn with_store<T>(data: &Path, work: impl AsyncFnOnce(Arc<dyn Store>) -> Result<T>) -> Result<T> {
    private::create_folder(data)?;
    let store = open_store(data, "sqlite")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(work(store))
}

/// An audit line of a command at this machine.
fn audit(action: &str, subject: impl Into<String>, detail: impl Into<String>) -> AuditEntry {
    AuditEntry {
        at: clock::now(),
        actor: "command line".to_owned(),
        action: action.to_owned(),
        subject: subject.into(),
        detail: detail.into(),
    }
}

pub(crate) fn token(data: &Path, command: &TokenCommand) -> Result<ExitCode> {
    let TokenCommand::Create { uses, ttl, site, host, json } = command;
    check_site(site.as_ref())?;
    let address = match host {
        Some(host) => agent_address(host)?,
        None => match Listeners::read(data) {
            Some(listeners) if !listeners.agents.ip().is_unspecified() => listeners.agents.to_string(),
            Some(_) => bail!(
                "the collector listens on every address; say under which name agents reach it: --host NAME"
            ),
            None => bail!(
                "it is not known where the collector listens; start it first (serve), or use --host NAME"
            ),
        },
    };
    private::create_folder(data)?;
    let authority = Authority::open(data)?;
    let token = secret::token()?;
    let now = clock::now();
    let kept = EnrollmentToken {
        hash: secret::hash(&token),
        uses_left: *uses,
        expires_at: now.plus(*ttl),
        site: site.clone(),
        created_at: now,
    };
    let line =
        audit("token.create", secret::hex(&kept.hash[..8]), format!("{uses} uses until {}", kept.expires_at));
    with_store(data, async |store| {
        store.create_token(&kept, &line).await.context("the token cannot be kept")
    })?;
    let url = format!("firstline://{address}/?token={token}&ca=sha256:{}", authority.fingerprint());
    if *json {
        println!("{}", json!({"url": url, "token": token, "expires_at": kept.expires_at.to_string()}));
    } else {
        println!("{url}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Host and port as they stand in an enrollment address: a name, an IPv4 address, or an IPv6 address in brackets.
fn agent_address(text: &str) -> Result<String> {
    let wrong =
        || anyhow::anyhow!("--host {text:?} is not HOST or HOST:PORT (an IPv6 address stands in brackets)");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().map_err(|_| wrong())?),
        _ => (text, AGENT_PORT),
    };
    let is_name = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().map(std::net::IpAddr::V6).ok(),
        None => host.parse::<std::net::IpAddr>().ok(),
    };
    if port == 0 || address.is_some_and(|address| address.is_unspecified()) {
        bail!("--host {text:?}: agents cannot connect to that");
    }
    if bracketed.is_some() != address.is_some_and(|address| address.is_ipv6())
        || (bracketed.is_none() && !is_name(host))
    {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

/// A site's name: one short line.
fn check_site(site: Option<&String>) -> Result<()> {
    match site {
        Some(site) if site.is_empty() || site.len() > 64 || site.chars().any(char::is_control) => {
            bail!("--site: a site's name has 1 to 64 characters on one line")
        }
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn user(data: &Path, command: &UserCommand) -> Result<ExitCode> {
    match command {
        UserCommand::Add { name, role, site, password_stdin: _ } => {
            let mut password = String::new();
            std::io::stdin()
                .lock()
                .take(4096)
                .read_to_string(&mut password)
                .context("cannot read the password")?;
            let password = password.trim_end_matches(['\r', '\n']);
            if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c.is_whitespace())
            {
                bail!("a sign-in name has 1 to 64 characters and no spaces");
            }
            let user = User {
                name: name.clone(),
                role: (*role).into(),
                site: site.clone(),
                password_hash: web::hash_password(password)?,
                created_at: clock::now(),
                disabled: false,
            };
            let line = audit("user.add", name, user.role.as_str());
            let added = with_store(data, async |store| {
                store.add_user(&user, &line).await.context("the user cannot be kept")
            })?;
            if !added {
                bail!("there is a user called {name} already");
            }
            println!("added {name} ({})", user.role.as_str());
        }
        UserCommand::List { json } => {
            let users = with_store(data, async |store| store.users().await.context("users cannot be read"))?;
            for user in users {
                if *json {
                    println!(
                        "{}",
                        json!({"name": user.name, "role": user.role.as_str(), "site": user.site, "disabled": user.disabled})
                    );
                } else {
                    println!(
                        "{:<24} {:<10} {}",
                        user.name,
                        user.role.as_str(),
                        user.site.as_deref().unwrap_or("all sites")
                    );
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn api_token(data: &Path, command: &ApiTokenCommand) -> Result<ExitCode> {
    let ApiTokenCommand::Create { role, site, json } = command;
    check_site(site.as_ref())?;
    let token = format!("fl_{}", secret::token()?);
    let kept = ApiToken {
        hash: web::secret_hash(&token),
        role: (*role).into(),
        site: site.clone(),
        created_at: clock::now(),
    };
    let line = audit("api_token.create", secret::hex(&kept.hash[..8]), kept.role.as_str());
    with_store(data, async |store| {
        store.create_api_token(&kept, &line).await.context("the token cannot be kept")
    })?;
    if *json {
        println!("{}", json!({"token": token}));
    } else {
        println!("{token}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn device(data: &Path, command: &DeviceCommand) -> Result<ExitCode> {
    match command {
        DeviceCommand::List { json } => with_store(data, async |store| list(&store, *json).await)?,
        DeviceCommand::Revoke { id } => set_status(data, id, DeviceStatus::Revoked, "device.revoke")?,
        DeviceCommand::Release { id } => {
            let device = DeviceId::new(id)?;
            // The chain of its streams begins anew: which of its places is the true one cannot be known.
            with_store(data, async |store| {
                let kept = store.identity(&device).await.context("the device cannot be read")?.lineage;
                if kept.is_some() {
                    store
                        .move_lineage(&device, kept.as_ref(), None)
                        .await
                        .context("the device cannot be changed")?;
                }
                Ok(())
            })?;
            set_status(data, id, DeviceStatus::Active, "device.release")?;
        }
        DeviceCommand::Retire { id } => set_status(data, id, DeviceStatus::Retired, "device.retire")?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &Arc<dyn Store>, json: bool) -> Result<()> {
    let mut page = Page { limit: 500, after: None };
    loop {
        let devices =
            store.devices(&DeviceFilter::default(), &page).await.context("devices cannot be read")?;
        for device in devices.rows {
            let hostname = one_line(&device.hostname);
            let seen = device.last_seen_at.map(|at| at.to_string());
            if json {
                println!(
                    "{}",
                    json!({"id": device.id.as_str(), "hostname": hostname, "site": device.site,
                           "status": device.status.as_str(), "last_seen_at": seen,
                           "certificate_not_after": device.certificate_not_after.to_string()})
                );
            } else {
                println!(
                    "{} {:<24} {:<11} {}",
                    device.id,
                    hostname,
                    device.status.as_str(),
                    seen.as_deref().unwrap_or("never heard")
                );
            }
        }
        match devices.next {
            Some(next) => page.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn set_status(data: &Path, id: &str, status: DeviceStatus, action: &str) -> Result<()> {
    let device = DeviceId::new(id)?;
    let line = audit(action, id, "");
    let found = with_store(data, async |store| {
        store.set_device_status(&device, status, &line).await.context("the device cannot be changed")
    })?;
    if !found {
        bail!("there is no device {id}; see: firstline-collector device list");
    }
    println!("{id} is {}", status.as_str());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_enrollment_addresses_are_names_or_addresses_that_can_be_reached() {
        for (text, expected) in [
            ("desk.example", "desk.example:7443"),
            ("desk.example:9000", "desk.example:9000"),
            ("192.0.2.7", "192.0.2.7:7443"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ] {
            assert_eq!(agent_address(text).unwrap(), expected);
        }
        for bad in
            ["", "::1", "a b", "host:99999", "host:0", "http://x", "a/b", "0.0.0.0", "[::]", "[x]", "x:"]
        {
            assert!(agent_address(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
