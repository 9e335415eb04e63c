//! The operating system, its services and programs, its protection, and what is plugged into it.

use super::{Domain, Effect, FOREVER, Fault, Kind, Shape, What, event, seconds};
use crate::fleet::clock::{DAY, HOUR, MINUTE};
use crate::fleet::office::{Class, Device};
use crate::fleet::random::Random;
use crate::fleet::series::Values::{Between, PerHour, Same};

pub(super) const KINDS: &[Kind] = &[
    (7, service_failed),
    (4, service_flaps),
    (6, program_crashes),
    (4, program_hangs),
    (5, system_crashes),
    (4, kernel_fault),
    (4, starts_slowly),
    (4, restart_postponed),
    (5, updates_missing),
    (5, clock_wrong),
    (4, firewall_off),
    (4, protection_off),
    (3, protection_old),
    (3, unencrypted),
    (3, secure_boot_off),
    (4, usb_flaps),
    (3, peripheral_broken),
    (3, webcam_missing),
    (5, person_reports),
    (3, certificate_expires),
    (4, spooler_stopped),
];

fn system(kind: &'static str, device: &Device, slot: &str) -> Option<Fault> {
    Fault::of(kind, Domain::System, device, slot)
}

fn service_failed(device: &Device, random: &mut Random) -> Option<Fault> {
    let slot = *random.pick(&["service.0", "service.1", "service.2"]);
    let fault = system("svc.failed", device, slot)?.rules(&["svc.failed"], &["svc.flapping"]);
    let fault = fault.says(slot, "failed", Same).timing(5 * MINUTE, (30 * MINUTE, 20 * HOUR));
    Some(fault.cause(&["ends with an error", "configuration"]))
}

fn service_flaps(device: &Device, random: &mut Random) -> Option<Fault> {
    let slot = *random.pick(&["service.0.restarts", "service.1.restarts"]);
    let fault = system("svc.flapping", device, slot)?.rules(&["svc.flapping"], &["svc.failed"]);
    let per_hour = random.range(15.0, 60.0);
    let fault = fault.shows(slot, PerHour(per_hour)).onset(seconds(3.0 * 3600.0 / per_hour));
    Some(fault.timing(0, (HOUR, 5 * HOUR)).cause(&["crashes"]))
}

fn program_crashes(device: &Device, random: &mut Random) -> Option<Fault> {
    let component = format!("application/{}", random.pick(&["mail", "editor", "erp-client"]));
    let mut fault = system("app.crash", device, "uptime")?.rules(&["app.crash"], &["app.hang"]);
    let apart = random.whole(5 * MINUTE, 18 * MINUTE);
    for n in 0..random.whole(3, 7) {
        fault = fault
            .happens(n * apart, event("endpoint.app.crashes", &component, &[("signature", "0xc0000005")]));
    }
    fault.component = component;
    fault.every = MINUTE;
    Some(
        fault
            .onset(2 * apart)
            .timing(0, (3 * HOUR, 5 * HOUR))
            .cause(&["add-in", "profile", "version", "damaged"]),
    )
}

fn program_hangs(device: &Device, random: &mut Random) -> Option<Fault> {
    let component = "application/mail".to_owned();
    let mut fault = system("app.hang", device, "uptime")?.rules(&["app.hang"], &[]);
    let apart = random.whole(10 * MINUTE, 40 * MINUTE);
    for n in 0..random.whole(3, 6) {
        fault = fault.happens(n * apart, event("endpoint.app.hangs", &component, &[]));
    }
    fault.component = component;
    fault.every = MINUTE;
    Some(fault.onset(2 * apart).timing(0, (3 * HOUR, 5 * HOUR)).cause(&[
        "network drive",
        "printer",
        "add-in",
    ]))
}

fn system_crashes(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = system("os.crash", device, "uptime")?.rules(&["os.crash"], &["boot.slow"]);
    let apart = random.whole(20 * MINUTE, 70 * MINUTE);
    for n in 0..random.whole(2, 4) {
        fault = fault.happens(n * apart, What::Crash { cause: "bugcheck" });
    }
    fault.every = 5 * MINUTE;
    Some(fault.onset(apart).timing(0, (5 * HOUR, 6 * HOUR)).cause(&["driver", "memory"]))
}

