//! Drives and file systems that fail or fill up.

use super::{Domain, FOREVER, Fault, Kind, seconds};
use crate::fleet::clock::{HOUR, MINUTE};
use crate::fleet::office::Device;
use crate::fleet::random::Random;
use crate::fleet::series::Values::{Between, Jump, PerHour, Ramp, Same};

pub(super) const KINDS: &[Kind] = &[
    (5, smart_failing),
    (5, pending_sectors),
    (4, reallocated_sectors),
    (4, nvme_unreliable),
    (4, nvme_media_errors),
    (3, nvme_spare),
    (3, nvme_worn),
    (3, nvme_hot),
    (4, medium_errors),
    (3, cable_errors),
    (4, slow_drive),
    (8, nearly_full),
    (6, fills_up),
    (3, no_inodes),
    (4, read_only),
    (3, damaged_records),
    (3, raid_degraded),
];

const DISK: &[&str] = &["worn", "defective", "wearing", "fail"];

fn storage(kind: &'static str, device: &Device, slot: &str) -> Option<Fault> {
    Fault::of(kind, Domain::Storage, device, slot)
}

fn smart_failing(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = storage("disk.smart_failing", device, "drive")?.rules(&["disk.smart_failing"], &[]);
    let fault = fault.says("drive", "predicted_failure", Same).timing(30 * MINUTE, FOREVER).cause(DISK);
    device.rotating.then_some(fault)
}

fn pending_sectors(device: &Device, random: &mut Random) -> Option<Fault> {
    let count = f64::from(random.whole(1, 60));
    let fault = storage("disk.pending_sectors", device, "smart.197")?.rules(&["disk.ata_attr"], &[]);
    let fault = fault.shows("smart.197", Between(count, count)).timing(30 * MINUTE, FOREVER);
    let fault = fault.cause(&["surface", "sector"]);
    Some(if random.chance(0.4) { fault.shows("smart.198", Between(count, count)) } else { fault })
}

fn reallocated_sectors(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("disk.reallocated_sectors", device, "smart.5")?.rules(&["disk.ata_attr"], &[]);
    let count = f64::from(random.whole(20, 400));
    Some(
        fault
            .shows("smart.5", Between(count, count))
            .timing(30 * MINUTE, FOREVER)
            .cause(&["surface", "sector"]),
    )
}

fn nvme_unreliable(device: &Device, random: &mut Random) -> Option<Fault> {
    let bit = *random.pick(&["nvme.unreliable", "nvme.read_only"]);
    let fault = storage("nvme.critical_warning", device, bit)?
        .rules(&["nvme.critical_warning", "disk.smart_failing"], &["fs.readonly"]);
    Some(fault.shows(bit, Between(1.0, 1.0)).says("drive", "failed", Same).timing(0, FOREVER).cause(DISK))
}

fn nvme_media_errors(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("nvme.media_errors", device, "nvme.media")?.rules(&["nvme.media_errors"], &[]);
    let count = f64::from(random.whole(1, 40));
    Some(fault.shows("nvme.media", Jump(count)).timing(0, FOREVER).cause(&["cells", "flash"]))
}

fn nvme_spare(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("nvme.spare", device, "nvme.spare")?
        .rules(&["nvme.spare", "nvme.critical_warning", "disk.smart_failing"], &[]);
    let left = random.range(0.01, 0.09);
    let fault = fault
        .shows("nvme.spare", Between(left, left))
        .timing(30 * MINUTE, FOREVER)
        .cause(&["worn", "reserve"]);
    Some(fault.shows("nvme.spare_low", Between(1.0, 1.0)).says("drive", "failed", Same))
}

fn nvme_worn(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("nvme.wear", device, "nvme.endurance")?.rules(&["nvme.wear"], &[]);
    let left = random.range(-0.12, 0.0);
    let fault = fault.shows("nvme.endurance", Between(left, left)).timing(30 * MINUTE, FOREVER);
    Some(fault.cause(&["writes more", "old"]))
}

fn nvme_hot(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("nvme.temp", device, "drive.heat")?.rules(&["nvme.temp"], &["temp.high"]);
    let celsius = random.range(79.0, 88.0);
    let fault =
        fault.shows("drive.heat", Between(celsius, celsius + 2.0)).timing(10 * MINUTE, (HOUR, 5 * HOUR));
    Some(fault.cause(&["air", "fan"]))
}

