//! The reference of knowledge files: one page, made from the very lists of keys that the reader of the files accepts.
//!
//! A key that is not explained here, or explained and not accepted, fails a test, and so does a page that is not the
//! one beside the entries (`collector/KNOWLEDGE.md`).

use super::parse;
use std::fmt::Write as _;

/// One table of the files.
struct Section {
    /// Its name among [`parse::tables`].
    table: &'static str,
    title: &'static str,
    about: &'static str,
    /// The keys and what they say.
    keys: &'static [(&'static str, &'static str)],
}

const HEAD: &str = "# Knowledge files\n\n\
What counts as a fault is data: one TOML file per symptom. `firstline-collector knowledge show ID` prints the built-in ones; \
files in `<data>/knowledge.d/` add entries, replace them (same `id`) or override parts of them. Unknown keys are refused with \
file, line and suggestion. A change is judged as a whole, every worked example included, before it takes effect.\n\n\
This page is made by `firstline-collector knowledge schema` from what the program accepts.\n\n\
Durations are whole numbers with a unit: `30s`, `15m`, `24h`, `7d`. A condition is true, false or unknown: what was never \
observed or could not be read is unknown, and unknown neither raises nor clears.\n\n\
Texts may hold placeholders: `{component}`, `{component.id}`, `{value}`, `{value.percent}`, `{threshold}`, `{since}`, \
`{hostname}`, `{site}`, `{attr.NAME}`, `{doc.KEY}`, `{fact.TEST.KEY}`, `{words.ATTRIBUTE.USE}`.\n";

