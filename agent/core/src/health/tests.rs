//! Judgements of single readings. Whole machines are judged from captured roots in the agent's own tests.

use super::*;
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Body, Timestamp, UnavailableReason, Value};

fn observation(component: &str, body: Body) -> Observation {
    Observation { component: component.parse().unwrap(), observed_at: Timestamp::from_millis(0), body }
}

fn sample(metric: &'static str, component: &str, attributes: Attributes, value: f64) -> Observation {
    observation(component, Body::Sample { metric: metric.into(), attributes, value })
}

fn plain(metric: &'static str, component: &str, value: f64) -> Observation {
    sample(metric, component, Attributes::none(), value)
}

fn unavailable(what: &'static str, component: &str, reason: UnavailableReason) -> Observation {
    observation(component, Body::Unavailable { what: what.into(), reason, detail: "a detail".to_owned() })
}

fn judged(latest: &[Observation]) -> Vec<Line> {
    assess(&Reading { earlier: &[], latest, incomplete: &[] })
}

fn only(lines: &[Line], domain: Domain) -> &Line {
    let mut of = lines.iter().filter(|line| line.domain == domain);
    let line = of.next().unwrap_or_else(|| panic!("nothing of {domain:?} in {lines:?}"));
    assert!(of.next().is_none(), "{lines:?}");
    line
}

#[test]
fn domains_stand_together_the_worst_first_and_the_unseen_last() {
    let lines = judged(&[
        unavailable(semconv::SECURITY_FIREWALL, "security/firewall", UnavailableReason::NotPermitted),
        plain(semconv::MEMORY_UTILIZATION, "memory/0", 0.4),
        plain(semconv::FILESYSTEM_UTILIZATION, "filesystem//home", 0.93),
        plain(semconv::REBOOT_REQUIRED, "os/0", 1.0),
        plain(semconv::FILESYSTEM_UTILIZATION, "filesystem//", 0.99),
    ]);
    let order: Vec<(Domain, Level)> = lines.iter().map(|line| (line.domain, line.level)).collect();
    let expected = [
        (Domain::Filesystem, Level::Problem),
        (Domain::Filesystem, Level::Warning),
        (Domain::System, Level::Warning),
        (Domain::Memory, Level::Healthy),
        (Domain::Security, Level::Unknown),
    ];
    assert_eq!(order, expected);
    assert_eq!(worst(&lines), Level::Problem);
}

#[test]
fn what_could_not_be_seen_is_neither_good_nor_bad_and_says_what_would_help() {
    let lines = judged(&[
        unavailable(semconv::DISK_IO_ERRORS, "physical_disk/sda", UnavailableReason::NotPermitted),
        unavailable(semconv::DISK_IO_ERRORS, "physical_disk/sdb", UnavailableReason::NotPermitted),
        unavailable(semconv::BATTERY_HEALTH, "battery/0", UnavailableReason::NotPresent),
    ]);
    assert_eq!(worst(&lines), Level::Unknown);
    let line = only(&lines, Domain::Disk);
    assert!(line.advice.contains("administrator"), "{lines:?}");
    assert_eq!(lines.len(), 1, "a battery that is not there is worth no line: {lines:?}");
}

#[test]
fn a_probe_without_a_result_is_said_and_is_no_fault() {
    let latest = [plain(semconv::MEMORY_UTILIZATION, "memory/0", 0.4)];
    let lines = assess(&Reading { earlier: &[], latest: &latest, incomplete: &[("printer", "timed_out")] });
    let line = only(&lines, Domain::Printer);
    assert_eq!(line.level, Level::Unknown);
    assert!(line.text.contains("timed_out"), "{line:?}");
    assert_eq!(worst(&lines), Level::Healthy);
}

#[test]
fn only_what_was_seen_is_called_in_order() {
    let lines = judged(&[plain(semconv::REBOOT_REQUIRED, "os/0", 0.0)]);
    let text = &only(&lines, Domain::System).text;
    assert!(text.contains("no restart is due") && !text.contains("services"), "{text}");
}

#[test]
fn control_characters_of_device_names_do_not_reach_the_terminal() {
    let lines = judged(&[plain(semconv::FILESYSTEM_UTILIZATION, "filesystem/\u{1b}[2Jhome", 0.99)]);
    assert!(!lines[0].text.contains('\u{1b}'), "{lines:?}");
}

