//! Every metric and attribute name, once.
//!
//! Names follow OpenTelemetry's `system.*` and `hw.*` conventions (1.44.0, all marked *development* upstream, which
//! is why they stand in one file) and `endpoint.*` where OpenTelemetry has none. Units are UCUM and stand beside
//! each name. A check's metric in the catalogue is the constant here, letter for letter.

/// A metric: its name and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name on the wire, in knowledge entries and in traces.
    pub name: &'static str,
    /// The UCUM unit: `1`, `s`, `By`, `Cel`, `{error}`.
    pub unit: &'static str,
    /// Whether the sample is a cumulative counter, of which the engine takes differences.
    pub cumulative: bool,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $unit:literal $(, $cumulative:ident)?;)+) => {
        $($(#[$doc])* pub const $constant: &str = $name;)+

        /// Every metric with its unit, in the order above.
        pub const METRICS: &[Metric] = &[
            $(Metric { name: $name, unit: $unit, cumulative: metrics!(@flag $($cumulative)?) },)+
        ];
    };
    (@flag cumulative) => { true };
    (@flag) => { false };
}

metrics! {
    /// Share of processor time spent, by `cpu.mode`; without the attribute, the share not idle.
    CPU_UTILIZATION = "system.cpu.utilization", "1";
    /// Share of time that tasks stalled on a resource; `resource`, `kind`, `window`.
    PRESSURE_STALL = "endpoint.pressure.stall", "1";
    /// Share of memory in use (1 - available / total).
    MEMORY_UTILIZATION = "system.memory.utilization", "1";
    /// Memory that can be given to programs without swapping.
    MEMORY_AVAILABLE = "system.memory.linux.available", "By";
    /// All memory.
    MEMORY_LIMIT = "system.memory.limit", "By";
    /// Share of swap in use.
    PAGING_UTILIZATION = "system.paging.utilization", "1";
    /// Processes killed for lack of memory since boot.
    OOM_KILLS = "endpoint.memory.oom_kills", "{kill}", cumulative;
    /// Memory pages retired as faulty.
    MEMORY_HARDWARE_CORRUPTED = "endpoint.memory.hardware_corrupted", "By";
    /// Share of a file system in use, as a person without administrator rights sees it.
    FILESYSTEM_UTILIZATION = "system.filesystem.utilization", "1";
    /// Bytes by `system.filesystem.state` = used, free.
    FILESYSTEM_USAGE = "system.filesystem.usage", "By";
    /// Size of a file system.
    FILESYSTEM_LIMIT = "system.filesystem.limit", "By";
    /// Share of inodes in use.
    FILESYSTEM_INODES_UTILIZATION = "endpoint.filesystem.inodes.utilization", "1";
    /// 1 when a file system that should be writable is not.
    FILESYSTEM_READONLY_UNEXPECTED = "endpoint.filesystem.readonly_unexpected", "1";
    /// Errors that the file system counted in its own metadata.
    FILESYSTEM_ERRORS = "endpoint.filesystem.errors", "{error}", cumulative;
    /// 1 with the state in `hw.state`, for the hardware in `hw.type`.
    HW_STATUS = "hw.status", "1";
    /// Raw SMART attribute values by `hw.physical_disk.smart_attribute`, which is the attribute's number: `5`, `197`.
    PHYSICAL_DISK_SMART = "hw.physical_disk.smart", "1";
    /// Share of rated endurance left (`state` = remaining).
    PHYSICAL_DISK_ENDURANCE = "hw.physical_disk.endurance_utilization", "1";
    /// Size of a drive.
    PHYSICAL_DISK_SIZE = "hw.physical_disk.size", "By";
    /// Temperature of the component.
    HW_TEMPERATURE = "hw.temperature", "Cel";
    /// Errors by `hw.type` and `error.type`.
    HW_ERRORS = "hw.errors", "{error}", cumulative;
    /// NVMe critical warning bits, 1 for each `bit` that is set.
    NVME_CRITICAL_WARNING = "endpoint.nvme.critical_warning", "1";
    /// NVMe spare capacity left.
    NVME_AVAILABLE_SPARE = "endpoint.nvme.available_spare", "1";
    /// The spare capacity below which the drive warns.
    NVME_AVAILABLE_SPARE_THRESHOLD = "endpoint.nvme.available_spare_threshold", "1";
    /// I/O errors that the kernel logged since the agent began to read its log, by `device` and `op`.
    DISK_IO_ERRORS = "endpoint.disk.io_errors", "{error}", cumulative;
    /// Seconds since boot, suspended time included.
    UPTIME = "system.uptime", "s";
    /// 1 when a restart is needed, with the signal that says so in `reason`.
    REBOOT_REQUIRED = "endpoint.os.reboot_required", "1";
    /// 1 with the state of the service in `state`; `name` is the unit.
    SERVICE_STATE = "endpoint.service.state", "1";
    /// Automatic restarts of a service since boot.
    SERVICE_RESTARTS = "endpoint.service.restarts", "{restart}", cumulative;
    /// A restart that nobody asked for; an event.
    OS_UNEXPECTED_RESTART = "endpoint.os.unexpected_restart", "{event}";
    /// A fault that the kernel reported of itself, by `type`; an event.
    OS_KERNEL_WARNING = "endpoint.os.kernel_warning", "{event}";
    /// A program that crashed; an event.
    APP_CRASHES = "endpoint.app.crashes", "{crash}";
    /// 1 when the interface has a carrier.
    NETWORK_UP = "hw.network.up", "1";
    /// Speed of the link.
    NETWORK_BANDWIDTH_LIMIT = "hw.network.bandwidth.limit", "By/s";
    /// Bytes by `network.io.direction`.
    NETWORK_IO = "system.network.io", "By", cumulative;
    /// Packets by `network.io.direction`.
    NETWORK_PACKET_COUNT = "system.network.packet.count", "{packet}", cumulative;
    /// Damaged packets by `network.io.direction`.
    NETWORK_ERRORS = "system.network.errors", "{error}", cumulative;
    /// Discarded packets by `network.io.direction`.
    NETWORK_PACKET_DROPPED = "system.network.packet.dropped", "{packet}", cumulative;
    /// How often the link came and went.
    NETWORK_CARRIER_CHANGES = "endpoint.network.carrier_changes", "{change}", cumulative;
    /// 1 with the address state in `state` = ok, none, link_local.
    NETWORK_IP_CONFIG = "endpoint.network.ip_config", "1";
    /// 1 when the default gateway answers an echo request or address resolution, else 0.
    GATEWAY_REACHABLE = "endpoint.network.gateway.reachable", "1";
    /// Round trip time to `target`.
    NETWORK_RTT = "endpoint.network.rtt", "s";
    /// Time that a DNS server took, with its answer in `rcode` (`noerror`, `servfail`, `timeout`, ...) and `server`.
    DNS_LOOKUP_DURATION = "endpoint.dns.lookup.duration", "s";
    /// 1 when the printer itself answers, else 0.
    PRINTER_REACHABLE = "endpoint.printer.reachable", "1";
    /// RFC 8011 printer-state: 3 idle, 4 processing, 5 stopped.
    PRINTER_STATE = "endpoint.printer.state", "1";
    /// 1 for each printer-state-reason: base keyword in `keyword`, `severity` = report, warning, error,
    /// `source` = queue, device; `none` when there is none, 0 once for what is over.
    PRINTER_STATE_REASON = "endpoint.printer.state_reason", "1";
    /// Share of a supply that is left; `supply` names it. Never sent for the levels -1, -2 and -3.
    PRINTER_SUPPLY_LEVEL = "endpoint.printer.supply.level", "1";
    /// Age of the oldest job that is not held.
    PRINTER_JOB_AGE = "endpoint.printer.job.age", "s";
    /// Jobs that wait or print.
    PRINTER_JOBS_QUEUED = "endpoint.printer.jobs.queued", "{job}";
    /// Difference between the device's clock and the collector's.
    TIME_OFFSET = "endpoint.time.offset", "s";
    /// Processor time of the agent process since it started.
    AGENT_CPU_TIME = "process.cpu.time", "s", cumulative;
    /// 1 while two machines use one device's identity, else 0; observed by the collector.
    AGENT_IDENTITY_CONFLICT = "endpoint.agent.identity.conflict", "1";
    /// How long a certificate of the collector itself is still good; observed by the collector.
    COLLECTOR_CERTIFICATE_TIME_TO_EXPIRY = "endpoint.collector.certificate.time_to_expiry", "s";
    /// Resident memory of a process.
    PROCESS_MEMORY_USAGE = "process.memory.usage", "By";
    /// How long a probe ran; `probe`, `outcome`.
    PROBE_DURATION = "endpoint.agent.probe.duration", "s";
    /// Processor time of a probe's runs since the agent started, the programs that it started included; `probe`.
    PROBE_CPU_TIME = "endpoint.agent.probe.cpu.time", "s", cumulative;
    /// How many probes the agent has slowed down to stay within its processor time.
    AGENT_SLOWED_DOWN = "endpoint.agent.slowed_down", "{probe}";
    /// Time without contact, as the collector measures it.
    AGENT_HEARTBEAT_AGE = "endpoint.agent.heartbeat.age", "s";
    /// A program that stopped responding; an event.
    APP_HANGS = "endpoint.app.hangs", "{hang}";
    /// Charge that a battery holds, as a share of its design capacity.
    BATTERY_HEALTH = "endpoint.battery.health", "1";
    /// Charge of a battery as a share of what it holds; of a peripheral with `hw.name`.
    BATTERY_CHARGE = "hw.battery.charge", "1";
    /// 1 when the battery discharges although mains power is connected.
    POWER_DISCHARGING_ON_AC = "endpoint.power.discharging_on_ac", "1";
    /// How long a start of the system took; once at boot.
    BOOT_DURATION = "endpoint.boot.duration", "s";
    /// How long a sign-in took; once at sign-in.
    LOGIN_DURATION = "endpoint.login.duration", "s";
    /// Time that the processor was throttled.
    CPU_THROTTLED_TIME = "endpoint.cpu.throttled.time", "s", cumulative;
    /// The clock that the processor is limited to, with `hw.limit_type`.
    CPU_SPEED_LIMIT = "hw.cpu.speed.limit", "Hz";
    /// 1 when an expected peripheral is there, else 0; `role`.
    DEVICE_PRESENT = "endpoint.device.present", "1";
    /// 1 for a peripheral that does not work; `class`, `code`.
    DEVICE_PROBLEM = "endpoint.device.problem", "1";
    /// A USB device that was removed and came back; an event.
    USB_DISCONNECTS = "endpoint.usb.disconnects", "{event}";
    /// Size of the largest directories.
    DISK_TOP_DIRS = "endpoint.disk.top_dirs", "By";
    /// Time that a drive was busy.
    DISK_IO_TIME = "system.disk.io_time", "s", cumulative;
    /// Time that requests took, all together.
    DISK_OPERATION_TIME = "system.disk.operation_time", "s", cumulative;
    /// Requests to a drive.
    DISK_OPERATIONS = "system.disk.operations", "{operation}", cumulative;
    /// Bytes read and written by a process.
    PROCESS_DISK_IO = "process.disk.io", "By", cumulative;
    /// Processors that a process keeps busy.
    PROCESS_CPU_UTILIZATION = "process.cpu.utilization", "1";
    /// Speed of a fan.
    FAN_SPEED = "hw.fan.speed", "rpm";
    /// The limit that the hardware publishes for its temperature, with `hw.limit_type` = high.degraded, high.critical.
    HW_TEMPERATURE_LIMIT = "hw.temperature.limit", "Cel";
    /// Share of a graphics processor in use.
    GPU_UTILIZATION = "hw.gpu.utilization", "1";
    /// Share of a thin pool in use.
    LVM_DATA_UTILIZATION = "endpoint.lvm.data_utilization", "1";
    /// Share of a thin pool's metadata in use; when it is full, the pool becomes read-only.
    LVM_METADATA_UTILIZATION = "endpoint.lvm.metadata_utilization", "1";
    /// 1 with what the network lets through in `state` = full, portal, limited, none.
    NETWORK_CONNECTIVITY = "endpoint.network.connectivity", "1";
    /// 1 with `state` = half, full.
    NETWORK_DUPLEX = "endpoint.network.duplex", "1";
    /// How much the round trip time to `target` varies.
    NETWORK_JITTER = "endpoint.network.jitter", "s";
    /// Share of probes to `target` that were lost.
    NETWORK_LOSS = "endpoint.network.loss", "1";
    /// The largest packet that gets through to `target`.
    NETWORK_PATH_MTU = "endpoint.network.path_mtu", "By";
    /// 1 when the web proxy answers, else 0.
    NETWORK_PROXY_REACHABLE = "endpoint.network.proxy.reachable", "1";
    /// 1 when the system version gets no more security updates.
    OS_END_OF_LIFE = "endpoint.os.end_of_life", "1";
    /// Time since updates were installed.
    OS_LAST_PATCHED_AGE = "endpoint.os.last_patched.age", "s";
    /// Updates that wait to be installed; `security`.
    OS_UPDATES_PENDING = "endpoint.os.updates.pending", "{update}";
    /// 1 for what a printer says over SNMP in `hrDeviceStatus`, `hrPrinterStatus`, `errors`.
    PRINTER_SNMP = "endpoint.printer.snmp", "1";
    /// 1 with the state of virus protection in `state`; `product`.
    SECURITY_ANTIVIRUS = "endpoint.security.antivirus", "1";
    /// Age of the definitions of virus protection.
    SECURITY_ANTIVIRUS_DEFINITIONS_AGE = "endpoint.security.antivirus.definitions.age", "s";
    /// 1 when the volume is encrypted and not suspended, else 0; `volume`.
    SECURITY_DISK_ENCRYPTION = "endpoint.security.disk_encryption", "1";
    /// 1 when the firewall is on, else 0; `profile`.
    SECURITY_FIREWALL = "endpoint.security.firewall", "1";
    /// 1 when secure boot is on, else 0.
    SECURITY_SECURE_BOOT = "endpoint.security.secure_boot", "1";
    /// 1 when the clock is synchronised, else 0.
    TIME_SYNCHRONIZED = "endpoint.time.synchronized", "1";
    /// Time until a certificate expires; negative afterwards.
    TLS_CERTIFICATE_TIME_TO_EXPIRY = "endpoint.tls.certificate.time_to_expiry", "s";
    /// 1 when an account is locked after wrong passwords, else 0.
    USER_LOCKED = "endpoint.user.locked", "1";
    /// Sessions that an account has on the machine; 0 once when the last one has ended.
    USER_SESSIONS = "endpoint.user.sessions", "{session}";
    /// A person's report; an event. `category`.
    USER_REPORT = "endpoint.user.report", "{report}";
    /// 1 with the state of a tunnel in `state`; `name`.
    VPN_STATE = "endpoint.vpn.state", "1";
    /// Share of time that the Wi-Fi channel is busy.
    WIFI_CHANNEL_BUSY = "endpoint.wifi.channel_busy", "1";
    /// Lost Wi-Fi associations by `reason`; events.
    WIFI_DISCONNECTS = "endpoint.wifi.disconnects", "{event}", cumulative;
    /// Share of frames that had to be repeated.
    WIFI_RETRY_RATIO = "endpoint.wifi.retry_ratio", "1";
    /// Changes of the access point; events.
    WIFI_ROAMS = "endpoint.wifi.roams", "{event}", cumulative;
    /// Signal strength.
    WIFI_RSSI = "endpoint.wifi.rssi", "dB[mW]";
    /// Signal above noise.
    WIFI_SNR = "endpoint.wifi.snr", "dB";
    /// 1 for each check that cannot be read: `check`, `reason`.
    SENSOR_STATUS = "endpoint.agent.sensor.status", "1";
}

/// Attribute names.
pub mod attribute {
    #![expect(missing_docs, reason = "each constant is its own text; the metrics above say what they hold")]
    pub const CPU_MODE: &str = "cpu.mode";
    pub const RESOURCE: &str = "resource";
    pub const KIND: &str = "kind";
    pub const WINDOW: &str = "window";
    pub const FILESYSTEM_STATE: &str = "system.filesystem.state";
    pub const FILESYSTEM_TYPE: &str = "system.filesystem.type";
    pub const HW_TYPE: &str = "hw.type";
    pub const HW_STATE: &str = "hw.state";
    pub const HW_NAME: &str = "hw.name";
    pub const HW_LIMIT_TYPE: &str = "hw.limit_type";
    pub const DISK_DIRECTION: &str = "disk.io.direction";
    pub const VOLUME: &str = "volume";
    pub const PROFILE: &str = "profile";
    pub const PRODUCT: &str = "product";
    pub const SMART_ATTRIBUTE: &str = "hw.physical_disk.smart_attribute";
    pub const ERROR_TYPE: &str = "error.type";
    pub const BIT: &str = "bit";
    pub const DEVICE: &str = "device";
    pub const OP: &str = "op";
    pub const REASON: &str = "reason";
    pub const NAME: &str = "name";
    pub const STATE: &str = "state";
    pub const CAUSE: &str = "cause";
    pub const TYPE: &str = "type";
    pub const CLASS: &str = "class";
    pub const CODE: &str = "code";
    pub const LINE: &str = "line";
    pub const APP: &str = "app";
    pub const PROCESS: &str = "process";
    pub const DIRECTION: &str = "network.io.direction";
    pub const TARGET: &str = "target";
    pub const SERVER: &str = "server";
    pub const RCODE: &str = "rcode";
    pub const PRINTER: &str = "printer";
    pub const KEYWORD: &str = "keyword";
    pub const SEVERITY: &str = "severity";
    pub const SECURITY: &str = "security";
    pub const SUPPLY: &str = "supply";
    pub const SOURCE: &str = "source";
    pub const ROLE: &str = "role";
    pub const PROBE: &str = "probe";
    pub const OUTCOME: &str = "outcome";
    pub const CHECK: &str = "check";
    pub const REFERENCE: &str = "reference";
    pub const HR_DEVICE_STATUS: &str = "hrDeviceStatus";
    pub const HR_PRINTER_STATUS: &str = "hrPrinterStatus";
    pub const ERRORS: &str = "errors";
}

/// Attributes that hold the present state of a series instead of naming another series: a sample with another value
/// replaces the one before it. (`endpoint.service.state{name=cups,state=failed}` is over when `state=active` arrives.)
pub const STATE_ATTRIBUTES: &[&str] =
    &[attribute::HW_STATE, attribute::STATE, attribute::RCODE, attribute::SEVERITY, attribute::OUTCOME];

/// Documents that are large and hardly ever change: they travel as what changed, by the digest of their content.
pub const INVENTORIES: &[&str] = &["software"];

/// The metric called `name`, if it is one of ours.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(
                METRICS[..at].iter().all(|other| other.name != metric.name),
                "{} stands twice",
                metric.name
            );
        }
    }
}
