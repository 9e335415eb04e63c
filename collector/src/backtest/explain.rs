//! Pure: what was played becomes the report, with what the history does not hold said plainly.

use super::difference::{self, difference};
use super::play::{Plan, Played};
use super::report::{Difference, History, Named, OtherRule, Outcome, Part, Reason, Report, StoredTicket};
use super::tally::{MOST_TICKETS, Opened, Tally};
use firstline_collector_core::ticket::Ticket;
use firstline_model::{RuleCode, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tickets that are listed on either side; all are counted.
const MOST_LISTED: usize = 500;
/// Parts that are listed.
const MOST_PARTS: usize = 100;
/// Reasons that are listed.
const MOST_REASONS: usize = 20;
/// The history may begin so much later than was asked for and count as whole: agents send once a minute.
const SLACK: Duration = Duration::from_secs(3600);

/// Entries whose evidence the collector notices by itself, so that no record holds it.
const NOTICED_BY_THE_COLLECTOR: &[(&str, &str)] = &[
    (
        "agent.cloned",
        "that two machines have one identity is noticed by the collector and stands in no record",
    ),
    ("collector.certificate", "the collector's own certificates stand in no record"),
    ("net.site_outage", "whether streams broke is not stored: silence is judged by the records alone"),
    (
        "time.offset",
        "how far a clock was off by the collector's stands in no record; what the agent itself measured does",
    ),
];

impl Played {
    /// The answer.
    pub(super) fn report(&self, plan: &Plan) -> Report {
        let code = &plan.rules.code;
        let found = difference(&self.before, &self.after, code);
        let (was, is) = (self.before.opened_of(code), self.after.opened_of(code));
        let (lost, gained) = (found.lost.len() as u64, found.gained.len() as u64);
        let history = self.history(plan);
        Report {
            summary: format!(
                "{code} over {}: {was} -> {is} tickets; {lost} lost, {gained} gained",
                self.time(plan, &history)
            ),
            rule: code.to_string(),
            history,
            before: self.outcome(&self.before, code),
            after: self.outcome(&self.after, code),
            stored: self.stored.iter().filter(|ticket| self.is_within(ticket.opened_at)).count() as u64,
            kept: found.kept as u64,
            later_by_s: found.shift.map(|shift| match shift {
                Ok(later) => later.as_secs_f64(),
                Err(sooner) => -sooner.as_secs_f64(),
            }),
            lost_total: lost,
            lost: found.lost.iter().take(MOST_LISTED).map(|ticket| self.listed(ticket)).collect(),
            gained_total: gained,
            gained: found.gained.iter().take(MOST_LISTED).map(|ticket| self.listed(ticket)).collect(),
            components: self.parts(code),
            others: self.others(code),
            notes: self.notes(plan),
        }
    }

    /// The time that the answer is about, in words.
    fn time(&self, plan: &Plan, history: &History) -> String {
        let days = |count: u32| {
            if count == 1 { "the last day".to_owned() } else { format!("the last {count} days") }
        };
        match self.first {
            None => format!("{} (nothing is stored of them)", days(plan.days)),
            Some(_) if history.complete => days(plan.days),
            Some(first) => {
                format!("the {} that are stored of {}", length(self.until.since(first)), days(plan.days))
            }
        }
    }

    fn history(&self, plan: &Plan) -> History {
        let mut missing = Vec::new();
        match self.first {
            None => missing.push(format!(
                "no record of {} is stored since {}",
                plan.site.as_ref().map_or_else(|| "any device".to_owned(), |site| format!("a device of {site}")),
                self.asked_from
            )),
            Some(first) if first.since(self.asked_from) > SLACK => missing.push(format!(
                "the first {} are missing: the oldest record that is stored came at {first} (raw records are kept for \
                 {}; `serve --keep-records` changes that for the future)",
                length(first.since(self.asked_from)),
                plan.kept_for.map_or_else(|| "a time".to_owned(), length)
            )),
            Some(_) => {}
        }
        if self.out_of_time {
            missing.push(format!(
                "the last {} were not played: a back-test takes at most {} (ask for fewer days, or run `knowledge \
                 backtest` on the collector's machine, which has no such limit)",
                length(plan.now.since(self.until)),
                length(plan.longest)
            ));
        }
        if self.given_up > 0 {
            missing.push(format!("agents gave up {} records before they could be sent", self.given_up));
        }
        if self.unreadable > 0 {
            missing.push(format!("{} records cannot be read by this version", self.unreadable));
        }
        if self.repeated_in_vain > 0 {
            missing.push(format!(
                "{} times a record repeats one that is not stored any more; what it repeats was left out",
                self.repeated_in_vain
            ));
        }
        let whole =
            self.first.is_some_and(|first| first.since(self.asked_from) <= SLACK) && !self.out_of_time;
        History {
            days: plan.days,
            asked_from: self.asked_from.to_string(),
            from: self.first.map(|first| first.to_string()),
            until: self.until.to_string(),
            complete: whole,
            missing,
            devices: self.heard,
            records: self.records,
            observations: self.observations,
        }
    }

    fn outcome(&self, tally: &Tally, code: &RuleCode) -> Outcome {
        let problems = tally.of(code).filter(|ticket| ticket.device.is_none()).count() as u64;
        let children = tally.of(code).filter(|ticket| ticket.is_child).count() as u64;
        let devices: BTreeSet<_> = tally.of(code).filter_map(|ticket| ticket.device.as_ref()).collect();
        let suppressed = tally.reasons(code).into_iter().take(MOST_REASONS);
        Outcome {
            tickets: tally.opened_of(code),
            problems,
            children,
            devices: devices.len() as u64,
            suppressed: suppressed
                .map(|(reason, count)| Reason { reason: reason.to_owned(), count })
                .collect(),
        }
    }

    fn listed(&self, ticket: &Opened) -> Difference {
        let device = ticket.device.as_ref().map(|id| Named {
            id: id.to_string(),
            hostname: self.devices.get(id).map_or_else(|| id.to_string(), |device| device.hostname.clone()),
        });
        let stored = self.stored.iter().find(|stored| is_same_fault(stored, ticket));
        Difference {
            device,
            site: ticket.site.clone(),
            component: ticket.component.clone(),
            title: ticket.title.clone(),
            severity: ticket.severity.as_str().to_owned(),
            opened_at: ticket.opened_at.to_string(),
            resolved_at: ticket.resolved_at.map(|at| at.to_string()),
            ticket: stored.map(|stored| StoredTicket { id: stored.id.0, key: stored.key() }),
        }
    }

    fn parts(&self, code: &RuleCode) -> Vec<Part> {
        let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for ticket in self.before.of(code) {
            counts.entry(&ticket.component).or_default().0 += 1;
        }
        for ticket in self.after.of(code) {
            counts.entry(&ticket.component).or_default().1 += 1;
        }
        let mut parts: Vec<Part> = counts
            .into_iter()
            .map(|(component, (before, after))| Part { component: component.to_owned(), before, after })
            .collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.before.max(part.after)));
        parts.truncate(MOST_PARTS);
        parts
    }

    fn others(&self, code: &RuleCode) -> Vec<OtherRule> {
        let rules: BTreeSet<&RuleCode> =
            self.before.opened().keys().chain(self.after.opened().keys()).collect();
        let counted = rules.into_iter().filter(|rule| *rule != code).map(|rule| OtherRule {
            rule: rule.to_string(),
            before: self.before.opened_of(rule),
            after: self.after.opened_of(rule),
        });
        counted.filter(|one| one.before != one.after).collect()
    }

    fn notes(&self, plan: &Plan) -> Vec<String> {
        let code = plan.rules.code.as_str();
        let mut notes = vec![
            "What was firing when the history begins counts as opened then, on both sides.".to_owned(),
            "Sites, tags, facts and maintenance windows are those of today.".to_owned(),
            "Between their minute's samples agents send at once only what crosses a level in force: a more sensitive \
             level would have heard more than the history holds."
                .to_owned(),
        ];
        if let Some((_, what)) = NOTICED_BY_THE_COLLECTOR.iter().find(|(of, _)| *of == code) {
            notes.push(format!("Of {code}: {what}."));
        }
        if self.suspect > 0 {
            notes.push(format!(
                "{} records came from devices whose clock was off; their times are those of receipt.",
                self.suspect
            ));
        }
        if let Some(site) = &plan.site {
            notes.push(format!(
                "Only devices of {site} were played: a cause that they share with others may look different."
            ));
        }
        if self.before.not_kept + self.after.not_kept > 0 {
            notes.push(format!(
                "There were more than {MOST_TICKETS} tickets; those beyond are counted and not compared one by one."
            ));
        }
        notes
    }

    fn is_within(&self, at: Timestamp) -> bool {
        self.first.is_some_and(|first| at >= first) && at <= self.until
    }
}

/// Whether the stored ticket is about this fault at this time.
fn is_same_fault(stored: &Ticket, ticket: &Opened) -> bool {
    let component = stored.component.as_ref().map(ToString::to_string).unwrap_or_default();
    let as_opened = Opened { opened_at: stored.opened_at, resolved_at: stored.resolved_at, ..ticket.clone() };
    stored.device == ticket.device && component == ticket.component && difference::overlap(&as_opened, ticket)
}

/// A length of time in words: `6.9 days`, `50 minutes`.
fn length(time: Duration) -> String {
    let (amount, unit) = match time.as_secs() {
        0..120 => (time.as_secs_f64(), "seconds"),
        120..7_200 => (time.as_secs_f64() / 60.0, "minutes"),
        7_200..172_800 => (time.as_secs_f64() / 3_600.0, "hours"),
        _ => (time.as_secs_f64() / 86_400.0, "days"),
    };
    let text = format!("{amount:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}
