//! The set of entries that is in force: the built-in pack, the administrators' files over it, judged as a whole.
//!
//! A set is either right in every file or not taken at all, so that a half-written change never runs.

use super::examples;
use super::pack;
use super::parse::{Document, Override, Parsed, parse};
use super::problem::{Place, Problem, Problems, advice};
use firstline_collector_core::knowledge::{KnowledgeEntry, KnowledgeSet, Scope, ScopedOverride};
use firstline_model::RuleCode;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

/// A file of the administrators' folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its name without the folder.
    pub(crate) file: String,
    /// Its text, or why it could not be read.
    pub(crate) text: Result<String, String>,
}

impl Source {
    /// Whether this file holds the entry `code` (and not only changes to it).
    pub(crate) fn is_entry_of(&self, code: &RuleCode) -> bool {
        let text = self.text.as_deref().unwrap_or_default();
        subject(&self.file, text).is_ok_and(|(of, is_entry)| is_entry && of == *code)
    }
}

/// A set together with where each entry came from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What the engine evaluates.
    pub(crate) set: Arc<KnowledgeSet>,
    /// Where each entry stands.
    pub(crate) origins: BTreeMap<RuleCode, Origin>,
    /// How many override files are applied.
    pub(crate) overrides: usize,
    /// The administrators' files in it.
    pub(crate) sources: Arc<Vec<Source>>,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The file's name.
    pub(crate) file: String,
    /// Whether it belongs to the built-in pack.
    pub(crate) built_in: bool,
    /// The files that change it.
    pub(crate) overridden_by: Vec<String>,
}

/// How one worked example went.
#[derive(Debug, Clone)]
pub(crate) struct ExampleRun {
    /// The entry.
    pub(crate) code: RuleCode,
    /// The example's name.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) place: Place,
    /// What differs from what is expected; `None` when it holds.
    pub(crate) failure: Option<String>,
}

/// What came of judging all files.
pub(crate) struct Judged {
    /// The set, when nothing is wrong.
    pub(crate) loaded: Option<Loaded>,
    /// What is wrong, in order of file and line.
    pub(crate) problems: Vec<Problem>,
    /// Every worked example that could be run.
    pub(crate) examples: Vec<ExampleRun>,
}

/// More files than this are a mistake, such as a folder of something else.
const MAX_FILES: usize = 2_000;
/// Scopes that overlap are combined; more combinations than this cannot be understood by anybody.
const MAX_SCOPED: usize = 256;

/// Reads the administrators' files in order of name. A folder that does not exist has none.
pub(crate) fn sources(folder: &Path) -> io::Result<Vec<Source>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_knowledge_file(&name) {
            names.insert(name);
        }
    }
    let read = |file: String| {
        let text = fs::read_to_string(folder.join(&file)).map_err(|error| error.to_string());
        Source { file, text }
    };
    Ok(names.into_iter().take(MAX_FILES).map(read).collect())
}

/// Editors leave hidden and backup files beside the real ones.
pub(crate) fn is_knowledge_file(name: &str) -> bool {
    name.ends_with(".toml") && !name.starts_with('.')
}

/// Judges the built-in pack with the administrators' files over it.
pub(crate) fn judge(added: &[Source]) -> Judged {
    judge_over(pack::FILES, added)
}

/// The same for a set that is to run. The pack's own examples held when the program was built, and running hundreds of
/// them would delay every start; those of the administrators' entries and of what an override changes are run.
pub(crate) fn judge_to_run(added: &[Source]) -> Judged {
    judge_entries(pack::FILES, added, |origin| !origin.built_in)
}

/// Judges one file alone, without the pack: what is wrong with it, in words.
pub(crate) fn judge_alone(file: &str, text: &str) -> Vec<String> {
    let source = Source { file: file.to_owned(), text: Ok(text.to_owned()) };
    judge_over(&[], &[source]).problems.iter().map(ToString::to_string).collect()
}

/// Which entry a file is about, and whether it holds the entry itself; else it changes one.
pub(crate) fn subject(file: &str, text: &str) -> Result<(RuleCode, bool), Vec<Problem>> {
    let mut problems = Problems::default();
    match parse(file, text, &mut problems) {
        Some(Document::Entry(parsed)) => Ok((parsed.entry.code, true)),
        Some(Document::Override(found)) => Ok((found.code, false)),
        None => Err(problems.into_sorted()),
    }
}

