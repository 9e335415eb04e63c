//! Property lists in XML as `ioreg -a` writes them, as far as they hold texts, numbers, truths, lists and dictionaries.
//! Drivers put what they like into the registry, so nesting and size are bounded; data and dates are passed over.

use quick_xml::Reader;
use quick_xml::events::Event as Xml;
use serde_json::{Map, Value};

const MAX_DEPTH: usize = 32;
const MAX_VALUES: usize = 50_000;
const MAX_TEXT_BYTES: usize = 4096;

/// What is being put together.
enum Open {
    List(Vec<Value>),
    Dictionary(Map<String, Value>, Option<String>),
}

/// Reads the list.
pub fn parse(xml: &str) -> Result<Value, String> {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<Open> = Vec::new();
    let mut text = String::new();
    let mut whole = None;
    let mut values = 0_usize;
    loop {
        let event = reader.read_event().map_err(|error| format!("the property list is no XML: {error}"))?;
        let finished = match event {
            Xml::Start(element) => {
                text.clear();
                match element.local_name().as_ref() {
                    "array" => open.push(Open::List(Vec::new())),
                    "dict" => open.push(Open::Dictionary(Map::new(), None)),
                    _ => {}
                }
                if open.len() > MAX_DEPTH {
                    return Err("the property list is nested too deeply".to_owned());
                }
                None
            }
            Xml::Empty(element) => match element.local_name().as_ref() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                "array" => Some(Value::Array(Vec::new())),
                "dict" => Some(Value::Object(Map::new())),
                "string" | "data" => Some(Value::String(String::new())),
                _ => None,
            },
            Xml::Text(part) => {
                let room = MAX_TEXT_BYTES.saturating_sub(text.len());
                let part = part.xml10_content();
                text.push_str(&part[..part.floor_char_boundary(room)]);
                None
            }
            Xml::GeneralRef(reference) => {
                if let Some(part) = quick_xml::escape::resolve_xml_entity(&reference) {
                    text.push_str(part);
                }
                None
            }
            Xml::End(element) => match element.local_name().as_ref() {
                "key" => {
                    if let Some(Open::Dictionary(_, key)) = open.last_mut() {
                        *key = Some(std::mem::take(&mut text));
                    }
                    None
                }
                "string" => Some(Value::String(std::mem::take(&mut text))),
                // Numbers of 64 bits without a sign stand beside such with one.
                "integer" => Some(integer(text.trim())?),
                "real" => Some(text.trim().parse::<f64>().map_or(Value::Null, Value::from)),
                "data" | "date" => Some(Value::Null),
                "array" => match open.pop() {
                    Some(Open::List(items)) => Some(Value::Array(items)),
                    Some(Open::Dictionary(..)) | None => {
                        return Err("the property list is crossed".to_owned());
                    }
                },
                "dict" => match open.pop() {
                    Some(Open::Dictionary(entries, _)) => Some(Value::Object(entries)),
                    Some(Open::List(_)) | None => return Err("the property list is crossed".to_owned()),
                },
                _ => None,
            },
            Xml::Eof => break,
            Xml::CData(_) | Xml::Comment(_) | Xml::Decl(_) | Xml::PI(_) | Xml::DocType(_) => None,
        };
        let Some(value) = finished else { continue };
        values += 1;
        if values > MAX_VALUES {
            return Err("the property list is too large".to_owned());
        }
        match open.last_mut() {
            Some(Open::List(items)) => items.push(value),
            Some(Open::Dictionary(entries, key)) => {
                if let Some(key) = key.take() {
                    entries.insert(key, value);
                }
            }
            None => whole = Some(value),
        }
    }
    if !open.is_empty() {
        return Err("the property list is cut off".to_owned());
    }
    whole.ok_or_else(|| "the property list is empty".to_owned())
}

fn integer(text: &str) -> Result<Value, String> {
    let signed = text.parse::<i64>().map(Value::from);
    signed
        .or_else(|_| text.parse::<u64>().map(Value::from))
        .map_err(|_| format!("{text:?} is no whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_values() {
        let xml = "<?xml version=\"1.0\"?><!DOCTYPE plist PUBLIC \"x\" \"y\"><plist version=\"1.0\"><array><dict>\
                   <key>A &amp; B</key><string>x &lt;y&gt;</string><key>N</key><integer>18446744073709551615</integer>\
                   <key>T</key><true/><key>D</key><data>AAAA</data><key>L</key><array><real>1.5</real></array></dict></array></plist>";
        let expected =
            serde_json::json!([{"A & B": "x <y>", "N": u64::MAX, "T": true, "D": null, "L": [1.5]}]);
        assert_eq!(parse(xml), Ok(expected));
    }

    #[test]
    fn what_is_cut_off_nested_or_no_number_is_refused() {
        for bad in [
            "",
            "<plist><dict>",
            "<plist><dict></array></plist>",
            "<integer>x</integer>",
            &"<array>".repeat(100_000),
        ] {
            assert!(parse(bad).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
    }
}
