//! Findings as they are stored.

use super::value::Exact;
use super::{Shape, known, millis, time};
use firstline_collector_core::finding::{Finding, Phase, Standing};
use firstline_model::{Invalid, RuleCode, TicketId, Timestamp};
use serde::{Deserialize, Serialize};

/// See [`Finding`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredFinding {
    rule: String,
    component: String,
    phase: String,
    severity: String,
    since: i64,
    fired_at: Option<i64>,
    level_since: Vec<Option<i64>>,
    clear_since: Option<i64>,
    cleared_at: Option<i64>,
    value: Option<Exact>,
    threshold: Option<Exact>,
    metric: String,
    suppressed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<i64>,
    episodes: u32,
    #[serde(default, skip_serializing_if = "StoredStanding::is_own")]
    standing: StoredStanding,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recent_fires: Vec<i64>,
}

/// See [`Standing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredStanding {
    #[default]
    Own,
    Waiting(i64),
    Child(u64),
    Member(u64),
}

impl StoredStanding {
    fn is_own(&self) -> bool {
        *self == Self::Own
    }

    fn of(model: Standing) -> Self {
        match model {
            Standing::Own => Self::Own,
            Standing::Waiting(until) => Self::Waiting(until.as_millis()),
            Standing::Child(parent) => Self::Child(parent.0),
            Standing::Member(parent) => Self::Member(parent.0),
        }
    }

    fn into_model(self) -> Standing {
        match self {
            Self::Own => Standing::Own,
            Self::Waiting(until) => Standing::Waiting(Timestamp::from_millis(until)),
            Self::Child(parent) => Standing::Child(TicketId(parent)),
            Self::Member(parent) => Standing::Member(TicketId(parent)),
        }
    }
}

impl Shape for StoredFinding {
    type Model = Finding;

    fn of(model: &Finding) -> Self {
        Self {
            rule: model.rule.to_string(),
            component: model.component.to_string(),
            phase: model.phase.as_str().to_owned(),
            severity: model.severity.to_string(),
            since: model.since.as_millis(),
            fired_at: millis(model.fired_at),
            level_since: model.level_since.iter().copied().map(millis).collect(),
            clear_since: millis(model.clear_since),
            cleared_at: millis(model.cleared_at),
            value: model.value.map(Exact),
            threshold: model.threshold.map(Exact),
            metric: model.metric.clone(),
            suppressed: model.suppressed.clone(),
            held_until: millis(model.held_until),
            episodes: model.episodes,
            standing: StoredStanding::of(model.standing),
            recent_fires: model.recent_fires.iter().map(|at| at.as_millis()).collect(),
        }
    }

    fn into_model(self) -> Result<Finding, Invalid> {
        Ok(Finding {
            rule: RuleCode::new(self.rule)?,
            component: self.component.parse()?,
            phase: known(
                "phase",
                &self.phase,
                Phase::ALL.iter().copied().find(|phase| phase.as_str() == self.phase),
            )?,
            severity: self.severity.parse()?,
            since: Timestamp::from_millis(self.since),
            fired_at: time(self.fired_at),
            level_since: self.level_since.into_iter().map(time).collect(),
            clear_since: time(self.clear_since),
            cleared_at: time(self.cleared_at),
            value: self.value.map(|number| number.0),
            threshold: self.threshold.map(|number| number.0),
            metric: self.metric,
            suppressed: self.suppressed,
            held_until: time(self.held_until),
            episodes: self.episodes,
            standing: self.standing.into_model(),
            recent_fires: self.recent_fires.into_iter().map(Timestamp::from_millis).collect(),
        })
    }
}
