//! Trying another threshold: the form of an entry, how far the back-test is, and its answer.

use super::{Frame, PageResult, render};
use crate::backtest::report::{self, Report};
use crate::backtest::{MOST_DAYS, State as Standing, USUAL_DAYS};
use crate::web::api;
use crate::web::caller::Caller;
use crate::web::context::{Knob, KnowledgeText, Web};
use crate::web::failure::Failure;
use crate::web::input::{Form, Segment};
use crate::web::shown::Shown;
use crate::web::units;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

#[derive(Template)]
#[template(path = "backtest_form.html")]
struct FormPage {
    frame: Frame,
    code: String,
    title: Shown,
    levels: Vec<String>,
    fields: Vec<Field>,
    toml: String,
    days: String,
    most_days: u32,
    problems: Vec<Shown>,
}

/// What a person can turn at one level.
struct Field {
    severity: String,
    /// Key and number.
    number: Option<(&'static str, String)>,
    hold: String,
}

#[derive(Template)]
#[template(path = "backtest.html")]
struct ResultPage {
    frame: Frame,
    id: String,
    code: String,
    days: u32,
    toml: Shown,
    asked: String,
    running: bool,
    percent: u8,
    reached: String,
    observations: u64,
    ended: Option<String>,
    report: Option<Arc<Report>>,
    missing: Vec<Shown>,
    reasons: Vec<(&'static str, Vec<(Shown, u64)>)>,
    lost: Vec<Row>,
    gained: Vec<Row>,
    /// Not all that are lost or gained are listed.
    lost_cut: bool,
    gained_cut: bool,
    parts: Vec<(Shown, u64, u64)>,
    later: Option<String>,
}

/// A ticket that only one side has.
struct Row {
    device: Option<(String, Shown)>,
    site: Shown,
    component: Shown,
    title: Shown,
    severity: String,
    opened: String,
    open_for: String,
    ticket: Option<(u64, String)>,
}

/// What the form sends.
#[derive(Debug, Default, Deserialize)]
pub(in crate::web) struct Change {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    toml: String,
    #[serde(default)]
    number_info: String,
    #[serde(default)]
    hold_info: String,
    #[serde(default)]
    number_warning: String,
    #[serde(default)]
    hold_warning: String,
    #[serde(default)]
    number_critical: String,
    #[serde(default)]
    hold_critical: String,
}

impl Change {
    /// What was typed for a level: the number and the hold time.
    fn of(&self, severity: &str) -> (&str, &str) {
        let (number, hold) = match severity {
            "info" => (&self.number_info, &self.hold_info),
            "warning" => (&self.number_warning, &self.hold_warning),
            _ => (&self.number_critical, &self.hold_critical),
        };
        (number.trim(), hold.trim())
    }

    /// The override that the fields state; the text of the person goes before them.
    fn toml(&self, entry: &KnowledgeText) -> Result<String, String> {
        if !self.toml.trim().is_empty() {
            return Ok(self.toml.replace("\r\n", "\n"));
        }
        let mut text = format!("override = \"{}\"\n", entry.code);
        let mut changed = false;
        for knob in &entry.knobs {
            let keys = self.keys(knob)?;
            if !keys.is_empty() {
                changed = true;
                // Writing to a string cannot fail.
                let _ = write!(text, "[{}]\n{keys}", knob.table);
            }
        }
        if changed {
            Ok(text)
        } else {
            Err("nothing differs from the entry as it is: change a field".to_owned())
        }
    }

    /// The lines for what differs at a level.
    fn keys(&self, knob: &Knob) -> Result<String, String> {
        let (number, hold) = self.of(&knob.severity);
        let mut keys = String::new();
        if let Some((key, present)) = &knob.number
            && !number.is_empty()
            && number != present
        {
            let value: f64 = number
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite())
                .ok_or_else(|| format!("{}: {number:?} is not a number", knob.severity))?;
            let _ = writeln!(keys, "{key} = {value:?}");
        }
        if !hold.is_empty() && hold != knob.hold {
            if !hold.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(format!("{}: {hold:?} is not a time; write 30s, 15m, 24h", knob.severity));
            }
            let _ = writeln!(keys, "for = \"{hold}\"");
        }
        Ok(keys)
    }
}

fn entry(web: &Web, code: &str) -> Result<KnowledgeText, Failure> {
    let entries = web.context.knowledge.entries();
    entries.iter().find(|entry| entry.code == code).cloned().ok_or_else(Failure::not_found)
}

/// `GET /knowledge/{code}/backtest`
pub(in crate::web) async fn form(
    State(web): State<Web>,
    caller: Caller,
    Segment(code): Segment,
) -> PageResult {
    caller.require_acting()?;
    let entry = entry(&web, &code)?;
    render(StatusCode::OK, &form_page(&caller, entry, &Change::default(), Vec::new()))
}

/// `POST /knowledge/{code}/backtest`
pub(in crate::web) async fn begin(
    State(web): State<Web>,
    caller: Caller,
    Segment(code): Segment,
    Form(change): Form<Change>,
) -> PageResult {
    caller.check_form(Some(&change.csrf))?;
    caller.require_acting()?;
    let entry = entry(&web, &code)?;
    let days = change.days.trim().parse::<u32>().unwrap_or(0);
    let begun = match change.toml(&entry) {
        Err(why) => Err(vec![why]),
        Ok(text) => match api::begin_backtest(&web, &caller, code, text, days, None).await {
            Ok(begun) => begun,
            // What was typed is not lost because somebody else is first.
            Err(failure) if failure.status == StatusCode::CONFLICT => {
                Err(vec!["another back-test runs; try again when it is over".to_owned()])
            }
            Err(failure) => return Err(failure.into()),
        },
    };
    match begun {
        Ok(job) => Ok(Redirect::to(&format!("/backtests/{}", job.id)).into_response()),
        Err(problems) => render(StatusCode::BAD_REQUEST, &form_page(&caller, entry, &change, problems)),
    }
}

