//! A recorded agent: the lines `OID|type|value` of snmpsim's `.snmprec` files, answered from memory. The walk through a
//! recording is the walk through a printer.

use super::message::Value;
use super::{Agent, Oid, Variable};
use crate::ProbeError;
use std::collections::BTreeMap;
use std::ops::Bound;

/// More variables than this are no printer's.
const MAX_VARIABLES: usize = 10_000;

#[derive(Debug)]
pub(super) struct Recording {
    variables: BTreeMap<Oid, Value>,
}

impl Recording {
    pub(super) fn parse(text: &str) -> Result<Self, ProbeError> {
        let mut variables = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = variable(line)
                .ok_or_else(|| ProbeError::Malformed(format!("line {} is no OID|type|value", at + 1)))?;
            variables.insert(name, value);
            if variables.len() > MAX_VARIABLES {
                return Err(ProbeError::Malformed(format!("more than {MAX_VARIABLES} variables")));
            }
        }
        Ok(Self { variables })
    }
}

fn variable(line: &str) -> Option<(Oid, Value)> {
    let mut fields = line.splitn(3, '|');
    let name: Oid = fields.next()?.trim().split('.').map(|arc| arc.parse().ok()).collect::<Option<_>>()?;
    let kind = fields.next()?.trim();
    let text = fields.next()?;
    let value = match kind {
        "2" => Value::Integer(text.trim().parse().ok()?),
        "4" => Value::Octets(text.as_bytes().to_vec()),
        "4x" => Value::Octets(hexadecimal(text.trim())?),
        "65" | "66" | "67" | "70" => Value::Unsigned(text.trim().parse().ok()?),
        _ => Value::Other,
    };
    (name.len() >= 2).then_some((name, value))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

impl Agent for Recording {
    fn after(&mut self, names: &[Oid]) -> Result<Vec<Option<Variable>>, ProbeError> {
        let next = |name: &Oid| {
            let after = (Bound::Excluded(name), Bound::Unbounded);
            self.variables.range::<Oid, _>(after).next().map(|(name, value)| (name.clone(), value.clone()))
        };
        Ok(names.iter().map(next).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_answers_in_order() {
        let text = "1.3.6.1.2|2|5\n1.3.6.1.10|4x|00ff\n1.3.6.1.3|65|7\n";
        let mut recording = Recording::parse(text).unwrap();
        let answers = recording.after(&[vec![1, 3], vec![1, 3, 6, 1, 3], vec![1, 4]]).unwrap();
        let expected = [
            Some((vec![1, 3, 6, 1, 2], Value::Integer(5))),
            Some((vec![1, 3, 6, 1, 10], Value::Octets(vec![0, 0xff]))),
            None,
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn a_line_that_is_no_variable_is_named() {
        for bad in ["1.3|2", "1.x|2|3", "1.3|2|three", "1.3|4x|0", "1.3|4x|zz", "1|2|3"] {
            assert!(matches!(Recording::parse(bad), Err(ProbeError::Malformed(_))), "{bad}");
        }
    }
}
