//! What looks like a fault and is none: builds, copies that come and go, walks through the building, a printer whose
//! cover is open for a minute. Each is one of the known false alarms of the catalogue, and none of them may open a ticket.

use super::clock::{HOUR, MINUTE};
use super::connections::PRINTERS;
use super::day::Link;
use super::fault::{Effect, Happening, What, event};
use super::office::Device;
use super::random::Random;
use super::series::{Shape, Values};

/// What happens, for how long, and with which connection.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    pub effects: Vec<Effect>,
    pub happenings: Vec<Happening>,
    pub lasts: u32,
    pub link: Option<Link>,
}

type Make = fn(&Device, &mut Random) -> Episode;

/// How often a day each happens on a machine, on average.
pub(super) const KINDS: &[(f64, Make)] = &[
    (0.5, build),
    (0.25, big_copy),
    (0.2, temporary_files),
    (0.15, memory_full),
    (0.12, gateway_blip),
    (0.15, name_server_blip),
    (0.3, walk),
    (0.15, cover_open),
    (0.06, printer_asleep),
    (0.08, long_print),
    (0.06, hot_for_a_moment),
    (0.1, clock_settles),
    (0.06, service_restarts),
    (0.08, one_crash),
    (0.1, undocking),
    (0.06, tunnel_reconnects),
    (0.05, firewall_reloads),
    (0.04, portal),
    (0.05, charger_peaks),
    (0.05, busy_disk),
    (0.04, slow_line),
    (0.02, paper_out_without_a_job),
    (0.03, restart_needed),
    (0.02, old_definitions_after_a_holiday),
    (0.05, lossy_minutes),
];

fn episode(lasts: u32, effects: Vec<Effect>) -> Episode {
    Episode { effects, happenings: Vec::new(), lasts, link: None }
}

fn shows(slot: &'static str, low: f64, high: f64) -> Effect {
    Effect { slot, after: 0, shape: Shape { word: None, severity: "", values: Values::Between(low, high) } }
}

fn shaped(slot: &'static str, values: Values) -> Effect {
    Effect { slot, after: 0, shape: Shape { word: None, severity: "", values } }
}

fn says(slot: &'static str, word: &'static str, severity: &'static str, values: Values) -> Effect {
    Effect { slot, after: 0, shape: Shape { word: Some(word), severity, values } }
}

/// All processors busy; tasks wait, but not for ten minutes on end.
fn build(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(3 * MINUTE, 45 * MINUTE);
    let stall =
        if lasts < 9 * MINUTE { shows("cpu.stall", 0.4, 0.7) } else { shows("cpu.stall", 0.15, 0.45) };
    let mut effects = vec![shows("cpu", 0.9, 1.0), stall, shows("heat", 70.0, 90.0)];
    if lasts < 25 * MINUTE {
        effects.push(shows("program", 0.9, 3.5));
    }
    episode(lasts, effects)
}

fn big_copy(device: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(5 * MINUTE, 9 * MINUTE);
    let to = (device.usual_fill + random.range(0.02, 0.08)).min(0.87);
    episode(
        lasts,
        vec![
            shaped("fs", Values::Ramp(device.usual_fill, to, lasts)),
            shaped("io.busy", Values::PerHour(3550.0)),
        ],
    )
}

/// A build or an installer that writes much, and takes it away again.
fn temporary_files(device: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(10 * MINUTE, 35 * MINUTE);
    let to = (device.usual_fill + random.range(0.03, 0.12)).min(0.89);
    episode(lasts + 5 * MINUTE, vec![shaped("fs", Values::Ramp(device.usual_fill, to, lasts))])
}

fn memory_full(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(10 * MINUTE, 3 * HOUR);
    let stall = if lasts < 20 * MINUTE {
        shows("memory.stall", 0.02, 0.08)
    } else {
        shows("memory.stall", 0.0, 0.04)
    };
    episode(lasts, vec![shows("memory", 0.88, 0.95), shows("swap", 0.5, 0.85), stall])
}

fn gateway_blip(_: &Device, random: &mut Random) -> Episode {
    episode(
        random.whole(10, 32),
        vec![shows("gateway", 0.0, 0.0), shows("wifi.gateway", 0.0, 0.0), shows("home.gateway", 0.0, 0.0)],
    )
}

fn name_server_blip(_: &Device, random: &mut Random) -> Episode {
    let slow = Values::Between(0.6, 5.0);
    episode(
        random.whole(20, 100),
        vec![says("dns.0", "timeout", "", slow), says("wifi.dns.0", "timeout", "", slow)],
    )
}