fn kernel_fault(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = system("os.hung_task", device, "uptime")?.rules(&["os.hung_task"], &[]);
    let (kind, count, apart) = if random.chance(0.5) { ("oops", 1, 0) } else { ("hung_task", 4, 8 * MINUTE) };
    for n in 0..count {
        fault = fault.happens(n * apart, event("endpoint.os.kernel_warning", "os/0", &[("type", kind)]));
    }
    fault.every = MINUTE;
    let fault = fault.onset(if count > 1 { 2 * apart } else { 0 });
    let fault = fault.timing(0, (2 * HOUR, 3 * HOUR)).cause(&["driver", "disk"]);
    (device.os == "linux").then_some(fault)
}

/// Slow from its first day, so its own past tells nothing: only others of its model do, once they have started too.
fn starts_slowly(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = system("boot.slow", device, "uptime")?.rules(&["boot.slow"], &[]);
    let low = random.range(140.0, 200.0);
    let shape = Shape { word: None, severity: "", values: Between(low, low + 60.0) };
    fault.effects.push(Effect { slot: "boot", after: 0, shape });
    let apart = random.whole(15 * MINUTE, 40 * MINUTE);
    for n in 1..3 {
        fault = fault.happens(n * apart, What::Restart);
    }
    (fault.every, fault.earliest) = (MINUTE, DAY + 12 * HOUR);
    let fault = fault.onset(2 * apart).timing(0, FOREVER).cause(&["start", "disk"]);
    (device.class == Class::Laptop && !device.starts_slowly).then_some(fault)
}

/// Only machines that are always on have a restart pending for seven days within two weeks.
fn restart_postponed(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = system("os.pending_reboot", device, "reboot")?.rules(&["os.pending_reboot"], &[]);
    let fault =
        fault.shows("reboot", Between(1.0, 1.0)).timing(7 * DAY, FOREVER).cause(&["postpone", "sleep"]);
    (device.class != Class::Laptop && device.spans.len() <= 3).then_some(fault)
}

fn updates_missing(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = system("os.updates_pending", device, "patched")?.rules(&["os.updates_pending"], &[]);
    let age = random.range(15.0, 60.0) * f64::from(DAY);
    let pending = f64::from(random.whole(1, 12));
    let fault = fault.shows("patched", Between(age, age)).shows("updates", Between(pending, pending));
    Some(fault.timing(HOUR, (30 * HOUR, 100 * HOUR)).cause(&["fails", "rarely on"]))
}

fn clock_wrong(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = system("time.offset", device, "clock")?.rules(&["time.offset"], &["net.vpn"]);
    let offset = random.range(75.0, 900.0) * if random.chance(0.5) { 1.0 } else { -1.0 };
    let fault =
        fault.shows("clock", Between(offset, offset + 0.5)).timing(10 * MINUTE, (2 * HOUR, 20 * HOUR));
    Some(fault.cause(&["time service"]))
}

fn security(kind: &'static str, device: &Device, slot: &str) -> Option<Fault> {
    Fault::of(kind, Domain::Security, device, slot)
}

fn firewall_off(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = security("sec.firewall", device, "firewall")?.rules(&["sec.firewall"], &[]);
    Some(
        fault
            .shows("firewall", Between(0.0, 0.0))
            .timing(30 * MINUTE, (3 * HOUR, 60 * HOUR))
            .cause(&["switched it off"]),
    )
}

fn protection_off(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = security("sec.antivirus.off", device, "antivirus")?.rules(&["sec.antivirus"], &[]);
    let word = *random.pick(&["off", "stopped", "expired"]);
    let fault = fault.says("antivirus", word, Same).timing(30 * MINUTE, (3 * HOUR, 60 * HOUR));
    Some(fault.cause(if word == "expired" { &["licence"] } else { &["stopped", "crashed"] }))
}

