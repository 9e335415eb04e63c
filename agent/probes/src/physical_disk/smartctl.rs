//! What `smartctl -j -a` prints (smartmontools 7). Read leniently, key by key, because drives and versions leave out
//! whatever they like and put text where numbers belong.
//!
//! The exit status is a set of bits. 0 to 2 (command line, open failed, command failed) mean "cannot tell" and never a
//! fault; 3 is the drive's own verdict; 4 a value below its threshold now; 5 to 7 are history.

use super::health::{AtaAttribute, Health, Verdict, plausible_celsius};
use super::nvme::NvmeHealth;
use crate::ProbeError;
use serde_json::Value;

const BIT_USAGE: u64 = 1;
const BIT_OPEN: u64 = 1 << 1;
const BIT_FAILING: u64 = 1 << 3;
const BIT_PREFAIL: u64 = 1 << 4;

/// Attributes whose normalised value is the endurance left, by smartctl's names.
const ENDURANCE: &[&str] =
    &["Media_Wearout_Indicator", "Percent_Lifetime_Remain", "SSD_Life_Left", "Wear_Leveling_Count"];
/// More attributes than a drive has; the table holds 30.
const MAX_ATTRIBUTES: usize = 64;

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// The drive answered.
    Answered(Box<Health>),
    /// The drive sleeps and was not woken.
    Asleep,
}

/// Reads the output. Fails with unsupported when the drive or its bridge does not offer SMART, not permitted when it
/// could not be opened, malformed when the output is none of smartctl's.
pub fn read(output: &str) -> Result<Reading, ProbeError> {
    let json: Value = serde_json::from_str(output)
        .map_err(|error| ProbeError::Malformed(format!("smartctl's output cannot be read: {error}")))?;
    let Some(exit) = json.pointer("/smartctl/exit_status").and_then(Value::as_u64) else {
        return Err(ProbeError::Malformed("smartctl's output has no exit status".to_owned()));
    };
    let messages = messages(&json);
    if exit & (BIT_USAGE | BIT_OPEN) != 0 {
        return refused(exit, &json, messages);
    }
    let health = health(&json, exit);
    if health.verdict.is_none() {
        let detail = if messages.is_empty() {
            "the drive gives no verdict on its health".to_owned()
        } else {
            messages
        };
        return Err(ProbeError::Unsupported(detail));
    }
    Ok(Reading::Answered(Box::new(health)))
}

fn refused(exit: u64, json: &Value, messages: String) -> Result<Reading, ProbeError> {
    let lower = messages.to_ascii_lowercase();
    let sleeps =
        lower.contains("standby") || lower.contains("sleep mode") || json.get("power_mode").is_some();
    if exit & BIT_OPEN != 0 && sleeps {
        Ok(Reading::Asleep)
    } else if lower.contains("permission denied") || lower.contains("operation not permitted") {
        Err(ProbeError::NotPermitted(messages))
    } else {
        let detail = if messages.is_empty() { format!("smartctl ended with {exit}") } else { messages };
        Err(ProbeError::Unsupported(detail))
    }
}

fn health(json: &Value, exit: u64) -> Health {
    let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::trim).map(str::to_owned);
    let nvme = json.get("nvme_smart_health_information_log").and_then(nvme);
    let attributes = attributes(json);
    let passed = json.pointer("/smart_status/passed").and_then(Value::as_bool);
    let failing = passed == Some(false) || exit & (BIT_FAILING | BIT_PREFAIL) != 0;
    let verdict = match (nvme.map(|log| log.verdict()), failing) {
        (Some(Verdict::Failed), _) => Some(Verdict::Failed),
        // smartctl calls every NVMe warning a failure, heat too; the log itself is judged instead.
        (Some(by_log), _) => Some(by_log),
        (None, true) => Some(Verdict::PredictedFailure),
        (None, false) => passed.map(|_| Verdict::Ok),
    };
    Health {
        verdict,
        rotational: json.get("rotation_rate").and_then(number).map(|rate| rate > 0.0),
        model: text("model_name"),
        serial: text("serial_number"),
        firmware: text("firmware_version"),
        endurance_remaining: endurance(json, nvme.as_ref(), &attributes),
        temperature: json.pointer("/temperature/current").and_then(number).and_then(plausible_celsius),
        power_on_hours: json.pointer("/power_on_time/hours").and_then(number),
        attributes,
        nvme,
    }
}

fn attributes(json: &Value) -> Vec<AtaAttribute> {
    let table = json.pointer("/ata_smart_attributes/table").and_then(Value::as_array);
    table
        .into_iter()
        .flatten()
        .take(MAX_ATTRIBUTES)
        .filter_map(|row| {
            let raw = row.pointer("/raw/value").and_then(Value::as_u64).filter(|raw| *raw < 1 << 48)?;
            Some(AtaAttribute {
                id: row.get("id").and_then(Value::as_u64).and_then(|id| u8::try_from(id).ok())?,
                name: row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                value: row.get("value").and_then(Value::as_u64)?,
                raw,
                failing_now: row.get("when_failed").and_then(Value::as_str) == Some("now"),
            })
        })
        .collect()
}

fn endurance(json: &Value, nvme: Option<&NvmeHealth>, attributes: &[AtaAttribute]) -> Option<f64> {
    if let Some(used) = json.pointer("/endurance_used/current_percent").and_then(number) {
        return (0.0..=255.0).contains(&used).then(|| (1.0 - used / 100.0).max(0.0));
    }
    if let Some(log) = nvme {
        return Some(log.endurance_remaining());
    }
    let row = attributes.iter().find(|row| ENDURANCE.contains(&row.name.as_str()) && row.value <= 100)?;
    Some(row.value as f64 / 100.0)
}