#[test]
fn a_large_drive_with_room_left_is_not_called_nearly_full() {
    let free = |bytes| {
        let state = Attributes::none().with(attribute::FILESYSTEM_STATE, "free");
        sample(semconv::FILESYSTEM_USAGE, "filesystem//", state, bytes)
    };
    let used = plain(semconv::FILESYSTEM_UTILIZATION, "filesystem//", 0.95);
    assert_eq!(worst(&judged(&[used.clone(), free(30e9)])), Level::Healthy);
    assert_eq!(worst(&judged(&[used, free(10e9)])), Level::Warning);
}

#[test]
fn a_processor_that_throttles_is_told_by_two_looks_only() {
    let look = |at: i64, value| Observation {
        observed_at: Timestamp::from_millis(at),
        ..plain(semconv::CPU_THROTTLED_TIME, "cpu/0", value)
    };
    let (before, after) = ([look(0, 100.0)], [look(2_000, 100.5)]);
    let worst_of = |earlier: &[Observation], latest: &[Observation]| {
        worst(&assess(&Reading { earlier, latest, incomplete: &[] }))
    };
    assert_eq!(worst_of(&before, &after), Level::Problem);
    assert_eq!(worst_of(&[], &after), Level::Unknown);
    assert_eq!(
        worst_of(&after, &[look(4_000, 3.0)]),
        Level::Unknown,
        "a counter that started anew says nothing"
    );
}

// --- drives

const DRIVE: &str = "physical_disk/WD1";

fn own(verdict: &str) -> Observation {
    let attributes =
        Attributes::none().with(attribute::HW_TYPE, "physical_disk").with(attribute::HW_STATE, verdict);
    sample(semconv::HW_STATUS, DRIVE, attributes, 1.0)
}

fn smart(number: &str, raw: f64) -> Observation {
    let attributes = Attributes::none().with(attribute::SMART_ATTRIBUTE, number);
    sample(semconv::PHYSICAL_DISK_SMART, DRIVE, attributes, raw)
}

fn drive_level(further: Observation) -> Level {
    only(&judged(&[own("ok"), further]), Domain::Disk).level
}

#[test]
fn attributes_of_hard_disks_are_judged_at_their_levels() {
    let levels = [
        ("187", 0.0, Level::Healthy),
        ("187", 1.0, Level::Warning),
        ("187", 5_000.0, Level::Warning),
        ("197", 1.0, Level::Warning),
        ("197", 5.0, Level::Warning),
        ("197", 6.0, Level::Problem),
        ("198", 1.0, Level::Problem),
        ("5", 15.0, Level::Healthy),
        ("5", 16.0, Level::Warning),
        ("5", 69.0, Level::Warning),
        ("5", 70.0, Level::Problem),
        ("10", 1.0, Level::Warning),
        ("196", 45.0, Level::Healthy),
    ];
    for (number, raw, level) in levels {
        assert_eq!(drive_level(smart(number, raw)), level, "attribute {number} at {raw}");
    }
}

#[test]
fn cable_errors_and_packed_timeouts_and_error_log_entries_condemn_no_drive() {
    assert_eq!(drive_level(smart("199", 3_118_119.0)), Level::Healthy);
    assert_eq!(drive_level(smart("188", 17_180_131_332.0)), Level::Healthy);
    let log = Attributes::none()
        .with(attribute::HW_TYPE, "physical_disk")
        .with(attribute::ERROR_TYPE, "log_entries");
    assert_eq!(drive_level(sample(semconv::HW_ERRORS, DRIVE, log, 9_000.0)), Level::Healthy);
}

#[test]
fn the_drives_own_verdict_and_a_value_below_the_makers_threshold_mean_replace_now() {
    for verdict in ["predicted_failure", "failed"] {
        let lines = judged(&[own(verdict)]);
        let line = only(&lines, Domain::Disk);
        assert_eq!(line.level, Level::Problem);
        assert!(line.text.contains("replace it now") && line.text.contains("own verdict"), "{line:?}");
    }
    let row = Value::map([("value", Value::from(1.0)), ("failing_now", Value::from(true))]);
    let table = Value::map([("attributes", Value::map([("1 Raw_Read_Error_Rate", row)]))]);
    let state = observation(DRIVE, Body::State { name: "physical_disk".into(), document: table });
    let lines = judged(&[own("ok"), state]);
    let line = only(&lines, Domain::Disk);
    assert!(line.text.contains("attribute 1 (Raw Read Error Rate)"), "{line:?}");
    assert_eq!(line.level, Level::Problem);
}

