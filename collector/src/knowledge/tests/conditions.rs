//! Conditions that no entry of the built-in pack needs yet, each with worked examples, as an administrator writes them.

use super::{loaded, problems, source};
use crate::knowledge::examples;

/// Every example of the entries holds.
fn holds(text: &str) {
    let loaded = loaded(&[source("own.toml", text)]);
    for entry in loaded.set.entries.values().filter(|entry| entry.code.as_str().starts_with("own.")) {
        assert!(entry.examples.len() >= 4, "{}", entry.code);
        for example in &entry.examples {
            let failure = examples::failure(entry, example);
            assert_eq!(failure, None, "{}: {}", entry.code, example.name);
        }
    }
}

const HEAD: &str = r#"
title = "Something about {component.id}"
category = "test"
severity = "warning"
[explain]
person = "Something is wrong."
technician = "{value}"
"#;

fn entry(id: &str, rest: &str) -> String {
    format!("id = \"{id}\"{HEAD}{rest}")
}

const ABSENT: &str = r#"
[detect]
component = "filesystem"
metric = "system.filesystem.utilization"
absent = "30m"
clear = { for = "0s" }

[[example]]
name = "raises when it stopped coming while the device is heard"
component = "filesystem/D:"
observations = [
    { t = "0s", every = "5m", to = "10m", metric = "system.filesystem.utilization", value = 0.5 },
    { t = "0s", every = "1m", to = "2h", component = "cpu/0", metric = "system.cpu.utilization", value = 0.1 },
]
expect = [{ transition = "fired", component = "filesystem/D:" }]

[[example]]
name = "the silence of the whole device is nothing"
component = "filesystem/D:"
observations = [{ t = "0s", every = "5m", to = "10m", metric = "system.filesystem.utilization", value = 0.5 }]
until = "3d"
expect = []

[[example]]
name = "neither is a night asleep"
component = "filesystem/D:"
observations = [
    { t = "0s", every = "5m", to = "10m", metric = "system.filesystem.utilization", value = 0.5 },
    { t = "11m", presence = "asleep" },
    { t = "9h", presence = "online" },
    { t = "541m", every = "5m", to = "10h", metric = "system.filesystem.utilization", value = 0.5 },
]
expect = []

[[example]]
name = "what never came is not missed"
component = "filesystem/D:"
observations = [
    { t = "0s", every = "1m", to = "2h", component = "cpu/0", metric = "system.cpu.utilization", value = 0.1 },
]
expect = []

[[example]]
name = "what could not be read was looked for"
component = "filesystem/D:"
observations = [
    { t = "0s", every = "5m", to = "10m", metric = "system.filesystem.utilization", value = 0.5 },
    { t = "15m", every = "5m", to = "2h", unavailable = "system.filesystem.utilization", reason = "not_permitted" },
]
expect = []

[[example]]
name = "clears when it comes again"
component = "filesystem/D:"
observations = [
    { t = "0s", metric = "system.filesystem.utilization", value = 0.5 },
    { t = "40m", component = "cpu/0", metric = "system.cpu.utilization", value = 0.1 },
    { t = "50m", every = "5m", to = "1h", metric = "system.filesystem.utilization", value = 0.5 },
]
expect = [{ transition = "fired" }, { transition = "cleared" }]
"#;

const CHANGED: &str = r#"
[detect]
component = "network_interface"
metric = "endpoint.network.duplex"
changed = "1h"
clear = { for = "0s" }

[[example]]
name = "raises when the value is another one"
component = "network_interface/eth0"
observations = [
    { t = "0s", every = "10m", to = "30m", metric = "endpoint.network.duplex", attrs = { state = "full" }, value = 1 },
    { t = "40m", metric = "endpoint.network.duplex", attrs = { state = "half" }, value = 1 },
]
expect = [{ transition = "fired" }]

[[example]]
name = "is over an hour later, without a further look"
component = "network_interface/eth0"
observations = [
    { t = "0s", metric = "endpoint.network.duplex", attrs = { state = "full" }, value = 1 },
    { t = "40m", metric = "endpoint.network.duplex", attrs = { state = "half" }, value = 1 },
]
until = "2h"
expect = [{ transition = "fired" }, { transition = "cleared" }]

[[example]]
name = "the first sight is no change"
component = "network_interface/eth0"
observations = [{ t = "0s", every = "10m", to = "3h", metric = "endpoint.network.duplex", attrs = { state = "half" }, value = 1 }]
expect = []

[[example]]
name = "a gap is no change"
component = "network_interface/eth0"
observations = [
    { t = "0s", metric = "endpoint.network.duplex", attrs = { state = "full" }, value = 1 },
    { t = "1m", unavailable = "endpoint.network.duplex", reason = "not_permitted" },
    { t = "5h", metric = "endpoint.network.duplex", attrs = { state = "full" }, value = 1 },
]
expect = []
"#;

const CHANGED_DOCUMENT: &str = r#"
[detect]
component = "printer"
state = "printer"
key = "device.firmware"
changed = "2h"
clear = { for = "0s" }

[[example]]
name = "raises when the value inside the document is another one"
component = "printer/p1"
observations = [
    { t = "0s", state = "printer", doc = { device = { firmware = "1.0" }, jobs = 1 } },
    { t = "1h", state = "printer", doc = { device = { firmware = "1.1" }, jobs = 1 } },
]
expect = [{ transition = "fired" }]

[[example]]
name = "the first document is no change"
component = "printer/p1"
observations = [{ t = "0s", state = "printer", doc = { device = { firmware = "1.0" } } }]
expect = []

