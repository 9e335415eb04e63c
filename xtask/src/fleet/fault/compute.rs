//! Processor, memory, heat, power.

use super::{Domain, FOREVER, Fault, Kind, seconds};
use crate::fleet::clock::{HOUR, MINUTE};
use crate::fleet::office::Device;
use crate::fleet::random::Random;
use crate::fleet::series::Values::{Between, Jump, PerHour, Ramp, Same};

pub(super) const KINDS: &[Kind] = &[
    (5, memory_pressure),
    (4, out_of_memory),
    (5, leak),
    (4, cpu_hog),
    (4, cpu_pressure),
    (4, throttle),
    (4, overheats),
    (4, fan_failed),
    (5, battery_worn),
    (4, battery_fault),
    (4, weak_charger),
    (3, memory_module),
    (3, graphics),
];

fn compute(kind: &'static str, device: &Device, slot: &str) -> Option<Fault> {
    Fault::of(kind, Domain::Compute, device, slot)
}

const GROWS: &[&str] = &["growing", "grows", "grew", "leak"];

fn memory_pressure(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("mem.pressure", device, "memory.stall")?
        .rules(&["mem.pressure"], &["mem.swap", "mem.oom", "mem.available"]);
    let stalled = random.range(0.14, 0.5);
    let fault = fault
        .shows("memory.stall", Between(stalled * 0.85, stalled))
        .shows("memory.stall.short", Between(stalled * 0.6, stalled * 1.1))
        .shows("memory", Between(0.93, 0.98))
        .shows("program.memory", Ramp(2e9, 1.2e10, HOUR));
    Some(fault.timing(5 * MINUTE, (20 * MINUTE, 3 * HOUR)).cause(GROWS))
}

fn out_of_memory(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault =
        compute("mem.oom", device, "oom")?.rules(&["mem.oom"], &["app.crash", "mem.pressure", "svc.failed"]);
    let killed = f64::from(random.whole(1, 4));
    Some(fault.shows("oom", Jump(killed)).timing(0, (HOUR, 3 * HOUR)).cause(GROWS))
}

fn leak(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("mem.leak", device, "swap")?
        .rules(&["mem.swap", "mem.pressure"], &["mem.oom", "mem.available"]);
    let (level, over) = (random.range(0.93, 1.0), random.whole(HOUR, 3 * HOUR));
    let share = (0.9 - 0.12) / (level - 0.12);
    let crossing = seconds(f64::from(over) * share);
    let fault = fault.shows("swap", Ramp(0.12, level, over)).shows("memory", Ramp(0.6, 0.97, over));
    let fault = fault.shows("program.memory", Ramp(1.5e9, 1.5e10, over));
    Some(fault.timing(5 * MINUTE, (over + HOUR, over + 4 * HOUR)).onset(crossing).cause(GROWS))
}

fn cpu_hog(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault =
        compute("app.resource_hog", device, "program")?.rules(&["app.resource_hog"], &["cpu.pressure"]);
    let cores = random.range(1.15, 3.8);
    let fault = fault.shows("program", Between(cores * 0.95, cores)).shows("cpu", Between(0.5, 0.97));
    Some(fault.timing(30 * MINUTE, (2 * HOUR, 6 * HOUR)).cause(&["loop", "hang"]))
}

fn cpu_pressure(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("cpu.pressure", device, "cpu.stall")?.rules(&["cpu.pressure"], &["app.resource_hog"]);
    let share = random.range(0.58, 0.95);
    let fault = fault.shows("cpu.stall", Between(share * 0.93, share)).shows("cpu", Between(0.96, 1.0));
    Some(fault.timing(10 * MINUTE, (40 * MINUTE, 4 * HOUR)).cause(&["heavy job", "build", "too few"]))
}

fn throttle(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("cpu.throttle", device, "throttled")?.rules(&["cpu.throttle"], &["temp.high"]);
    let share = random.range(0.08, 0.6);
    let fault = fault.shows("throttled", PerHour(share * 3600.0)).shows("heat", Between(88.0, 94.0));
    Some(fault.timing(10 * MINUTE, (45 * MINUTE, 5 * HOUR)).cause(&["dust", "air"]))
}

fn overheats(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("temp.high", device, "heat")?.rules(&["temp.high"], &["cpu.throttle"]);
    let celsius = random.range(96.0, 103.0);
    let fault = fault
        .shows("heat", Between(celsius, celsius + 1.5))
        .shows("throttled", PerHour(random.range(200.0, 900.0)));
    Some(fault.timing(5 * MINUTE, (30 * MINUTE, 4 * HOUR)).cause(&["air", "dust"]))
}

fn fan_failed(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("fan.failed", device, "fan")?.rules(&["fan.failed"], &["temp.high", "cpu.throttle"]);
    let fault = fault.says("fan", "failed", Same).shows("fan.speed", Between(0.0, 0.0));
    let fault =
        fault.shows("heat", Between(88.0, 94.0)).shows("throttled", PerHour(random.range(100.0, 1500.0)));
    Some(fault.timing(5 * MINUTE, (3 * HOUR, 60 * HOUR)).cause(&["worn out", "blocked"]))
}

/// Seven samples of a probe that looks once an hour.
fn battery_worn(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("battery.health", device, "battery.health")?.rules(&["battery.health"], &[]);
    let left = random.range(0.28, 0.77);
    let fault = fault.shows("battery.health", Between(left, left + 0.01)).timing(6 * HOUR, FOREVER);
    Some(fault.cause(&["worn", "age"]))
}

fn battery_fault(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault =
        compute("battery.fault", device, "battery")?.rules(&["battery.fault"], &["power.adapter_weak"]);
    Some(fault.says("battery", "failed", Same).timing(MINUTE, (4 * HOUR, 60 * HOUR)).cause(&["defective"]))
}

fn weak_charger(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = compute("power.adapter_weak", device, "battery.drains")?.rules(&["power.adapter_weak"], &[]);
    let fault = fault.shows("battery.drains", Between(1.0, 1.0)).timing(15 * MINUTE, (45 * MINUTE, 5 * HOUR));
    Some(fault.cause(&["too little power", "charger"]))
}

fn memory_module(device: &Device, random: &mut Random) -> Option<Fault> {
    let (slot, count) =
        if random.chance(0.4) { ("ecc.uncorrected", 1) } else { ("ecc.corrected", random.whole(30, 900)) };
    let fault = compute("mem.ecc", device, slot)?.rules(&["mem.ecc"], &["os.crash"]);
    Some(fault.shows(slot, Jump(f64::from(count))).timing(0, FOREVER).cause(&["module"]))
}

fn graphics(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = compute("gpu.health", device, "gpu.resets")?.rules(&["gpu.health"], &[]);
    Some(
        fault
            .shows("gpu.resets", Jump(f64::from(random.whole(1, 7))))
            .timing(0, (12 * HOUR, 40 * HOUR))
            .cause(&["driver"]),
    )
}
