//! A knowledge file as a tree in which every value knows the line it stands on.
//!
//! The tree is owned, so that the keys of an override can be laid over those of the entry that it changes while
//! each value keeps the file and line that a problem with it must name.

use super::problem::{Place, Problems, advice};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// What a value may be. Dates have no use in knowledge files and are refused.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Item>),
    Table(Table),
}

/// Named values.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Where the table begins.
    pub(crate) place: Place,
    /// The values by key. Their places are those of the keys.
    pub(crate) items: BTreeMap<String, Item>,
}

/// Files above this size are refused: a symptom's description is a page or two.
pub(crate) const MAX_FILE_BYTES: usize = 256 * 1024;

/// Reads TOML text. All syntax errors are reported, not only the first.
pub(crate) fn read(file: &str, text: &str, problems: &mut Problems) -> Option<Table> {
    let file: Arc<str> = Arc::from(file);
    let start = Place { file: Arc::clone(&file), line: 1 };
    if text.len() > MAX_FILE_BYTES {
        let limit = MAX_FILE_BYTES / 1024;
        problems.add(
            &start,
            format!("the file is larger than {limit} KiB"),
            "split it into one file per symptom",
        );
        return None;
    }
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let lines = Lines { file, starts };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        problems.add(&lines.place(at), one_line(error.message()), "correct the TOML syntax");
    }
    if !errors.is_empty() {
        return None;
    }
    let before = problems.count();
    let items = table_items(&lines, document.get_ref(), problems);
    (problems.count() == before).then_some(Table { place: start, items })
}

struct Lines {
    file: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    fn place(&self, offset: usize) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.starts.partition_point(|start| *start <= offset).max(1),
        }
    }
}

fn table_items(lines: &Lines, table: &DeTable<'_>, problems: &mut Problems) -> BTreeMap<String, Item> {
    let mut items = BTreeMap::new();
    for (key, value) in table {
        let place = lines.place(key.span().start);
        if let Some(item) = item(lines, place, value, problems) {
            items.insert(key.get_ref().to_string(), item);
        }
    }
    items
}

fn item(lines: &Lines, place: Place, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Item> {
    let node = match value.get_ref() {
        DeValue::String(text) => Node::Text(text.to_string()),
        DeValue::Boolean(truth) => Node::Bool(*truth),
        DeValue::Integer(integer) => {
            let number = match integer.radix() {
                10 => integer.as_str().parse::<f64>().ok(),
                radix => i64::from_str_radix(integer.as_str(), radix).ok().map(|n| n as f64),
            };
            Node::Number(finite(number, &place, problems)?)
        }
        DeValue::Float(float) => Node::Number(finite(float.as_str().parse().ok(), &place, problems)?),
        DeValue::Array(array) => Node::List(
            array
                .iter()
                .filter_map(|value| item(lines, lines.place(value.span().start), value, problems))
                .collect(),
        ),
        DeValue::Table(table) => {
            Node::Table(Table { place: place.clone(), items: table_items(lines, table, problems) })
        }
        DeValue::Datetime(_) => {
            problems.add(&place, "a date is not used in knowledge files", "write it in quotes if it is text");
            return None;
        }
    };
    Some(Item { place, node })
}

fn finite(number: Option<f64>, place: &Place, problems: &mut Problems) -> Option<f64> {
    let number = number.filter(|n| n.is_finite());
    if number.is_none() {
        problems.add(place, "the number is not a finite one", "");
    }
    number
}

/// A parser's message on one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Node {
    /// The value's sort, for messages.
    fn sort(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a truth value",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Item {
    /// Notes that something else was expected here.
    pub(crate) fn expected(&self, key: &str, what: &str, problems: &mut Problems) {
        problems.add(&self.place, format!("`{key}` must be {what}, not {}", self.node.sort()), "");
    }

    /// The table, else a problem.
    pub(crate) fn table(&self, key: &str, problems: &mut Problems) -> Option<&Table> {
        if let Node::Table(table) = &self.node {
            return Some(table);
        }
        self.expected(key, "a table", problems);
        None
    }

    /// A list's items; one value stands for a list of one.
    pub(crate) fn items(&self) -> &[Item] {
        match &self.node {
            Node::List(items) => items,
            Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::Table(_) => std::slice::from_ref(self),
        }
    }

    /// The texts of a list of texts, or of one text.
    pub(crate) fn texts(&self, key: &str, problems: &mut Problems) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for item in self.items() {
            let Node::Text(text) = &item.node else {
                item.expected(key, "a text or a list of texts", problems);
                return None;
            };
            texts.push(text.clone());
        }
        if texts.is_empty() {
            problems.add(&self.place, format!("`{key}` is an empty list"), "name at least one text");
            return None;
        }
        Some(texts)
    }

    /// The text, else a problem.
    pub(crate) fn text(&self, key: &str, problems: &mut Problems) -> Option<&str> {
        if let Node::Text(text) = &self.node {
            return Some(text);
        }
        self.expected(key, "a text", problems);
        None
    }

    /// The number, else a problem.
    pub(crate) fn number(&self, key: &str, problems: &mut Problems) -> Option<f64> {
        if let Node::Number(number) = &self.node {
            return Some(*number);
        }
        self.expected(key, "a number", problems);
        None
    }

    /// The duration, else a problem.
    pub(crate) fn duration(&self, key: &str, problems: &mut Problems) -> Option<Duration> {
        let text = self.text(key, problems)?;
        let duration = duration(text);
        if duration.is_none() {
            let what = format!("`{key}` is {text:?}, which is not a duration");
            problems.add(&self.place, what, "write a whole number and a unit: 30s, 15m, 24h, 7d");
        }
        duration
    }
}

