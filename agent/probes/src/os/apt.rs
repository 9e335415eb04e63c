//! Security updates that wait on Debian and its descendants: what apt's lists of the security archive offer, compared with
//! what dpkg has installed. Only these lists are read (some MiB); those of the whole distribution would cost a hundred times
//! as much. Nothing is refreshed and nothing started. What a preference (pinning) holds back is counted all the same; what
//! dpkg holds is not.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// Longer lines are no name or version.
const LINE_LIMIT: u64 = 4096;
/// More than this of one file is not read.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// More packages than this are not followed.
const MAX_PACKAGES: usize = 20_000;

/// Whether a file of `/var/lib/apt/lists` lists the packages of a security archive.
pub fn is_security_list(name: &str) -> bool {
    let of_security =
        ["-security_", "_debian-security_", "security.debian.org_"].iter().any(|mark| name.contains(mark));
    of_security && name.contains("_binary-") && name.ends_with("_Packages")
}

/// Whether it would be one, were it not compressed.
pub fn is_compressed_list(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(name, _)| is_security_list(name))
}

/// What dpkg has installed, by name.
#[derive(Debug, Default)]
pub struct Installed(HashMap<String, Vec<Package>>);

#[derive(Debug)]
struct Package {
    architecture: String,
    version: String,
    is_behind: bool,
}

impl Installed {
    /// Reads dpkg's status file.
    pub fn read(status: impl BufRead) -> io::Result<Self> {
        let mut installed = Self::default();
        let mut left = MAX_PACKAGES;
        paragraphs(status, |paragraph| {
            if paragraph.status == "install ok installed" && left > 0 {
                left -= 1;
                installed.0.entry(paragraph.package.clone()).or_default().push(Package {
                    architecture: paragraph.architecture.clone(),
                    version: paragraph.version.clone(),
                    is_behind: false,
                });
            }
        })?;
        Ok(installed)
    }

    /// Compares with a list of packages that are offered.
    pub fn compare(&mut self, list: impl BufRead) -> io::Result<()> {
        paragraphs(list, |offered| {
            for package in self.0.get_mut(&offered.package).into_iter().flatten() {
                let fits = package.architecture == offered.architecture
                    || package.architecture == "all"
                    || offered.architecture == "all";
                if fits && version_order(&package.version, &offered.version) == Ordering::Less {
                    package.is_behind = true;
                }
            }
        })
    }

    /// How many packages are older than what is offered.
    pub fn behind(&self) -> u32 {
        let behind = self.0.values().flatten().filter(|package| package.is_behind).count();
        u32::try_from(behind).unwrap_or(u32::MAX)
    }
}

#[derive(Default)]
struct Paragraph {
    package: String,
    version: String,
    architecture: String,
    status: String,
}

/// Gives each paragraph that names a package and its version to `each`.
fn paragraphs(text: impl BufRead, mut each: impl FnMut(&Paragraph)) -> io::Result<()> {
    let mut text = text.take(MAX_FILE_BYTES);
    let mut paragraph = Paragraph::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = text.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)?;
        if read > 0 && line.last() != Some(&b'\n') {
            text.skip_until(b'\n')?;
        }
        let content = line.trim_ascii_end();
        if content.is_empty() {
            if !paragraph.package.is_empty() && !paragraph.version.is_empty() {
                each(&paragraph);
            }
            for field in [
                &mut paragraph.package,
                &mut paragraph.version,
                &mut paragraph.architecture,
                &mut paragraph.status,
            ] {
                field.clear();
            }
        } else if matches!(content[0], b'P' | b'V' | b'A' | b'S') {
            let of = |key: &[u8]| std::str::from_utf8(content.strip_prefix(key)?).ok().map(str::trim);
            for (key, field) in [
                (b"Package:".as_slice(), &mut paragraph.package),
                (b"Version:", &mut paragraph.version),
                (b"Architecture:", &mut paragraph.architecture),
                (b"Status:", &mut paragraph.status),
            ] {
                if let Some(value) = of(key) {
                    field.clear();
                    field.push_str(value);
                }
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Which of two versions is the newer one (deb-version(7)).
pub fn version_order(a: &str, b: &str) -> Ordering {
    let parts = |version: &str| -> (u64, String, String) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream.to_owned(), revision.to_owned())
    };
    let ((epoch_a, upstream_a, revision_a), (epoch_b, upstream_b, revision_b)) = (parts(a), parts(b));
    epoch_a
        .cmp(&epoch_b)
        .then_with(|| part_order(upstream_a.as_bytes(), upstream_b.as_bytes()))
        .then_with(|| part_order(revision_a.as_bytes(), revision_b.as_bytes()))
}

