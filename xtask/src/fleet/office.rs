//! The company: sites with their networks, switches, access points, name servers and printers, and the machines there.

use super::day::{Link, Span, spans};
use super::equipment::series_of;
use super::random::Random;
use super::series::Series;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Laptop,
    Desktop,
    Server,
}

#[derive(Debug, Clone)]
pub(super) struct Site {
    pub name: String,
    pub number: usize,
    pub switches: Vec<String>,
    pub access_points: Vec<String>,
    /// Device UUIDs.
    pub printers: Vec<String>,
}

impl Site {
    pub(super) fn dns(&self, which: usize) -> String {
        format!("10.{}.0.{}", self.number, 53 + which)
    }

    pub(super) fn wired_subnet(&self) -> String {
        format!("10.{}.16.0/20", self.number)
    }

    pub(super) fn wifi_subnet(&self) -> String {
        format!("10.{}.32.0/20", self.number)
    }

    pub(super) fn gateway(&self, link: Link) -> String {
        let third = if link == Link::Wifi { 32 } else { 16 };
        format!("10.{}.{third}.1", self.number)
    }

    /// Its internal web site, whose certificate some machines watch.
    pub(super) fn intranet(&self) -> String {
        format!("intranet.{}.example:443", self.name)
    }
}

/// One machine.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub id: String,
    pub class: Class,
    pub site: usize,
    pub switch: usize,
    pub access_point: usize,
    /// Places in the site's printers.
    pub printers: Vec<usize>,
    pub model: &'static str,
    pub os: &'static str,
    pub bios: String,
    pub serial: String,
    pub rotating: bool,
    pub vpn: &'static str,
    pub driver: String,
    pub watches_certificate: bool,
    /// Its whole model takes long to start: that is how it is, and no fault.
    pub starts_slowly: bool,
    /// How full its disk usually is.
    pub usual_fill: f64,
    pub spans: Vec<Span>,
    pub series: Vec<Series>,
}

impl Device {
    /// The place of a series by its name.
    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        self.series.iter().position(|series| series.slot == name)
    }

    pub(super) fn component(&self, slot: &str) -> Option<String> {
        self.slot(slot).map(|at| self.series[at].component.clone())
    }

    pub(super) fn has(&self, slot: &str) -> bool {
        self.slot(slot).is_some()
    }
}

/// Everything there is.
#[derive(Debug, Clone)]
pub(super) struct Office {
    pub sites: Vec<Site>,
    pub devices: Vec<Device>,
}

const CITIES: &[&str] =
    &["oslo", "bergen", "turku", "gent", "lyon", "porto", "graz", "brno", "gdansk", "cork", "leeds", "bern"];
const MODELS: &[&str] = &[
    "Latitude 5440",
    "Latitude 7450",
    "ThinkPad T14 G4",
    "EliteBook 840 G10",
    "OptiPlex 7010",
    "ProDesk 400 G9",
    "ThinkCentre M70q",
    "PowerEdge R450",
    "ProLiant DL360",
];
/// An old model.
const SLOW_MODEL: &str = "ThinkPad T14 G4";
pub(super) const VPN_GATEWAYS: &[&str] = &["vpn-north", "vpn-south"];

pub(super) fn build(devices: usize, days: u32, seed: u64) -> Office {
    let mut random = Random::new(seed, 1);
    let count = (devices / 85).max(2);
    let sites: Vec<Site> = (0..count).map(|number| site(number, devices / count, &mut random)).collect();
    let devices = (0..devices)
        .map(|number| {
            let mut random = Random::new(seed, 1000 + number as u64);
            device(number, &sites, days, &mut random)
        })
        .collect();
    Office { sites, devices }
}

fn site(number: usize, machines: usize, random: &mut Random) -> Site {
    let city = CITIES[number % CITIES.len()];
    let name =
        if number < CITIES.len() { city.to_owned() } else { format!("{city}-{}", number / CITIES.len() + 1) };
    let several = |per: usize| 0..(machines / per).max(2);
    Site {
        switches: several(24).map(|n| format!("sw-{name}-{}", n + 1)).collect(),
        access_points: several(14).map(|n| format!("02:00:5e:{number:02x}:{n:02x}:01")).collect(),
        printers: several(16).map(|_| uuid(random)).collect(),
        number: number + 1,
        name,
    }
}

fn uuid(random: &mut Random) -> String {
    let (a, b) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

fn device(number: usize, sites: &[Site], days: u32, random: &mut Random) -> Device {
    let site = number % sites.len();
    let class = match random.unit() {
        share if share < 0.58 => Class::Laptop,
        share if share < 0.9 => Class::Desktop,
        _ => Class::Server,
    };
    let model = match class {
        Class::Laptop => *random.pick(&MODELS[..4]),
        Class::Desktop => *random.pick(&MODELS[4..7]),
        Class::Server => *random.pick(&MODELS[7..]),
    };
    let os = match class {
        Class::Server => "linux",
        Class::Laptop | Class::Desktop if random.chance(0.25) => "linux",
        Class::Laptop | Class::Desktop => "windows",
    };
    let here = &sites[site];
    let mut printers = Vec::new();
    if class != Class::Server {
        printers.push((number / sites.len()) % here.printers.len());
        let other = random.place(here.printers.len());
        if random.chance(0.3) && !printers.contains(&other) {
            printers.push(other);
        }
    }
    let mut device = Device {
        id: format!(
            "{}-{number:04}",
            match class {
                Class::Laptop => "lt",
                Class::Desktop => "pc",
                Class::Server => "srv",
            }
        ),
        class,
        site,
        switch: (number / sites.len()) % here.switches.len(),
        access_point: random.place(here.access_points.len()),
        printers,
        model,
        os,
        bios: format!("1.{}.0 {model}", random.whole(12, 14)),
        serial: format!("S{:07X}", random.next() & 0xfff_ffff),
        rotating: class != Class::Laptop && random.chance(0.35),
        vpn: VPN_GATEWAYS[site % VPN_GATEWAYS.len()],
        driver: format!("31.0.{}", random.whole(2, 4)),
        starts_slowly: model == SLOW_MODEL,
        watches_certificate: class == Class::Server || random.chance(0.15),
        usual_fill: random.range(0.25, 0.78),
        spans: Vec::new(),
        series: Vec::new(),
    };
    device.spans = spans(class, days, random);
    device.series = series_of(&device, here, random);
    device
}
