//! What could not be seen, in words, with the reason and with what would help. Never a fault. Parts that this machine
//! does not have are not worth a line.

use super::wording::{id, shown};
use super::{Domain, Level, Line, Reading};
use firstline_model::semconv;
use firstline_model::{Body, Component, ComponentKind, Observation, UnavailableReason};

const AS_ADMINISTRATOR: &str = "Run this command as administrator (on Linux: sudo firstline-agent check).";
const AGAIN: &str = "Run this command again; if it stays so, call the helpdesk.";

pub(super) fn list(reading: &Reading<'_>) -> Vec<Line> {
    let mut lines: Vec<Line> = reading.latest.iter().filter_map(unavailable).collect();
    // One source that cannot be read hides one aspect of several parts; one line says it.
    let mut known = Vec::new();
    lines.retain(|line| {
        let is_new = !known.contains(&line.text);
        known.push(line.text.clone());
        is_new
    });
    lines.extend(reading.incomplete.iter().map(|(probe, outcome)| incomplete(probe, outcome)));
    lines
}

fn unavailable(observation: &Observation) -> Option<Line> {
    let Body::Unavailable { what, reason, detail } = &observation.body else { return None };
    let component = &observation.component;
    let advice = match reason {
        UnavailableReason::NotPresent => return None,
        UnavailableReason::NotPermitted => AS_ADMINISTRATOR,
        UnavailableReason::TimedOut => AGAIN,
        UnavailableReason::Malformed => "",
        UnavailableReason::Unsupported => what_helps(what, detail),
    };
    let subject = subject(what, component);
    let text = match reason {
        UnavailableReason::NotPermitted => format!("{subject}: not permitted ({})", shown(detail)),
        UnavailableReason::TimedOut => format!("{subject}: no answer in time ({})", shown(detail)),
        UnavailableReason::Malformed => format!("{subject}: the answer makes no sense ({})", shown(detail)),
        UnavailableReason::Unsupported | UnavailableReason::NotPresent => {
            format!("{subject}: {}", shown(detail))
        }
    };
    Some(Line {
        level: Level::Unknown,
        domain: domain(what, component.kind),
        check: None,
        component: Some(component.clone()),
        text,
        advice: advice.to_owned(),
    })
}

/// What makes a source appear that this machine does not have.
fn what_helps(what: &str, detail: &str) -> &'static str {
    if what == semconv::HW_STATUS && detail.contains("smartmontools") {
        "Install the package smartmontools."
    } else if what == semconv::OS_UPDATES_PENDING && detail.contains("not refreshed") {
        "Let the system look for updates (on Debian: sudo apt update)."
    } else if what == semconv::OS_UPDATES_PENDING {
        "On Ubuntu, install the package update-notifier-common; elsewhere look into the system's own update program."
    } else {
        ""
    }
}

fn incomplete(probe: &str, outcome: &str) -> Line {
    let (domain, words) = match probe {
        "cpu" => (Domain::Processor, "The processor"),
        "sensor" => (Domain::Processor, "Temperatures and fans"),
        "gpu" => (Domain::Processor, "The graphics processor"),
        "peripheral" => (Domain::Peripheral, "Camera, sound and displays"),
        "memory" => (Domain::Memory, "The memory"),
        "ecc" => (Domain::Memory, "Errors of the memory"),
        "filesystem" => (Domain::Filesystem, "File systems"),
        "network" => (Domain::Network, "The network"),
        "printer" => (Domain::Printer, "Printers"),
        "physical_disk" => (Domain::Disk, "The health of drives"),
        "disk_io" => (Domain::Disk, "The speed of drives"),
        "raid" => (Domain::Disk, "Arrays of drives"),
        "lvm" => (Domain::Disk, "Pools of storage"),
        "power" => (Domain::Power, "Battery and charger"),
        "security" => (Domain::Security, "Security settings"),
        "time" => (Domain::System, "The clock"),
        "account" => (Domain::Security, "Sessions and locked accounts"),
        "process" => (Domain::Program, "Busy programs"),
        "os" => (Domain::System, "The operating system and its services"),
        other => (Domain::System, other),
    };
    let text = if outcome == "timed_out" {
        format!("{words}: no answer in time (timed_out)")
    } else {
        format!("{words}: looking at it failed ({outcome})")
    };
    let advice = AGAIN.to_owned();
    Line { level: Level::Unknown, domain, check: None, component: None, text, advice }
}

