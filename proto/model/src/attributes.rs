//! Names and values that tell observations of one metric apart.

use std::borrow::Cow;

/// A small set of text attributes, sorted by name, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Attributes(Vec<(Cow<'static, str>, String)>);

impl Attributes {
    /// No attributes.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The same set with `name` set to `value` (replacing an earlier value).
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
        self
    }

    /// The value of `name`, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// All pairs, in order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// How many attributes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<Cow<'static, str>>, V: Into<String>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::none(), |set, (name, value)| set.with(name, value))
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
    }
}
