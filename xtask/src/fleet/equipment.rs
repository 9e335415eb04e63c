//! Which series each machine has, by what it is: the parts, metrics, units and attributes of the product's catalogue.

use super::clock::{DAY, HOUR, MINUTE};
use super::office::{Class, Device, Site};
use super::random::Random;
use super::series::{Bench, SLOW, Series, Usual, When};

/// The services that are watched on a machine.
const SERVICES: [(&str, &str, &str); 3] = [
    ("service.0", "service.0.restarts", "edr-sensor"),
    ("service.1", "service.1.restarts", "sync-client"),
    ("service.2", "service.2.restarts", "NetworkManager"),
];

pub(super) fn series_of(device: &Device, site: &Site, random: &mut Random) -> Vec<Series> {
    let mut bench = Bench { series: Vec::new(), random };
    processor_and_memory(device, &mut bench);
    drive(device, &mut bench);
    file_systems(device, &mut bench);
    system(device, &mut bench);
    super::connections::network(device, site, &mut bench);
    super::connections::printers(device, site, &mut bench);
    if device.class == Class::Laptop {
        battery(device, &mut bench);
    }
    if device.class == Class::Server {
        server(device, &mut bench);
    }
    bench.series
}

fn processor_and_memory(device: &Device, bench: &mut Bench<'_>) {
    bench.around("cpu", ("cpu/0", "system.cpu.utilization"), (0.14, 0.2), (0.01, 0.8));
    if device.os == "linux" {
        for (slot, component, resource, kind, window, mean) in [
            ("cpu.stall", "cpu/0", "cpu", "some", "avg300", 0.03),
            ("memory.stall", "memory/0", "memory", "full", "avg60", 0.001),
            ("memory.stall.short", "memory/0", "memory", "full", "avg10", 0.001),
        ] {
            let usual = Usual::Around { mean, spread: mean, low: 0.0, high: 0.09 };
            let attributes = [("resource", resource), ("kind", kind), ("window", window)];
            bench.add(
                slot,
                (component, "endpoint.pressure.stall"),
                &attributes,
                usual,
                (MINUTE, 20 * MINUTE),
            );
        }
        bench.counter("oom", ("memory/0", "endpoint.memory.oom_kills"), &[], 0.0).pace(MINUTE, HOUR);
    }
    let usual = bench.random.range(0.35, 0.75);
    bench.around("memory", ("memory/0", "system.memory.utilization"), (usual, 0.05), (0.2, 0.86));
    bench.fixed("memory.size", ("memory/0", "system.memory.limit"), 17_179_869_184.0);
    bench.around("swap", ("memory/0", "system.paging.utilization"), (0.12, 0.05), (0.0, 0.6));
    bench.around("program", ("process/browser", "process.cpu.utilization"), (0.08, 0.1), (0.0, 0.8));
    bench.around("program.memory", ("process/browser", "process.memory.usage"), (1.4e9, 2e8), (4e8, 3e9));
    bench
        .around("agent.memory", ("agent/0", "process.memory.usage"), (8.6e6, 4e5), (7e6, 1.2e7))
        .pace(MINUTE, HOUR);
    let throttled = bench.counter("throttled", ("cpu/0", "endpoint.cpu.throttled.time"), &[], 4.0);
    throttled.pace(MINUTE, 5 * MINUTE);
    let usual = bench.random.range(44.0, 62.0);
    bench
        .around("heat", ("sensor/package", "hw.temperature"), (usual, 9.0), (30.0, 88.0))
        .pace(MINUTE, 15 * MINUTE);
    for (slot, limit, celsius) in
        [("heat.high", "high.degraded", 95.0), ("heat.critical", "high.critical", 105.0)]
    {
        bench.fixed(slot, ("sensor/package", "hw.temperature.limit"), celsius).with("hw.limit_type", limit);
    }
    bench
        .word("fan", ("fan/fan1", "hw.status"), &[("hw.type", "fan")], ("hw.state", "ok"))
        .pace(MINUTE, HOUR);
    bench.around("fan.speed", ("fan/fan1", "hw.fan.speed"), (2400.0, 600.0), (0.0, 5200.0));
}

