//! Names and values that tell observations of one metric apart.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

type Pair = (Cow<'static, str>, String);

/// A small set of text attributes, sorted by name, each name once. Copies share their texts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attributes(
    /// `None` is the one form of the empty set.
    Option<Arc<[Pair]>>,
);

/// Shows the set and not how it is held: the descriptions of specimens on the wire are compared as text.
impl fmt::Debug for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Attributes").field(&self.pairs()).finish()
    }
}

impl Attributes {
    /// No attributes.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The same set with `name` set to `value` (replacing an earlier value).
    #[must_use]
    pub fn with(self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        let mut pairs = self.pairs().to_vec();
        set(&mut pairs, name.into(), value.into());
        Self(Some(pairs.into()))
    }

    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let pairs = self.pairs();
        let at = pairs.binary_search_by(|(known, _)| known.as_ref().cmp(name)).ok()?;
        Some(&pairs[at].1)
    }

    /// All pairs, in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs().iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a copy of it is held somewhere else.
    pub fn has_copies(&self) -> bool {
        self.0.as_ref().is_some_and(|pairs| Arc::strong_count(pairs) > 1)
    }

    fn pairs(&self) -> &[Pair] {
        self.0.as_deref().unwrap_or_default()
    }
}

fn set(pairs: &mut Vec<Pair>, name: Cow<'static, str>, value: String) {
    match pairs.binary_search_by(|(known, _)| known.cmp(&name)) {
        Ok(at) => pairs[at].1 = value,
        Err(at) => pairs.insert(at, (name, value)),
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<String>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(given: I) -> Self {
        let mut pairs = Vec::new();
        for (name, value) in given {
            set(&mut pairs, name.into(), value.into());
        }
        Self((!pairs.is_empty()).then(|| pairs.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_insertion_does_not_matter_and_the_last_value_wins() {
        let one = Attributes::none().with("b", "2").with("a", "0").with("a", "1");
        let two: Attributes = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(one, two);
        assert_eq!(one.get("a"), Some("1"));
        assert_eq!(one.get("c"), None);
        let none: Attributes = std::iter::empty::<(&str, &str)>().collect();
        assert_eq!((none.is_empty(), none == Attributes::none()), (true, true));
    }
}
