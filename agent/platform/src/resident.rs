//! How much memory this process occupies between its moments of work.
//!
//! Most of what a program occupies is its own code, and most of that is needed once: to start, to read settings, to shake
//! hands. Linux leaves it mapped until memory is short everywhere; a program that is there for others to work beside gives it
//! back by itself. What is needed again is found in the system's file cache and costs a page fault.

#[cfg(target_os = "linux")]
#[path = "resident/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "resident/other.rs"]
mod imp;

/// Has the allocator keep one pool of memory for all threads, where it is one that can be told. With a pool for each, what the
/// probes' threads free stays theirs. To be called before there are threads.
pub fn be_small() {
    imp::be_small();
}

/// Gives back what has not been changed since it was read from the program's file and the C library's. Does nothing where the
/// system does not tell what that is.
pub fn give_back() {
    imp::give_back();
}

/// Begin and length of the mappings in the text of `/proc/PID/smaps` that are of `program` or the C library, cannot be
/// written to, and hold no page of their own. Data that the loader relocated and then closed to writing does hold such pages,
/// and giving those back would lose what the loader wrote.
#[cfg_attr(
    not(any(target_os = "linux", test)),
    expect(dead_code, reason = "tested everywhere, used on Linux")
)]
fn unchanged(smaps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some((range, length)) = header(line, program) {
            candidate = length.map(|length| (range, length));
        } else if let Some(own) = line.strip_prefix("Anonymous:") {
            // Kernels without this line are old; then nothing is given back.
            let is_unchanged = own.trim() == "0 kB";
            found.extend(candidate.take().filter(|_| is_unchanged));
        }
    }
    found
}

/// Where a mapping begins, when the line is a mapping's first one, and its length if it comes into question.
fn header(line: &str, program: &str) -> Option<(usize, Option<usize>)> {
    let mut words = line.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let (begin, end) = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let permissions = words.next()?;
    // Offset, device, inode; the rest is the file's name, which may hold spaces.
    let mut rest = line;
    for _ in 0..5 {
        rest = rest.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
    }
    let file = rest.trim_start();
    let is_ours = file == program || (file.starts_with('/') && file.ends_with("/libc.so.6"));
    let is_code = matches!(permissions, "r-xp" | "r--p");
    Some((begin, end.checked_sub(begin).filter(|_| is_ours && is_code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55a0000000-55a0001000 r--p 00000000 fe:00 17   /opt/the agent
Size:                  4 kB
Anonymous:             0 kB
VmFlags: rd mr
55a0001000-55a0003000 r-xp 00001000 fe:00 17   /opt/the agent
Anonymous:             0 kB
55a0003000-55a0004000 r--p 00003000 fe:00 17   /opt/the agent
Anonymous:             4 kB
55a0004000-55a0005000 rw-p 00004000 fe:00 17   /opt/the agent
Anonymous:             0 kB
7f00000000-7f00001000 r-xp 00000000 fe:00 18   /usr/lib/x86_64-linux-gnu/libc.so.6
Anonymous:             0 kB
7f10000000-7f10001000 r-xp 00000000 fe:00 19   /usr/lib/other.so
Anonymous:             0 kB
7f20000000-7f20001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffd000000-7ffd001000 r-xp 00000000 00:00 0    [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_unchanged_code_of_the_program_and_the_c_library_is_given_back() {
        let expected =
            [(0x55_a000_0000, 0x1000), (0x55_a000_1000, 0x2000), (0x7f_0000_0000, 0x1000)].to_vec();
        assert_eq!(unchanged(SMAPS, "/opt/the agent"), expected);
        assert_eq!(unchanged("55a0000000-55a0001000 r-xp 0 fe:00 17 /opt/the agent\n", "/opt/the agent"), []);
        assert_eq!(unchanged("nonsense\nAnonymous: 0 kB\n", "/opt/the agent"), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_goes_on_after_it_gave_back_its_code() {
        static TABLE: &[&str] = &["what", "the", "loader", "relocated"];
        be_small();
        let before = crate::usage::resident().unwrap();
        give_back();
        assert_eq!(TABLE.concat(), "whattheloaderrelocated");
        let text: Vec<String> = (0..1000).map(|n| format!("{n}")).collect();
        assert_eq!(text.len(), 1000);
        assert!(crate::usage::resident().unwrap() < before + (1 << 20));
    }
}
