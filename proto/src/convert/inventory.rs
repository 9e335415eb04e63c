//! Inventories: documents that are large and hardly ever change travel as what changed, by the digest of their content.
//!
//! Maps are sorted, so equal documents have equal bytes and equal digests, whoever makes them. Whoever holds the document
//! with the digest `base` can make the new one and check it; whoever holds another one has to ask for the whole.

use super::DecodeError;
use super::value::{self, check_size, cut};
use crate::{limits, v1};
use firstline_model::{Component, Timestamp, Value, order};
use prost::Message;
use ring::digest::{SHA256, digest};
use std::borrow::Cow;

/// Names the content of a document.
pub type Digest = [u8; 16];

/// The digest of a document's content.
pub fn inventory_digest(document: &Value) -> Digest {
    let whole = digest(&SHA256, &value::to_wire(document).encode_to_vec());
    let mut first = Digest::default();
    first.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
    first
}

/// An inventory was looked at, and differs so much from the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct InventoryChange {
    /// Of what.
    pub component: Component,
    /// The document's name.
    pub name: String,
    /// When it was so.
    pub observed_at: Timestamp,
    /// The document before; equal to `digest` when nothing changed.
    pub base: Digest,
    /// What is not in it any more.
    pub removed: Vec<String>,
    /// What is new or other; a map.
    pub changed: Value,
    /// The document now.
    pub digest: Digest,
}

impl InventoryChange {
    /// From one map to another; `None` for what is no map.
    pub fn between(
        component: &Component,
        name: &str,
        observed_at: Timestamp,
        before: &Value,
        after: &Value,
    ) -> Option<Self> {
        let (Value::Map(old), Value::Map(new)) = (before, after) else { return None };
        let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| key.clone().into_owned());
        let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
        Some(Self {
            component: component.clone(),
            name: name.to_owned(),
            observed_at,
            base: inventory_digest(before),
            removed: removed.collect(),
            changed: Value::Map(order::map(changed.map(|(key, value)| (key.clone(), value.clone())))),
            digest: inventory_digest(after),
        })
    }

    /// The document now, made from the one that is known; `None` when that is another one than the change is of.
    pub fn apply(&self, known: &Value) -> Option<Value> {
        let (Value::Map(known_map), Value::Map(changed)) = (known, &self.changed) else { return None };
        if inventory_digest(known) != self.base {
            return None;
        }
        let mut map = known_map.clone();
        for name in &self.removed {
            map.remove(name.as_str());
        }
        map.extend(changed.iter().map(|(name, value)| (name.clone(), value.clone())));
        let after = Value::Map(map);
        (inventory_digest(&after) == self.digest).then_some(after)
    }
}

pub(super) fn to_wire(change: &InventoryChange, base_ms: i64) -> v1::Inventory {
    let is_same = change.base == change.digest;
    v1::Inventory {
        component_kind: super::observation::kind_to_wire(change.component.kind).into(),
        component_id: change.component.id().to_owned(),
        name: change.name.clone(),
        offset_ms: change.observed_at.as_millis().saturating_sub(base_ms),
        base: change.base.to_vec(),
        removed: change.removed.iter().map(|name| cut(name, limits::TEXT_BYTES).to_owned()).collect(),
        changed: (!is_same).then(|| value::to_wire(&change.changed)),
        digest: if is_same { Vec::new() } else { change.digest.to_vec() },
    }
}

pub(super) fn from_wire(inventory: v1::Inventory, base_ms: i64) -> Result<InventoryChange, DecodeError> {
    check_size("values in a document", inventory.removed.len(), limits::DOCUMENT_VALUES)?;
    check_size("bytes in a text", inventory.name.len(), limits::TEXT_BYTES)?;
    let kind = super::observation::kind_from_wire(inventory.component_kind())?;
    let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(|_| DecodeError::Malformed);
    let base = digest(&inventory.base)?;
    let changed = match inventory.changed {
        Some(changed) => value::from_wire(changed)?,
        None => Value::map::<Cow<'static, str>>([]),
    };
    Ok(InventoryChange {
        component: Component::new(kind, &inventory.component_id)?,
        name: inventory.name,
        observed_at: Timestamp::from_millis(base_ms.saturating_add(inventory.offset_ms)),
        base,
        removed: inventory.removed,
        changed,
        digest: if inventory.digest.is_empty() { base } else { digest(&inventory.digest)? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(pairs: &[(&'static str, &str)]) -> Value {
        Value::map(pairs.iter().map(|(name, version)| (*name, Value::from(*version))))
    }

    fn between(before: &Value, after: &Value) -> InventoryChange {
        let component = "os/0".parse().unwrap();
        InventoryChange::between(&component, "software", Timestamp::from_millis(5), before, after).unwrap()
    }

    #[test]
    fn a_change_makes_the_new_document_of_the_old_one_and_of_no_other() {
        let before = packages(&[("cups", "2.4"), ("vim", "9.0"), ("zlib", "1.3")]);
        let after = packages(&[("cups", "2.5"), ("git", "2.4"), ("zlib", "1.3")]);
        let change = between(&before, &after);
        assert_eq!(
            (change.removed.as_slice(), &change.changed),
            (["vim".to_owned()].as_slice(), &packages(&[("cups", "2.5"), ("git", "2.4")]))
        );
        let read = from_wire(to_wire(&change, 3), 3).unwrap();
        assert_eq!(read, change);
        assert_eq!(read.apply(&before), Some(after.clone()));
        assert_eq!(read.apply(&after), None);
        assert_eq!(read.apply(&Value::from("software")), None);
        let lying = InventoryChange { removed: Vec::new(), ..change };
        assert_eq!(lying.apply(&before), None, "what comes of it is not what it promises");
    }

    #[test]
    fn an_unchanged_inventory_is_a_digest_however_large_it_is_and_in_whatever_order_it_was_read() {
        let names: Vec<String> = (0..1_000).map(|number| format!("package-{number:04}")).collect();
        let read = |order: &mut dyn Iterator<Item = &String>| {
            Value::map(order.map(|name| (name.clone(), Value::from("1.0"))))
        };
        let (one, other) = (read(&mut names.iter()), read(&mut names.iter().rev()));
        let change = between(&one, &other);
        let bytes = to_wire(&change, 0).encoded_len();
        assert!(bytes < 48, "{bytes} bytes");
        assert_eq!(change.apply(&one), Some(other));
    }

    #[test]
    fn digests_of_another_length_are_refused() {
        let same = packages(&[("cups", "2.4")]);
        let mut wire = to_wire(&between(&same, &same), 0);
        wire.base.pop();
        assert!(from_wire(wire, 0).is_err());
    }
}
