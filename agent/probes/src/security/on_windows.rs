//! The security posture of Windows: BitLocker, the firewall's profiles, virus scanners as the Security Center knows them,
//! signed start, end of support.

use super::{part, support, yes_or_no};
use crate::on_windows::{Class, Half, Machine, Row};
use crate::{Context, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp, UnavailableReason};

const VOLUMES: Class = Class {
    namespace: r"cimv2\Security\MicrosoftVolumeEncryption",
    name: "Win32_EncryptableVolume",
    properties: &["DriveLetter", "ProtectionStatus"],
    condition: None,
};
const PROFILES: Class = Class {
    namespace: "StandardCimv2",
    name: "MSFT_NetFirewallProfile",
    properties: &["Name", "Enabled"],
    condition: None,
};
const SCANNERS: Class = Class {
    namespace: "SecurityCenter2",
    name: "AntiVirusProduct",
    properties: &["displayName", "productState"],
    condition: None,
};
const DEFENDER: Class = Class {
    namespace: r"Microsoft\Windows\Defender",
    name: "MSFT_MpComputerStatus",
    properties: &["AMServiceEnabled", "AntivirusSignatureLastUpdated"],
    condition: None,
};
const SYSTEM: Class =
    Class::of_cimv2("Win32_OperatingSystem", &["BuildNumber", "OperatingSystemSKU", "SystemDrive"]);
const SECURE_BOOT: &str = r"SYSTEM\CurrentControlSet\Control\SecureBoot\State";

/// The posture.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        let system = machine.rows(&SYSTEM).and_then(|rows| {
            rows.into_iter().next().ok_or_else(|| ProbeError::Malformed("Windows names no system".to_owned()))
        });
        let drive = system.as_ref().ok().and_then(|row| row.text("SystemDrive")).unwrap_or("C:").to_owned();
        let encrypted = Attributes::none().with(attribute::VOLUME, drive.as_str());
        let answer = encryption(machine, &drive);
        yes_or_no(&part("disk_encryption"), semconv::SECURITY_DISK_ENCRYPTION, encrypted, answer, sink);
        firewall(machine, sink);
        antivirus(machine, context.now, sink);
        yes_or_no(
            &part("secure_boot"),
            semconv::SECURITY_SECURE_BOOT,
            Attributes::none(),
            secure_boot(machine),
            sink,
        );
        let ended = system.and_then(|row| has_ended(&row, context.now));
        let os = Component::only(ComponentKind::Os);
        yes_or_no(&os, semconv::OS_END_OF_LIFE, Attributes::none(), ended, sink);
    }
}

/// Protection that is suspended counts as off: the key lies in the clear.
fn encryption(machine: &dyn Machine, drive: &str) -> Result<bool, ProbeError> {
    let volumes = machine.rows(&VOLUMES)?;
    let volume = volumes.iter().find(|row| row.text("DriveLetter") == Some(drive));
    let volume = volume.ok_or_else(|| ProbeError::NotPresent(format!("BitLocker does not know {drive}")))?;
    match volume.whole("ProtectionStatus") {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(_) | None => Err(ProbeError::Unsupported(format!("BitLocker cannot tell the state of {drive}"))),
    }
}

fn firewall(machine: &dyn Machine, sink: &mut Sink) {
    let component = part("firewall");
    match machine.rows(&PROFILES) {
        Ok(rows) => {
            for row in rows.iter().take(8) {
                let Some(name) = row.text("Name") else { continue };
                let profile = Attributes::none().with(attribute::PROFILE, name.to_ascii_lowercase());
                // 2 means "not configured", which Windows takes for on.
                let answer = match row.whole("Enabled") {
                    Some(0) => Ok(false),
                    Some(1 | 2) => Ok(true),
                    Some(_) | None => Err(ProbeError::Malformed(format!("the profile {name} has no state"))),
                };
                yes_or_no(&component, semconv::SECURITY_FIREWALL, profile, answer, sink);
            }
        }
        Err(error) => sink.failed(&component, semconv::SECURITY_FIREWALL, &error),
    }
}

