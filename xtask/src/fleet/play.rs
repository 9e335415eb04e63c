//! Lets the plan happen and writes what the agents of the machines observe: a trace, sorted by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::io::{self, Write};

use super::clock::{DAY, HOUR, MINUTE, text};
use super::connections::HOME_ROUTER;
use super::day::{Ending, Link, Span};
use super::fault::What;
use super::office::{Class, Office};
use super::plan::{Act, Step};
use super::random::Random;
use super::series::{Clocks, Usual, Values, When};

/// What was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub observations: u64,
}

struct Machine {
    on: bool,
    dark_until: u32,
    link: Link,
    clocks: Clocks,
    told_facts: bool,
    /// Series that speak at the pace of their probe until then, by their place.
    lively_until: Vec<u32>,
    /// An event that is told after the next start.
    to_tell: Option<String>,
    /// It is being restarted by somebody.
    restarts: bool,
}

/// Planned: a step of the plan, or the next measurement of a series.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Step(usize),
    Measure { device: usize, series: usize, turn: u32 },
    Back(usize),
}

struct Player<'o, W: Write> {
    office: &'o mut Office,
    machines: Vec<Machine>,
    queue: BinaryHeap<Reverse<(u32, u64, Next)>>,
    number: u64,
    random: Random,
    out: W,
    line: String,
    time: (u32, String),
    written: Written,
}

/// A shape that has lasted this long is no news any more.
const NEWS: u32 = 2 * HOUR;
/// So long after a shape has ended its series still speaks at the pace of its probe.
const AFTERWARDS: u32 = 25 * MINUTE;

pub(super) fn play(
    office: &mut Office,
    steps: &[Step],
    seed: u64,
    end: u32,
    out: impl Write,
) -> io::Result<Written> {
    let mut random = Random::new(seed, 3);
    let machines = office
        .devices
        .iter()
        .map(|device| Machine {
            on: false,
            dark_until: 0,
            link: Link::Wired,
            clocks: Clocks {
                awake_since: 0,
                booted: 0,
                up_before: random.range(0.5, 12.0) * f64::from(DAY),
                patched: 0,
                old_before: random.range(0.2, 5.5) * f64::from(DAY),
            },
            told_facts: false,
            lively_until: vec![0; device.series.len()],
            to_tell: None,
            restarts: false,
        })
        .collect();
    let mut player = Player {
        office,
        machines,
        queue: BinaryHeap::new(),
        number: 0,
        random,
        out,
        line: String::new(),
        time: (u32::MAX, String::new()),
        written: Written::default(),
    };
    for (place, step) in steps.iter().enumerate() {
        player.push(step.at, Next::Step(place));
    }
    while let Some(Reverse((at, _, next))) = player.queue.pop() {
        if at >= end {
            break;
        }
        match next {
            Next::Step(place) => player.step(at, &steps[place])?,
            Next::Measure { device, series, turn } => player.measure(at, device, series, turn)?,
            Next::Back(device) => player.comes_back(at, device)?,
        }
    }
    player.out.flush()?;
    Ok(player.written)
}