fn drive(device: &Device, bench: &mut Bench<'_>) {
    let drive = format!("physical_disk/{}", device.serial);
    let typed = [("hw.type", "physical_disk")];
    bench.word("drive", (&drive, "hw.status"), &typed, ("hw.state", "ok")).pace(SLOW.0, SLOW.1);
    if device.rotating {
        let noisy = bench.random.chance(0.2);
        for (slot, number, raw) in [
            // A few reallocated sectors that do not grow, packed timeouts and bad cables of the past: history, no faults.
            ("smart.5", "5", if noisy { 4.0 } else { 0.0 }),
            ("smart.10", "10", 0.0),
            ("smart.187", "187", 0.0),
            ("smart.188", "188", if noisy { 17_180_131_332.0 } else { 0.0 }),
            ("smart.197", "197", 0.0),
            ("smart.198", "198", 0.0),
            ("smart.199", "199", if noisy { 3_118.0 } else { 0.0 }),
        ] {
            let series = bench.fixed(slot, (&drive, "hw.physical_disk.smart"), raw);
            series.with("hw.physical_disk.smart_attribute", number).pace(SLOW.0, SLOW.1);
        }
    } else {
        for (slot, bit) in [("nvme.spare_low", "0"), ("nvme.unreliable", "2"), ("nvme.read_only", "3")] {
            bench
                .fixed(slot, (&drive, "endpoint.nvme.critical_warning"), 0.0)
                .with("bit", bit)
                .pace(SLOW.0, SLOW.1);
        }
        bench.fixed("nvme.spare", (&drive, "endpoint.nvme.available_spare"), 1.0).pace(SLOW.0, SLOW.1);
        bench
            .fixed("nvme.spare_limit", (&drive, "endpoint.nvme.available_spare_threshold"), 0.1)
            .pace(SLOW.0, SLOW.1);
        let left = bench.random.range(0.15, 1.0);
        let wear = bench.fixed("nvme.endurance", (&drive, "hw.physical_disk.endurance_utilization"), left);
        wear.with("state", "remaining").pace(SLOW.0, SLOW.1);
        let attributes = [("hw.type", "physical_disk"), ("error.type", "media")];
        let errors = bench.counter("nvme.media", (&drive, "hw.errors"), &attributes, 0.0);
        errors.lasting().pace(SLOW.0, SLOW.1).value = 3.0;
        bench
            .around("drive.heat", (&drive, "hw.temperature"), (46.0, 8.0), (28.0, 72.0))
            .pace(2 * MINUTE, 20 * MINUTE);
        for (slot, limit, celsius) in
            [("drive.hot", "high.degraded", 77.0), ("drive.too_hot", "high.critical", 85.0)]
        {
            bench.fixed(slot, (&drive, "hw.temperature.limit"), celsius).with("hw.limit_type", limit);
        }
    }
    for (slot, op) in [("io_errors.read", "read"), ("io_errors.medium", "medium")] {
        let attributes = [("device", if device.rotating { "sda" } else { "nvme0n1" }), ("op", op)];
        bench.counter(slot, (&drive, "endpoint.disk.io_errors"), &attributes, 0.0).pace(MINUTE, HOUR).value =
            0.0;
    }
    for (slot, metric, per_hour) in [
        ("io.operations", "system.disk.operations", 9000.0),
        ("io.time", "system.disk.operation_time", 30.0),
        ("io.busy", "system.disk.io_time", 60.0),
    ] {
        bench.counter(slot, (&drive, metric), &[], per_hour).pace(2 * MINUTE, 10 * MINUTE);
    }
}

fn file_systems(device: &Device, bench: &mut Bench<'_>) {
    let (system, kind) =
        if device.os == "linux" { ("filesystem//", "ext4") } else { ("filesystem/C:", "ntfs") };
    let size = 512e9;
    let typed = [("system.filesystem.type", kind)];
    let per_day = bench.random.range(0.0, 0.012);
    let fill = Usual::Fill { per_day, cleaned_at: 0.86 };
    bench.add("fs", (system, "system.filesystem.utilization"), &typed, fill, (MINUTE, 15 * MINUTE)).value =
        device.usual_fill;
    let free = [("system.filesystem.type", kind), ("system.filesystem.state", "free")];
    let spare = Usual::Fixed((1.0 - device.usual_fill) * size);
    bench.add("fs.free", (system, "system.filesystem.usage"), &free, spare, (MINUTE, HOUR));
    bench.fixed("fs.size", (system, "system.filesystem.limit"), size);
    bench.fixed("fs.readonly", (system, "endpoint.filesystem.readonly_unexpected"), 0.0);
    if device.os == "linux" {
        bench
            .counter("fs.errors", (system, "endpoint.filesystem.errors"), &[], 0.0)
            .lasting()
            .pace(10 * MINUTE, HOUR);
        let usual = Usual::Around { mean: 0.2, spread: 0.01, low: 0.1, high: 0.4 };
        bench.add(
            "fs.inodes",
            (system, "endpoint.filesystem.inodes.utilization"),
            &typed,
            usual,
            (5 * MINUTE, HOUR),
        );
    }
}

