//! Says in words when an entry is a finding, for the command line and for pages.

use firstline_collector_core::knowledge::{
    Clue, Compare, Condition, FactMatch, FactTest, KnowledgeEntry, Level, Reference, SeriesMatch, TextMatch,
    Watched,
};
use serde_json::{Value, json};
use std::time::Duration;

/// `15m`, `1h`, `250ms`: the largest unit that gives a whole number.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) && !(unit == "d" && millis == size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

/// A condition in one line.
pub(crate) fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Sample { series, compare, level, at_least, of } => {
            let times = if *of > 1 {
                format!(" in at least {at_least} of the last {of} samples")
            } else {
                String::new()
            };
            format!("{} {} {level}{times}", self::series(series), compared(*compare))
        }
        Condition::Relative { series, compare, to } => {
            format!("{} {} {}", self::series(series), compared(*compare), reference(to))
        }
        Condition::Increase { series, by, within } => {
            format!("{} grows by at least {by} within {}", self::series(series), duration(*within))
        }
        Condition::Absent { series: of, after } => {
            format!("nothing of {} came for {} although the device was heard", series(of), duration(*after))
        }
        Condition::Changed { what: Watched::Series(of), within } => {
            format!("{} changed within the last {}", series(of), duration(*within))
        }
        Condition::Changed { what: Watched::Document { name, path }, within } => {
            format!("{path} in {name} changed within the last {}", duration(*within))
        }
        Condition::Event { series, count, within } => {
            format!("{} happens at least {count} times within {}", self::series(series), duration(*within))
        }
        Condition::State { name, path, matches } => {
            format!("{} of the {name} document {}", path.join("."), text_match(matches))
        }
        Condition::All(parts) => joined(parts, " and "),
        Condition::Any(parts) => joined(parts, " or "),
        Condition::Not(part) => {
            if let Condition::Known(inner) = part.as_ref() {
                return format!("unless {}", self::condition(inner));
            }
            format!("not ({})", self::condition(part))
        }
        Condition::Known(part) => format!("{} (and this is known)", self::condition(part)),
        Condition::EveryComponent(part) => format!("on every such component {}", self::condition(part)),
        Condition::AnyComponent { kind, part } => format!("on some {kind} {}", self::condition(part)),
        Condition::On(text) => format!("the component {}", text_match(text)),
    }
}

fn reference(to: &Reference) -> String {
    match to {
        Reference::Other { series, plus } if *plus == 0.0 => self::series(series),
        Reference::Other { series, plus } => format!("{} {plus:+}", self::series(series)),
        Reference::Reached { level, within, over } => {
            format!("{level} within {} at the rate of the last {}", duration(*within), duration(*over))
        }
        Reference::Usual { times, spreads, of } => {
            format!("{times} times the median of the {of} samples before{}", self::spreads(*spreads))
        }
        Reference::Peers { times, spreads, same, within, at_least } => {
            let same: Vec<&str> = same.iter().map(|one| one.as_str()).collect();
            format!(
                "{times} times the median of at least {at_least} other devices of the same {} (values of the last {}){}",
                same.join(" and "),
                duration(*within),
                self::spreads(*spreads)
            )
        }
        Reference::ShareOf { whole, level, within, at_least } => format!(
            "{level} of what {} grows within {} (by at least {at_least})",
            series(whole),
            duration(*within)
        ),
    }
}

fn spreads(spreads: f64) -> String {
    if spreads > 0.0 { format!(" and {spreads} usual deviations") } else { String::new() }
}

fn joined(parts: &[Condition], word: &str) -> String {
    let part = |part: &Condition| match part {
        Condition::All(inner) | Condition::Any(inner) if inner.len() > 1 => format!("({})", condition(part)),
        Condition::Sample { .. }
        | Condition::Relative { .. }
        | Condition::Increase { .. }
        | Condition::Event { .. }
        | Condition::State { .. }
        | Condition::Absent { .. }
        | Condition::Changed { .. }
        | Condition::All(_)
        | Condition::Any(_)
        | Condition::Not(_)
        | Condition::Known(_)
        | Condition::EveryComponent(_)
        | Condition::AnyComponent { .. }
        | Condition::On(_) => condition(part),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(word)
}

fn series(series: &SeriesMatch) -> String {
    if series.attributes.is_empty() {
        return series.metric.clone();
    }
    let attributes: Vec<String> =
        series.attributes.iter().map(|(name, matches)| format!("{name} {}", text_match(matches))).collect();
    format!("{} ({})", series.metric, attributes.join(", "))
}

fn text_match(matches: &TextMatch) -> String {
    match matches {
        TextMatch::OneOf(texts) => format!("is {}", texts.join(" or ")),
        TextMatch::NoneOf(texts) => format!("is not {}", texts.join(" or ")),
        TextMatch::StartsWith(starts) => format!("begins with {}", starts.join(" or ")),
    }
}

fn compared(compare: Compare) -> &'static str {
    match compare {
        Compare::Above => "is above",
        Compare::Below => "is below",
        Compare::AtLeast => "is at least",
        Compare::AtMost => "is at most",
        Compare::Equals => "is",
    }
}

