//! Values of state documents: what a probe says of a component that is not one number.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// One value of a state document. Maps are sorted, so equal documents have equal order.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A number; counts and levels alike.
    Number(f64),
    /// Text as the device said it. Hostile until escaped by whoever shows it.
    Text(String),
    /// Several values in a meaningful order.
    List(Vec<Value>),
    /// Named values.
    Map(BTreeMap<Cow<'static, str>, Value>),
}

impl Value {
    /// How deep lists and maps may nest; deeper documents are refused at the edge.
    pub const MAX_DEPTH: usize = 6;

    /// A map from pairs.
    pub fn map<N: Into<Cow<'static, str>>>(pairs: impl IntoIterator<Item = (N, Value)>) -> Self {
        let mut map = BTreeMap::new();
        for (name, value) in pairs {
            map.insert(name.into(), value);
        }
        Self::Map(map)
    }

    /// A list of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Text(text.into())).collect())
    }

    /// The value under `name`, when this is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(map) => map.get(name),
            Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The text, when this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The number, when this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