fn domain(what: &str, kind: ComponentKind) -> Domain {
    // Some aspects belong elsewhere than the part that they are reported of.
    if what == semconv::OS_END_OF_LIFE {
        return Domain::Security;
    } else if what == "printer" {
        return Domain::Printer;
    } else if what == semconv::HW_STATUS && kind == ComponentKind::Os {
        return Domain::Disk;
    }
    match kind {
        ComponentKind::Filesystem => Domain::Filesystem,
        ComponentKind::PhysicalDisk | ComponentKind::LogicalDisk => Domain::Disk,
        ComponentKind::Memory => Domain::Memory,
        ComponentKind::Cpu | ComponentKind::Sensor | ComponentKind::Fan | ComponentKind::Gpu => {
            Domain::Processor
        }
        ComponentKind::Battery => Domain::Power,
        ComponentKind::Network
        | ComponentKind::NetworkInterface
        | ComponentKind::Gateway
        | ComponentKind::DnsServer
        | ComponentKind::Vpn
        | ComponentKind::Wifi
        | ComponentKind::Endpoint => Domain::Network,
        ComponentKind::Printer => Domain::Printer,
        ComponentKind::Security | ComponentKind::User => Domain::Security,
        ComponentKind::Device => Domain::Peripheral,
        ComponentKind::Application | ComponentKind::Process => Domain::Program,
        ComponentKind::Os | ComponentKind::Service | ComponentKind::Agent | ComponentKind::Site => {
            Domain::System
        }
    }
}