fn protection_old(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = security("sec.antivirus.old", device, "antivirus.age")?.rules(&["sec.antivirus"], &[]);
    let age = random.range(8.0, 30.0) * f64::from(DAY);
    let fault =
        fault.shows("antivirus.age", Between(age, age + 1e4)).timing(2 * HOUR, (30 * HOUR, 100 * HOUR));
    Some(fault.cause(&["do not arrive", "updates"]))
}

fn unencrypted(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = security("sec.encryption", device, "encryption")?.rules(&["sec.encryption"], &[]);
    Some(fault.shows("encryption", Between(0.0, 0.0)).timing(DAY, FOREVER).cause(&["suspended"]))
}

fn secure_boot_off(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = security("sec.secureboot", device, "secure_boot")?.rules(&["sec.secureboot"], &[]);
    Some(fault.shows("secure_boot", Between(0.0, 0.0)).timing(0, FOREVER).cause(&["setup", "firmware"]))
}

fn usb_flaps(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = system("dev.usb_flap", device, "usb_device")?.rules(&["dev.usb_flap"], &["dev.problem"]);
    let component = "device/17ef:3082".to_owned();
    let apart = random.whole(20, 180);
    for n in 0..random.whole(4, 15) {
        fault = fault.happens(n * apart, event("endpoint.usb.disconnects", &component, &[("port", "2-1")]));
    }
    fault.component = component;
    fault.every = MINUTE;
    Some(fault.onset(2 * apart).timing(0, (HOUR, 2 * HOUR)).cause(&["contact", "cable", "power"]))
}

fn peripheral_broken(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = system("dev.problem", device, "usb_device")?.rules(&["dev.problem"], &["dev.usb_flap"]);
    let fault = fault.shows("usb_device", Between(1.0, 1.0)).timing(10 * MINUTE, (4 * HOUR, 30 * HOUR));
    Some(fault.cause(&["driver", "socket", "defective"]))
}

fn webcam_missing(device: &Device, _: &mut Random) -> Option<Fault> {
    let fault = system("dev.expected_missing", device, "webcam")?.rules(&["dev.expected_missing"], &[]);
    let fault = fault.shows("webcam", Between(0.0, 0.0)).timing(30 * MINUTE, (3 * HOUR, 10 * HOUR));
    Some(fault.cause(&["switch", "shutter", "dock", "driver"]))
}

fn person_reports(device: &Device, random: &mut Random) -> Option<Fault> {
    let category = *random.pick(&["printing", "network", "slow", "program"]);
    let mut fault = system("user.report", device, "uptime")?.rules(&["user.report"], &[]);
    fault = fault.happens(0, event("endpoint.user.report", "user/kari", &[("category", category)]));
    fault.component = "user/kari".to_owned();
    fault.every = MINUTE;
    Some(fault.timing(0, (HOUR, 2 * HOUR)).cause(&["report"]))
}

fn certificate_expires(device: &Device, random: &mut Random) -> Option<Fault> {
    let fault = system("net.cert_expiry", device, "certificate")?.rules(&["net.cert_expiry"], &[]);
    let left = random.range(-2.0, 9.0) * f64::from(DAY);
    let fault = fault.shows("certificate", Between(left, left)).timing(HOUR, (30 * HOUR, 80 * HOUR));
    Some(fault.cause(&["renewal", "by hand"]))
}

fn spooler_stopped(device: &Device, random: &mut Random) -> Option<Fault> {
    let mut fault = Fault::of("prn.spooler", Domain::Printing, device, "printer.0")?
        .rules(&["prn.spooler"], &["svc.failed", "prn.stuck_job"]);
    let name = if device.os == "linux" { "cups.service" } else { "Spooler" };
    fault.component = format!("service/{name}");
    let state = *random.pick(&["failed", "stopped"]);
    let says = |state: &str| What::Sample {
        metric: "endpoint.service.state",
        component: format!("service/{name}"),
        attributes: format!("\"name\":\"{name}\",\"state\":\"{state}\""),
        value: 1.0,
    };
    for minute in 0..60 {
        fault = fault.happens(minute * MINUTE, says(state));
    }
    fault = fault.happens(HOUR, says("active"));
    Some(fault.timing(2 * MINUTE, (HOUR, HOUR)).cause(&["driver", "job", "crash"]))
}