#[test]
fn nvme_warnings_are_told_apart() {
    for (bit, level) in
        [("0", Level::Problem), ("1", Level::Warning), ("2", Level::Problem), ("3", Level::Problem)]
    {
        let attributes = Attributes::none().with(attribute::BIT, bit);
        assert_eq!(
            drive_level(sample(semconv::NVME_CRITICAL_WARNING, DRIVE, attributes, 1.0)),
            level,
            "bit {bit}"
        );
    }
    assert_eq!(drive_level(plain(semconv::PHYSICAL_DISK_ENDURANCE, DRIVE, 0.0)), Level::Warning);
    assert_eq!(drive_level(plain(semconv::PHYSICAL_DISK_ENDURANCE, DRIVE, 0.5)), Level::Healthy);
}

#[test]
fn a_drive_that_says_nothing_is_not_called_healthy() {
    let lines = judged(&[
        plain(semconv::PHYSICAL_DISK_SIZE, DRIVE, 1e12),
        unavailable(semconv::HW_STATUS, DRIVE, UnavailableReason::Unsupported),
    ]);
    let line = only(&lines, Domain::Disk);
    assert_eq!(line.level, Level::Unknown);
    assert!(line.text.contains("cannot tell") && line.text.contains("a detail"), "{line:?}");
}

#[test]
fn a_good_verdict_does_not_hide_read_errors_of_the_kernel() {
    let failed = Attributes::none().with(attribute::DEVICE, "sda").with(attribute::OP, "read");
    assert_eq!(drive_level(sample(semconv::DISK_IO_ERRORS, DRIVE, failed, 2.0)), Level::Warning);
}

// --- network

fn link(up: f64) -> Observation {
    plain(semconv::NETWORK_UP, "network_interface/eth0", up)
}

fn address(state: &str) -> Observation {
    let attributes = Attributes::none().with(attribute::STATE, state);
    sample(semconv::NETWORK_IP_CONFIG, "network_interface/eth0", attributes, 1.0)
}

fn router(answers: f64) -> Observation {
    plain(semconv::GATEWAY_REACHABLE, "gateway/192.0.2.1", answers)
}

fn lookup(server: &str, rcode: &str) -> Observation {
    let attributes = Attributes::none().with(attribute::RCODE, rcode);
    sample(semconv::DNS_LOOKUP_DURATION, &format!("dns_server/{server}"), attributes, 0.01)
}

#[test]
fn the_lowest_layer_that_fails_is_named_in_one_sentence_with_what_is_fine() {
    let none = |what| unavailable(what, "network/0", UnavailableReason::NotPresent);
    let cases: [(Vec<Observation>, &str, &str); 5] = [
        (vec![link(0.0), none(semconv::GATEWAY_REACHABLE)], "fails at its link", "net.link"),
        (vec![link(1.0), address("link_local"), router(0.0)], "fails at its address", "net.dhcp"),
        (
            vec![link(1.0), address("ok"), router(0.0), lookup("a", "timeout")],
            "(link and address are fine)",
            "net.gateway",
        ),
        (
            vec![link(1.0), address("ok"), none(semconv::GATEWAY_REACHABLE)],
            "no router is known",
            "net.gateway",
        ),
        (
            vec![link(1.0), address("ok"), router(1.0), lookup("a", "timeout"), lookup("b", "refused")],
            "(link, address and router are fine)",
            "net.dns",
        ),
    ];
    for (reading, words, check) in cases {
        let lines = judged(&reading);
        let line = only(&lines, Domain::Network);
        assert_eq!((line.level, line.check), (Level::Problem, Some(check)), "{line:?}");
        assert!(line.text.contains(words), "{line:?}");
    }
}

#[test]
fn a_network_that_works_says_what_was_tried() {
    let lines = judged(&[link(1.0), address("ok"), router(1.0), lookup("a", "nxdomain")]);
    let line = only(&lines, Domain::Network);
    assert_eq!(
        (line.level, line.text.as_str()),
        (Level::Healthy, "The network works: link, address, router and name lookup (DNS) are fine.")
    );
    let lines = judged(&[link(1.0), address("ok")]);
    assert!(
        only(&lines, Domain::Network).text.contains("router and name lookup (DNS) could not be tried"),
        "{lines:?}"
    );
}

#[test]
fn one_dead_name_server_of_two_is_a_warning() {
    let lines =
        judged(&[link(1.0), address("ok"), router(1.0), lookup("a", "noerror"), lookup("b", "timeout")]);
    assert_eq!(worst(&lines), Level::Warning);
    assert!(lines.iter().any(|line| line.text.contains("b: timeout")), "{lines:?}");
}

// --- printers

fn printer(metric: &'static str, value: f64) -> Observation {
    plain(metric, "printer/finance", value)
}

fn reason(keyword: &str, severity: &str) -> Observation {
    let attributes = Attributes::none().with(attribute::KEYWORD, keyword).with(attribute::SEVERITY, severity);
    sample(semconv::PRINTER_STATE_REASON, "printer/finance", attributes, 1.0)
}