/// Texts and numbers take turns; `~` comes before the end, letters before other characters.
fn part_order(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_digit() => 0,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let is_text = |part: &[u8]| part.first().is_some_and(|byte| !byte.is_ascii_digit());
    while !a.is_empty() || !b.is_empty() {
        while is_text(a) || is_text(b) {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
        }
        let (number_a, rest_a) = number(a);
        let (number_b, rest_b) = number(b);
        let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

/// The digits at the beginning without leading zeros, and the rest.
fn number(part: &[u8]) -> (&[u8], &[u8]) {
    let end = part.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(part.len());
    let (digits, rest) = part.split_at(end);
    let zeros = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_package_manager_does() {
        for (older, newer) in [
            ("1.0", "1.1"),
            ("1.9", "1.10"),
            ("1.0~rc1", "1.0"),
            ("1.0~rc1-1", "1.0~rc2-1"),
            ("1.0", "1.0a"),
            ("1.0a", "1.0+b"),
            ("2.36-9+deb12u9", "2.36-9+deb12u13"),
            ("9", "1:0.1"),
            ("5.10.0-1", "5.10.0-1.1"),
            ("1.0-1~bpo1", "1.0-1"),
            ("3.0.17-1~deb12u2", "3.0.18-1~deb12u1"),
        ] {
            assert_eq!(version_order(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(version_order(newer, older), Ordering::Greater, "{older} {newer}");
        }
        for same in [("1.0", "0:1.0"), ("01.0", "1.00"), ("", ""), ("1-0", "1")] {
            assert_eq!(version_order(same.0, same.1), Ordering::Equal, "{same:?}");
        }
    }

    const STATUS: &[u8] = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u9\nDescription: x\n Package: no\n\nPackage: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2.36-9+deb12u13\n\nPackage: held\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\nPackage: tzdata\nStatus: install ok installed\nArchitecture: all\nVersion: 2025b-0+deb12u2\n";

    #[test]
    fn only_what_is_installed_and_older_waits() {
        let list = b"Package: libc6\nArchitecture: amd64\nVersion: 2.36-9+deb12u10\n\nPackage: libc6\nArchitecture: i386\nVersion: 2.36-9+deb12u10\n\nPackage: held\nArchitecture: amd64\nVersion: 2\n\nPackage: gone\nArchitecture: amd64\nVersion: 2\n\nPackage: tzdata\nArchitecture: all\nVersion: 2025b-0+deb12u1\n\nPackage: absent\nArchitecture: all\nVersion: 9\n";
        let mut installed = Installed::read(STATUS).unwrap();
        installed.compare(list.as_slice()).unwrap();
        assert_eq!(installed.behind(), 1);
        // An older version in the list, seen later, takes nothing back, and one package counts once.
        installed.compare(b"Package: libc6\nArchitecture: amd64\nVersion: 9\n".as_slice()).unwrap();
        assert_eq!(installed.behind(), 1);
    }

    #[test]
    fn lists_of_the_security_archives_are_known_by_their_names() {
        for name in [
            "deb.debian.org_debian-security_dists_bookworm-security_main_binary-amd64_Packages",
            "security.ubuntu.com_ubuntu_dists_noble-security_universe_binary-amd64_Packages",
            "security.debian.org_dists_buster_updates_main_binary-amd64_Packages",
        ] {
            assert!(is_security_list(name), "{name}");
            assert!(is_compressed_list(&format!("{name}.lz4")), "{name}");
        }
        for name in [
            "deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages",
            "deb.debian.org_debian-security_dists_bookworm-security_InRelease",
            "deb.debian.org_debian-security_dists_bookworm-security_main_dep11_Components-amd64.yml.gz",
        ] {
            assert!(!is_security_list(name) && !is_compressed_list(name), "{name}");
        }
    }

    #[test]
    fn endless_lines_and_bytes_that_are_no_text_are_passed_over() {
        let mut list = b"Package: ".to_vec();
        list.extend(vec![b'x'; 1 << 20]);
        list.extend(
            b"\nVersion: 9\n\nPackage: \xff\nVersion: 9\n\nPackage: tzdata\nArchitecture: all\nVersion: 9999",
        );
        let mut installed = Installed::read(STATUS).unwrap();
        installed.compare(list.as_slice()).unwrap();
        assert_eq!(installed.behind(), 1);
    }
}
