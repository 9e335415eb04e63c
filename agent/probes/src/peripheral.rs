//! Whether the parts of a workplace are there: camera, microphone, loudspeakers, external display, dock.
//!
//! A part that was never seen is not missed, so each role is reported as present when it is, and as absent only after it was
//! present once; that it was is remembered in the agent's folder. On Linux the kernel's lists of devices say it, and nothing is
//! opened: whether a camera works is not tried.

use crate::{Context, Descriptor, Probe, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, UnavailableReason};
use std::collections::BTreeSet;
use std::time::Duration;

/// The file in the agent's folder that names the roles that were present once.
const REMEMBERED: &str = "peripherals";
/// Connectors of displays that are part of the machine.
const INTERNAL: &[&str] = &["eDP", "LVDS", "DSI"];

/// The parts that were seen once.
#[derive(Debug, Default)]
pub struct Peripheral {
    known: BTreeSet<String>,
    is_read: bool,
}

/// A role, and whether something has it.
type Role = (&'static str, fn(&Root) -> bool);

const ROLES: &[Role] = &[
    ("webcam", webcam),
    ("mic", microphone),
    ("audio_out", loudspeaker),
    ("display", display),
    ("dock", dock),
];

impl Probe for Peripheral {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "peripheral",
            interval: Duration::from_secs(300),
            trigger_interval: None,
            time_limit: Duration::from_secs(20),
            cpu_budget: Duration::from_millis(5),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        if !context.reads_linux() {
            let (all, why) =
                (Component::only(ComponentKind::Device), "not read on this operating system yet");
            return sink.unavailable(&all, semconv::DEVICE_PRESENT, UnavailableReason::Unsupported, why);
        }
        let file = context.state_dir.as_ref().map(|folder| folder.join(REMEMBERED));
        if !std::mem::replace(&mut self.is_read, true) {
            let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
            let names = text.lines().filter(|name| ROLES.iter().any(|(role, _)| role == name));
            self.known.extend(names.map(str::to_owned));
        }
        let before = self.known.len();
        for (role, is_there) in ROLES {
            let is_present = is_there(&context.root);
            if is_present {
                self.known.insert((*role).to_owned());
            }
            if self.known.contains(*role)
                && let Ok(component) = Component::new(ComponentKind::Device, *role)
            {
                let attributes = Attributes::none().with(attribute::ROLE, *role);
                let value = f64::from(u8::from(is_present));
                sink.sample(&component, semconv::DEVICE_PRESENT, attributes, value);
            }
        }
        if let Some(file) = file.filter(|_| self.known.len() != before) {
            let names: Vec<&str> = self.known.iter().map(String::as_str).collect();
            if let Err(error) = std::fs::write(&file, names.join("\n")) {
                tracing::warn!(path = %file.display(), %error, "peripherals that were seen cannot be remembered");
            }
        }
    }
}

/// Each camera has several nodes; the first one is the picture.
fn webcam(root: &Root) -> bool {
    const NODES: &str = "/sys/class/video4linux";
    let nodes = root.list(NODES).unwrap_or_default();
    nodes.iter().any(|node| {
        // Encoders of a processor have nodes too, and no device that could be unplugged: cameras are behind USB or a sensor bus.
        let device = std::fs::canonicalize(root.path(&format!("{NODES}/{node}/device"))).unwrap_or_default();
        let device = device.to_string_lossy();
        root.read_number(&format!("{NODES}/{node}/index")).unwrap_or(0) == 0
            && (device.contains("/usb") || device.contains("/i2c-"))
    })
}

fn microphone(root: &Root) -> bool {
    has_stream(root, 'c')
}

fn loudspeaker(root: &Root) -> bool {
    has_stream(root, 'p')
}

/// Whether a sound card captures (`c`) or plays (`p`): `/proc/asound/card0/pcm0p`.
fn has_stream(root: &Root, direction: char) -> bool {
    let is_numbered = |name: &str, prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cards = root.list("/proc/asound").unwrap_or_default();
    cards.iter().filter(|name| is_numbered(name, "card")).any(|card| {
        let streams = root.list(&format!("/proc/asound/{card}")).unwrap_or_default();
        streams.iter().any(|name| is_numbered(name, "pcm") && name.ends_with(direction))
    })
}

/// Whether a display is connected that is not part of the machine.
fn display(root: &Root) -> bool {
    let connectors = root.list("/sys/class/drm").unwrap_or_default();
    connectors.iter().any(|name| {
        // `card1-DP-2`
        let kind = name.split_once('-').map(|(_, kind)| kind);
        kind.is_some_and(|kind| !INTERNAL.iter().any(|internal| kind.starts_with(internal)))
            && root.read_value(&format!("/sys/class/drm/{name}/status")).as_deref() == Some("connected")
    })
}

/// Whether something is plugged into Thunderbolt: `0-1`; the ports of the machine itself are `0-0` and `domain0`.
fn dock(root: &Root) -> bool {
    let devices = root.list("/sys/bus/thunderbolt/devices").unwrap_or_default();
    devices.iter().any(|name| {
        let route = name.split_once('-').map(|(_, route)| route);
        // Cables with electronics of their own have a colon, which no route has.
        route.is_some_and(|route| {
            !route.is_empty() && route != "0" && route.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::{Body, Timestamp};

    #[test]
    fn what_was_there_once_is_missed_even_after_a_restart_and_what_never_was_is_not() {
        let (machine, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let card = machine.path().join("proc/asound/card0/pcm0p");
        std::fs::create_dir_all(&card).unwrap();
        let mut context = Context::new(Root::at(machine.path()), Timestamp::from_millis(0));
        context.state_dir = Some(folder.path().to_owned());
        let seen = |probe: &mut Peripheral| {
            let mut sink = Sink::new(context.now);
            probe.collect(&context, &mut sink);
            let value = |body: &Body| if let Body::Sample { value, .. } = body { Some(*value) } else { None };
            let observations = sink.into_parts().0;
            observations.iter().map(|o| (o.component.to_string(), value(&o.body))).collect::<Vec<_>>()
        };
        let mut probe = Peripheral::default();
        assert_eq!(seen(&mut probe), [("device/audio_out".to_owned(), Some(1.0))]);
        std::fs::remove_dir(&card).unwrap();
        assert_eq!(seen(&mut probe), [("device/audio_out".to_owned(), Some(0.0))]);
        assert_eq!(seen(&mut Peripheral::default()), [("device/audio_out".to_owned(), Some(0.0))]);
        std::fs::write(folder.path().join(REMEMBERED), "../x\nteapot\n").unwrap();
        assert_eq!(seen(&mut Peripheral::default()), []);
    }
}