/// `productState` is three bytes: kind of product, whether it works (0x10), whether its definitions are old (0x10).
fn state_of(product_state: u64) -> &'static str {
    match (product_state >> 8) & 0xf0 {
        0x10 => "enabled",
        0x00 => "disabled",
        0x20 => "snoozed",
        0x30 => "expired",
        _ => "unknown",
    }
}

fn antivirus(machine: &dyn Machine, now: Timestamp, sink: &mut Sink) {
    let component = part("antivirus");
    match machine.rows(&SCANNERS) {
        Ok(rows) if rows.is_empty() => {
            let error = ProbeError::NotPresent("the Security Center knows no virus scanner".to_owned());
            sink.failed(&component, semconv::SECURITY_ANTIVIRUS, &error);
        }
        Ok(rows) => {
            // With two products, one is passive: what counts is whether any works.
            for row in rows.iter().take(8) {
                let state = row.whole("productState").map_or("unknown", state_of);
                let product = row.text("displayName").unwrap_or("unnamed");
                let attributes =
                    Attributes::none().with(attribute::PRODUCT, product).with(attribute::STATE, state);
                sink.sample(&component, semconv::SECURITY_ANTIVIRUS, attributes, 1.0);
            }
        }
        // Servers have no Security Center.
        Err(error) => sink.failed(&component, semconv::SECURITY_ANTIVIRUS, &error),
    }
    let product = || Attributes::none().with(attribute::PRODUCT, "Windows Defender");
    match machine.rows(&DEFENDER) {
        Ok(rows) => {
            let row = rows.first().filter(|row| row.truth("AMServiceEnabled") == Some(true));
            if let Some(updated) = row.and_then(|row| row.time("AntivirusSignatureLastUpdated")) {
                let age = now.since(updated.min(now)).as_secs_f64();
                sink.sample(&component, semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE, product(), age);
            }
        }
        Err(ProbeError::NotPresent(why)) => sink.unavailable(
            &component,
            semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE,
            UnavailableReason::NotPresent,
            why,
        ),
        Err(error) => sink.failed(&component, semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE, &error),
    }
}

fn secure_boot(machine: &dyn Machine) -> Result<bool, ProbeError> {
    match machine.registry(SECURE_BOOT, "UEFISecureBootEnabled") {
        Ok(value) => match value.number() {
            Some(number @ (0 | 1)) => Ok(number == 1),
            Some(_) | None => {
                Err(ProbeError::Malformed("UEFISecureBootEnabled is neither 0 nor 1".to_owned()))
            }
        },
        Err(ProbeError::NotPresent(_)) => {
            Err(ProbeError::Unsupported("this machine was not started by UEFI firmware".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Build, last day for Home and Pro, last day for Enterprise and Education (Microsoft's lifecycle pages).
const LAST_DAYS: &[(u64, &str, &str)] = &[
    (19044, "2023-06-13", "2024-06-11"),
    (19045, "2025-10-14", "2025-10-14"),
    (22000, "2023-10-10", "2024-10-08"),
    (22621, "2024-10-08", "2025-10-14"),
    (22631, "2025-11-11", "2026-11-10"),
    (26100, "2026-10-13", "2027-10-12"),
    (26200, "2027-10-12", "2028-10-10"),
];
/// Numbers of the editions Enterprise, Education, and their variants.
const LONG: &[u64] = &[4, 27, 70, 72, 84, 121, 122];

fn has_ended(system: &Row, now: Timestamp) -> Result<bool, ProbeError> {
    let build = system.whole("BuildNumber");
    let is_long = system.whole("OperatingSystemSKU").is_some_and(|sku| LONG.contains(&sku));
    let listed = LAST_DAYS.iter().find(|(of, _, _)| Some(*of) == build);
    let day = listed.and_then(|(_, short, long)| support::end_of_day(if is_long { long } else { short }));
    let day = day.ok_or_else(|| {
        ProbeError::Unsupported("it is not known until when this version of Windows is mended".to_owned())
    })?;
    Ok(now > day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_products_are_those_of_the_security_center() {
        // Defender on, Defender off, a third-party product on with old definitions, snoozed.
        for (state, expected) in
            [(397_568, "enabled"), (393_472, "disabled"), (266_256, "enabled"), (401_664, "snoozed")]
        {
            assert_eq!(state_of(state), expected, "{state:#x}");
        }
    }
}