fn form_page(caller: &Caller, entry: KnowledgeText, change: &Change, problems: Vec<String>) -> FormPage {
    let typed =
        |typed: &str, present: &str| if typed.is_empty() { present.to_owned() } else { typed.to_owned() };
    let field = |knob: &Knob| {
        let (number, hold) = change.of(&knob.severity);
        Field {
            severity: knob.severity.clone(),
            number: knob.number.as_ref().map(|(key, present)| (*key, typed(number, present))),
            hold: typed(hold, &knob.hold),
        }
    };
    FormPage {
        frame: Frame::of(caller, "knowledge", &format!("Back-test of {}", entry.code)),
        title: Shown::line(&entry.title),
        levels: entry.levels.clone(),
        fields: entry.knobs.iter().map(field).collect(),
        toml: change.toml.clone(),
        days: typed(change.days.trim(), &USUAL_DAYS.to_string()),
        most_days: MOST_DAYS,
        problems: problems.iter().map(|problem| Shown::line(problem)).collect(),
        code: entry.code,
    }
}

/// `GET /backtests/{id}`
pub(in crate::web) async fn show(State(web): State<Web>, caller: Caller, Segment(id): Segment) -> PageResult {
    let job = api::seen_backtest(&web, &caller, &id)?;
    let (standing, ended_at) = job.state();
    let (report, ended) = match standing {
        Standing::Running => (None, None),
        Standing::Done(report) => (Some(report), None),
        Standing::Cancelled => (None, Some("It was called off.".to_owned())),
        Standing::Failed(why) => (None, Some(format!("It failed: {why}"))),
    };
    let running = ended_at.is_none();
    let rows = |side: fn(&Report) -> &Vec<report::Difference>| {
        report.as_deref().map(|report| side(report).iter().map(Row::of).collect()).unwrap_or_default()
    };
    let page = ResultPage {
        frame: Frame::of(&caller, "knowledge", &format!("Back-test of {}", job.ask.code)),
        id,
        code: job.ask.code.clone(),
        days: job.ask.days,
        toml: Shown::lines(&job.ask.text),
        asked: format!("{} by {}", units::moment(job.asked_at), Shown::line(&job.ask.actor)),
        running,
        percent: job.progress.percent(),
        reached: units::moment(job.progress.reached()),
        observations: job.progress.observations(),
        ended,
        missing: report
            .iter()
            .flat_map(|report| &report.history.missing)
            .map(|missing| Shown::line(missing))
            .collect(),
        reasons: report.as_deref().map(reasons).unwrap_or_default(),
        lost: rows(|report| &report.lost),
        gained: rows(|report| &report.gained),
        lost_cut: report.as_deref().is_some_and(|report| report.lost_total > report.lost.len() as u64),
        gained_cut: report.as_deref().is_some_and(|report| report.gained_total > report.gained.len() as u64),
        parts: report
            .iter()
            .flat_map(|report| &report.components)
            .map(|part| (Shown::line(&part.component), part.before, part.after))
            .collect(),
        later: report.as_deref().and_then(later),
        report,
    };
    render(StatusCode::OK, &page)
}

/// What the button sends.
#[derive(Debug, Deserialize)]
pub(in crate::web) struct Button {
    #[serde(default)]
    csrf: String,
}

/// `POST /backtests/{id}/cancel`
pub(in crate::web) async fn cancel(
    State(web): State<Web>,
    caller: Caller,
    Segment(id): Segment,
    Form(button): Form<Button>,
) -> PageResult {
    caller.check_form(Some(&button.csrf))?;
    let job = api::seen_backtest(&web, &caller, &id)?;
    api::call_off(&web, &caller, &job).await?;
    Ok(Redirect::to(&format!("/backtests/{id}")).into_response())
}

fn reasons(report: &Report) -> Vec<(&'static str, Vec<(Shown, u64)>)> {
    let sides = [("as it is", &report.before), ("changed", &report.after)];
    let listed = sides.map(|(name, side)| {
        let lines =
            side.suppressed.iter().map(|reason| (Shown::line(&reason.reason), reason.count)).collect();
        (name, lines)
    });
    listed.into_iter().filter(|(_, lines): &(&str, Vec<_>)| !lines.is_empty()).collect()
}

fn later(report: &Report) -> Option<String> {
    let seconds = report.later_by_s.filter(|seconds| *seconds != 0.0)?;
    let length = units::duration(Duration::from_secs_f64(seconds.abs()));
    Some(format!("{length} {}", if seconds > 0.0 { "later" } else { "sooner" }))
}

impl Row {
    fn of(one: &report::Difference) -> Self {
        let moment = |text: &str| text.get(..16).unwrap_or(text).replace('T', " ");
        Self {
            device: one.device.as_ref().map(|device| (device.id.clone(), Shown::line(&device.hostname))),
            site: Shown::line(one.site.as_deref().unwrap_or("")),
            component: Shown::line(&one.component),
            title: Shown::line(&one.title),
            severity: one.severity.clone(),
            opened: moment(&one.opened_at),
            open_for: one.resolved_at.as_deref().map_or_else(|| "open at the end".to_owned(), moment),
            ticket: one.ticket.as_ref().map(|ticket| (ticket.id, ticket.key.clone())),
        }
    }
}