/// Through the building with an open laptop.
fn walk(device: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(MINUTE, 4 * MINUTE);
    let mut episode = episode(lasts, vec![shows("signal", -79.0, -66.0), shows("snr", 14.0, 26.0)]);
    for n in 0..random.whole(1, 4) {
        if device.has("signal") {
            let what = event("endpoint.wifi.roams", "wifi/wlan0", &[]);
            episode.happenings.push(Happening { after: n * 40, what });
        }
    }
    episode.link = Some(Link::Wifi);
    episode
}

fn cover_open(_: &Device, random: &mut Random) -> Episode {
    let keyword = *random.pick(&["cover-open", "media-jam", "door-open"]);
    episode(random.whole(30, 150), vec![says(PRINTERS[0].reason, keyword, "error", Values::Same)])
}

fn printer_asleep(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(60, 140), vec![shows(PRINTERS[0].reachable, 0.0, 0.0)])
}

fn long_print(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(3 * MINUTE, 9 * MINUTE);
    let age = Values::Ramp(1.0, f64::from(lasts), lasts);
    episode(
        lasts,
        vec![
            shows(PRINTERS[0].state, 4.0, 4.0),
            shows(PRINTERS[0].jobs, 1.0, 1.0),
            shaped(PRINTERS[0].age, age),
        ],
    )
}

fn hot_for_a_moment(_: &Device, random: &mut Random) -> Episode {
    episode(
        random.whole(60, 220),
        vec![
            shows("heat", 94.0, 98.0),
            shows("drive.heat", 70.0, 79.0),
            shaped("throttled", Values::PerHour(120.0)),
        ],
    )
}

fn clock_settles(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(2 * MINUTE, 8 * MINUTE), vec![shows("clock", 15.0, 50.0)])
}

fn service_restarts(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(30, 200);
    episode(
        lasts,
        vec![says("service.1", "failed", "", Values::Same), shaped("service.1.restarts", Values::Jump(1.0))],
    )
}

fn one_crash(_: &Device, _: &mut Random) -> Episode {
    let mut episode = episode(MINUTE, Vec::new());
    let what = event("endpoint.app.crashes", "application/browser", &[("signature", "0xc0000005")]);
    episode.happenings.push(Happening { after: 0, what });
    episode
}

/// Everything on the dock goes away once.
fn undocking(_: &Device, _: &mut Random) -> Episode {
    let mut episode = episode(3 * MINUTE, vec![shaped("carrier", Values::Jump(2.0))]);
    for component in ["device/17ef:3082", "device/046d:c52b", "device/0bda:8153"] {
        let what: What = event("endpoint.usb.disconnects", component, &[("port", "1-2")]);
        episode.happenings.push(Happening { after: 0, what });
    }
    episode
}

fn tunnel_reconnects(_: &Device, random: &mut Random) -> Episode {
    let word = *random.pick(&["connecting", "disconnected"]);
    let lasts = if word == "connecting" { random.whole(20, 80) } else { random.whole(MINUTE, HOUR) };
    Episode { link: Some(Link::Home), ..episode(lasts, vec![says("vpn", word, "", Values::Same)]) }
}

fn firewall_reloads(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(MINUTE, 20 * MINUTE), vec![shows("firewall", 0.0, 0.0)])
}

fn portal(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(3 * MINUTE, 30 * MINUTE);
    Episode {
        link: Some(Link::Home),
        ..episode(lasts, vec![says("connectivity", "portal", "", Values::Same)])
    }
}

fn charger_peaks(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(2 * MINUTE, 12 * MINUTE), vec![shows("battery.drains", 1.0, 1.0)])
}

fn busy_disk(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(5 * MINUTE, 40 * MINUTE);
    let effects = vec![
        shaped("io.operations", Values::PerHour(400_000.0)),
        shaped("io.time", Values::PerHour(6_000.0)),
        shaped("io.busy", Values::PerHour(3_590.0)),
    ];
    episode(lasts, effects)
}

fn slow_line(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(5 * MINUTE, 40 * MINUTE), vec![shows("rtt", 0.06, 0.2), shows("jitter", 0.03, 0.06)])
}

fn paper_out_without_a_job(_: &Device, random: &mut Random) -> Episode {
    let lasts = random.whole(20 * MINUTE, 3 * HOUR);
    // Nothing waits for the paper: with a job it would be a fault.
    episode(
        lasts,
        vec![
            says(PRINTERS[0].reason, "media-empty", "report", Values::Same),
            shows(PRINTERS[0].jobs, 0.0, 0.0),
        ],
    )
}

fn restart_needed(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(4 * HOUR, 70 * HOUR), vec![shows("reboot", 1.0, 1.0)])
}

fn old_definitions_after_a_holiday(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(20 * MINUTE, 80 * MINUTE), vec![shows("antivirus.age", 7.0e5, 9.0e5)])
}

fn lossy_minutes(_: &Device, random: &mut Random) -> Episode {
    episode(random.whole(2 * MINUTE, 8 * MINUTE), vec![shows("loss", 0.01, 0.05)])
}