fn nvme(log: &Value) -> Option<NvmeHealth> {
    let percent = |key: &str| log.get(key).and_then(Value::as_u64).and_then(|value| u8::try_from(value).ok());
    let count = |key: &str| log.get(key).and_then(number).filter(|count| *count >= 0.0).unwrap_or(0.0);
    Some(NvmeHealth {
        critical_warning: percent("critical_warning")?,
        temperature: log.get("temperature").and_then(number).and_then(plausible_celsius),
        available_spare: percent("available_spare")?,
        available_spare_threshold: percent("available_spare_threshold")?,
        percentage_used: percent("percentage_used")?,
        power_cycles: count("power_cycles"),
        power_on_hours: count("power_on_hours"),
        unsafe_shutdowns: count("unsafe_shutdowns"),
        media_errors: count("media_errors"),
    })
}

/// A number, also when it is written as text, as counters of 128 bits are.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| number.is_finite())
}

fn messages(json: &Value) -> String {
    let list = json.pointer("/smartctl/messages").and_then(Value::as_array);
    let texts =
        list.into_iter().flatten().filter_map(|message| message.get("string").and_then(Value::as_str));
    texts.take(5).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use firstline_model::UnavailableReason;
    use serde_json::json;

    fn verdict(json: &Value) -> Result<Option<Verdict>, UnavailableReason> {
        match read(&json.to_string()) {
            Ok(Reading::Answered(health)) => Ok(health.verdict),
            Ok(Reading::Asleep) => Ok(None),
            Err(error) => Err(error.reason()),
        }
    }

    fn with_exit(exit: u64, passed: Option<bool>) -> Value {
        let mut json = json!({"smartctl": {"exit_status": exit}});
        if let Some(passed) = passed {
            json["smart_status"] = json!({ "passed": passed });
        }
        json
    }

    #[test]
    fn exit_bits_decide_what_is_known() {
        for (exit, passed, expected) in [
            (0, Some(true), Ok(Some(Verdict::Ok))),
            (4, Some(true), Ok(Some(Verdict::Ok))),
            (4, None, Err(UnavailableReason::Unsupported)),
            (8, Some(false), Ok(Some(Verdict::PredictedFailure))),
            (8, None, Ok(Some(Verdict::PredictedFailure))),
            (16, Some(true), Ok(Some(Verdict::PredictedFailure))),
            (32 + 64 + 128, Some(true), Ok(Some(Verdict::Ok))),
            (1, None, Err(UnavailableReason::Unsupported)),
            (2, Some(false), Err(UnavailableReason::Unsupported)),
        ] {
            assert_eq!(verdict(&with_exit(exit, passed)), expected, "exit {exit} passed {passed:?}");
        }
    }

    #[test]
    fn a_sleeping_drive_is_neither_well_nor_unreadable() {
        let messages = json!([{"string": "Device is in STANDBY mode, exit(2)"}]);
        let json = json!({"smartctl": {"exit_status": 2, "messages": messages}});
        assert_eq!(read(&json.to_string()), Ok(Reading::Asleep));
        let messages = json!([{"string": "Smartctl open device: /dev/sda failed: Permission denied"}]);
        let json = json!({"smartctl": {"exit_status": 2, "messages": messages}});
        assert_eq!(verdict(&json), Err(UnavailableReason::NotPermitted));
    }

    #[test]
    fn heat_of_an_nvme_drive_is_no_predicted_failure() {
        let log = |warning| {
            json!({"critical_warning": warning, "temperature": 80, "available_spare": 100,
            "available_spare_threshold": 10, "percentage_used": 3, "media_errors": "7"})
        };
        let json = |warning: u8| {
            json!({"smartctl": {"exit_status": if warning == 0 { 0 } else { 8 }},
            "smart_status": {"passed": warning == 0}, "nvme_smart_health_information_log": log(warning)})
        };
        assert_eq!(verdict(&json(2)), Ok(Some(Verdict::Ok)));
        assert_eq!(verdict(&json(4)), Ok(Some(Verdict::PredictedFailure)));
        let Ok(Reading::Answered(health)) = read(&json(0).to_string()) else { panic!("no answer") };
        assert_eq!((health.nvme.unwrap().media_errors, health.endurance_remaining), (7.0, Some(0.97)));
    }

    #[test]
    fn absurd_rows_are_left_out() {
        let row = |id: u64, raw: Value| json!({"id": id, "name": "x", "value": 100, "raw": {"value": raw}});
        let table = json!([
            row(5, json!(3)),
            row(300, json!(1)),
            row(197, json!(u64::MAX)),
            row(198, json!("x")),
            json!(7)
        ]);
        let json = json!({"smartctl": {"exit_status": 0}, "smart_status": {"passed": true},
            "ata_smart_attributes": {"table": table}, "temperature": {"current": 255}});
        let Ok(Reading::Answered(health)) = read(&json.to_string()) else { panic!("no answer") };
        assert_eq!(health.attributes.iter().map(|row| row.id).collect::<Vec<_>>(), [5]);
        assert_eq!(health.temperature, None);
    }

    #[test]
    fn output_that_is_not_smartctls_is_malformed() {
        for bad in ["", "{", "[]", "{\"smartctl\":{}}", "segmentation fault"] {
            assert_eq!(read(bad).unwrap_err().reason(), UnavailableReason::Malformed, "{bad}");
        }
    }
}