impl<W: Write> Player<'_, W> {
    fn push(&mut self, at: u32, next: Next) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number, next)));
    }

    fn step(&mut self, at: u32, step: &Step) -> io::Result<()> {
        let device = step.device;
        match &step.act {
            Act::Wake(span) => {
                let span = self.office.devices[device].spans[*span];
                self.wake(at, device, &span)
            }
            Act::Leave(span) => {
                let ending = self.office.devices[device].spans[*span].ending;
                self.machines[device].on = false;
                match ending {
                    Ending::Asleep => self.presence(at, device, "asleep"),
                    Ending::ShutDown => self.presence(at, device, "shut_down"),
                    Ending::Unsaid => Ok(()),
                }
            }
            Act::Begin { series, shape } => {
                let one = &mut self.office.devices[device].series[*series];
                (one.shape, one.shaped_at) = (Some(*shape), at);
                if let Values::Jump(by) = shape.values {
                    one.value += by;
                }
                self.soon(at, device, *series);
                Ok(())
            }
            Act::End { series } => self.end_shape(at, device, *series),
            Act::Happen(what) => self.happen(at, device, what),
        }
    }

    /// The probe of a series looks at its next turn.
    fn soon(&mut self, at: u32, device: usize, series: usize) {
        let one = &mut self.office.devices[device].series[series];
        one.turn += 1;
        let (turn, every) = (one.turn, one.every.min(MINUTE));
        let wait = self.random.whole(0, every);
        self.push(at + wait, Next::Measure { device, series, turn });
    }

    fn end_shape(&mut self, at: u32, device: usize, series: usize) -> io::Result<()> {
        let usual_fill = self.office.devices[device].usual_fill;
        let one = &mut self.office.devices[device].series[series];
        let shape = one.shape.take();
        if let Usual::Fill { .. } = one.usual {
            // Somebody has made room.
            one.value = usual_fill;
        }
        self.machines[device].lively_until[series] = at + AFTERWARDS;
        // A reason that is over is said once more, with 0.
        let one = &self.office.devices[device].series[series];
        if let (Some((name @ "keyword", _)), Some(shape)) = (one.word, shape)
            && self.is_heard(at, device)
            && one.when.holds(self.machines[device].link)
        {
            let (component, attributes) = (one.component.clone(), one.attributes.clone());
            let word = shape.word.unwrap_or_default();
            let attributes = reason(name, word, shape.severity, &attributes);
            self.sample(at, device, "endpoint.printer.state_reason", &component, &attributes, 0.0)?;
        }
        self.soon(at, device, series);
        Ok(())
    }

    fn is_heard(&self, at: u32, device: usize) -> bool {
        let machine = &self.machines[device];
        machine.on && at >= machine.dark_until
    }

    fn wake(&mut self, at: u32, device: usize, span: &Span) -> io::Result<()> {
        let machine = &mut self.machines[device];
        let moved = machine.link != span.link || !machine.told_facts;
        machine.on = true;
        machine.link = span.link;
        machine.clocks.awake_since = at;
        if span.patched {
            machine.clocks.patched = at;
            machine.clocks.old_before = 0.0;
        }
        self.presence(at, device, "online")?;
        if span.boots {
            self.boot(at, device)?;
        }
        if span.patched {
            let version = format!("\"os_version\":\"{}.{}\"", self.office.devices[device].os, at / (7 * DAY));
            self.facts(at, device, &version)?;
        }
        if moved {
            self.tell_facts(at, device)?;
            self.tell_links(at, device, span.link)?;
        }
        self.measure_all(at, device);
        Ok(())
    }

    fn boot(&mut self, at: u32, device: usize) -> io::Result<()> {
        let clocks = &mut self.machines[device].clocks;
        (clocks.booted, clocks.up_before) = (at, 0.0);
        for series in &mut self.office.devices[device].series {
            if matches!(series.usual, Usual::Counter { resets: true, .. }) {
                series.value = 0.0;
            }
        }
        let boots = self.office.devices[device].slot("boot");
        if let Some(series) = boots {
            self.write_series(at, device, series)?;
        }
        Ok(())
    }

    fn measure_all(&mut self, at: u32, device: usize) {
        for series in 0..self.office.devices[device].series.len() {
            if self.office.devices[device].series[series].when != When::AtBoot {
                self.soon(at + 1, device, series);
            }
        }
    }

    fn measure(&mut self, at: u32, device: usize, series: usize, turn: u32) -> io::Result<()> {
        let one = &self.office.devices[device].series[series];
        let machine = &self.machines[device];
        if one.turn != turn || !self.is_heard(at, device) || !one.when.holds(machine.link) {
            return Ok(());
        }
        self.write_series(at, device, series)?;
        let one = &self.office.devices[device].series[series];
        let is_news = one.shape.is_some() && at - one.shaped_at < NEWS;
        let pace = match (is_news || at < self.machines[device].lively_until[series], one.shape.is_some()) {
            (true, _) => one.every,
            (false, true) => one.every.max(5 * MINUTE),
            (false, false) => one.rest,
        };
        // Right after waking everything is measured at once; from then on the series do not march in step.
        let shortest =
            if at < self.machines[device].clocks.awake_since + 2 * MINUTE { 5 } else { pace - pace / 12 };
        let wait = self.random.whole(shortest.min(pace), pace + pace / 12).max(1);
        self.push(at + wait, Next::Measure { device, series, turn });
        Ok(())
    }

    fn write_series(&mut self, at: u32, device: usize, series: usize) -> io::Result<()> {
        let clocks = self.machines[device].clocks;
        let one = &mut self.office.devices[device].series[series];
        let Some(value) = one.measure(at, clocks, &mut self.random) else { return Ok(()) };
        let shape = one.shape;
        let attributes = match one.word {
            None => one.attributes.clone(),
            Some((name @ "keyword", usual)) => {
                let word = shape.and_then(|shape| shape.word).unwrap_or(usual);
                let severity = shape.map_or("report", |shape| shape.severity);
                reason(name, word, severity, &one.attributes)
            }
            Some((name, usual)) => {
                let word = shape.and_then(|shape| shape.word).unwrap_or(usual);
                let comma = if one.attributes.is_empty() { "" } else { "," };
                format!("{}{comma}\"{name}\":\"{word}\"", one.attributes)
            }
        };
        let (metric, component) = (one.metric, std::mem::take(&mut one.component));
        let done = self.sample(at, device, metric, &component, &attributes, value);
        self.office.devices[device].series[series].component = component;
        done
    }

    fn happen(&mut self, at: u32, device: usize, what: &What) -> io::Result<()> {
        match what {
            What::Dark(lasts) => {
                self.machines[device].dark_until = at + lasts;
                self.push(at + lasts, Next::Back(device));
                return Ok(());
            }
            What::Crash { cause } => {
                if !self.machines[device].on {
                    return Ok(());
                }
                let back = at + 100 + self.random.whole(0, 80);
                self.presence(at, device, "crashed")?;
                let clocks = &mut self.machines[device].clocks;
                (clocks.booted, clocks.up_before) = (back, 0.0);
                self.machines[device].dark_until = back;
                self.push(back, Next::Back(device));
                // It is told after the restart, with the time of the restart.
                let event = format!(
                    "\"event\":\"endpoint.os.unexpected_restart\",\"component\":\"os/0\",\"attrs\":{{\"cause\":\"{cause}\"}}"
                );
                self.machines[device].to_tell = Some(event);
                return Ok(());
            }
            What::Restart => {
                if !self.is_heard(at, device) {
                    return Ok(());
                }
                let back = at + 60 + self.random.whole(0, 60);
                self.presence(at, device, "shut_down")?;
                let clocks = &mut self.machines[device].clocks;
                (clocks.booted, clocks.up_before) = (back, 0.0);
                self.machines[device].dark_until = back;
                self.machines[device].restarts = true;
                self.push(back, Next::Back(device));
                return Ok(());
            }
            What::Event { .. } | What::Sample { .. } | What::Facts(_) => {}
        }
        if !self.is_heard(at, device) {
            return Ok(());
        }
        match what {
            What::Event { name, component, attributes } => self.write(
                at,
                device,
                &format!("\"event\":\"{name}\",\"component\":\"{component}\",\"attrs\":{{{attributes}}}"),
            ),
            What::Sample { metric, component, attributes, value } => {
                self.sample(at, device, metric, component, attributes, *value)
            }
            What::Facts(facts) => self.facts(at, device, facts),
            What::Dark(_) | What::Crash { .. } | What::Restart => Ok(()),
        }
    }

    fn comes_back(&mut self, at: u32, device: usize) -> io::Result<()> {
        if !self.machines[device].on {
            return Ok(());
        }
        let event = self.machines[device].to_tell.take();
        if std::mem::take(&mut self.machines[device].restarts) || event.is_some() {
            self.presence(at, device, "online")?;
            self.boot(at, device)?;
        }
        if let Some(event) = event {
            self.write(at, device, &event)?;
        }
        self.machines[device].clocks.awake_since = at;
        self.measure_all(at, device);
        Ok(())
    }

    fn presence(&mut self, at: u32, device: usize, presence: &str) -> io::Result<()> {
        self.write(at, device, &format!("\"presence\":\"{presence}\""))
    }

    fn facts(&mut self, at: u32, device: usize, facts: &str) -> io::Result<()> {
        self.write(at, device, &format!("\"facts\":{{{facts}}}"))
    }

    /// What machines may have in common, as far as it depends on where they are.
    fn tell_facts(&mut self, at: u32, place: usize) -> io::Result<()> {
        let device = &self.office.devices[place];
        let site = &self.office.sites[device.site];
        let link = self.machines[place].link;
        let number = site.number;
        let there = match link {
            Link::Wired => format!(
                "\"subnet\":\"{}\",\"gateway_mac\":\"02:00:5e:00:10:{number:02x}\",\"dns_server\":\"{}\",\"switch\":\"{}\",\"bssid\":\"\"",
                site.wired_subnet(),
                site.dns(0),
                site.switches[device.switch]
            ),
            Link::Wifi => format!(
                "\"subnet\":\"{}\",\"gateway_mac\":\"02:00:5e:00:20:{number:02x}\",\"dns_server\":\"{}\",\"switch\":\"\",\"bssid\":\"{}\"",
                site.wifi_subnet(),
                site.dns(0),
                site.access_points[device.access_point]
            ),
            Link::Home => format!(
                "\"subnet\":\"192.168.1.0/24\",\"gateway_mac\":\"02:00:5f:{:02x}:{:02x}:01\",\"dns_server\":\"{HOME_ROUTER}\",\"switch\":\"\",\"bssid\":\"\"",
                place / 256 % 256,
                place % 256
            ),
        };
        let first = if self.machines[place].told_facts {
            String::new()
        } else {
            let vpn = if device.class == Class::Laptop { device.vpn } else { "" };
            format!(
                "\"site\":\"{}\",\"model\":\"{}\",\"os\":\"{}\",\"os_version\":\"{}.0\",\"bios_version\":\"{}\",\
                 \"vpn_gateway\":\"{vpn}\",\"drivers\":{{\"wlan\":\"{}\"}},\"software\":{{\"mail\":\"16.0.1\",\
                 \"endpoint-policy\":\"7.1\",\"edr-sensor\":\"5.0\"}},",
                site.name, device.model, device.os, device.os, device.bios, device.driver
            )
        };
        let (serial, rotating) = (device.serial.clone(), device.rotating);
        self.facts(at, place, &format!("{first}{there}"))?;
        if !self.machines[place].told_facts {
            let rate = if rotating { 7200 } else { 0 };
            let document = format!(
                "\"state\":\"physical_disk\",\"component\":\"physical_disk/{serial}\",\"doc\":{{\"rotation_rate\":{rate}}}"
            );
            self.write(at, place, &document)?;
        }
        self.machines[place].told_facts = true;
        Ok(())
    }

    /// A laptop that changes its connection loses the other one.
    fn tell_links(&mut self, at: u32, place: usize, link: Link) -> io::Result<()> {
        if self.office.devices[place].class != Class::Laptop {
            return Ok(());
        }
        let lost = if link == Link::Wired { "network_interface/wlan0" } else { "network_interface/eth0" };
        self.sample(at, place, "hw.network.up", lost, "", 0.0)
    }

    fn sample(
        &mut self,
        at: u32,
        device: usize,
        metric: &str,
        component: &str,
        attributes: &str,
        value: f64,
    ) -> io::Result<()> {
        let mut rest = std::mem::take(&mut self.line);
        rest.clear();
        let _ = write!(rest, "\"metric\":\"{metric}\",\"component\":\"{component}\"");
        if !attributes.is_empty() {
            let _ = write!(rest, ",\"attrs\":{{{attributes}}}");
        }
        if value.fract() == 0.0 {
            let _ = write!(rest, ",\"value\":{value:.0}");
        } else {
            let _ = write!(rest, ",\"value\":{value:.5}");
        }
        let done = self.write(at, device, &rest);
        self.line = rest;
        done
    }

    fn write(&mut self, at: u32, device: usize, rest: &str) -> io::Result<()> {
        if self.time.0 != at {
            self.time = (at, text(at));
        }
        // Now and then an acknowledgement is lost, and the same observation comes again.
        let times = if self.random.chance(0.002) { 2 } else { 1 };
        for _ in 0..times {
            writeln!(
                self.out,
                "{{\"t\":\"{}\",\"device\":\"{}\",{rest}}}",
                self.time.1, self.office.devices[device].id
            )?;
            self.written.observations += 1;
        }
        Ok(())
    }
}

fn reason(name: &str, word: &str, severity: &str, attributes: &str) -> String {
    let source = if word == "none" { "queue" } else { "device" };
    let severity = if severity.is_empty() { "report" } else { severity };
    format!("\"{name}\":\"{word}\",{attributes},\"severity\":\"{severity}\",\"source\":\"{source}\"")
}
