//! What was captured of a machine that runs Windows: `wmi/<Class>.json` (a list of rows), `registry.json` (values by
//! name, by key), `events/<Channel>.xml` (events one after another) and `native.json` (`processor_times`,
//! `memory_status`, `uptime_s`). A file may hold `{"error": "not_permitted"}` in place of an answer.

use super::{Class, Machine, MemoryStatus, ProcessorTimes, RegistryValue, Row, Since, event};
use crate::{ProbeError, Root};
use serde_json::Value;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

const MAX_FILE_BYTES: usize = 8 << 20;

/// A folder that answers as a machine.
#[derive(Debug)]
pub struct Captured {
    root: Root,
    /// The registry, which is asked value by value.
    registry: OnceLock<Result<Value, ProbeError>>,
}

impl Captured {
    /// The machine in this folder.
    pub fn at(folder: &Path) -> Self {
        Self { root: Root::at(folder), registry: OnceLock::new() }
    }

    fn text(&self, file: &str) -> Result<String, ProbeError> {
        let mut bytes = Vec::new();
        self.root.read_into(file, MAX_FILE_BYTES, &mut bytes).map_err(|error| match error {
            ProbeError::NotPresent(_) => ProbeError::NotPresent(format!("{file} was not captured")),
            ProbeError::Unsupported(_)
            | ProbeError::NotPermitted(_)
            | ProbeError::TimedOut(_)
            | ProbeError::Malformed(_) => error,
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn json(&self, file: &str) -> Result<Value, ProbeError> {
        let answer: Value = serde_json::from_str(&self.text(file)?)
            .map_err(|error| ProbeError::Malformed(format!("{file} is no JSON: {error}")))?;
        match answer.get("error").and_then(Value::as_str) {
            Some("not_permitted") => Err(ProbeError::NotPermitted(format!("{file}: access was denied"))),
            Some("timed_out") => Err(ProbeError::TimedOut(format!("{file}: the provider did not answer"))),
            Some(other) => Err(ProbeError::Malformed(format!("{file}: {other}"))),
            None => Ok(answer),
        }
    }

    fn keys(&self) -> Result<&Value, ProbeError> {
        let keys = self.registry.get_or_init(|| self.json("/registry.json"));
        keys.as_ref().map_err(Clone::clone)
    }

    fn native(&self, name: &str) -> Result<Value, ProbeError> {
        let mut native = self.json("/native.json")?;
        let missing = || ProbeError::NotPresent(format!("{name} was not captured"));
        native.get_mut(name).map(Value::take).ok_or_else(missing)
    }
}

fn number(value: &Value, name: &str) -> Result<u64, ProbeError> {
    let missing = || ProbeError::Malformed(format!("{name} is no whole number"));
    value.get(name).and_then(Value::as_u64).ok_or_else(missing)
}

impl Machine for Captured {
    fn rows(&self, class: &Class) -> Result<Vec<Row>, ProbeError> {
        let file = format!("/wmi/{}.json", class.name);
        let Value::Array(rows) = self.json(&file)? else {
            return Err(ProbeError::Malformed(format!("{file} is no list of rows")));
        };
        Ok(rows.into_iter().filter_map(Row::new).take(super::MAX_ROWS).collect())
    }

    fn registry(&self, key: &str, name: &str) -> Result<RegistryValue, ProbeError> {
        let keys = self.keys()?;
        let missing = || ProbeError::NotPresent(format!("the registry has no {key}\\{name}"));
        match keys.get(key).and_then(|values| values.get(name)).ok_or_else(missing)? {
            Value::String(text) => Ok(RegistryValue::Text(text.clone())),
            Value::Number(number) => number.as_u64().map(RegistryValue::Number).ok_or_else(missing),
            Value::Array(items) => Ok(RegistryValue::Texts(
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            )),
            Value::Null | Value::Bool(_) | Value::Object(_) => Err(missing()),
        }
    }

    fn subkeys(&self, key: &str) -> Result<Vec<String>, ProbeError> {
        let keys = self.keys()?;
        let below = |name: &String| name.strip_prefix(key)?.strip_prefix('\\').map(str::to_owned);
        let names = keys.as_object().into_iter().flat_map(|keys| keys.keys());
        Ok(names.filter_map(below).filter(|name| !name.contains('\\')).take(super::MAX_ROWS).collect())
    }

    fn has_key(&self, key: &str) -> Result<bool, ProbeError> {
        Ok(self.keys()?.get(key).is_some())
    }

    fn events(&self, channel: &'static str, ids: &[u32], since: Since) -> Result<Vec<String>, ProbeError> {
        let text = self.text(&format!("/events/{channel}.xml"))?;
        let is_wanted = |xml: &&str| {
            event::Event::parse(xml).is_ok_and(|event| {
                let is_newer = match since {
                    Since::Record(record) => event.record > record,
                    Since::Ago(_) => true,
                };
                ids.contains(&event.id) && is_newer
            })
        };
        // What is no event is handed on, as a damaged log would.
        let all = text.split_inclusive("</Event>").map(str::trim).filter(|xml| !xml.is_empty());
        let kept = all.filter(|xml| is_wanted(xml) || event::Event::parse(xml).is_err());
        Ok(kept.take(super::MAX_EVENTS).map(str::to_owned).collect())
    }

    fn processor_times(&self) -> Result<ProcessorTimes, ProbeError> {
        let times = self.native("processor_times")?;
        Ok(ProcessorTimes {
            idle: number(&times, "idle")?,
            kernel: number(&times, "kernel")?,
            user: number(&times, "user")?,
        })
    }

    fn memory_status(&self) -> Result<MemoryStatus, ProbeError> {
        let status = self.native("memory_status")?;
        Ok(MemoryStatus { total: number(&status, "total")?, available: number(&status, "available")? })
    }

    fn uptime(&self) -> Result<Duration, ProbeError> {
        let seconds = self.native("uptime_s")?;
        seconds
            .as_u64()
            .map(Duration::from_secs)
            .ok_or_else(|| ProbeError::Malformed("uptime_s is no whole number".to_owned()))
    }
}
