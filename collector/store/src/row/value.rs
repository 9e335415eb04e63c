//! Numbers, attributes and documents as JSON, without loss.
//!
//! JSON has no infinities, and documents of devices may have any key, so two things are escaped: a number that JSON
//! does not know is `{"$number": "inf"}`, and a key that begins with `$` gets a second one.

use super::Shape;
use firstline_model::{Attributes, Invalid, Value};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

const NUMBER_KEY: &str = "$number";

/// A number that comes back bit for bit (but for the payload of a NaN).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exact(pub(crate) f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredValue(Value::Number(self.0)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match StoredValue::deserialize(deserializer)?.0.as_number() {
            Some(number) => Ok(Self(number)),
            None => Err(D::Error::custom("a number was expected")),
        }
    }
}

/// A document or a value inside one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredValue(Value);

impl Shape for StoredValue {
    type Model = Value;

    fn of(model: &Value) -> Self {
        Self(model.clone())
    }

    fn into_model(self) -> Result<Value, Invalid> {
        Ok(self.0)
    }
}

impl Serialize for StoredValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Borrowed(&self.0).serialize(serializer)
    }
}

struct Borrowed<'a>(&'a Value);

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Number(number) if number.is_finite() => serializer.serialize_f64(*number),
            Value::Number(number) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(NUMBER_KEY, &number.to_string())?;
                map.end()
            }
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items.iter().map(Borrowed)),
            Value::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (escape(key), Borrowed(value))))
            }
        }
    }
}

fn escape(key: &str) -> Cow<'_, str> {
    if key.starts_with('$') { Cow::Owned(format!("${key}")) } else { Cow::Borrowed(key) }
}

impl<'de> Deserialize<'de> for StoredValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a truth value, a number, a text, a list or a map")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers are written as f64, so whole ones read here fit")]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers are written as f64, so whole ones read here fit")]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(StoredValue(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map: BTreeMap<Cow<'static, str>, Value> = BTreeMap::new();
        while let Some((key, StoredValue(value))) = entries.next_entry::<String, StoredValue>()? {
            if key == NUMBER_KEY {
                return special(&value).ok_or_else(|| A::Error::custom("not a number that JSON lacks"));
            }
            let key = match key.strip_prefix("$$") {
                Some(rest) => format!("${rest}"),
                None => key,
            };
            map.insert(Cow::Owned(key), value);
        }
        Ok(Value::Map(map))
    }
}

fn special(value: &Value) -> Option<Value> {
    value.as_text().and_then(|text| text.parse::<f64>().ok()).map(Value::Number)
}

/// Attributes as a JSON object; equal sets have equal texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredAttributes(BTreeMap<String, String>);

impl Shape for StoredAttributes {
    type Model = Attributes;

    fn of(model: &Attributes) -> Self {
        Self(model.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn into_model(self) -> Result<Attributes, Invalid> {
        Ok(self.0.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{decode, encode};

    #[test]
    fn numbers_come_back_bit_for_bit() {
        let mut numbers =
            vec![0.0, -0.0, 0.1, 1.0 / 3.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1e22, 9007199254740993.0];
        numbers.extend([f64::INFINITY, f64::NEG_INFINITY]);
        // A spread of bit patterns: every multiple of a large odd number.
        numbers.extend((1..20_000_u64).map(|n| f64::from_bits(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        for number in numbers.into_iter().filter(|number| !number.is_nan()) {
            let text = encode::<StoredValue>(&Value::Number(number)).unwrap();
            let back = decode::<StoredValue>("t", 1, &text).unwrap().as_number().unwrap();
            assert_eq!(back.to_bits(), number.to_bits(), "{number:?} was stored as {text}");
        }
    }

    #[test]
    fn documents_with_any_key_come_back_as_they_were() {
        let document = Value::map([
            ("$number", Value::from("inf")),
            ("$$", Value::from(true)),
            ("", Value::List(vec![Value::from(1.5), Value::from("\u{0}\"<b>")])),
            ("nested", Value::map([("$number", Value::from(f64::INFINITY))])),
        ]);
        let text = encode::<StoredValue>(&document).unwrap();
        assert_eq!(decode::<StoredValue>("t", 1, &text).unwrap(), document);
    }
}