/// `30s`, `15m`, `24h`, `7d`, `250ms`; at most a year.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(millis)?;
    (total <= 366 * 86_400_000).then(|| Duration::from_millis(total))
}

impl Table {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        self.items.get(key)
    }

    /// Refuses keys that are not in `known`.
    pub(crate) fn only(&self, what: &str, known: &[&str], problems: &mut Problems) {
        for (key, item) in &self.items {
            if !known.contains(&key.as_str()) {
                let what = format!("unknown key `{key}` in {what}");
                problems.add(&item.place, what, advice(key, known.iter().copied()));
            }
        }
    }

    /// The text under `key`, if it is given.
    pub(crate) fn text(&self, key: &str, problems: &mut Problems) -> Option<String> {
        self.get(key)?.text(key, problems).map(str::to_owned)
    }

    /// The text under `key`; its absence is a problem.
    pub(crate) fn required_text(&self, what: &str, key: &str, problems: &mut Problems) -> Option<String> {
        match self.get(key) {
            None => {
                problems.add(&self.place, format!("{what} has no `{key}`"), format!("add `{key} = \"...\"`"));
                None
            }
            Some(item) => {
                let text = item.text(key, problems)?.trim();
                if text.is_empty() {
                    problems.add(&item.place, format!("`{key}` is empty"), "");
                    return None;
                }
                Some(text.to_owned())
            }
        }
    }

    /// The truth value under `key`, or `otherwise` when it is not given.
    pub(crate) fn truth(&self, key: &str, otherwise: bool, problems: &mut Problems) -> bool {
        match self.get(key) {
            None => otherwise,
            Some(Item { node: Node::Bool(truth), .. }) => *truth,
            Some(other) => {
                other.expected(key, "true or false", problems);
                otherwise
            }
        }
    }

    /// The tables of an array of tables such as `[[step]]`; none when it is not given.
    pub(crate) fn tables(&self, key: &str, problems: &mut Problems) -> Vec<&Table> {
        let Some(item) = self.get(key) else { return Vec::new() };
        item.items().iter().filter_map(|item| item.table(key, problems)).collect()
    }

    /// This table with the keys of `over` laid over it; tables are not merged, they are replaced.
    pub(crate) fn overlaid(&self, over: &Self) -> Self {
        let mut merged = self.clone();
        merged.items.extend(over.items.iter().map(|(key, item)| (key.clone(), item.clone())));
        merged
    }

    /// Pairs of names and texts in which an unquoted dotted name (`a.b = "x"`, which TOML reads as nested tables)
    /// counts as one name. `leaf` says which tables are values.
    pub(crate) fn dotted<'a>(&'a self, leaf: &dyn Fn(&Self) -> bool) -> Vec<(String, &'a Item)> {
        let mut found = Vec::new();
        for (key, item) in &self.items {
            match &item.node {
                Node::Table(inner) if !leaf(inner) => {
                    found.extend(
                        inner.dotted(leaf).into_iter().map(|(rest, item)| (format!("{key}.{rest}"), item)),
                    );
                }
                Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) | Node::Table(_) => {
                    found.push((key.clone(), item));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let mut problems = Problems::default();
        let table = read("x.toml", "a = 1\n\n[b]\nc = \"x\"\n", &mut problems).unwrap();
        let Node::Table(b) = &table.get("b").unwrap().node else { panic!("b is not a table") };
        assert_eq!(b.get("c").unwrap().place.to_string(), "x.toml:4");
    }

    #[test]
    fn every_syntax_error_names_its_line() {
        let mut problems = Problems::default();
        assert!(read("x.toml", "a = 1\nb = \nc = 2\n", &mut problems).is_none());
        assert_eq!(problems.into_sorted()[0].place.line, 2);
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in
            [("0s", 0), ("5s", 5_000), ("15m", 900_000), ("24h", 86_400_000), ("250ms", 250)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "m", "1.5h", "-1s", "5 m", "367d", "99999999999999999999d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
