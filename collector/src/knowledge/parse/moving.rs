//! What a value is compared with where a fixed number would be wrong: another metric, what is usual here or on other
//! devices, where it leads, the share of another counter.

use super::super::problem::{Problems, advice};
use super::super::tree::{Item, Table};
use super::condition::{Reader, refuse, whole, within};
use firstline_collector_core::knowledge::{Compare, Condition, Reference, Sameness, SeriesMatch};

/// The keys of `share_of`.
pub(super) const SHARE_KEYS: &[&str] = &["metric", "where", "at_least"];
/// The keys of what stands in the place of a number that is compared with.
pub(super) const MOVING_KEYS: &[&str] =
    &["metric", "where", "plus", "times", "spreads", "median_of", "peers", "reaches", "within", "over"];
/// The keys of `peers`.
pub(super) const PEERS_KEYS: &[&str] = &["same", "within", "at_least"];

/// Fewer others are no company.
const FEWEST_PEERS: u32 = 3;

impl Reader {
    /// `share_of = { metric = "...", at_least = 1000 }` beside a comparison and `within`.
    pub(super) fn share_of(
        self,
        table: &Table,
        series: SeriesMatch,
        compare: Compare,
        level: f64,
        problems: &mut Problems,
    ) -> Option<Condition> {
        let item = table.get("share_of")?;
        let inner = item.table("share_of", problems)?;
        inner.only("`share_of`", SHARE_KEYS, problems);
        let within = within(table, "share_of", &item.place, problems)?;
        let at_least = inner.get("at_least").map_or(Some(0.0), |item| item.number("at_least", problems))?;
        let whole = self.named_series(inner, problems)?;
        Some(Condition::Relative {
            series,
            compare,
            to: Reference::ShareOf { whole, level, within, at_least },
        })
    }

    /// `above = { metric = "...", where = {..}, plus = -5 }`, `above = { times = 2, median_of = 10 }` or
    /// `above = { times = 2, peers = { same = "model", within = "7d", at_least = 5 } }`.
    pub(super) fn moving(
        self,
        inner: &Table,
        series: SeriesMatch,
        compare: Compare,
        problems: &mut Problems,
    ) -> Option<Condition> {
        inner.only("a moving level", MOVING_KEYS, problems);
        if let Some(item) = inner.get("reaches") {
            refuse(
                inner,
                &["metric", "where", "plus", "times", "spreads", "median_of", "peers"],
                "`reaches`",
                problems,
            );
            let level = item.number("reaches", problems)?;
            let within = within(inner, "reaches", &item.place, problems)?;
            let Some(over) = inner.get("over") else {
                problems.add(
                    &item.place,
                    "`reaches` has no `over`",
                    "say how far to look back: `over = \"2h\"`",
                );
                return None;
            };
            let over = over.duration("over", problems)?;
            return Some(Condition::Relative {
                series,
                compare,
                to: Reference::Reached { level, within, over },
            });
        }
        let to = match (inner.get("median_of"), inner.get("peers")) {
            (Some(item), None) => {
                refuse(inner, &["metric", "where", "plus"], "`median_of`", problems);
                let of = whole(item, "median_of", problems)?;
                if of > 60 {
                    problems.add(&item.place, format!("`median_of` is {of}"), "at most 60 samples are kept");
                    return None;
                }
                let (times, spreads) = distance(inner, problems)?;
                Reference::Usual { times, spreads, of }
            }
            (None, Some(item)) => {
                refuse(inner, &["metric", "where", "plus"], "`peers`", problems);
                peers(item, distance(inner, problems)?, problems)?
            }
            (Some(_), Some(item)) => {
                let advice = "put the second comparison into `any` or `all`";
                problems.add(&item.place, "`median_of` and `peers` stand together", advice);
                return None;
            }
            (None, None) => {
                refuse(inner, &["times", "spreads"], "another metric", problems);
                let plus = inner.get("plus").map_or(Some(0.0), |item| item.number("plus", problems))?;
                Reference::Other { series: self.named_series(inner, problems)?, plus }
            }
        };
        Some(Condition::Relative { series, compare, to })
    }

    fn named_series(self, inner: &Table, problems: &mut Problems) -> Option<SeriesMatch> {
        if inner.get("metric").is_none() {
            let advice = "name the metric, or give `times` and `median_of` or `peers`";
            problems.add(&inner.place, "it is not clear what is compared with", advice);
        }
        self.series(inner, "metric", problems)
    }
}

/// How far from the median: `times` and `spreads`.
fn distance(inner: &Table, problems: &mut Problems) -> Option<(f64, f64)> {
    let times = inner.get("times").map_or(Some(1.0), |item| item.number("times", problems))?;
    let spreads = inner.get("spreads").map_or(Some(0.0), |item| item.number("spreads", problems))?;
    if let Some(item) = inner.get("spreads").filter(|_| spreads < 0.0) {
        problems.add(&item.place, "`spreads` is negative", "it is a distance: `spreads = 3`");
        return None;
    }
    Some((times, spreads))
}

/// `peers = { same = ["model", "os"], within = "7d", at_least = 5 }`.
fn peers(item: &Item, (times, spreads): (f64, f64), problems: &mut Problems) -> Option<Reference> {
    let table = item.table("peers", problems)?;
    table.only("`peers`", PEERS_KEYS, problems);
    let Some(same) = table.get("same") else {
        let advice = "say in what devices are the same: `same = \"model\"`";
        problems.add(&table.place, "`peers` has no `same`", advice);
        return None;
    };
    let mut kinds = Vec::new();
    for text in same.texts("same", problems)? {
        match Sameness::from_text(&text) {
            Some(one) if kinds.contains(&one) => {
                problems.add(&same.place, format!("`same` names {text:?} twice"), "");
                return None;
            }
            Some(one) => kinds.push(one),
            None => {
                let known = Sameness::ALL.iter().map(|one| one.as_str());
                let what = format!("{text:?} is nothing that devices can be the same in");
                problems.add(&same.place, what, advice(&text, known));
                return None;
            }
        }
    }
    let within = within(table, "peers", &table.place, problems)?;
    let at_least = table.get("at_least").map_or(Some(5), |item| whole(item, "at_least", problems))?;
    if at_least < FEWEST_PEERS {
        let place = table.get("at_least").map_or(&table.place, |item| &item.place);
        let advice = format!("ask for at least {FEWEST_PEERS}");
        problems.add(place, format!("`at_least` is {at_least}: that is no company"), &advice);
        return None;
    }
    Some(Reference::Peers { times, spreads, same: kinds, within, at_least })
}
