//! Registries are plain lists in one file. That a new file also stands in its list is checked here, not remembered.

use anyhow::Result;

use super::scan::{bracketed, code_only, find_word, line_at};
use super::{Problem, Source, Tree};

const PROBES: &str = "agent/probes/src/";
const KNOWLEDGE: &str = "collector/core/knowledge/";

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = check_probes(tree);
    problems.extend(tree.sources.iter().filter_map(check_knowledge_id));
    Ok(problems)
}

/// Every file of agent/probes/src that implements `Probe` is named in the list `PROBES`.
fn check_probes(tree: &Tree) -> Vec<Problem> {
    let files: Vec<(&Source, String)> = tree
        .written_rust()
        .filter(|source| source.path.starts_with(PROBES))
        .map(|source| (source, before_tests(&code_only(&source.text)).to_owned()))
        .collect();
    let listed: Option<String> = files.iter().find_map(|(_, code)| probe_list(code));
    files
        .iter()
        .filter_map(|(source, code)| {
            let name = source.path.strip_prefix(PROBES)?.strip_suffix(".rs")?;
            if name.contains('/') || name == "lib" {
                return None;
            }
            let offset = implements_probe(code)?;
            let is_listed = listed.as_ref().is_some_and(|list| !find_word(list, name).is_empty());
            (!is_listed).then(|| {
                Problem::new(
                    &source.path,
                    line_at(code, offset),
                    format!("the probe {name} is not in PROBES"),
                    format!("add an entry that makes {name}::... to the list in {PROBES}lib.rs"),
                )
            })
        })
        .collect()
}

/// Test code may hold fake probes.
fn before_tests(code: &str) -> &str {
    code.find("#[cfg(test)]").map_or(code, |at| &code[..at])
}

/// What stands in the brackets of `PROBES: ... = &[ ... ]`.
fn probe_list(code: &str) -> Option<String> {
    find_word(code, "PROBES").into_iter().find_map(|at| {
        let rest = &code[at + "PROBES".len()..];
        let value = rest.strip_prefix(':')?.split_once('=')?.1.trim_start().trim_start_matches('&');
        bracketed(value, 0).map(str::to_owned)
    })
}

fn implements_probe(code: &str) -> Option<usize> {
    find_word(code, "impl").into_iter().find(|at| {
        let header = code[*at..].split('{').next().unwrap_or_default();
        header.split_once(" for ").is_some_and(|(implemented, _)| {
            implemented.rsplit([' ', ':', '>']).next().is_some_and(|name| name == "Probe")
        })
    })
}

fn check_knowledge_id(source: &Source) -> Option<Problem> {
    let name = source.path.strip_prefix(KNOWLEDGE)?.strip_suffix(".toml")?;
    let stem = name.rsplit('/').next().unwrap_or(name);
    let line = source.text.lines().position(|line| line.trim_start().starts_with("id")).map_or(0, |n| n + 1);
    let (what, remedy) = match source.text.parse::<toml::Table>() {
        Err(error) => (format!("not valid TOML: {}", error.message()), "mend the file".to_owned()),
        Ok(entry) => match entry.get("id").and_then(toml::Value::as_str) {
            Some(id) if id == stem => return None,
            Some(id) => {
                (format!("the entry's id is {id}"), format!("name the file {id}.toml, or mend the id"))
            }
            None => ("the entry has no id".to_owned(), format!("begin it with id = \"{stem}\"")),
        },
    };
    Some(Problem::new(&source.path, line, what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: (&str, &str) = (
        "agent/probes/src/lib.rs",
        "pub mod fan;\npub static PROBES: &[ProbeEntry] = &[\n    ProbeEntry { name: \"cpu\", new: || Box::new(cpu::Cpu) },\n    // fan::Fan\n];",
    );

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).unwrap().into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn probe_outside_the_list_is_found() {
        let fan = ("agent/probes/src/fan.rs", "impl crate::Probe for Fan {}");
        assert_eq!(found(&[LIB, fan]), ["the probe fan is not in PROBES"]);
        assert_eq!(found(&[fan]), ["the probe fan is not in PROBES"]);
    }

    #[test]
    fn listed_probes_fakes_and_other_files_pass() {
        assert!(
            found(&[
                LIB,
                ("agent/probes/src/cpu.rs", "impl Probe for Cpu {}"),
                ("agent/probes/src/sink.rs", "impl Sink for Vec<u8> {}\nimpl ProbeError {}"),
                ("agent/probes/src/run.rs", "fn x() {}\n#[cfg(test)]\nmod tests { impl Probe for Fake {} }"),
                ("agent/probes/src/disk/linux.rs", "impl Probe for Part {}"),
            ])
            .is_empty()
        );
    }

    #[test]
    fn knowledge_entry_is_named_by_its_id() {
        for (path, text, n_problems) in [
            ("collector/core/knowledge/fs.space.toml", "id = \"fs.space\"", 0),
            ("collector/core/knowledge/fs.space.toml", "id = \"fs.inodes\"", 1),
            ("collector/core/knowledge/fs.space.toml", "title = \"x\"", 1),
            ("collector/core/knowledge/fs.space.toml", "id = ", 1),
            ("collector/other/fs.space.toml", "id = ", 0),
        ] {
            assert_eq!(found(&[(path, text)]).len(), n_problems, "{path} {text}");
        }
    }
}
