//! What a device's page shows of one series or document, as it is stored.

use super::value::{Exact, StoredAttributes, StoredValue};
use super::{Shape, known};
use crate::record::LatestContent;
use firstline_model::{Invalid, UnavailableReason};
use serde::{Deserialize, Serialize};

/// See [`LatestContent`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredContent {
    Sample { value: Exact, attributes: StoredAttributes },
    State(StoredValue),
    Unavailable { reason: String, detail: String },
}

impl Shape for StoredContent {
    type Model = LatestContent;

    fn of(model: &LatestContent) -> Self {
        match model {
            LatestContent::Sample { value, attributes } => {
                Self::Sample { value: Exact(*value), attributes: StoredAttributes::of(attributes) }
            }
            LatestContent::State(document) => Self::State(StoredValue::of(document)),
            LatestContent::Unavailable { reason, detail } => {
                Self::Unavailable { reason: reason.as_str().to_owned(), detail: detail.clone() }
            }
        }
    }

    fn into_model(self) -> Result<LatestContent, Invalid> {
        Ok(match self {
            Self::Sample { value, attributes } => {
                LatestContent::Sample { value: value.0, attributes: attributes.into_model()? }
            }
            Self::State(document) => LatestContent::State(document.into_model()?),
            Self::Unavailable { reason, detail } => {
                let found = UnavailableReason::ALL.iter().copied().find(|known| known.as_str() == reason);
                LatestContent::Unavailable { reason: known("reason", &reason, found)?, detail }
            }
        })
    }
}