[[example]]
name = "another value is not looked at"
component = "printer/p1"
observations = [
    { t = "0s", state = "printer", doc = { device = { firmware = "1.0" }, jobs = 1 } },
    { t = "1h", state = "printer", doc = { device = { firmware = "1.0" }, jobs = 2 } },
]
expect = []

[[example]]
name = "a document without the value is no change"
component = "printer/p1"
observations = [
    { t = "0s", state = "printer", doc = { device = { firmware = "1.0" } } },
    { t = "1h", state = "printer", doc = { jobs = 2 } },
]
expect = []
"#;

const LATCHED: &str = r#"
[detect]
component = "physical_disk"
metric = "hw.status"
where = { "hw.state" = "failed" }
equals = 1
latched = true

[[example]]
name = "stays whatever the drive says later"
component = "physical_disk/S1"
observations = [
    { t = "0s", metric = "hw.status", attrs = { "hw.state" = "failed" }, value = 1 },
    { t = "1h", every = "1h", to = "9d", metric = "hw.status", attrs = { "hw.state" = "ok" }, value = 1 },
]
expect = [{ transition = "fired" }]

[[example]]
name = "ends when another drive is in its place"
component = "physical_disk/S1"
observations = [
    { t = "0s", every = "1h", to = "5h", metric = "hw.status", attrs = { "hw.state" = "failed" }, value = 1 },
    { t = "30h", every = "1h", to = "40h", component = "physical_disk/S2", metric = "hw.status", attrs = { "hw.state" = "ok" }, value = 1 },
]
expect = [{ transition = "fired" }, { transition = "cleared", component = "physical_disk/S1" }]

[[example]]
name = "a drive that was there before is no replacement, even when the failed one is not seen any more"
component = "physical_disk/S1"
observations = [
    { t = "0s", every = "1h", to = "5h", component = "physical_disk/S2", metric = "hw.status", attrs = { "hw.state" = "ok" }, value = 1 },
    { t = "1m", metric = "hw.status", attrs = { "hw.state" = "failed" }, value = 1 },
    { t = "30h", every = "1h", to = "60h", component = "physical_disk/S2", metric = "hw.status", attrs = { "hw.state" = "ok" }, value = 1 },
]
expect = [{ transition = "fired" }]

[[example]]
name = "a further drive beside it is no replacement"
component = "physical_disk/S1"
observations = [
    { t = "0s", every = "1h", to = "20h", metric = "hw.status", attrs = { "hw.state" = "failed" }, value = 1 },
    { t = "10h", every = "1h", to = "20h", component = "physical_disk/S2", metric = "hw.status", attrs = { "hw.state" = "ok" }, value = 1 },
]
expect = [{ transition = "fired" }]
"#;

#[test]
fn what_does_not_come_any_more_is_missed_while_its_device_is_heard() {
    holds(&entry("own.absent", ABSENT));
}

#[test]
fn a_value_that_differs_from_its_last_is_a_change_for_a_while() {
    holds(&entry("own.changed", CHANGED));
    holds(&entry("own.document", CHANGED_DOCUMENT));
}

#[test]
fn a_latched_verdict_ends_with_its_part() {
    holds(&entry("own.latched", LATCHED));
    // A battery keeps its name in the machine; its document names the part.
    let by_document = r#"
[detect]
component = "battery"
metric = "hw.status"
where = { "hw.state" = "failed" }
equals = 1
latched = true
"#;
    let document = |t: &str, serial: &str| {
        format!("{{ t = \"{t}\", state = \"battery\", doc = {{ serial = \"{serial}\" }} }}")
    };
    let failed = r#"{ t = "1h", metric = "hw.status", attrs = { "hw.state" = "failed" }, value = 1 }"#;
    let fine = r#"{ t = "3h", every = "1h", to = "5h", metric = "hw.status", attrs = { "hw.state" = "ok" }, value = 1 }"#;
    let example = |name: &str, serial: &str, expect: &str| {
        let observations =
            [document("0s", "A"), failed.to_owned(), document("2h", serial), fine.to_owned()].join(", ");
        format!(
            "[[example]]\nname = \"{name}\"\ncomponent = \"battery/BAT0\"\nobservations = [{observations}]\nexpect = [{expect}]\n"
        )
    };
    let fired = "{ transition = \"fired\" }";
    let cleared = format!("{fired}, {{ transition = \"cleared\" }}");
    let text = [
        by_document.to_owned(),
        example("ends when the document names another part", "B", &cleared),
        example("stays when it names the same part", "A", fired),
        example("again another", "C", &cleared),
        example("again the same", "A", fired),
    ];
    holds(&entry("own.battery", &text.concat()));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    for (detect, said) in [
        (
            "metric = \"hw.status\"\nabsent = \"1h\"\nabove = 1",
            "`above` does not go with `absent` and `changed`",
        ),
        (
            "metric = \"hw.status\"\nabsent = \"1h\"\nchanged = \"1h\"",
            "`absent` and `changed` stand together",
        ),
        ("metric = \"hw.status\"\nabsent = \"0s\"", "`absent` is no time at all"),
        ("state = \"printer\"\nchanged = \"1h\"", "is not looked into"),
        ("state = \"printer\"\nkey = \"x\"\nabsent = \"1h\"", "`absent` does not go with a state document"),
    ] {
        let example =
            "\n[[example]]\nname = \"x\"\ncomponent = \"printer/x\"\nobservations = []\nexpect = []\n";
        let text = entry("own.bad", &format!("\n[detect]\ncomponent = \"printer\"\n{detect}\n{example}"));
        let said_of = problems(&[source("own.toml", &text)]);
        assert!(said_of.contains(said), "{detect}: {said_of}");
    }
}
