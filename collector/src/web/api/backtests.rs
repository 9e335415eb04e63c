//! `/backtests`: what a change of a knowledge entry would have done to the tickets of the last days.

use crate::backtest::report::Report;
use crate::backtest::{Ask, Job, Refused, State as Standing, USUAL_DAYS};
use crate::web::caller::Caller;
use crate::web::context::{Site, Web};
use crate::web::failure::{Failure, Problem};
use crate::web::input::{JsonBody, Segment};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use firstline_collector_store::record::AuditEntry;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Characters of the change that stand in the audit log.
const AUDITED: usize = 500;

/// What to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BacktestAsk {
    /// An entry or an override in TOML, as it would stand in knowledge.d.
    #[schema(example = "override = \"fs.space\"\n[detect.warning]\nabove = 0.95\n")]
    toml: String,
    /// How many days back, 1 to 366; 30 when not given. What is not stored any more is missing, and the answer says so.
    #[serde(default = "usual_days")]
    #[schema(minimum = 1, maximum = 366)]
    days: u32,
    /// Only devices of this site.
    #[serde(default)]
    site: Option<String>,
}

fn usual_days() -> u32 {
    USUAL_DAYS
}

/// A back-test. It is kept in memory of the collector that ran it, with the 19 others that were the last.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BacktestJson {
    id: String,
    /// The entry.
    rule: String,
    /// `running`, `done`, `cancelled` or `failed`.
    state: &'static str,
    days: u32,
    site: Option<String>,
    toml: String,
    requested_by: String,
    requested_at: String,
    finished_at: Option<String>,
    progress: ProgressJson,
    /// Why it failed.
    failure: Option<String>,
    /// The answer, when it is done.
    report: Option<Report>,
}

/// How far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgressJson {
    /// Of the time that is stored.
    percent: u8,
    /// Until when the history is played.
    reached: String,
    records: u64,
    observations: u64,
}

/// The back-tests that are kept. `report` is left out; get one by its id.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BacktestList {
    items: Vec<BacktestJson>,
}

impl BacktestJson {
    fn of(job: &Job) -> Self {
        let (state, ended) = job.state();
        let (state, failure, report) = match state {
            Standing::Running => ("running", None, None),
            Standing::Done(report) => ("done", None, Some(Report::clone(&report))),
            Standing::Cancelled => ("cancelled", None, None),
            Standing::Failed(why) => ("failed", Some(why), None),
        };
        Self {
            id: job.id.clone(),
            rule: job.ask.code.clone(),
            state,
            days: job.ask.days,
            site: job.ask.site.clone(),
            toml: job.ask.text.clone(),
            requested_by: job.ask.actor.clone(),
            requested_at: job.asked_at.to_string(),
            finished_at: ended.map(|at| at.to_string()),
            progress: ProgressJson {
                percent: if state == "done" { 100 } else { job.progress.percent() },
                reached: job.progress.reached().to_string(),
                records: job.progress.records(),
                observations: job.progress.observations(),
            },
            failure,
            report,
        }
    }
}

/// Begins a back-test; get it by its id until it is done. One runs at a time. Needs the role technician or admin.
#[utoipa::path(post, path = "/knowledge/{code}/backtests", operation_id = "beginBacktest", tag = "knowledge",
    params(("code" = String, Path)), request_body = BacktestAsk, responses(
    (status = 202, body = BacktestJson, headers(("Location" = String, description = "where it is"))),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn begin(
    State(web): State<Web>,
    caller: Caller,
    Segment(code): Segment,
    JsonBody(ask): JsonBody<BacktestAsk>,
) -> Result<Response, Failure> {
    let begun = begin_backtest(&web, &caller, code, ask.toml, ask.days, ask.site).await?;
    let job = begun.map_err(|problems| Failure::bad_request(problems.join("; ")))?;
    let address = format!("{}/backtests/{}", crate::web::routes::API, job.id);
    let location = HeaderValue::from_str(&address).map_err(|_| Failure::internal())?;
    let body = Json(BacktestJson::of(&job));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response())
}

