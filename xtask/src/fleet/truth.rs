//! Ground truth: what was really wrong, in a file of its own that nothing but the scorer reads.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{BufRead, Write};

use super::clock;

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Truth {
    pub fault: String,
    pub kind: String,
    pub devices: Vec<String>,
    /// The components that a ticket may name; any when there are none.
    pub components: Vec<String>,
    /// Seconds since the beginning of the trace.
    pub start: u32,
    pub end: u32,
    /// When the condition has held for the hold time, in powered-on time.
    pub due: u32,
    pub hold_s: u32,
    pub interval_s: u32,
    /// Rules of which one should open a ticket.
    pub rules: Vec<String>,
    /// Rules that may rightly speak of the same fault as well.
    pub also: Vec<String>,
    /// One of these words should be in the likely cause.
    pub likely_cause: Vec<String>,
    pub shared: Option<Shared>,
}

/// What many devices have in common that is at fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shared {
    pub attribute: String,
    pub value: String,
    /// The rule of the Problem.
    pub rule: String,
    /// The components that name it.
    pub components: Vec<String>,
}

/// A fleet with all its faults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Truths {
    pub devices: u32,
    pub days: u32,
    pub seed: u64,
    pub faults: Vec<Truth>,
}

impl Truths {
    pub(crate) fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{}",
            json!({"fleet": {"devices": self.devices, "days": self.days, "seed": self.seed}})
        )?;
        for fault in &self.faults {
            writeln!(out, "{}", fault.line())?;
        }
        Ok(())
    }

    pub(crate) fn read(input: impl BufRead) -> Result<Self> {
        let mut truths = Self { devices: 0, days: 0, seed: 0, faults: Vec::new() };
        for (number, line) in input.lines().enumerate() {
            let line = line.context("the truth cannot be read")?;
            let value: Value = serde_json::from_str(&line)
                .with_context(|| format!("line {} of the truth is no JSON", number + 1))?;
            if let Some(fleet) = value.get("fleet") {
                truths.devices = whole(fleet, "devices")?;
                truths.days = whole(fleet, "days")?;
                truths.seed = fleet["seed"].as_u64().unwrap_or(0);
            } else {
                let fault = Truth::of(&value).with_context(|| format!("line {} of the truth", number + 1))?;
                truths.faults.push(fault);
            }
        }
        Ok(truths)
    }
}

impl Truth {
    fn line(&self) -> Value {
        let shared = self.shared.as_ref().map(|shared| {
            json!({
                "attribute": shared.attribute, "value": shared.value, "rule": shared.rule,
                "components": shared.components,
            })
        });
        json!({
            "fault": self.fault, "kind": self.kind, "devices": self.devices, "components": self.components,
            "start": clock::text(self.start), "end": clock::text(self.end), "due": clock::text(self.due),
            "hold_s": self.hold_s, "interval_s": self.interval_s, "rules": self.rules, "also": self.also,
            "likely_cause": self.likely_cause, "shared": shared,
        })
    }

    fn of(line: &Value) -> Result<Self> {
        let text =
            |key: &str| line[key].as_str().map(str::to_owned).with_context(|| format!("there is no {key}"));
        let shared = line["shared"].as_object().map(|shared| {
            let text = |key: &str| shared.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Shared {
                attribute: text("attribute"),
                value: text("value"),
                rule: text("rule"),
                components: shared.get("components").map(texts).unwrap_or_default(),
            }
        });
        Ok(Self {
            fault: text("fault")?,
            kind: text("kind")?,
            devices: texts(&line["devices"]),
            components: texts(&line["components"]),
            start: second(&text("start")?)?,
            end: second(&text("end")?)?,
            due: second(&text("due")?)?,
            hold_s: whole(line, "hold_s")?,
            interval_s: whole(line, "interval_s")?,
            rules: texts(&line["rules"]),
            also: texts(&line["also"]),
            likely_cause: texts(&line["likely_cause"]),
            shared,
        })
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn whole(object: &Value, key: &str) -> Result<u32> {
    object[key]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .with_context(|| format!("{key} is no whole number"))
}

fn second(text: &str) -> Result<u32> {
    clock::parse(text).map(super::fault::seconds).with_context(|| format!("{text:?} is no time of a trace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let fault = Truth {
            fault: "f0001".to_owned(),
            kind: "shared.switch_dead".to_owned(),
            devices: vec!["pc-1".to_owned(), "pc-2".to_owned()],
            components: vec!["network/sw-1".to_owned()],
            start: 100,
            end: 200,
            due: 145,
            hold_s: 45,
            interval_s: 15,
            rules: vec!["net.gateway".to_owned()],
            also: vec!["net.dns".to_owned()],
            likely_cause: vec!["sw-1".to_owned()],
            shared: Some(Shared {
                attribute: "switch".to_owned(),
                value: "sw-1".to_owned(),
                rule: "net.site_outage".to_owned(),
                components: vec!["network/sw-1".to_owned()],
            }),
        };
        let alone = Truth { shared: None, ..fault.clone() };
        let truths = Truths { devices: 10, days: 3, seed: 7, faults: vec![fault, alone] };
        let mut bytes = Vec::new();
        truths.write(&mut bytes).unwrap();
        assert_eq!(Truths::read(bytes.as_slice()).unwrap(), truths);
        assert!(Truths::read(b"{\"fault\":\"f1\"}".as_slice()).is_err());
    }
}
