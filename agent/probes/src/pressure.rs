//! Pressure stall information: the share of time in which programs waited for a resource.
//!
//! Source: `/proc/pressure/*`, documented in the kernel's `accounting/psi`. Shared by the processor and memory probes.

use crate::{ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component};

/// The share (0 to 1) of `kind` (`some`, `full`) in `window` (`avg10`, `avg60`, `avg300`).
pub fn share(text: &str, kind: &str, window: &str) -> Option<f64> {
    let mut fields = text
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut fields| (fields.next() == Some(kind)).then_some(fields))?;
    let percent: f64 =
        fields.find_map(|field| field.strip_prefix(window)?.strip_prefix('='))?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

/// Reports the shares `wanted` of one resource. A kernel without pressure information makes it unsupported.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has pressure stall information"))]
pub(crate) fn collect(
    root: &Root,
    buffer: &mut Vec<u8>,
    component: &Component,
    resource: &'static str,
    wanted: &[(&'static str, &'static str)],
    sink: &mut Sink,
) {
    let path = format!("/proc/pressure/{resource}");
    if let Err(error) = root.read_into(&path, 4096, buffer) {
        let error = match error {
            ProbeError::NotPresent(_) => ProbeError::Unsupported(format!("this kernel has no {path}")),
            // A kernel started with psi=0 lists the file and refuses to read it.
            ProbeError::Malformed(_) => ProbeError::Unsupported(format!("this kernel does not keep {path}")),
            ProbeError::Unsupported(_) | ProbeError::NotPermitted(_) | ProbeError::TimedOut(_) => error,
        };
        return sink.failed(component, semconv::PRESSURE_STALL, &error);
    }
    let text = String::from_utf8_lossy(buffer);
    for &(kind, window) in wanted {
        match share(&text, kind, window) {
            Some(share) => {
                let attributes = Attributes::none()
                    .with(attribute::RESOURCE, resource)
                    .with(attribute::KIND, kind)
                    .with(attribute::WINDOW, window);
                sink.sample(component, semconv::PRESSURE_STALL, attributes, share);
            }
            None => {
                let error =
                    ProbeError::Malformed(format!("{path} has no share {kind} {window} between 0 and 100"));
                sink.failed(component, semconv::PRESSURE_STALL, &error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "some avg10=0.50 avg60=0.56 avg300=1.13 total=11843717\nfull avg10=0.00 avg60=43.80 avg300=0.00 total=0\n";

    #[test]
    fn shares_are_read_by_kind_and_window() {
        assert!((share(TEXT, "some", "avg300").unwrap() - 0.0113).abs() < 1e-9);
        assert!((share(TEXT, "full", "avg60").unwrap() - 0.438).abs() < 1e-9);
    }

    #[test]
    fn what_is_missing_or_absurd_has_no_share() {
        assert_eq!(share(TEXT, "none", "avg10"), None);
        assert_eq!(share("some avg10=nan", "some", "avg10"), None);
        assert_eq!(share("some avg10=100.01", "some", "avg10"), None);
        assert_eq!(share("some avg10=-1", "some", "avg10"), None);
        assert_eq!(share("some avg100=5", "some", "avg10"), None);
    }
}
