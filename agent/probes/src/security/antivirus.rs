//! Virus scanners: which is installed, whether it runs, how old its definitions are.

use crate::{Context, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, Timestamp};
use std::io::Read;

/// A product, the file that says that it is installed, and the one that is there while it runs (if one is known).
const PRODUCTS: &[(&str, &str, Option<&str>)] = &[
    ("clamav", "/etc/clamav/clamd.conf", Some("/run/clamav/clamd.ctl")),
    ("defender", "/etc/opt/microsoft/mdatp", Some("/run/mdatp")),
    ("crowdstrike", "/opt/CrowdStrike/falconctl", None),
    ("sentinelone", "/opt/sentinelone/bin", None),
];

pub(super) fn collect(context: &Context, component: &Component, sink: &mut Sink) {
    let mut any = false;
    for &(product, installed, running) in PRODUCTS {
        if !context.root.exists(installed) {
            continue;
        }
        any = true;
        let state = match running.map(|file| context.root.exists(file)) {
            Some(true) => "enabled",
            Some(false) => "disabled",
            None => "unknown",
        };
        let attributes = Attributes::none().with(attribute::PRODUCT, product).with(attribute::STATE, state);
        sink.sample(component, semconv::SECURITY_ANTIVIRUS, attributes, 1.0);
        if product == "clamav" {
            match clamav_definitions(&context.root) {
                Ok(made) => {
                    let age = context.now.since(made.min(context.now)).as_secs_f64();
                    let attributes = Attributes::none().with(attribute::PRODUCT, product);
                    sink.sample(component, semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE, attributes, age);
                }
                Err(error) => sink.failed(component, semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE, &error),
            }
        }
    }
    if !any {
        let error =
            ProbeError::NotPresent("none of the virus scanners that are known is installed".to_owned());
        sink.failed(component, semconv::SECURITY_ANTIVIRUS, &error);
    }
}

/// When the newest set of definitions was made.
fn clamav_definitions(root: &Root) -> Result<Timestamp, ProbeError> {
    let mut last = ProbeError::NotPresent("ClamAV has no definitions".to_owned());
    for file in ["/var/lib/clamav/daily.cld", "/var/lib/clamav/daily.cvd"] {
        let read = root.open(file).and_then(|file| {
            let mut head = Vec::new();
            let read = file.take(512).read_to_end(&mut head);
            read.map_err(|error| ProbeError::from_io("/var/lib/clamav".as_ref(), &error))?;
            made_at(&String::from_utf8_lossy(&head)).ok_or_else(|| {
                ProbeError::Malformed("ClamAV's definitions do not say when they were made".to_owned())
            })
        });
        match read {
            Ok(made) => return Ok(made),
            Err(ProbeError::NotPresent(_)) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time in the head of a definitions file: `ClamAV-VDB:...` with the seconds since 1970 as its ninth field.
pub fn made_at(head: &str) -> Option<Timestamp> {
    let fields = head.strip_prefix("ClamAV-VDB:")?;
    let seconds: i64 = fields.split(':').nth(7)?.trim().parse().ok()?;
    (seconds > 0).then_some(())?;
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_the_definitions_says_when_they_were_made() {
        let head = "ClamAV-VDB:05 Jan 2026 08-25 +0000:27871:2077000:90:d41d8cd98f:sig:builder:1767601500   \u{fffd}";
        assert_eq!(
            made_at(head.split('\u{fffd}').next().unwrap()),
            Some(Timestamp::from_millis(1_767_601_500_000))
        );
        for bad in [
            "",
            "ClamAV-VDB:x",
            "ClamAV-VDB:a:b:c:d:e:f:g:99999999999999999999",
            "ClamAV-VDB:a:b:c:d:e:f:g:-1",
        ] {
            assert_eq!(made_at(bad), None, "{bad}");
        }
    }
}
