//! `/findings`: what rules assert now.

use super::Items;
use super::shapes::FindingJson;
use crate::web::caller::Caller;
use crate::web::context::{Site, Web};
use crate::web::failure::{Failure, Problem};
use crate::web::input::{Query, device_id, given, page};
use axum::Json;
use axum::extract::State;
use firstline_collector_store::record::DeviceFinding;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which findings to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FindingQuery {
    /// Only this device.
    device: Option<String>,
    /// Only this rule.
    rule: Option<String>,
    /// Only this site.
    site: Option<String>,
    /// How many items, 1 to 500; 100 when not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Findings that are not cleared, newest first.
#[utoipa::path(get, path = "/findings", operation_id = "listFindings", tag = "findings", params(FindingQuery), responses(
    (status = 200, body = Items<FindingJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<FindingQuery>,
) -> Result<Json<Items<FindingJson>>, Failure> {
    let rows = load(&web, &caller, &query).await?;
    cut(rows, query)
}

async fn load(web: &Site, caller: &Caller, query: &FindingQuery) -> Result<Vec<DeviceFinding>, Failure> {
    let Some(site) = caller.site_to_list(given(query.site.clone())) else { return Ok(Vec::new()) };
    let mut rows = match given(query.device.clone()) {
        Some(id) => {
            let id = device_id(&id)?;
            match web.store().device(&id).await? {
                Some(device) if site.is_none() || device.site == site => {
                    web.store().findings(Some(&id), None).await?
                }
                Some(_) | None => Vec::new(),
            }
        }
        None => web.store().findings(None, site.as_deref()).await?,
    };
    if let Some(rule) = given(query.rule.clone()) {
        rows.retain(|row| row.finding.rule.as_str() == rule);
    }
    Ok(rows)
}

/// One page of rows that are all at hand; the cursor is the place of the next row.
fn cut(rows: Vec<DeviceFinding>, query: FindingQuery) -> Result<Json<Items<FindingJson>>, Failure> {
    let page = page(query.limit, query.after)?;
    let start = match page.after {
        Some(after) => {
            after.parse::<usize>().map_err(|_| Failure::bad_request("after is not a cursor of this list"))?
        }
        None => 0,
    };
    let end = start.saturating_add(page.limit as usize);
    let next = (end < rows.len()).then(|| end.to_string());
    let items = rows.iter().skip(start).take(page.limit as usize).map(FindingJson::from).collect();
    Ok(Json(Items { items, next }))
}
