//! Security posture: encryption, firewall, virus protection, secure boot, and whether the system is still mended.

use super::view::{View, line};
use super::wording::{counted, duration, id, shown};
use super::{Domain, Level, Line};
use firstline_model::UnavailableReason;
use firstline_model::semconv::{self, attribute};

const DOMAIN: Domain = Domain::Security;
/// Definitions of virus protection older than this miss what is new.
const OLD_DEFINITIONS: f64 = 7.0 * 86_400.0;

pub(super) fn judge(view: &View<'_>) -> Vec<Line> {
    let mut lines = posture(view);
    lines.extend(antivirus(view));
    lines.extend(locked(view));
    lines
}

fn posture(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for volume in view.samples(semconv::SECURITY_DISK_ENCRYPTION).iter().filter(|sample| sample.value == 0.0)
    {
        let name = shown(volume.attribute(attribute::VOLUME).unwrap_or("/"));
        let text = format!("The drive {name} is not encrypted: whoever has the machine can read its data.");
        let advice = "If this machine leaves the building, have its drive encrypted.";
        lines.push(volume.line(Level::Warning, DOMAIN, "sec.encryption", text, advice));
    }
    for firewall in view.samples(semconv::SECURITY_FIREWALL).iter().filter(|sample| sample.value == 0.0) {
        let text = "The firewall is off: it lets every incoming connection through.".to_owned();
        let advice = "Switch the firewall on, unless this network is protected by another one.";
        lines.push(firewall.line(Level::Warning, DOMAIN, "sec.firewall", text, advice));
    }
    for boot in view.samples(semconv::SECURITY_SECURE_BOOT).iter().filter(|sample| sample.value == 0.0) {
        let text = "Secure boot is off.".to_owned();
        let advice = "If it was on before, ask who changed it.";
        lines.push(boot.line(Level::Note, DOMAIN, "sec.secureboot", text, advice));
    }
    for end in view.samples(semconv::OS_END_OF_LIFE).iter().filter(|sample| sample.value > 0.0) {
        let text = "This version of the operating system gets no more security updates.".to_owned();
        lines.push(end.line(
            Level::Warning,
            DOMAIN,
            "sec.os_eol",
            text,
            "Plan the upgrade to a supported version.",
        ));
    }
    lines
}

fn antivirus(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for product in view.samples(semconv::SECURITY_ANTIVIRUS).iter().filter(|sample| sample.value > 0.0) {
        let name = shown(product.attribute(attribute::PRODUCT).unwrap_or("the virus protection"));
        if product.is(attribute::STATE, "disabled") {
            let text = format!("The virus protection ({name}) is installed but does not run.");
            lines.push(product.line(Level::Warning, DOMAIN, "sec.antivirus", text, "Switch it on."));
        } else if !product.is(attribute::STATE, "enabled") {
            let text = format!("Virus protection ({name}) is installed; whether it runs cannot be told.");
            lines.push(product.line(Level::Note, DOMAIN, "sec.antivirus", text, "Look at its own window."));
        }
    }
    for age in view.samples(semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE) {
        if age.value > OLD_DEFINITIONS {
            let text = format!(
                "The virus protection ({}) uses definitions that are {} old.",
                shown(age.attribute(attribute::PRODUCT).unwrap_or("unknown")),
                duration(age.value)
            );
            lines.push(age.line(Level::Warning, DOMAIN, "sec.antivirus", text, "Let it update itself now."));
        }
    }
    for (component, reason, _) in view.unavailable(semconv::SECURITY_ANTIVIRUS) {
        if reason == UnavailableReason::NotPresent {
            let text = "No virus protection that Firstline knows is installed.".to_owned();
            lines.push(line(Level::Note, DOMAIN, "sec.antivirus", component, text, ""));
        }
    }
    lines
}

fn locked(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for account in view.samples(semconv::USER_LOCKED).iter().filter(|sample| sample.value > 0.0) {
        let document = view.document(account.component, "lockout");
        let failures = document.and_then(|d| d.get("failures")).and_then(|value| value.as_number());
        let after = failures
            .map(|failures| format!(" after {}", counted(failures, "wrong password")))
            .unwrap_or_default();
        let until = document.and_then(|d| d.get("unlocks_at")).and_then(|value| value.as_text());
        let advice = match until {
            Some(until) => {
                let minute = shown(until.get(..16).unwrap_or(until)).replace('T', " ");
                format!("It opens by itself at {minute} UTC; wait until then and do not try.")
            }
            None => "Ask the helpdesk to unlock it.".to_owned(),
        };
        let text = format!("The account {} is locked{after}.", id(account.component));
        lines.push(account.line(Level::Warning, DOMAIN, "user.locked", text, &advice));
    }
    lines
}
