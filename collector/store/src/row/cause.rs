//! Shared causes as they are stored.

use super::{Shape, known, millis, time};
use firstline_collector_core::fleet::{Attribute, AttributeKind, SharedCause};
use firstline_model::{DeviceId, Invalid, RuleCode, TicketId};
use serde::{Deserialize, Serialize};

/// See [`SharedCause`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredCause {
    rule: String,
    kind: String,
    value: String,
    family: String,
    parent: u64,
    open: bool,
    ended: Option<i64>,
    children: usize,
    silent: Vec<String>,
}

impl Shape for StoredCause {
    type Model = SharedCause;

    fn of(model: &SharedCause) -> Self {
        Self {
            rule: model.rule.to_string(),
            kind: model.shared.kind.as_str().to_owned(),
            value: model.shared.value.clone(),
            family: model.family.clone(),
            parent: model.parent.0,
            open: model.open,
            ended: millis(model.ended),
            children: model.children,
            silent: model.silent.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_model(self) -> Result<SharedCause, Invalid> {
        Ok(SharedCause {
            rule: RuleCode::new(self.rule)?,
            shared: Attribute {
                kind: known("attribute", &self.kind, AttributeKind::from_text(&self.kind))?,
                value: self.value,
            },
            family: self.family,
            parent: TicketId(self.parent),
            open: self.open,
            ended: time(self.ended),
            children: self.children,
            silent: self.silent.into_iter().map(DeviceId::new).collect::<Result<_, _>>()?,
        })
    }
}
