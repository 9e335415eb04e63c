//! dpkg's status file (dpkg(1), deb-control(5)): paragraphs of `Key: value` lines, one for each package.

use firstline_model::order;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// Longer lines (descriptions may be long) are cut here.
const LINE_LIMIT: u64 = 8192;
/// More packages than this are not taken.
const MAX_PACKAGES: usize = 15_000;

#[derive(Default)]
struct Paragraph {
    package: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    installed: bool,
}

/// Installed packages with their versions. A package of several architectures stands under its name once, and under
/// `name:architecture` for each further one, in alphabetical order of architectures.
pub fn dpkg_status(mut status: impl BufRead) -> io::Result<BTreeMap<String, String>> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut paragraph = Paragraph::default();
    let mut line = Vec::new();
    loop {
        let read = bounded_line(&mut status, &mut line)?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            let Paragraph { package, version, architecture, installed } = std::mem::take(&mut paragraph);
            if let (Some(package), Some(version), true) =
                (package, version, installed && found.len() < MAX_PACKAGES)
            {
                found.push((package, architecture.unwrap_or_default(), version));
            }
        } else if let Some((key, value)) = text.split_once(':') {
            let value = value.trim();
            match key {
                "Package" => paragraph.package = Some(value.to_owned()),
                "Version" => paragraph.version = Some(value.to_owned()),
                "Architecture" => paragraph.architecture = Some(value.to_owned()),
                "Status" => paragraph.installed = value.ends_with(" installed"),
                _ => {}
            }
        }
        if !read {
            break;
        }
    }
    order::sort_by(&mut found, Ord::cmp);
    let mut packages = BTreeMap::new();
    for (package, architecture, version) in found {
        let name =
            if packages.contains_key(&package) { format!("{package}:{architecture}") } else { package };
        packages.insert(name, version);
    }
    Ok(packages)
}

/// Reads one line, keeping its first part; false at the end of the file.
fn bounded_line(status: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = status.by_ref().take(LINE_LIMIT).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(false);
    }
    if line.last() != Some(&b'\n') {
        status.skip_until(b'\n')?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(text: &[u8]) -> Vec<(String, String)> {
        dpkg_status(text).unwrap().into_iter().collect()
    }

    fn pair(name: &str, version: &str) -> (String, String) {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn only_installed_packages_are_listed_in_order() {
        let text = b"Package: zsh\nStatus: install ok installed\nVersion: 5.9-4\nDescription: shell\n a: b\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: apt\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.6.1\n";
        assert_eq!(packages(text), [pair("apt", "2.6.1"), pair("zsh", "5.9-4")]);
    }

    #[test]
    fn a_second_architecture_gets_its_own_name() {
        let text = b"Package: libc6\nArchitecture: i386\nStatus: install ok installed\nVersion: 2\n\nPackage: libc6\nArchitecture: amd64\nStatus: install ok installed\nVersion: 1\n";
        assert_eq!(packages(text), [pair("libc6", "1"), pair("libc6:i386", "2")]);
    }

    #[test]
    fn huge_lines_and_bytes_that_are_no_text_cost_their_paragraph_only() {
        let mut text = b"Package: ".to_vec();
        text.extend(vec![b'x'; 1_000_000]);
        text.extend(b"\nStatus: install ok installed\n\nPackage: a\xff\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 2");
        assert_eq!(packages(&text), [pair("a\u{fffd}", "1"), pair("b", "2")]);
    }
}
