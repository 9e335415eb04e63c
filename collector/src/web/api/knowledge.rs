//! `/knowledge`: the texts of the entries in force.

use super::Items;
use super::reply;
use crate::web::caller::Caller;
use crate::web::context::{KnowledgeText, Web};
use crate::web::failure::{Failure, Problem};
use crate::web::input::Segment;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// A knowledge entry's texts; `{placeholders}` are filled in tickets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KnowledgeJson {
    #[schema(example = "fs.space")]
    code: String,
    title: String,
    category: String,
    /// 1 (a site or service) to 3 (one person).
    impact: u8,
    enabled: bool,
    opens_ticket: bool,
    /// The kind of component that it looks at.
    component: String,
    /// Severity and hold time of each level, mildest first.
    levels: Vec<String>,
    person: String,
    technician: String,
    tests: Vec<String>,
    causes: Vec<String>,
    steps: Vec<String>,
    article: Option<KnowledgeArticle>,
}

/// The article of an entry.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KnowledgeArticle {
    title: String,
    url: Option<String>,
    body: Option<String>,
}

impl From<&KnowledgeText> for KnowledgeJson {
    fn from(text: &KnowledgeText) -> Self {
        let text = text.clone();
        Self {
            code: text.code,
            title: text.title,
            category: text.category,
            impact: text.impact,
            enabled: text.enabled,
            opens_ticket: text.opens_ticket,
            component: text.component,
            levels: text.levels,
            person: text.person,
            technician: text.technician,
            tests: text.tests,
            causes: text.causes,
            steps: text.steps,
            article: text.article.map(|article| KnowledgeArticle {
                title: article.title,
                url: article.url,
                body: article.body,
            }),
        }
    }
}

/// A reason why the newest files are refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusedJson {
    /// Its name in knowledge.d.
    #[schema(example = "oslo.toml")]
    file: String,
    /// The line, from 1; 0 when the file cannot be read at all.
    line: usize,
    reason: String,
    advice: String,
}

/// What is wrong with the newest knowledge files. While there is anything, the set before them stays in force.
#[utoipa::path(get, path = "/knowledge-refused", operation_id = "listRefusedKnowledge", tag = "knowledge", responses(
    (status = 200, body = Items<RefusedJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn refused(State(web): State<Web>, _caller: Caller) -> Json<Items<RefusedJson>> {
    let problems = web.context.knowledge.refused().into_iter();
    let items = problems.map(|one| RefusedJson {
        file: one.file,
        line: one.line,
        reason: one.reason,
        advice: one.advice,
    });
    Json(Items { items: items.collect(), next: None })
}

/// All entries in force, by code. They fit one page.
#[utoipa::path(get, path = "/knowledge", operation_id = "listKnowledge", tag = "knowledge", responses(
    (status = 200, body = Items<KnowledgeJson>),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(web): State<Web>, _caller: Caller) -> Json<Items<KnowledgeJson>> {
    let items = web.context.knowledge.entries().iter().map(KnowledgeJson::from).collect();
    Json(Items { items, next: None })
}

/// One entry.
#[utoipa::path(get, path = "/knowledge/{code}", operation_id = "getKnowledge", tag = "knowledge", params(("code" = String, Path)), responses(
    (status = 200, body = KnowledgeJson), (status = 304, description = "unchanged"),
    (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(web): State<Web>,
    _caller: Caller,
    Segment(code): Segment,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let entries = web.context.knowledge.entries();
    let entry = entries.iter().find(|entry| entry.code == code).ok_or_else(Failure::not_found)?;
    reply::resource(&headers, &KnowledgeJson::from(entry))
}
