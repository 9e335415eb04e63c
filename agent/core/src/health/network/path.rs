//! The way beyond this machine: what is lost on it, how even it is, how large a packet may be, tunnels, and certificates that
//! end soon. Levels are those of the catalogue; its hold times cannot pass in one look, so loss is only a warning here.

use super::super::view::{Sample, View};
use super::super::wording::{duration, id, percent, shown};
use super::super::{Level, Line};
use super::{DOMAIN, capital};
use firstline_model::semconv::{self, attribute};

const DAY: f64 = 86_400.0;
/// The smallest packet that every network has to let through (RFC 8200).
const SMALLEST_MTU: f64 = 1280.0;

/// The other end of a measured way: the router, or the host of the configuration.
pub(super) fn end(sample: &Sample<'_>) -> String {
    match sample.attribute(attribute::TARGET) {
        Some("gateway") if sample.component.id() == "0" => "the router".to_owned(),
        Some("gateway") => format!("the router {}", id(sample.component)),
        Some(host) => shown(host),
        None => id(sample.component),
    }
}

pub(super) fn lost(view: &View<'_>) -> Vec<Line> {
    let lossy = view.samples(semconv::NETWORK_LOSS).into_iter().filter(|loss| loss.value > 0.02);
    lossy
        .map(|loss| {
            let level = if loss.value > 0.10 { Level::Warning } else { Level::Note };
            let text =
                format!("{} of what is sent to {} gets lost.", percent(loss.value.min(1.0)), end(&loss));
            loss.line(
                level,
                DOMAIN,
                "net.loss",
                text,
                "Try a cable or another place; calls break up meanwhile.",
            )
        })
        .collect()
}

pub(super) fn uneven(view: &View<'_>) -> Vec<Line> {
    let uneven = view.samples(semconv::NETWORK_JITTER).into_iter().filter(|jitter| jitter.value > 0.03);
    uneven
        .map(|jitter| {
            let text = format!(
                "{} answers unevenly: the times differ by {:.0} ms. Voices may sound choppy.",
                capital(&end(&jitter)),
                (jitter.value * 1000.0).min(1e6)
            );
            jitter.line(Level::Note, DOMAIN, "net.jitter", text, "On Wi-Fi, move closer to the access point.")
        })
        .collect()
}

pub(super) fn narrow(view: &View<'_>) -> Vec<Line> {
    let narrow = view.samples(semconv::NETWORK_PATH_MTU).into_iter().filter(|mtu| mtu.value < SMALLEST_MTU);
    narrow
        .map(|mtu| {
            let text = format!(
                "Packets of more than {:.0} bytes do not get through to {}; pages and the VPN may hang half-loaded.",
                mtu.value.max(0.0),
                end(&mtu)
            );
            mtu.line(Level::Warning, DOMAIN, "net.mtu", text, "Call the helpdesk; another network may help until then.")
        })
        .collect()
}

pub(super) fn tunnels(view: &View<'_>) -> Vec<Line> {
    let states = view.samples(semconv::VPN_STATE);
    let down = states.iter().filter(|state| {
        let is_wanted = matches!(state.attribute(attribute::STATE), Some("down" | "failed" | "error"));
        is_wanted && state.value > 0.0
    });
    down.map(|state| {
        let text = format!("The VPN {} is on and does not work.", id(state.component));
        state.line(Level::Warning, DOMAIN, "net.vpn", text, "Switch it off and on again.")
    })
    .collect()
}

pub(super) fn certificates(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for left in view.samples(semconv::TLS_CERTIFICATE_TIME_TO_EXPIRY) {
        let name = id(left.component);
        let (level, text) = match left.value {
            over if over < 0.0 => {
                (Level::Problem, format!("The certificate of {name} ended {} ago.", duration(-over)))
            }
            soon if soon < 7.0 * DAY => {
                (Level::Warning, format!("The certificate of {name} ends in {}.", duration(soon)))
            }
            later if later < 14.0 * DAY => {
                (Level::Note, format!("The certificate of {name} ends in {}.", duration(later)))
            }
            _ => continue,
        };
        lines.push(left.line(level, DOMAIN, "net.cert_expiry", text, "Tell the helpdesk, who renew it."));
    }
    lines
}

pub(super) fn proxy(view: &View<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    for proxy in view.samples(semconv::NETWORK_PROXY_REACHABLE).iter().filter(|sample| sample.value == 0.0) {
        let document = view.document(proxy.component, "proxy");
        let text_of = |key| document.and_then(|d| d.get(key)).and_then(|value| value.as_text());
        let host = text_of("host").map(|host| format!(" at {}", shown(host))).unwrap_or_default();
        let what =
            if text_of("kind") == Some("file") { "file that names the web proxy" } else { "web proxy" };
        let text = format!("The {what}{host} does not answer, so web pages may not open.");
        let advice =
            "If this machine is away from its usual network, connect its VPN; else call the helpdesk.";
        lines.push(proxy.line(Level::Warning, DOMAIN, "net.proxy", text, advice));
    }
    lines
}