const SECTIONS: &[Section] = &[
    Section {
        table: "entry",
        title: "An entry",
        about: "The head of the file and its tables.",
        keys: &[
            ("id", "the check id, such as `fs.space`; a known one replaces that entry"),
            ("title", "the ticket's one line, with placeholders"),
            ("category", "the group under which the helpdesk looks"),
            ("severity", "`info`, `warning` or `critical`; left out when there are levels"),
            ("impact", "who is hit: 1 a site or service, 2 several people, 3 one person"),
            ("enabled", "`false` keeps the entry and judges nothing"),
            ("opens_ticket", "`false`: it only explains others"),
            ("detect", "when it is a finding"),
            ("explain", "what it means"),
            (
                "words",
                "words for the values of attributes: `[words.ATTRIBUTE.VALUE] USE = \"...\"`; the value `*` stands for all others",
            ),
            ("test", "diagnostics that the agent runs at breach, in order"),
            ("cause", "what may be behind it, likeliest first"),
            ("step", "what a technician does, in order"),
            ("article", "where to read more"),
            ("example", "worked examples: the entry's tests"),
        ],
    },
    Section {
        table: "detect",
        title: "[detect]",
        about: "What is looked at. Beside these keys stand those of a level (below), which then hold for every level.",
        keys: &[
            (
                "component",
                "the kind of component that findings are about: `filesystem`, `printer`, ..., or a list of such kinds",
            ),
            (
                "depends_on",
                "rules that hide this one while they fire on the same device: ids, or tables; what is hidden stands in the cause's ticket and opens its own when the cause is over",
            ),
            (
                "latched",
                "`true`: the verdict stays until the part is replaced: its document names another `serial`, or it is not reported any more and another of its kind has appeared",
            ),
            ("custom", "`true`: metrics that Firstline does not know are accepted"),
            ("info", "a level, as `[detect.info]`, or several as `[[detect.info]]` of which one is enough"),
            ("warning", "a level"),
            ("critical", "a level; a worse one upgrades the same ticket"),
        ],
    },
    Section {
        table: "level",
        title: "A level, and a condition",
        about: "All keys of one table must hold together. `for` and `clear` stand only in a level.",
        keys: &[
            ("metric", "samples of this metric"),
            ("event", "events of this name"),
            ("state", "the newest document of this name"),
            ("key", "where in the document the value is; dots between nested keys"),
            ("where", "only samples or events with these attributes: `{ NAME = \"text\" }`"),
            ("above", "the newest value is greater than this number, or than a moving level"),
            ("below", "less"),
            ("at_least_value", "greater or equal"),
            ("at_most_value", "less or equal"),
            ("equals", "equal; of a document also a text or a truth value"),
            ("matches", "the value of a document (or one item of its list) is this text, or one of these"),
            ("at_least", "`\"3 of 4\"`: so many of the newest samples compare so"),
            ("increase", "the counter grew by this `within` a time; a counter that went down was reset"),
            ("rate", "`\"3 per 1h\"`: the same in one text"),
            ("share_of", "the share of another counter's growth `within` a time"),
            ("count", "so many events `within` a time; 1 when left out"),
            ("within", "the window of `increase`, `share_of` and `event`"),
            (
                "absent",
                "nothing of it came for so long in powered-on time, although it came before and the device is heard; the silence of a device is never an absence",
            ),
            (
                "changed",
                "the value (or a state attribute, or a document's value under `key`) differs from the one before it, since less than this time; the first sight is no change",
            ),
            ("all", "a list of conditions that must all hold; false wins over unknown"),
            ("any", "a list of conditions of which one is enough; true wins over unknown"),
            ("not", "the opposite; unknown stays unknown"),
            ("known", "it is known to hold: what is unknown counts as false"),
            ("unless", "it is not known to hold"),
            ("every_component", "it holds on every component of the kind that was observed lately"),
            (
                "any_component",
                "it holds on some component of another kind: `{ kind = \"sensor\", metric = .. }`; looked at when the finding's own component is observed",
            ),
            (
                "on",
                "the component itself is this one, written `kind/id`, or one of these: `{ starts_with = .. }`",
            ),
            ("for", "it must hold for so long in powered-on time, with the samples present"),
            (
                "clear",
                "what must be true for recovery, and for how long: `{ below = 0.8, for = \"15m\" }`; with `for` alone, that the level is known not to hold",
            ),
        ],
    },
    Section {
        table: "moving",
        title: "A moving level",
        about: "In the place of a number: `above = { times = 2, median_of = 10 }`.",
        keys: &[
            ("metric", "the newest value of another metric of the same component"),
            ("where", "with these attributes"),
            ("plus", "added to it"),
            ("times", "so many times the median"),
            (
                "spreads",
                "and so many usual deviations from the median, so that what varies much by itself is no fault (1.4826 times the median absolute deviation; of peers the distance of the quartiles by 1.349)",
            ),
            ("median_of", "the median of so many samples before: what is usual for this component"),
            (
                "peers",
                "what other devices of the same kind measure (below): `above = { times = 2, spreads = 3, peers = { same = \"model\", within = \"14d\" } }`",
            ),
            ("reaches", "a level that it will reach"),
            ("within", "in this time"),
            (
                "over",
                "at the rate of the last this long: the median of all slopes, if three quarters of them are at least half of it",
            ),
        ],
    },
    Section {
        table: "peers",
        title: "peers",
        about: "The newest values of other devices, of the same component, metric and attributes. A device's own value does not count, and neither does one that is too old or could not be read last. What peers said is looked at when the device itself says something; with too few of them the comparison is unknown. The spread is taken from the quartiles, so when a quarter of the peers are as bad, nobody stands out. Peers of a back-test of one site are those of that site.",
        keys: &[
            (
                "same",
                "in what devices are the same, one or several: `model`, `device_class`, `os`, `site`, `gateway_mac`; a device that does not say what it is has no peers",
            ),
            ("within", "values of others count for so long"),
            ("at_least", "so many others must be known, 3 or more; 5 when left out"),
        ],
    },
    Section {
        table: "share_of",
        title: "share_of",
        about: "Both are counters.",
        keys: &[
            ("metric", "the whole"),
            ("where", "with these attributes"),
            ("at_least", "it must grow by this; a share of less says nothing"),
        ],
    },
    Section {
        table: "match",
        title: "In the place of a text",
        about: "A text, a list of texts of which one is enough, or a table. Capitals do not matter.",
        keys: &[("not", "none of these"), ("starts_with", "begins with one of these")],
    },
    Section {
        table: "depends_on",
        title: "depends_on",
        about: "A table in the place of an id.",
        keys: &[
            ("rule", "the cause's id"),
            ("same_component", "`true`: only while it fires on the same component"),
        ],
    },
    Section {
        table: "explain",
        title: "[explain]",
        about: "",
        keys: &[
            ("person", "for the person at the machine: no jargon"),
            ("technician", "what was measured and why it matters"),
        ],
    },
    Section {
        table: "test",
        title: "[[test]]",
        about: "",
        keys: &[
            ("diagnostic", "a name of the closed list of diagnostics"),
            ("subject", "`\"component\"`: its parameter is the finding's component"),
        ],
    },
    Section {
        table: "cause",
        title: "[[cause]]",
        about: "",
        keys: &[
            ("id", "a name within the entry"),
            ("text", "one sentence for the ticket"),
            (
                "supported_by",
                "results that speak for it: a list of clauses (each a result or a list of results that must all hold), one is enough",
            ),
            ("ruled_out_by", "results that exclude it"),
        ],
    },
    Section {
        table: "ruled_out_by",
        title: "ruled_out_by",
        about: "",
        keys: &[("when", "results that must all hold"), ("because", "the sentence for the ticket")],
    },
    Section {
        table: "fact",
        title: "A result",
        about: "Of a diagnostic that was run at breach.",
        keys: &[
            ("test", "the diagnostic"),
            ("fact", "the key in its facts"),
            ("outcome", "`ok` or `problem`, in the place of a fact"),
            ("above", "the fact is greater"),
            ("below", "less"),
            ("at_least_value", "greater or equal"),
            ("at_most_value", "less or equal"),
            ("equals", "equal"),
            ("matches", "is this text, or one of these"),
        ],
    },
    Section { table: "step", title: "[[step]]", about: "", keys: &[("text", "what to do")] },
    Section {
        table: "article",
        title: "[article]",
        about: "",
        keys: &[
            ("title", "its title"),
            ("url", "where it is, when it is outside"),
            ("body", "its text, when it is here"),
        ],
    },
    Section {
        table: "example",
        title: "[[example]]",
        about: "Observations in, findings out. Only the entry itself is in force, so nothing hides it.",
        keys: &[
            ("name", "what it shows"),
            ("component", "of the observations that name none"),
            ("observations", "what is observed"),
            ("until", "let time pass until here before looking"),
            ("expect", "what must happen, in order; `[]`: nothing"),
        ],
    },
    Section {
        table: "observation",
        title: "observations",
        about: "As the lines of a trace, with times from the start of the example.",
        keys: &[
            ("t", "when"),
            ("every", "again and again at this distance"),
            ("to", "until then"),
            ("component", "what it is about"),
            ("peers", "other devices of the same kind say it: how many, or a list with the `value` of each"),
            ("metric", "a sample"),
            ("event", "an event"),
            ("state", "a document"),
            ("unavailable", "a metric that could not be read"),
            ("presence", "where the device is: `online`, `asleep`, `shut_down`, ..."),
            ("attrs", "attributes"),
            ("value", "of a sample"),
            ("doc", "of a state"),
            ("reason", "why it could not be read"),
        ],
    },
    Section {
        table: "expect",
        title: "expect",
        about: "",
        keys: &[
            ("transition", "`fired`, `escalated` or `cleared`"),
            ("severity", "when it matters"),
            ("component", "when it matters"),
        ],
    },
    Section {
        table: "override",
        title: "An override",
        about: "A file of its own that changes parts of an entry. The keys of a level may also stand at its top or under `[detect]`, for every level that has them.",
        keys: &[
            ("override", "the id of the entry"),
            ("scope", "for which devices; all when left out"),
            ("detect", "the keys that are other"),
            ("enabled", "`false` switches it off"),
            ("severity", "of every level"),
            ("impact", "who is hit"),
            ("opens_ticket", "whether it opens tickets"),
            ("example", "examples that run with the changed entry"),
        ],
    },
    Section {
        table: "scope",
        title: "[scope]",
        about: "Every key that is given must match. Of several overrides the last that matches counts.",
        keys: &[
            ("site", "devices of this site"),
            ("tag", "devices with this tag"),
            ("device_class", "`laptop`, `desktop`, `server`"),
            ("device", "this device"),
        ],
    },
];