/// The built-in set, with the files of `folder` over it. The error names every problem, for a person.
pub(crate) fn rules(folder: Option<&Path>) -> Result<Arc<KnowledgeSet>, String> {
    let added = match folder {
        None => Vec::new(),
        Some(folder) if !folder.is_dir() => {
            return Err(format!(
                "{} is not a folder; name the folder that holds your .toml files",
                folder.display()
            ));
        }
        Some(folder) => {
            sources(folder).map_err(|error| format!("{} cannot be read: {error}", folder.display()))?
        }
    };
    let Judged { loaded, problems, .. } = judge(&added);
    loaded.map(|loaded| loaded.set).ok_or_else(|| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        format!("the rules are refused as a whole:\n{}", lines.join("\n"))
    })
}

/// The same over another pack; pure.
pub(crate) fn judge_over(pack: &[(&str, &str)], added: &[Source]) -> Judged {
    judge_entries(pack, added, |_| true)
}

fn judge_entries(pack: &[(&str, &str)], added: &[Source], is_run: impl Fn(&Origin) -> bool) -> Judged {
    let mut problems = Problems::default();
    let (mut entries, overrides) = read_all(pack, added, &mut problems);
    let mut runs = Vec::new();
    for (parsed, _) in entries.values().filter(|(_, origin)| is_run(origin)) {
        for (example, place) in parsed.entry.examples.iter().zip(&parsed.example_places) {
            runs.push(run(&parsed.entry, example, place));
        }
    }
    let scoped = apply_overrides(&mut entries, &overrides, &mut runs, &mut problems);
    for run in &runs {
        if let Some(failure) = &run.failure {
            let what = format!("the worked example {:?} of {} fails: {failure}", run.name, run.code);
            problems.add(&run.place, what, "correct the detection or the example");
        }
    }
    check_dependencies(&entries, &mut problems);
    let problems = problems.into_sorted();
    let loaded = problems.is_empty().then(|| Loaded {
        origins: entries.iter().map(|(code, (_, origin))| (code.clone(), origin.clone())).collect(),
        set: Arc::new(KnowledgeSet::new(entries.into_values().map(|(parsed, _)| parsed.entry), scoped)),
        overrides: overrides.len(),
        sources: Arc::new(added.to_vec()),
    });
    Judged { loaded, problems, examples: runs }
}

type Entries = BTreeMap<RuleCode, (Parsed, Origin)>;

fn read_all(pack: &[(&str, &str)], added: &[Source], problems: &mut Problems) -> (Entries, Vec<Override>) {
    let mut entries = Entries::new();
    let mut overrides = Vec::new();
    for (file, text) in pack {
        match parse(file, text, problems) {
            Some(Document::Entry(parsed)) => enter(&mut entries, file, true, *parsed, problems),
            Some(Document::Override(found)) => {
                problems.add(&found.place, "the built-in pack holds an override", "change the entry itself");
            }
            None => {}
        }
    }
    for source in added {
        let text = match &source.text {
            Ok(text) => text,
            Err(why) => {
                let place = Place { file: Arc::from(source.file.as_str()), line: 0 };
                problems.add(
                    &place,
                    format!("the file cannot be read: {why}"),
                    "it must be readable UTF-8 text",
                );
                continue;
            }
        };
        match parse(&source.file, text, problems) {
            Some(Document::Entry(parsed)) => enter(&mut entries, &source.file, false, *parsed, problems),
            Some(Document::Override(found)) => overrides.push(*found),
            None => {}
        }
    }
    (entries, overrides)
}

/// Enters an entry; a file of the administrators replaces a built-in one, but two of a kind are a mistake.
fn enter(entries: &mut Entries, file: &str, built_in: bool, parsed: Parsed, problems: &mut Problems) {
    let code = parsed.entry.code.clone();
    if let Some((_, earlier)) = entries.get(&code)
        && earlier.built_in == built_in
    {
        let what = format!("{code} already stands in {}", earlier.file);
        problems.add(&parsed.place, what, "keep one of the two, or write an override");
        return;
    }
    let origin = Origin { file: file.to_owned(), built_in, overridden_by: Vec::new() };
    entries.insert(code, (parsed, origin));
}

