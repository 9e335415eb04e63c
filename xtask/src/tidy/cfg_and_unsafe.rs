//! Operating-system differences and `unsafe` stay in the two crates that touch the machine, so that everything else
//! is compiled, tested and read once for all systems.

use anyhow::Result;

use super::scan::{bracketed, code_only, find_word, line_at};
use super::{Problem, Source, Tree};

/// Folders whose code may ask which system it runs on.
const MAY_ASK_FOR_THE_SYSTEM: &[&str] = &["agent/probes/", "agent/platform/", "xtask/", "tests/"];
/// Folders whose OS files may be unsafe.
const MAY_BE_UNSAFE: &[&str] = &["agent/probes/", "agent/platform/"];
const SYSTEMS: &[&str] = &["linux", "macos", "windows", "unix"];
const PREDICATES: &[&str] = &["target_os", "target_family", "windows", "unix"];
/// How far above an unsafe block its SAFETY comment may begin.
const SAFETY_REACH: usize = 8;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    Ok(tree.written_rust().flat_map(check_source).collect())
}

fn check_source(source: &Source) -> Vec<Problem> {
    let code = code_only(&source.text);
    let mut problems = Vec::new();
    if !stands_in(&source.path, MAY_ASK_FOR_THE_SYSTEM) {
        for (offset, predicate) in system_cfgs(&code) {
            problems.push(Problem::new(
                &source.path,
                line_at(&code, offset),
                format!("cfg({predicate}) outside agent/probes and agent/platform"),
                "move the difference behind a function of agent-platform that has a default on every system",
            ));
        }
    }
    problems.extend(check_unsafe(source, &code));
    problems
}

fn stands_in(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn system_cfgs(code: &str) -> Vec<(usize, &'static str)> {
    ["cfg", "cfg_attr"]
        .iter()
        .flat_map(|word| find_word(code, word).into_iter().map(|at| (at, at + word.len())))
        .filter_map(|(at, after)| {
            let condition = bracketed(code, after)?;
            let predicate = PREDICATES.iter().find(|word| !find_word(condition, word).is_empty())?;
            Some((at, *predicate))
        })
        .collect()
}

fn is_os_file(path: &str) -> bool {
    path.split(['/', '.', '_']).any(|part| SYSTEMS.contains(&part))
}

fn check_unsafe(source: &Source, code: &str) -> Vec<Problem> {
    let found = find_word(code, "unsafe");
    let Some(first) = found.first() else { return Vec::new() };
    let problem =
        |offset, what: &str, remedy: &str| Problem::new(&source.path, line_at(code, offset), what, remedy);
    if !stands_in(&source.path, MAY_BE_UNSAFE) || !is_os_file(&source.path) {
        return vec![problem(
            *first,
            "unsafe outside the OS files of agent/probes and agent/platform",
            "use a safe call, or move it to a file named after its system",
        )];
    }
    let mut problems = Vec::new();
    if !code.contains("expect(unsafe_code") && !code.contains("expect(\n    unsafe_code") {
        problems.push(problem(
            *first,
            "unsafe without a declaration for the file",
            "begin the file with #![expect(unsafe_code, reason = \"...\")]",
        ));
    }
    let lines: Vec<&str> = source.text.lines().collect();
    for offset in found {
        let line = line_at(code, offset);
        let after = code[offset + "unsafe".len()..].trim_start();
        // `unsafe fn` and `unsafe extern` state a contract for callers; blocks and impls must prove theirs.
        if !after.starts_with('{') && !after.starts_with("impl") {
            continue;
        }
        let above = line.saturating_sub(SAFETY_REACH + 1);
        if !lines[above..line.min(lines.len())].iter().any(|text| text.contains("SAFETY:")) {
            problems.push(problem(
                offset,
                "unsafe without a proof",
                "say in a // SAFETY: comment right above why this is sound",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        check_source(&Source { path: path.to_owned(), text: text.to_owned() })
            .into_iter()
            .map(|problem| format!("{}: {}", problem.line, problem.what))
            .collect()
    }

    #[test]
    fn system_cfg_is_refused_outside_the_machine_crates() {
        for text in [
            "#[cfg(target_os = \"linux\")]",
            "#[cfg(any(test, windows))]",
            "#[cfg_attr(unix, path = \"x.rs\")]",
            "if cfg!(target_family = \"unix\") {}",
        ] {
            assert_eq!(problems("agent/src/run.rs", text).len(), 1, "{text}");
            assert!(problems("agent/platform/src/dirs.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn other_cfgs_and_mere_mentions_are_fine() {
        for text in
            ["#[cfg(test)]", "// #[cfg(unix)]", "let s = \"cfg(windows)\";", "windows(2)", "cfg(feature)"]
        {
            assert!(problems("collector/src/run.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn unsafe_is_refused_outside_os_files() {
        let text = "#![expect(unsafe_code, reason = \"x\")]\n// SAFETY: x\nunsafe { f() }";
        assert_eq!(problems("collector/store/src/row.rs", text).len(), 1);
        assert_eq!(problems("agent/probes/src/disk.rs", text).len(), 1);
        assert!(problems("agent/probes/src/disk/linux.rs", text).is_empty());
        assert!(problems("agent/probes/src/disk/windows/ioctl.rs", text).is_empty());
    }

    #[test]
    fn every_unsafe_block_has_a_proof_and_the_file_a_declaration() {
        let found = problems("agent/platform/src/power/linux.rs", "//! Why.\nunsafe { f() }");
        assert_eq!(found, ["2: unsafe without a declaration for the file", "2: unsafe without a proof"]);
    }
}