/// The page, as Markdown: the accepted keys in their order, with their words.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for (table, keys) in parse::tables() {
        let Some(section) = SECTIONS.iter().find(|section| section.table == table) else { continue };
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## {}\n", section.title);
        if !section.about.is_empty() {
            let _ = write!(page, "\n{}\n", section.about);
        }
        page.push_str("\n| key | what it says |\n|---|---|\n");
        for key in keys {
            let words = section.keys.iter().find(|(explained, _)| explained == key).map(|(_, words)| *words);
            let _ = writeln!(page, "| `{key}` | {} |", words.unwrap_or_default());
        }
    }
    page
}

/// The keys that are accepted and not explained, and the reverse.
#[cfg(test)]
pub(crate) fn differences() -> Vec<String> {
    let mut found = Vec::new();
    let tables = parse::tables();
    for (table, accepted) in &tables {
        let explained: Vec<&str> = SECTIONS
            .iter()
            .filter(|section| section.table == *table)
            .flat_map(|section| section.keys.iter().map(|(key, _)| *key))
            .collect();
        let missing = accepted.iter().filter(|key| !explained.contains(key));
        found.extend(missing.map(|key| format!("`{key}` of {table} is not explained")));
        let stale = explained.iter().filter(|key| !accepted.contains(key));
        found.extend(stale.map(|key| format!("`{key}` of {table} is explained and not accepted")));
    }
    let unknown = SECTIONS.iter().filter(|section| !tables.iter().any(|(table, _)| *table == section.table));
    found.extend(unknown.map(|section| format!("{} is no table", section.table)));
    found
}
