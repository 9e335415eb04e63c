//! `/audit`: who did what.

use super::Items;
use super::shapes::AuditJson;
use crate::web::caller::Caller;
use crate::web::context::Web;
use crate::web::failure::{Failure, Problem};
use crate::web::input::{PageQuery, Query, page};
use axum::Json;
use axum::extract::State;

/// The audit log, newest first; for administrators of all sites.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "audit", params(PageQuery), responses(
    (status = 200, body = Items<AuditJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<AuditJson>>, Failure> {
    caller.require_whole_fleet_admin()?;
    let found = web.store().audit(&page(query.limit, query.after)?).await?;
    Ok(Json(Items { items: found.rows.iter().map(AuditJson::from).collect(), next: found.next }))
}
