//! Records whose content can be recomputed from (seed, device, sequence number), here and in `tests/oracle/check.py`,
//! which has its own copy of these few lines.
//!
//! A device's life is cut into blocks. In each block one drive of its own is watched, which stays healthy, fills up and
//! recovers, or fills up and stays full. So each drive has at most one fault, and no rule about flapping, however good,
//! has a reason to hold a ticket back.

use firstline_model::{Attributes, Body, Component, ComponentKind, Observation, Timestamp, semconv};
use firstline_proto::convert::encode_record;

/// Records about one drive.
pub const BLOCK: u64 = 120;
/// The rule that judges them.
pub const RULE: &str = "oracle.level";
/// That rule: no hold times, so that what it must do follows from the order of the records alone.
pub const RULE_FILE: &str = r#"id = "oracle.level"
title = "Drive {component.id} is {value} full"
category = "filesystem"
impact = 3

[detect]
component = "filesystem"
metric = "system.filesystem.utilization"

[detect.warning]
above = 0.90
clear = { below = 0.80 }

[explain]
person = "A drive of the oracle is full."
technician = "{component.id} has been at {value} since {since}, above the level of {threshold}."

[[step]]
text = "Nothing: the drive exists only in a test."

[article]
title = "A drive of the oracle"
body = "Issue: none. Environment: tests. Resolution: none. Cause: a seeded generator."

[[example]]
name = "raises at once"
component = "filesystem//oracle/0"
observations = [{ t = "0s", metric = "system.filesystem.utilization", value = 0.95 }]
expect = [{ transition = "fired", severity = "warning" }]
"#;

/// One step of SplitMix64.
fn scramble(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number that follows from others.
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, part| scramble(state ^ part))
}

/// What a record says of the device: a number in 0..1.
pub fn value(seed: u64, device: u64, seq: u64) -> f64 {
    (mix(&[seed, device, seq]) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The drive that a record is about, and how full it is.
pub fn level(seed: u64, device: u64, seq: u64) -> (u64, f64) {
    let (block, place) = ((seq - 1) / BLOCK, (seq - 1) % BLOCK);
    let plan = mix(&[seed, device, block, 1]);
    let fills = 5 + (plan >> 8) % 15;
    let recovers = fills + 10 + (plan >> 16) % 15;
    let noise = value(seed, device, seq);
    let level = match plan % 3 {
        0 => 0.5 + 0.2 * noise,
        _ if place < fills => 0.5 + 0.2 * noise,
        kind if kind == 2 || place < recovers => {
            // Now and then between the two levels, where nothing may happen.
            if (place - fills) % 4 == 3 { 0.85 } else { 0.92 + 0.05 * noise }
        }
        _ => 0.6 * noise,
    };
    (block, level)
}

/// The record.
///
/// # Panics
/// Never: the component is a valid one.
pub fn record(seed: u64, device: u64, seq: u64, at: Timestamp) -> Vec<u8> {
    let (drive, level) = level(seed, device, seq);
    let sample = |kind, id: &str, metric: &'static str, value| Observation {
        component: Component::new(kind, id.to_owned()).expect("a component"),
        observed_at: at,
        body: Body::Sample { metric: metric.into(), attributes: Attributes::none(), value },
    };
    encode_record(&[
        sample(
            ComponentKind::Filesystem,
            &format!("/oracle/{drive}"),
            semconv::FILESYSTEM_UTILIZATION,
            level,
        ),
        sample(ComponentKind::Agent, "0", semconv::PROBE_DURATION, value(seed, device, seq)),
    ])
}
