//! The kinds of faults: what breaks, which check must tell it, of which part, how severely, and with which evidence. What the
//! guest does for each stands in `tests/vm/faults.sh` under the same name.

use serde_json::{Value, json};

/// A kind of fault.
pub(super) struct Kind {
    pub name: &'static str,
    pub what: &'static str,
    /// What the agent must have said of the part before it breaks: its component and the name of what is observed.
    pub healthy: Option<((&'static str, &'static str), &'static str)>,
    /// The check that must open the ticket.
    pub rule: &'static str,
    pub severity: &'static str,
    /// The part of the ticket: kind and id.
    pub component: (&'static str, &'static str),
    /// Words that its evidence must hold.
    pub evidence: &'static [&'static str],
    /// Observations that must hold when the ticket is there: component, name, and an attribute with its value.
    pub besides: &'static [Holds],
    /// Tickets that must not be there: their check and the part.
    pub silent: &'static [(&'static str, (&'static str, &'static str))],
    /// What breaks.
    pub fault: &'static [Step],
    /// The longest time from the fault to the ticket, in seconds of the guest.
    pub within_s: f64,
    pub mend: Mend,
}

/// An observation: kind and id of its component, name, attribute, value of the attribute.
pub(super) type Holds = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// What is done for a fault.
pub(super) enum Step {
    /// `KIND_inject` or `KIND_mend` of the guest.
    Guest,
    /// A command of QEMU's monitor.
    Hardware(fn() -> (&'static str, Value)),
    /// The same command so many times, each when the kernel has logged these words once more.
    Repeated(u32, fn() -> (&'static str, Value), &'static str),
    /// The guest goes down by its own fault and starts again.
    Restart,
    /// Nothing must have come of it yet.
    StillWell,
}

/// What happens afterwards.
pub(super) enum Mend {
    /// It is mended, and the ticket must resolve within so many seconds of the guest.
    Resolves(&'static [Step], f64),
    /// It is mended, and the ticket must stay.
    Stays(&'static [Step], &'static str),
    /// It is left as it is.
    Left(&'static str),
}

impl Kind {
    /// What is said of it when all came as it should.
    pub(super) fn afterwards(&self) -> &'static str {
        match self.mend {
            Mend::Resolves(..) => "and recovery",
            Mend::Stays(_, why) | Mend::Left(why) => why,
        }
    }
}

fn nvme_bits(bits: u8) -> (&'static str, Value) {
    let path = "/machine/peripheral/nvme0";
    ("qom-set", json!({"path": path, "property": "smart_critical_warning", "value": bits}))
}

/// A corrected error of a memory controller's channel 0, told by bank 4 of the first processor.
fn memory_error() -> (&'static str, Value) {
    let line = "mce 0 4 0x9c00000000010090 0 0x12345000 0x8c";
    ("human-monitor-command", json!({"command-line": line}))
}

fn cable(up: bool) -> (&'static str, Value) {
    ("set_link", json!({"name": "nic0", "up": up}))
}

/// In the order in which they are played: the last one restarts the guest.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "nvme",
        what: "an NVMe drive says that it is no longer reliable",
        healthy: Some((("physical_disk", "VM-NVME-1"), "endpoint.nvme.critical_warning")),
        rule: "nvme.critical_warning",
        severity: "critical",
        component: ("physical_disk", "VM-NVME-1"),
        evidence: &["endpoint.nvme.critical_warning", "bit 2"],
        besides: &[("physical_disk", "VM-NVME-1", "hw.status", "hw.state", "predicted_failure")],
        silent: &[("disk.smart_failing", ("physical_disk", "VM-NVME-1"))],
        fault: &[Step::Hardware(|| nvme_bits(1 << 2)), Step::Guest],
        within_s: 60.0,
        mend: Mend::Stays(&[Step::Hardware(|| nvme_bits(0)), Step::Guest], "stays: such a drive is replaced"),
    },
    Kind {
        name: "io",
        what: "a drive fails to read a sector and calls itself well",
        healthy: Some((("physical_disk", "VM-SATA-1"), "endpoint.disk.io_errors")),
        rule: "disk.io_errors",
        severity: "critical",
        component: ("physical_disk", "VM-SATA-1"),
        evidence: &["endpoint.disk.io_errors", "op read"],
        besides: &[("physical_disk", "VM-SATA-1", "hw.status", "hw.state", "ok")],
        silent: &[("disk.smart_failing", ("physical_disk", "VM-SATA-1"))],
        fault: &[Step::Guest],
        within_s: 30.0,
        mend: Mend::Resolves(&[], 240.0),
    },
    Kind {
        name: "md",
        what: "a mirror loses a member",
        healthy: Some((("logical_disk", "md0"), "hw.status")),
        rule: "raid.degraded",
        severity: "critical",
        component: ("logical_disk", "md0"),
        evidence: &["hw.status", "degraded", "faulty"],
        besides: &[],
        silent: &[],
        fault: &[Step::Guest],
        within_s: 60.0,
        mend: Mend::Resolves(&[Step::Guest], 180.0),
    },
    Kind {
        name: "mce",
        what: "the processor corrects errors of memory again and again",
        healthy: None,
        rule: "mem.ecc",
        severity: "info",
        component: ("memory", "bank 4"),
        evidence: &["hw.errors", "corrected"],
        besides: &[],
        silent: &[],
        fault: &[
            Step::Repeated(12, memory_error, "Machine Check: 0 Bank 4"),
            Step::StillWell,
            Step::Repeated(13, memory_error, "Machine Check: 0 Bank 4"),
        ],
        within_s: 60.0,
        mend: Mend::Left("left: it clears a day after the last error"),
    },
    Kind {
        name: "temp",
        what: "a sensor is hotter than its critical limit",
        healthy: Some((("sensor", "lm80/temp1"), "hw.temperature.limit")),
        rule: "temp.high",
        severity: "critical",
        component: ("sensor", "lm80/temp1"),
        evidence: &["hw.temperature", "95", "80"],
        besides: &[("sensor", "lm80/temp1", "hw.status", "hw.state", "critical")],
        silent: &[("fan.failed", ("fan", "lm80/fan2"))],
        fault: &[Step::Guest],
        within_s: 60.0,
        mend: Mend::Resolves(&[Step::Guest], 180.0),
    },
    Kind {
        name: "fan",
        what: "a fan stops",
        healthy: Some((("fan", "lm80/fan1"), "hw.status")),
        rule: "fan.failed",
        severity: "critical",
        component: ("fan", "lm80/fan1"),
        evidence: &["hw.status", "failed"],
        besides: &[],
        silent: &[],
        fault: &[Step::Guest],
        within_s: 90.0,
        mend: Mend::Resolves(&[Step::Guest], 180.0),
    },
    Kind {
        name: "link",
        what: "the cable is out",
        healthy: Some((("network_interface", "eth0"), "hw.network.up")),
        rule: "net.link",
        severity: "warning",
        component: ("network_interface", "eth0"),
        evidence: &["hw.network.up"],
        besides: &[],
        silent: &[],
        fault: &[Step::Hardware(|| cable(false))],
        within_s: 120.0,
        mend: Mend::Resolves(&[Step::Hardware(|| cable(true))], 180.0),
    },
    Kind {
        name: "wifi",
        what: "the signal of the access point is weak",
        healthy: Some((("wifi", "wlan1"), "endpoint.wifi.rssi")),
        rule: "wifi.signal",
        severity: "warning",
        component: ("wifi", "wlan1"),
        evidence: &["endpoint.wifi.rssi", "dBm"],
        besides: &[],
        silent: &[],
        fault: &[Step::Guest],
        within_s: 120.0,
        mend: Mend::Resolves(&[Step::Guest], 180.0),
    },
    Kind {
        name: "panic",
        what: "the kernel panics twice, and tells it after the restart",
        healthy: None,
        rule: "os.crash",
        severity: "warning",
        component: ("os", "0"),
        evidence: &["endpoint.os.unexpected_restart", "panic"],
        besides: &[],
        silent: &[],
        fault: &[Step::Guest, Step::Restart, Step::StillWell, Step::Guest, Step::Restart],
        within_s: 180.0,
        mend: Mend::Left("left: it clears with the week"),
    },
];