#[test]
fn a_printer_is_as_bad_as_what_stops_it_and_the_jobs_that_wait() {
    let cases = [
        ("none", "report", 0.0, Level::Healthy),
        ("cups-waiting-for-job-completed", "report", 1.0, Level::Healthy),
        ("marker-supply-low", "warning", 0.0, Level::Note),
        ("toner-empty", "report", 0.0, Level::Warning),
        ("media-jam", "error", 0.0, Level::Warning),
        ("media-jam", "error", 2.0, Level::Problem),
        ("cover-open", "report", 0.0, Level::Note),
    ];
    for (keyword, severity, jobs, level) in cases {
        let lines = judged(&[
            printer(semconv::PRINTER_STATE, 3.0),
            printer(semconv::PRINTER_JOBS_QUEUED, jobs),
            reason(keyword, severity),
        ]);
        assert_eq!(worst(&lines), level, "{keyword}: {lines:?}");
    }
}

fn to(target: &str) -> Attributes {
    Attributes::none().with(attribute::TARGET, target)
}

#[test]
fn the_way_beyond_the_machine_is_judged_by_the_levels_of_the_catalogue() {
    let of = |observation: Observation, check: &str| {
        let lines = judged(&[plain(semconv::NETWORK_UP, "network_interface/eth0", 1.0), observation]);
        lines.into_iter().find(|line| line.check == Some(check)).map(|line| (line.level, line.text))
    };
    let loss = |value| of(sample(semconv::NETWORK_LOSS, "network/0", to("vpn.example"), value), "net.loss");
    assert_eq!(loss(0.02), None);
    assert_eq!(loss(0.05), Some((Level::Note, "5 % of what is sent to vpn.example gets lost.".to_owned())));
    assert_eq!(loss(0.11).unwrap().0, Level::Warning);
    let jitter = |value| of(sample(semconv::NETWORK_JITTER, "network/0", to("gateway"), value), "net.jitter");
    assert_eq!(jitter(0.03), None);
    assert!(jitter(0.04).unwrap().1.starts_with("The router answers unevenly: the times differ by 40 ms."));
    let mtu = |value| of(sample(semconv::NETWORK_PATH_MTU, "network/0", to("a.example"), value), "net.mtu");
    assert_eq!((mtu(1280.0), mtu(1279.0).unwrap().0), (None, Level::Warning));
    let vpn = |state| {
        let state = Attributes::none().with(attribute::STATE, state);
        of(sample(semconv::VPN_STATE, "vpn/wg0", state, 1.0), "net.vpn").map(|(level, _)| level)
    };
    let expected = [Some(Level::Warning), None, None, None];
    assert_eq!([vpn("down"), vpn("up"), vpn("off"), vpn("disconnected")], expected);
    let certificate = |days: f64| {
        let left = plain(semconv::TLS_CERTIFICATE_TIME_TO_EXPIRY, "endpoint/mail:443", days * 86_400.0);
        of(left, "net.cert_expiry").map(|(level, _)| level)
    };
    let expected = [None, Some(Level::Note), Some(Level::Warning), Some(Level::Problem)];
    assert_eq!([certificate(14.0), certificate(13.0), certificate(6.0), certificate(-1.0)], expected);
}

#[test]
fn the_networks_sentence_says_what_the_probes_verdict_says() {
    let verdict = |fine: &[&str], unknown: &[&str]| {
        let texts = |names: &[&str]| Value::texts(names.to_vec());
        let document = Value::map([("fine", texts(fine)), ("unknown", texts(unknown))]);
        let said = observation("network/0", Body::State { name: "verdict".into(), document });
        let seen = [
            plain(semconv::NETWORK_UP, "network_interface/eth0", 1.0),
            // One router of two is silent, which the probe knows not to matter.
            plain(semconv::GATEWAY_REACHABLE, "gateway/10.0.0.1", 0.0),
            said,
        ];
        only(&judged(&seen), Domain::Network).text.clone()
    };
    let fine = verdict(&["link", "address", "gateway"], &["dns"]);
    assert!(
        fine.starts_with("The network works as far as this machine: link, address and router are fine"),
        "{fine}"
    );
    let dead = verdict(&["link", "address"], &["dns"]);
    assert_eq!(
        dead,
        "The network fails at its router: the router 10.0.0.1 does not answer (link and address are fine)."
    );
    let unknown = verdict(&["link"], &["address", "gateway", "dns"]);
    assert!(unknown.contains("address, router and name lookup (DNS) could not be tried"), "{unknown}");
}
