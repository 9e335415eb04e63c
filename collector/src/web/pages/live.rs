//! Watching a device live: the button of its page, and what the page knows while somebody watches.

use super::PageResult;
use crate::web::api::{LONGEST_LIVE, watch};
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::input::{Form, Segment, device_id};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use firstline_model::Timestamp;
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize)]
pub(in crate::web) struct LiveForm {
    #[serde(default)]
    csrf: String,
    /// Ends it.
    #[serde(default)]
    stop: Option<String>,
}

/// `POST /devices/{id}/live`
pub(in crate::web) async fn begin(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    Form(form): Form<LiveForm>,
) -> PageResult {
    caller.check_form(Some(&form.csrf))?;
    let id = device_id(&id)?;
    let time = if form.stop.is_some() { Duration::ZERO } else { LONGEST_LIVE };
    let until = watch(&web, &caller, &id, time).await?;
    let address = match form.stop {
        Some(_) => format!("/devices/{id}"),
        None => format!("/devices/{id}?live={}", until.as_millis()),
    };
    Ok(Redirect::to(&address).into_response())
}

/// Until when the page that is asked for is live.
#[derive(Deserialize)]
pub(in crate::web) struct LiveQuery {
    live: Option<i64>,
}

/// How long a page stays live.
pub(super) struct Live {
    pub(super) until: String,
    pub(super) left_ms: u128,
}

impl Live {
    /// An address that was kept says a time that is over, and an invented one what cannot be.
    pub(super) fn of(query: &LiveQuery, now: Timestamp) -> Option<Self> {
        let until = Timestamp::from_millis(query.live?);
        let left = until.since(now);
        (!left.is_zero() && left <= LONGEST_LIVE).then(|| Self {
            until: until.to_string().get(11..19).unwrap_or_default().to_owned(),
            left_ms: left.as_millis(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_live_only_for_as_long_as_it_can_be() {
        let now = Timestamp::from_millis(1_000_000);
        let left = |live| Live::of(&LiveQuery { live }, now).map(|live| live.left_ms);
        assert_eq!(left(Some(1_060_000)), Some(60_000));
        for over in [None, Some(1_000_000), Some(0), Some(i64::MIN), Some(i64::MAX), Some(1_300_001)] {
            assert_eq!(left(over), None, "{over:?}");
        }
    }
}
