//! What is in order, said of what was seen only: an aspect is named when its metric was reported and no line of its
//! checks says otherwise, so that a machine of which little could be read is not praised for the rest.

use super::view::View;
use super::{Domain, Level, Line};
use firstline_model::{ComponentKind, semconv};

/// An aspect that is named as being in order: it was seen, and no line of its checks says otherwise.
struct Aspect {
    domain: Domain,
    kind: ComponentKind,
    metric: &'static str,
    words: &'static str,
    checks: &'static [&'static str],
}

const fn aspect(
    domain: Domain,
    kind: ComponentKind,
    metric: &'static str,
    words: &'static str,
    checks: &'static [&'static str],
) -> Aspect {
    Aspect { domain, kind, metric, words, checks }
}

const ASPECTS: &[Aspect] = &[
    aspect(
        Domain::Disk,
        ComponentKind::LogicalDisk,
        semconv::HW_STATUS,
        "arrays of drives",
        &["raid.degraded"],
    ),
    aspect(
        Domain::Disk,
        ComponentKind::LogicalDisk,
        semconv::LVM_DATA_UTILIZATION,
        "pools of storage",
        &["lvm.thin"],
    ),
    aspect(
        Domain::Disk,
        ComponentKind::PhysicalDisk,
        semconv::DISK_IO_ERRORS,
        "no read or write errors in the kernel's log",
        &["disk.io_errors"],
    ),
    aspect(
        Domain::Filesystem,
        ComponentKind::Filesystem,
        semconv::FILESYSTEM_UTILIZATION,
        "space",
        &["fs.space"],
    ),
    aspect(
        Domain::Filesystem,
        ComponentKind::Filesystem,
        semconv::FILESYSTEM_INODES_UTILIZATION,
        "file entries",
        &["fs.inodes"],
    ),
    aspect(
        Domain::Filesystem,
        ComponentKind::Filesystem,
        semconv::FILESYSTEM_READONLY_UNEXPECTED,
        "writing",
        &["fs.readonly"],
    ),
    aspect(
        Domain::Filesystem,
        ComponentKind::Filesystem,
        semconv::FILESYSTEM_ERRORS,
        "no errors recorded",
        &["fs.errors"],
    ),
    aspect(
        Domain::Memory,
        ComponentKind::Memory,
        semconv::MEMORY_UTILIZATION,
        "free memory",
        &["mem.available"],
    ),
    aspect(
        Domain::Memory,
        ComponentKind::Memory,
        semconv::PRESSURE_STALL,
        "no waiting for memory",
        &["mem.pressure"],
    ),
    aspect(Domain::Memory, ComponentKind::Memory, semconv::PAGING_UTILIZATION, "swap", &["mem.swap"]),
    aspect(
        Domain::Memory,
        ComponentKind::Memory,
        semconv::OOM_KILLS,
        "no program ended for lack of it",
        &["mem.oom"],
    ),
    aspect(Domain::Memory, ComponentKind::Memory, semconv::HW_ERRORS, "error correction", &["mem.ecc"]),
    aspect(
        Domain::Processor,
        ComponentKind::Cpu,
        semconv::PRESSURE_STALL,
        "load",
        &["cpu.pressure", "cpu.utilization"],
    ),
    aspect(Domain::Processor, ComponentKind::Sensor, semconv::HW_STATUS, "temperatures", &["temp.high"]),
    aspect(Domain::Processor, ComponentKind::Fan, semconv::HW_STATUS, "fans", &["fan.failed"]),
    aspect(
        Domain::Power,
        ComponentKind::Battery,
        semconv::BATTERY_HEALTH,
        "battery capacity",
        &["battery.health"],
    ),
    aspect(Domain::Power, ComponentKind::Battery, semconv::HW_STATUS, "battery", &["battery.fault"]),
    aspect(
        Domain::Power,
        ComponentKind::Battery,
        semconv::POWER_DISCHARGING_ON_AC,
        "charger",
        &["power.adapter_weak"],
    ),
    aspect(
        Domain::System,
        ComponentKind::Service,
        semconv::SERVICE_STATE,
        "services",
        &["svc.failed", "prn.spooler"],
    ),
    aspect(
        Domain::System,
        ComponentKind::Os,
        semconv::REBOOT_REQUIRED,
        "no restart is due",
        &["os.pending_reboot"],
    ),
    aspect(
        Domain::System,
        ComponentKind::Os,
        semconv::OS_UPDATES_PENDING,
        "updates",
        &["os.updates_pending"],
    ),
    aspect(Domain::System, ComponentKind::Os, semconv::TIME_SYNCHRONIZED, "clock", &["time.offset"]),
    aspect(Domain::System, ComponentKind::Os, semconv::BOOT_DURATION, "time to start", &["boot.slow"]),
    aspect(
        Domain::Security,
        ComponentKind::Security,
        semconv::SECURITY_DISK_ENCRYPTION,
        "disk encryption",
        &["sec.encryption"],
    ),
    aspect(
        Domain::Security,
        ComponentKind::Security,
        semconv::SECURITY_FIREWALL,
        "firewall",
        &["sec.firewall"],
    ),
    aspect(
        Domain::Security,
        ComponentKind::Security,
        semconv::SECURITY_ANTIVIRUS,
        "virus protection",
        &["sec.antivirus"],
    ),
    aspect(
        Domain::Security,
        ComponentKind::Security,
        semconv::SECURITY_SECURE_BOOT,
        "secure boot",
        &["sec.secureboot"],
    ),
    aspect(
        Domain::Security,
        ComponentKind::User,
        semconv::USER_LOCKED,
        "no account is locked",
        &["user.locked"],
    ),
    aspect(
        Domain::Security,
        ComponentKind::Os,
        semconv::OS_END_OF_LIFE,
        "the system still gets security updates",
        &["sec.os_eol"],
    ),
    aspect(
        Domain::Printer,
        ComponentKind::Printer,
        semconv::PRINTER_STATE,
        "printers and their queues",
        &["prn.stopped", "prn.error", "prn.unreachable", "prn.stuck_job", "prn.supply_empty"],
    ),
];

pub(super) fn in_order(domain: Domain, view: &View<'_>, lines: &[Line]) -> Option<Line> {
    let is_told = |checks: &[&str]| {
        let mut told = lines.iter().filter(|line| line.domain == domain).filter_map(|line| line.check);
        told.any(|check| checks.contains(&check))
    };
    let mut words: Vec<&str> = ASPECTS
        .iter()
        .filter(|aspect| {
            aspect.domain == domain && view.has(aspect.kind, aspect.metric) && !is_told(aspect.checks)
        })
        .map(|aspect| aspect.words)
        .collect();
    words.dedup();
    (!words.is_empty()).then(|| Line {
        level: Level::Healthy,
        domain,
        check: None,
        component: None,
        text: format!("In order: {}.", words.join(", ")),
        advice: String::new(),
    })
}
