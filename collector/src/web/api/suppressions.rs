//! `/suppressions`: why is there no ticket?

use super::Items;
use super::shapes::ComponentJson;
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::failure::{Failure, Problem};
use crate::web::input::{Query, device_id, given, page};
use axum::Json;
use axum::extract::State;
use firstline_collector_store::quiet::{SuppressedBreach, SuppressionFilter};
use firstline_model::RuleCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which breaches to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SuppressionQuery {
    /// Only of this device.
    device: Option<String>,
    /// Only of this rule.
    rule: Option<String>,
    /// Only those whose reason begins so: `maintenance`, `hidden by net.gateway`.
    reason: Option<String>,
    /// Only of devices of this site.
    site: Option<String>,
    /// How many items, 1 to 500; 100 when not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A breach that made no ticket of its own.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SuppressionJson {
    /// When it would have opened one. RFC 3339, UTC.
    time: String,
    device: String,
    hostname: String,
    rule: String,
    component: ComponentJson,
    /// Why it did not.
    #[schema(example = "maintenance: patch night")]
    reason: String,
    /// When it is looked at again, where that is known.
    until: Option<String>,
}

impl From<&SuppressedBreach> for SuppressionJson {
    fn from(breach: &SuppressedBreach) -> Self {
        let one = &breach.suppression;
        Self {
            time: one.at.to_string(),
            device: breach.device.to_string(),
            hostname: breach.hostname.clone(),
            rule: one.rule.to_string(),
            component: (&one.component).into(),
            reason: one.reason.clone(),
            until: one.until.map(|until| until.to_string()),
        }
    }
}

/// Breaches that made no ticket of their own, newest first, each with its reason. They are told for 90 days.
#[utoipa::path(get, path = "/suppressions", operation_id = "listSuppressions", tag = "findings", params(SuppressionQuery), responses(
    (status = 200, body = Items<SuppressionJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<SuppressionQuery>,
) -> Result<Json<Items<SuppressionJson>>, Failure> {
    let Some(site) = caller.site_to_list(given(query.site)) else {
        return Ok(Json(Items { items: Vec::new(), next: None }));
    };
    let rule = given(query.rule).map(RuleCode::new).transpose();
    let rule = rule.map_err(|error| Failure::bad_request(error.to_string()))?;
    let filter = SuppressionFilter {
        device: given(query.device).as_deref().map(device_id).transpose()?,
        rule,
        reason: given(query.reason),
        site,
    };
    let found = web.store().suppressions(&filter, &page(query.limit, query.after)?).await?;
    Ok(Json(Items { items: found.rows.iter().map(Into::into).collect(), next: found.next }))
}
