//! The security posture of macOS: FileVault and the application firewall. XProtect is part of the system and has no switch;
//! what else scans for viruses is not known here.

use super::{part, yes_or_no};
use crate::on_macos::{Half, Machine, Question};
use crate::{Context, ProbeError, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason};

/// The posture.
#[derive(Debug, Default)]
pub struct Source;

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, _: &Context, sink: &mut Sink) {
        let encrypted = Attributes::none().with(attribute::VOLUME, "/");
        let vault = machine.answer(Question::FileVault).and_then(|text| file_vault(&text));
        yes_or_no(&part("disk_encryption"), semconv::SECURITY_DISK_ENCRYPTION, encrypted, vault, sink);
        let profile = Attributes::none().with(attribute::PROFILE, "incoming");
        let firewall = machine.answer(Question::Firewall).and_then(|text| firewall(&text));
        yes_or_no(&part("firewall"), semconv::SECURITY_FIREWALL, profile, firewall, sink);
        for (component, what) in [
            (part("antivirus"), semconv::SECURITY_ANTIVIRUS),
            (part("secure_boot"), semconv::SECURITY_SECURE_BOOT),
            (Component::only(ComponentKind::Os), semconv::OS_END_OF_LIFE),
        ] {
            let why = "not read on macOS yet";
            sink.unavailable(&component, what, UnavailableReason::Unsupported, why);
        }
    }
}

/// `FileVault is On.`; while a volume is being encrypted, a second line says how far it is.
pub fn file_vault(text: &str) -> Result<bool, ProbeError> {
    match text.lines().next().map(str::trim) {
        Some("FileVault is On.") if text.contains("Encryption in progress") => Ok(false),
        Some("FileVault is On.") => Ok(true),
        Some(line) if line.starts_with("FileVault is Off") => Ok(false),
        Some(_) | None => {
            Err(ProbeError::Malformed("fdesetup does not say whether FileVault is on".to_owned()))
        }
    }
}

/// `Firewall is enabled. (State = 1)`; 2 is "block all incoming connections".
pub fn firewall(text: &str) -> Result<bool, ProbeError> {
    let state = text.split("State = ").nth(1).and_then(|rest| rest.split(')').next());
    match state {
        Some("0") => Ok(false),
        Some("1" | "2") => Ok(true),
        Some(_) | None => Err(ProbeError::Malformed("socketfilterfw does not say its state".to_owned())),
    }
}