/// The thing that has no value, in words. What a domain does not name here keeps the metric's own name.
fn subject(what: &str, component: &Component) -> String {
    let id = id(component);
    let is_one = component.id() != "0";
    match what {
        semconv::HW_STATUS if component.kind == ComponentKind::PhysicalDisk && is_one => {
            format!("The health of the drive {id} (cannot tell)")
        }
        semconv::HW_STATUS if component.kind == ComponentKind::Os => "The health of drives".to_owned(),
        semconv::HW_STATUS if component.kind == ComponentKind::Battery => {
            format!("Defects of the battery {id}")
        }
        semconv::HW_STATUS => format!("The state of {id}"),
        semconv::DISK_IO_ERRORS => "Read and write errors of drives in the kernel's log".to_owned(),
        semconv::DISK_OPERATION_TIME => "The speed of drives".to_owned(),
        semconv::LVM_DATA_UTILIZATION if is_one => format!("How full the storage pool {id} is"),
        semconv::LVM_DATA_UTILIZATION => "How full pools of storage are".to_owned(),
        semconv::OS_KERNEL_WARNING => "Crashes and faults in the kernel's log".to_owned(),
        semconv::APP_HANGS => "Programs that do not respond".to_owned(),
        semconv::APP_CRASHES => "Crashes of programs".to_owned(),
        semconv::SERVICE_STATE => "Services".to_owned(),
        semconv::REBOOT_REQUIRED => "Whether a restart is due".to_owned(),
        semconv::OS_UPDATES_PENDING => "Updates that wait".to_owned(),
        semconv::OS_LAST_PATCHED_AGE => "When updates were last installed".to_owned(),
        semconv::OS_END_OF_LIFE => "Until when the system gets security updates".to_owned(),
        semconv::UPTIME => "When the machine started".to_owned(),
        semconv::BOOT_DURATION => "How long the last start took".to_owned(),
        semconv::TIME_SYNCHRONIZED => "Whether the clock is right".to_owned(),
        semconv::SECURITY_FIREWALL => "The firewall".to_owned(),
        semconv::SECURITY_DISK_ENCRYPTION => "Disk encryption".to_owned(),
        semconv::SECURITY_SECURE_BOOT => "Secure boot".to_owned(),
        semconv::USER_LOCKED if is_one => format!("Whether the account {id} is locked"),
        semconv::USER_LOCKED => "Whether accounts are locked".to_owned(),
        semconv::LOGIN_DURATION => "How long the sign-in took".to_owned(),
        semconv::USER_SESSIONS => "Who is signed in".to_owned(),
        semconv::SECURITY_ANTIVIRUS => "Virus protection".to_owned(),
        semconv::SECURITY_ANTIVIRUS_DEFINITIONS_AGE => "The age of the virus definitions".to_owned(),
        semconv::CPU_THROTTLED_TIME => "Whether the processor slows itself down".to_owned(),
        semconv::CPU_UTILIZATION => "The load of the processor".to_owned(),
        semconv::PRESSURE_STALL if component.kind == ComponentKind::Memory => "Waiting for memory".to_owned(),
        semconv::PRESSURE_STALL => "Waiting for the processor".to_owned(),
        semconv::MEMORY_UTILIZATION => "Free memory".to_owned(),
        semconv::OOM_KILLS => "Programs ended for lack of memory".to_owned(),
        semconv::HW_ERRORS if component.kind == ComponentKind::Gpu => {
            "Crashes of the graphics driver".to_owned()
        }
        semconv::HW_ERRORS => format!("Errors of {}", if is_one { id } else { "the memory".to_owned() }),
        semconv::HW_TEMPERATURE => {
            format!("The temperature {}", if is_one { format!("at {id}") } else { String::new() })
                .trim_end()
                .to_owned()
        }
        semconv::FAN_SPEED => "Fans".to_owned(),
        semconv::GPU_UTILIZATION => "The load of the graphics processor".to_owned(),
        semconv::DEVICE_PRESENT => "Camera, sound and displays".to_owned(),
        semconv::BATTERY_HEALTH => "The wear of the battery".to_owned(),
        semconv::GATEWAY_REACHABLE if is_one => format!("The router {id}"),
        semconv::GATEWAY_REACHABLE => "The router".to_owned(),
        semconv::DNS_LOOKUP_DURATION if is_one => format!("The DNS server {id}"),
        semconv::DNS_LOOKUP_DURATION => "DNS servers".to_owned(),
        semconv::NETWORK_PROXY_REACHABLE => "Whether the web proxy answers".to_owned(),
        semconv::NETWORK_CONNECTIVITY => "Whether the network lets web pages through".to_owned(),
        // The network as a whole has no name of its own; what is asked first there is the router.
        semconv::NETWORK_LOSS if id == "0" => "Packets lost on the way to the router".to_owned(),
        semconv::NETWORK_LOSS => format!("Packets lost on the way to {id}"),
        semconv::NETWORK_JITTER => format!("How evenly {id} answers"),
        semconv::NETWORK_UP => "Network connections".to_owned(),
        semconv::NETWORK_BANDWIDTH_LIMIT => format!("The speed of the link at {id}"),
        semconv::NETWORK_IO => format!("The counters of the link at {id}"),
        semconv::FILESYSTEM_UTILIZATION => {
            format!("The space of {}", if is_one { id } else { "file systems".to_owned() })
        }
        semconv::FILESYSTEM_ERRORS => format!("Errors of the file system {id}"),
        semconv::FILESYSTEM_READONLY_UNEXPECTED => format!("Whether {id} can be written to"),
        semconv::BATTERY_CHARGE => format!("The charge of the battery {id}"),
        semconv::POWER_DISCHARGING_ON_AC => "Whether the charger is strong enough".to_owned(),
        semconv::PRINTER_STATE => format!("The state of the printer {id}"),
        semconv::PRINTER_REACHABLE => format!("Whether the printer {id} answers"),
        semconv::PRINTER_STATE_REASON => format!("What the printer {id} says of itself"),
        semconv::PRINTER_SUPPLY_LEVEL => format!("The supplies of the printer {id}"),
        semconv::PRINTER_SNMP => format!("What the printer {id} says over SNMP"),
        semconv::PRINTER_JOB_AGE | semconv::PRINTER_JOBS_QUEUED => format!("The jobs of the printer {id}"),
        semconv::PROCESS_CPU_UTILIZATION => "Busy programs".to_owned(),
        "printer" => "Printers".to_owned(),
        other => format!("{} of {}", shown(other), shown(&component.to_string())),
    }
}