/// Applies the overrides in order of file name: first those for everybody, then the scoped ones over the result.
fn apply_overrides(
    entries: &mut Entries,
    overrides: &[Override],
    runs: &mut Vec<ExampleRun>,
    problems: &mut Problems,
) -> Vec<ScopedOverride> {
    let codes: Vec<String> = entries.keys().map(|code| code.as_str().to_owned()).collect();
    let mut scoped: Vec<(Scope, Parsed)> = Vec::new();
    let (everybody, some): (Vec<_>, Vec<_>) = overrides.iter().partition(|change| change.scope.is_none());
    for change in everybody.into_iter().chain(some) {
        let Some((parsed, origin)) = entries.get_mut(&change.code) else {
            let what = format!("there is no entry {} to override", change.code);
            problems.add(&change.place, what, advice(change.code.as_str(), codes.iter().map(String::as_str)));
            continue;
        };
        let Some(changed) = change.apply(parsed, problems) else { continue };
        origin.overridden_by.push(change.place.file.to_string());
        for (place, example) in &change.examples {
            runs.push(run(&changed.entry, example, place));
        }
        match &change.scope {
            None => *parsed = changed,
            Some(scope) => add_scoped(&mut scoped, scope, change, changed, problems),
        }
    }
    scoped.into_iter().map(|(scope, parsed)| ScopedOverride { scope, entry: parsed.entry }).collect()
}

/// The last matching scope wins as a whole, so where an earlier scope overlaps, both changes together get a scope
/// of their own behind them.
fn add_scoped(
    scoped: &mut Vec<(Scope, Parsed)>,
    scope: &Scope,
    change: &Override,
    changed: Parsed,
    problems: &mut Problems,
) {
    let mut added = vec![(scope.clone(), changed)];
    for (earlier, parsed) in scoped.iter().filter(|(_, parsed)| parsed.entry.code == change.code) {
        if let Some(both) = overlap(earlier, scope)
            && both != *scope
            && let Some(changed) = change.apply(parsed, problems)
        {
            added.push((both, changed));
        }
    }
    if scoped.len() + added.len() > MAX_SCOPED {
        let what = format!("the scopes of the overrides of {} overlap in too many ways", change.code);
        problems.add(&change.place, what, "use fewer scopes");
        return;
    }
    scoped.extend(added);
}

/// The scope of the devices that are in both; `None` when there are none, or when it cannot be said (two tags).
fn overlap(one: &Scope, other: &Scope) -> Option<Scope> {
    fn both<T: Clone + PartialEq>(one: Option<&T>, other: Option<&T>) -> Option<Option<T>> {
        match (one, other) {
            (Some(a), Some(b)) if a != b => None,
            (a, b) => Some(a.or(b).cloned()),
        }
    }
    Some(Scope {
        site: both(one.site.as_ref(), other.site.as_ref())?,
        tag: both(one.tag.as_ref(), other.tag.as_ref())?,
        device_class: both(one.device_class.as_ref(), other.device_class.as_ref())?,
        device: both(one.device.as_ref(), other.device.as_ref())?,
    })
}

fn run(
    entry: &KnowledgeEntry,
    example: &firstline_collector_core::knowledge::Example,
    place: &Place,
) -> ExampleRun {
    ExampleRun {
        code: entry.code.clone(),
        name: example.name.clone(),
        place: place.clone(),
        failure: examples::failure(entry, example),
    }
}

/// Every rule that hides another exists, and no rule hides itself, not even through others.
fn check_dependencies(entries: &Entries, problems: &mut Problems) {
    let codes: Vec<&str> = entries.keys().map(RuleCode::as_str).collect();
    for (code, (parsed, _)) in entries {
        for (rule, place) in &parsed.dependencies {
            if !entries.contains_key(rule) {
                let what = format!("{code} depends on {rule}, which does not exist");
                problems.add(place, what, advice(rule.as_str(), codes.iter().copied()));
            } else if reaches(entries, rule, code) {
                let what = format!("{code} depends on {rule}, which depends on {code}");
                problems.add(place, what, "a cause hides its effects, never the other way round as well");
            }
        }
    }
}

fn reaches(entries: &Entries, from: &RuleCode, to: &RuleCode) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(code) = open.pop() {
        if code == to {
            return true;
        }
        if seen.insert(code)
            && let Some((parsed, _)) = entries.get(code)
        {
            open.extend(parsed.entry.detection.depends_on.iter().map(|dependency| &dependency.rule));
        }
    }
    false
}
