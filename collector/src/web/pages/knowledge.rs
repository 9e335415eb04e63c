//! What Firstline knows: the entries in force, to read.

use super::{Frame, PageResult, render, safe_link};
use crate::web::caller::Caller;
use crate::web::context::{KnowledgeText, RefusedFile, Web};
use crate::web::failure::Failure;
use crate::web::input::Segment;
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "knowledge.html")]
struct KnowledgePage {
    frame: Frame,
    count: usize,
    categories: Vec<(Shown, Vec<EntryRow>)>,
    refused: Vec<RefusedRow>,
}

/// What is wrong with a file that is not in force.
struct RefusedRow {
    place: Shown,
    reason: Shown,
    advice: Shown,
}

struct EntryRow {
    code: String,
    title: Shown,
    levels: Shown,
    note: &'static str,
}

#[derive(Template)]
#[template(path = "entry.html")]
struct EntryPage {
    frame: Frame,
    entry: KnowledgeText,
    article_link: Option<Shown>,
    impact: &'static str,
    /// The caller may ask what another threshold would have done.
    may_test: bool,
}

/// `GET /knowledge`
pub(in crate::web) async fn list(State(web): State<Web>, caller: Caller) -> PageResult {
    let entries = web.context.knowledge.entries();
    let mut categories: BTreeMap<&str, Vec<EntryRow>> = BTreeMap::new();
    for entry in entries.iter() {
        let row = EntryRow {
            code: entry.code.clone(),
            title: Shown::line(&entry.title),
            levels: Shown::line(&entry.levels.join(", ")),
            note: match (entry.enabled, entry.opens_ticket) {
                (false, _) => "switched off",
                (true, false) => "explains others, opens no ticket",
                (true, true) => "",
            },
        };
        categories.entry(&entry.category).or_default().push(row);
    }
    let page = KnowledgePage {
        frame: Frame::of(&caller, "knowledge", "Knowledge"),
        count: entries.len(),
        refused: web.context.knowledge.refused().iter().map(RefusedRow::of).collect(),
        categories: categories
            .into_iter()
            .map(|(name, rows)| (Shown::line(&units::words(name)), rows))
            .collect(),
    };
    render(StatusCode::OK, &page)
}

impl RefusedRow {
    fn of(problem: &RefusedFile) -> Self {
        let place = match problem.line {
            0 => problem.file.clone(),
            line => format!("{}:{line}", problem.file),
        };
        Self {
            place: Shown::line(&place),
            reason: Shown::line(&problem.reason),
            advice: Shown::line(&problem.advice),
        }
    }
}

/// `GET /knowledge/{code}`
pub(in crate::web) async fn show(
    State(web): State<Web>,
    caller: Caller,
    Segment(code): Segment,
) -> PageResult {
    let entries = web.context.knowledge.entries();
    let entry = entries.iter().find(|entry| entry.code == code).cloned().ok_or_else(Failure::not_found)?;
    let page = EntryPage {
        frame: Frame::of(&caller, "knowledge", &entry.code),
        article_link: safe_link(entry.article.as_ref().and_then(|article| article.url.as_deref())),
        impact: match entry.impact {
            1 => "a site or a service",
            2 => "a shared device or several people",
            _ => "one person",
        },
        may_test: caller.may_act(),
        entry,
    };
    render(StatusCode::OK, &page)
}