/// The back-tests that are kept, the newest first.
#[utoipa::path(get, path = "/backtests", operation_id = "listBacktests", tag = "knowledge", responses(
    (status = 200, body = BacktestList),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(web): State<Web>, caller: Caller) -> Result<Json<BacktestList>, Failure> {
    caller.require_acting()?;
    let jobs = web.context.backtests.all();
    let seen = jobs.iter().filter(|job| caller.sees(job.ask.site.as_deref()));
    let items = seen.map(|job| BacktestJson { report: None, ..BacktestJson::of(job) }).collect();
    Ok(Json(BacktestList { items }))
}

/// One back-test.
#[utoipa::path(get, path = "/backtests/{id}", operation_id = "getBacktest", tag = "knowledge", params(("id" = String, Path)), responses(
    (status = 200, body = BacktestJson),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<BacktestJson>, Failure> {
    Ok(Json(BacktestJson::of(&*seen_backtest(&web, &caller, &id)?)))
}

/// Calls a back-test off.
#[utoipa::path(delete, path = "/backtests/{id}", operation_id = "cancelBacktest", tag = "knowledge", params(("id" = String, Path)), responses(
    (status = 204, description = "called off, or over already"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cancel(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<StatusCode, Failure> {
    let job = seen_backtest(&web, &caller, &id)?;
    call_off(&web, &caller, &job).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins one, for pages and programs alike. The inner error names what is wrong with the change, one sentence each.
pub(in crate::web) async fn begin_backtest(
    web: &Web,
    caller: &Caller,
    code: String,
    text: String,
    days: u32,
    site: Option<String>,
) -> Result<Result<Arc<Job>, Vec<String>>, Failure> {
    caller.require_acting()?;
    let Some(site) = caller.site_to_list(site) else {
        return Err(Failure::forbidden("site must be your own site"));
    };
    let ask = Ask { code, text, days, site, actor: caller.actor.clone() };
    let line = AuditEntry {
        at: web.now(),
        actor: caller.actor.clone(),
        action: "backtest.begin".to_owned(),
        subject: format!("rule:{}", ask.code.chars().take(64).collect::<String>()),
        detail: format!("{} days: {}", ask.days, ask.text.chars().take(AUDITED).collect::<String>()),
    };
    let (tests, runtime) = (Arc::clone(&web.context.backtests), tokio::runtime::Handle::current());
    // All entries are read anew, which takes longer than a request should hold a thread of the runtime.
    let begun = tokio::task::spawn_blocking(move || tests.begin(ask, &runtime)).await;
    match begun.map_err(|_| Failure::internal())? {
        Ok(job) => {
            web.store().append_audit(&line).await?;
            Ok(Ok(job))
        }
        Err(Refused::Wrong(problems)) => Ok(Err(problems)),
        Err(Refused::Busy) => Err(Failure {
            retry_after: Some(10),
            ..Failure::new(
                StatusCode::CONFLICT,
                "another back-test runs; ask again when it is over, or call it off (DELETE /backtests/{id})",
            )
        }),
        Err(Refused::Unable(why)) => Err(Failure::unavailable(why)),
    }
}

/// A back-test that the caller may see.
pub(in crate::web) fn seen_backtest(web: &Site, caller: &Caller, id: &str) -> Result<Arc<Job>, Failure> {
    caller.require_acting()?;
    let job = web.context.backtests.job(id);
    job.filter(|job| caller.sees(job.ask.site.as_deref())).ok_or_else(Failure::not_found)
}

/// Calls one off.
pub(in crate::web) async fn call_off(web: &Site, caller: &Caller, job: &Job) -> Result<(), Failure> {
    job.progress.cancel();
    let line = AuditEntry {
        at: web.now(),
        actor: caller.actor.clone(),
        action: "backtest.cancel".to_owned(),
        subject: format!("rule:{}", job.ask.code),
        detail: format!("back-test {} of {}", job.id, job.ask.actor),
    };
    Ok(web.store().append_audit(&line).await?)
}
