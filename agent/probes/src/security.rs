//! The security posture: encryption of the system's drive, packet filter, virus scanner, signed start, end of support.
//!
//! Each answer is yes, no, or why it cannot be told; nothing is changed and nothing is tried out.

pub mod antivirus;
mod encryption;
pub mod firewall;
pub mod on_macos;
pub mod on_windows;
pub mod support;

use crate::{Context, Descriptor, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind};
use std::time::Duration;

/// The posture, four times an hour.
#[derive(Debug, Default)]
pub struct Security;

impl Probe for Security {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "security",
            interval: Duration::from_secs(15 * 60),
            trigger_interval: None,
            time_limit: Duration::from_secs(30),
            cpu_budget: Duration::from_millis(50),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        if !context.reads_linux() {
            return elsewhere(sink);
        }
        let root = &context.root;
        let encrypted = Attributes::none().with(attribute::VOLUME, "/");
        yes_or_no(
            &part("disk_encryption"),
            semconv::SECURITY_DISK_ENCRYPTION,
            encrypted,
            encryption::system_drive(root),
            sink,
        );
        let profile = Attributes::none().with(attribute::PROFILE, "incoming");
        yes_or_no(&part("firewall"), semconv::SECURITY_FIREWALL, profile, firewall::filters(root), sink);
        yes_or_no(
            &part("secure_boot"),
            semconv::SECURITY_SECURE_BOOT,
            Attributes::none(),
            secure_boot(root),
            sink,
        );
        antivirus::collect(context, &part("antivirus"), sink);
        let os = Component::only(ComponentKind::Os);
        let ended = support::has_ended(root, context.now);
        yes_or_no(&os, semconv::OS_END_OF_LIFE, Attributes::none(), ended, sink);
    }
}

/// The component of one aspect.
fn part(name: &'static str) -> Component {
    Component::new(ComponentKind::Security, name).unwrap_or_else(|_| Component::only(ComponentKind::Security))
}

fn elsewhere(sink: &mut Sink) {
    for (name, what) in [
        ("disk_encryption", semconv::SECURITY_DISK_ENCRYPTION),
        ("firewall", semconv::SECURITY_FIREWALL),
        ("antivirus", semconv::SECURITY_ANTIVIRUS),
        ("secure_boot", semconv::SECURITY_SECURE_BOOT),
    ] {
        let reason = firstline_model::UnavailableReason::Unsupported;
        sink.unavailable(&part(name), what, reason, "not read on this operating system yet");
    }
}

fn yes_or_no(
    component: &Component,
    metric: &'static str,
    attributes: Attributes,
    answer: Result<bool, ProbeError>,
    sink: &mut Sink,
) {
    match answer {
        Ok(yes) => sink.sample(component, metric, attributes, f64::from(u8::from(yes))),
        Err(error) => sink.failed(component, metric, &error),
    }
}

/// The firmware's variable: four bytes of attributes, then one that is 1 when only signed systems are started.
fn secure_boot(root: &Root) -> Result<bool, ProbeError> {
    const VARIABLE: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    if !root.exists("/sys/firmware/efi") {
        return Err(ProbeError::Unsupported("this machine was not started by UEFI firmware".to_owned()));
    }
    let mut bytes = Vec::new();
    root.read_into(VARIABLE, 64, &mut bytes)?;
    match bytes[..] {
        [_, _, _, _, value @ (0 | 1)] => Ok(value == 1),
        _ => Err(ProbeError::Malformed("the firmware's variable SecureBoot has an unknown form".to_owned())),
    }
}