fn system(device: &Device, bench: &mut Bench<'_>) {
    bench.add("uptime", ("os/0", "system.uptime"), &[], Usual::Uptime, (5 * MINUTE, 30 * MINUTE));
    bench
        .fixed("reboot", ("os/0", "endpoint.os.reboot_required"), 0.0)
        .with("reason", "update")
        .pace(30 * MINUTE, 2 * HOUR);
    bench
        .around("clock", ("os/0", "endpoint.time.offset"), (0.0, 0.8), (-12.0, 12.0))
        .pace(10 * MINUTE, HOUR);
    bench.fixed("clock.synchronized", ("os/0", "endpoint.time.synchronized"), 1.0).pace(10 * MINUTE, HOUR);
    bench.add(
        "patched",
        ("os/0", "endpoint.os.last_patched.age"),
        &[],
        Usual::SincePatched,
        (HOUR, 3 * HOUR),
    );
    bench
        .fixed("updates", ("os/0", "endpoint.os.updates.pending"), 0.0)
        .with("security", "true")
        .pace(HOUR, 3 * HOUR);
    let (usual, bounds) = if device.starts_slowly { (150.0, (125.0, 220.0)) } else { (38.0, (18.0, 100.0)) };
    bench.around("boot", ("os/0", "endpoint.boot.duration"), (usual, 14.0), bounds).only(When::AtBoot);
    for (slot, restarts, name) in SERVICES {
        let component = format!("service/{name}");
        bench.word(slot, (&component, "endpoint.service.state"), &[("name", name)], ("state", "active"));
        bench
            .counter(restarts, (&component, "endpoint.service.restarts"), &[("name", name)], 0.0)
            .pace(MINUTE, HOUR)
            .value = 0.0;
    }
    bench
        .fixed("firewall", ("security/firewall", "endpoint.security.firewall"), 1.0)
        .pace(15 * MINUTE, 2 * HOUR);
    let product = [("product", "Defender")];
    bench
        .word("antivirus", ("security/antivirus", "endpoint.security.antivirus"), &product, ("state", "on"))
        .pace(15 * MINUTE, 2 * HOUR);
    let age = bench.around(
        "antivirus.age",
        ("security/antivirus", "endpoint.security.antivirus.definitions.age"),
        (5e4, 3e4),
        (0.0, 2e5),
    );
    age.pace(30 * MINUTE, 3 * HOUR);
    bench
        .fixed("encryption", ("security/encryption", "endpoint.security.disk_encryption"), 1.0)
        .with("volume", "system")
        .pace(30 * MINUTE, 6 * HOUR);
    bench
        .fixed("secure_boot", ("security/secure_boot", "endpoint.security.secure_boot"), 1.0)
        .pace(HOUR, 6 * HOUR);
    if device.class != Class::Server {
        bench
            .fixed("webcam", ("device/webcam", "endpoint.device.present"), 1.0)
            .with("role", "webcam")
            .pace(5 * MINUTE, HOUR);
        let problem = bench.fixed("usb_device", ("device/046d:0825", "endpoint.device.problem"), 0.0);
        problem.with("class", "usb").with("code", "43").pace(10 * MINUTE, 2 * HOUR);
        let attributes = [("hw.type", "gpu"), ("error.type", "reset")];
        bench.counter("gpu.resets", ("gpu/0", "hw.errors"), &attributes, 0.0).pace(MINUTE, HOUR).value = 0.0;
    }
}

fn battery(device: &Device, bench: &mut Bench<'_>) {
    let battery = format!("battery/B{}", device.serial);
    let health = bench.random.range(0.83, 1.0);
    bench
        .around("battery.health", (&battery, "endpoint.battery.health"), (health, 0.004), (0.815, 1.0))
        .pace(HOUR, 3 * HOUR);
    bench.word("battery", (&battery, "hw.status"), &[("hw.type", "battery")], ("hw.state", "ok"));
    bench
        .fixed("battery.drains", (&battery, "endpoint.power.discharging_on_ac"), 0.0)
        .pace(MINUTE, 30 * MINUTE);
    bench
        .around("mouse", ("device/mouse", "hw.battery.charge"), (0.6, 0.1), (0.15, 1.0))
        .with("hw.name", "mouse")
        .pace(10 * MINUTE, 2 * HOUR);
}

fn server(device: &Device, bench: &mut Bench<'_>) {
    for (slot, kind) in [("ecc.corrected", "corrected"), ("ecc.uncorrected", "uncorrected")] {
        let attributes = [("hw.type", "memory"), ("error.type", kind)];
        bench.counter(slot, ("memory/0", "hw.errors"), &attributes, 0.0).pace(MINUTE, HOUR).value = 0.0;
    }
    bench.word("raid", ("logical_disk/md0", "hw.status"), &[("hw.type", "logical_disk")], ("hw.state", "ok"));
    bench
        .around(
            "thin_pool",
            ("logical_disk/vg0-pool", "endpoint.lvm.data_utilization"),
            (0.55, 0.02),
            (0.3, 0.8),
        )
        .pace(5 * MINUTE, HOUR);
    let certificate = format!("endpoint/{}:443", device.id);
    let days = bench.random.range(30.0, 300.0) * f64::from(DAY);
    bench
        .fixed("certificate", (&certificate, "endpoint.tls.certificate.time_to_expiry"), days)
        .pace(HOUR, 6 * HOUR);
}