/// When a level fires, in one line.
pub(crate) fn raises(level: &Level) -> String {
    let hold =
        if level.hold.is_zero() { "at once".to_owned() } else { format!("for {}", duration(level.hold)) };
    format!("{}, {hold}", condition(&level.when))
}

/// When a level is over, in one line.
pub(crate) fn clears(level: &Level, latched: bool) -> String {
    if latched {
        return "never by itself: the part must be replaced".to_owned();
    }
    let what = level.clear.as_ref().map_or_else(|| "that no longer holds".to_owned(), condition);
    format!("{what}, for {}", duration(level.clear_hold))
}

/// What a cause is judged by, in one line.
pub(crate) fn clue(clue: &Clue) -> String {
    match clue {
        Clue::Tested(test) => fact(test),
        Clue::Observed(observed) => match observed.component {
            Some(kind) => format!("{} (of a {kind})", condition(&observed.condition)),
            None => condition(&observed.condition),
        },
    }
}

fn fact(test: &FactTest) -> String {
    let of = if test.path.is_empty() { "outcome".to_owned() } else { test.path.join(".") };
    let is = match &test.is {
        FactMatch::Number(compare, level) => format!("{} {level}", compared(*compare)),
        FactMatch::Text(matches) => text_match(matches),
        FactMatch::Bool(truth) => format!("is {truth}"),
    };
    format!("{of} of the test {} {is}", test.diagnostic)
}

/// The whole entry as JSON, for `knowledge show --json` and for the REST interface.
pub(crate) fn entry(entry: &KnowledgeEntry) -> Value {
    let latched = entry.detection.latched;
    let levels: Vec<Value> = entry
        .detection
        .levels
        .iter()
        .map(|level| {
            json!({
                "severity": level.severity.as_str(),
                "when": condition(&level.when),
                "for_seconds": level.hold.as_secs_f64(),
                "clear": clears(level, latched),
                "clear_for_seconds": level.clear_hold.as_secs_f64(),
            })
        })
        .collect();
    let causes: Vec<Value> = entry
        .causes
        .iter()
        .map(|cause| {
            let supported: Vec<Vec<String>> =
                cause.supported_by.iter().map(|clause| clause.iter().map(clue).collect()).collect();
            let ruled_out: Vec<Value> = cause
                .ruled_out_by
                .iter()
                .map(|out| json!({"when": out.facts.iter().map(clue).collect::<Vec<_>>(), "because": out.because}))
                .collect();
            json!({"id": cause.id, "text": cause.text, "supported_by": supported, "ruled_out_by": ruled_out})
        })
        .collect();
    json!({
        "id": entry.code.as_str(),
        "title": entry.title,
        "category": entry.category,
        "impact": entry.impact,
        "enabled": entry.enabled,
        "opens_ticket": entry.opens_ticket,
        "component": entry.detection.about(),
        "levels": levels,
        "latched": latched,
        "depends_on": entry.detection.depends_on.iter().map(|dependency| dependency.rule.as_str()).collect::<Vec<_>>(),
        "explain": {"person": entry.explanation.person, "technician": entry.explanation.technician},
        "tests": entry.tests.iter().map(|test| test.diagnostic.as_str()).collect::<Vec<_>>(),
        "causes": causes,
        "steps": entry.steps,
        "article": entry.article.as_ref().map(|article| {
            json!({"title": article.title, "url": article.url, "body": article.body})
        }),
        "examples": entry.examples.iter().map(|example| example.name.as_str()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_the_files_write_them() {
        for (seconds, text) in
            [(0, "0s"), (5, "5s"), (900, "15m"), (86_400, "24h"), (604_800, "7d"), (90, "90s")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