fn medium_errors(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("disk.io_errors", device, "io_errors.medium")?
        .rules(&["disk.io_errors"], &["fs.readonly", "disk.latency"]);
    let count = f64::from(random.whole(1, 20));
    Some(fault.shows("io_errors.medium", Jump(count)).timing(0, (HOUR, 12 * HOUR)).cause(DISK))
}

/// Errors on the way to a good drive: many, and the drive counts damaged transfers.
fn cable_errors(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("disk.cable", device, "smart.199")?.rules(&["disk.io_errors"], &["disk.latency"]);
    let per_hour = random.range(20.0, 90.0);
    let fault =
        fault.shows("io_errors.read", PerHour(per_hour)).shows("smart.199", Ramp(3_118.0, 3_900.0, 6 * HOUR));
    let mut fault =
        fault.timing(0, (2 * HOUR, 8 * HOUR)).onset(seconds(3.0 * 3600.0 / per_hour)).cause(&["cable"]);
    fault.component = device.component("io_errors.read")?;
    fault.every = MINUTE;
    Some(fault)
}

fn slow_drive(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("disk.latency", device, "io.time")?.rules(&["disk.latency"], &["disk.busy"]);
    let operations = random.range(8.0, 40.0) * 3600.0;
    let each = if device.rotating { random.range(0.15, 0.6) } else { random.range(0.08, 0.5) };
    let fault =
        fault.shows("io.operations", PerHour(operations)).shows("io.time", PerHour(operations * each));
    Some(fault.timing(10 * MINUTE, (90 * MINUTE, 6 * HOUR)).cause(&["fail", "reads or writes very much"]))
}

fn nearly_full(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("fs.space", device, "fs")?.rules(&["fs.space"], &["fs.fill_rate"]);
    let (level, over) = (random.range(0.92, 0.975), random.whole(5 * HOUR, 12 * HOUR));
    let crossing = f64::from(over) * (0.9 - device.usual_fill) / (level - device.usual_fill);
    let fault = fault.shows("fs", Ramp(device.usual_fill, level, over)).shows("fs.free", Between(1e10, 2e10));
    Some(
        fault.timing(15 * MINUTE, (72 * HOUR, 160 * HOUR)).onset(seconds(crossing)).cause(&["files", "grow"]),
    )
}

fn fills_up(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("fs.fill_rate", device, "fs")?.rules(&["fs.fill_rate", "fs.space"], &["svc.failed"]);
    let (level, over) = (random.range(0.985, 1.0), random.whole(2 * HOUR, 6 * HOUR));
    let fault =
        fault.shows("fs", Ramp(device.usual_fill, level, over)).shows("fs.free", Ramp(2e11, 1e9, over));
    // An hour of data, then the hold time.
    let fault = fault.timing(10 * MINUTE, (24 * HOUR, 60 * HOUR)).onset(HOUR);
    Some(fault.cause(&["log", "cache", "loop", "grow"]))
}

fn no_inodes(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("fs.inodes", device, "fs.inodes")?.rules(&["fs.inodes"], &[]);
    let share = random.range(0.92, 1.0);
    let fault = fault.shows("fs.inodes", Between(share, share)).timing(15 * MINUTE, (6 * HOUR, 48 * HOUR));
    Some(fault.cause(&["small files"]))
}

fn read_only(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("fs.readonly", device, "fs.readonly")?;
    let fault = fault.rules(&["fs.readonly"], &["fs.errors", "svc.failed", "disk.io_errors"]);
    let fault = fault
        .shows("fs.readonly", Between(1.0, 1.0))
        .timing(0, (HOUR, 8 * HOUR))
        .cause(&["records", "damaged"]);
    Some(if device.os == "linux" {
        fault.shows("fs.errors", Jump(f64::from(random.whole(1, 9))))
    } else {
        fault
    })
}

fn damaged_records(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = storage("fs.errors", device, "fs.errors")?.rules(&["fs.errors"], &["fs.readonly"]);
    let count = f64::from(random.whole(1, 12));
    Some(fault.shows("fs.errors", Jump(count)).timing(0, FOREVER).cause(&["disk", "power"]))
}

fn raid_degraded(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = storage("raid.degraded", device, "raid")?.rules(&["raid.degraded"], &[]);
    Some(fault.says("raid", "degraded", Same).timing(0, (6 * HOUR, 60 * HOUR)).cause(&["member"]))
}
