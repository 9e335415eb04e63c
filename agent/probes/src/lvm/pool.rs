//! What the kernel says of a thin pool (`admin-guide/device-mapper/thin-provisioning`): its answer to `DM_TABLE_STATUS` as
//! bytes, the same as `dmsetup status` prints it, and the line of a pool.

/// The kind of target that a thin pool is.
pub const KIND: &str = "thin-pool";
/// `struct dm_ioctl`, which every call begins with.
pub const HEADER_BYTES: usize = 312;
/// `struct dm_target_spec` without the text behind it.
const SPEC_BYTES: usize = 40;
/// More targets of one device than this are not read.
const MAX_TARGETS: usize = 256;
/// A line of a target's state is far shorter.
const MAX_LINE_BYTES: usize = 512;

/// One target of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `thin-pool`, `linear`, `crypt` ...
    pub kind: String,
    /// What it says of itself.
    pub status: String,
}

/// How a pool is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pool {
    /// Share of its data blocks that is used.
    pub data: f64,
    /// Share of its metadata blocks that is used.
    pub metadata: f64,
    /// Whether it can be written to.
    pub state: State,
}

/// Whether a pool can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    Writable,
    /// It has to be checked before it is writable again.
    NeedsCheck,
    /// Its metadata can no more be changed.
    ReadOnly,
    /// There is no block left.
    OutOfSpace,
    /// It does not work at all.
    Failed,
}

impl State {
    /// The state as documents have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writable => "writable",
            Self::NeedsCheck => "needs_check",
            Self::ReadOnly => "read_only",
            Self::OutOfSpace => "out_of_space",
            Self::Failed => "failed",
        }
    }
}

/// Whether a device with this UUID may be a pool: of LVM's only those that it names so, and none of those that other
/// programs make for encryption, several paths or partitions.
pub fn may_be_one(uuid: &str) -> bool {
    if uuid.starts_with("LVM-") {
        return uuid.ends_with("-tpool");
    }
    !["CRYPT-", "mpath-", "part", "DMRAID-"].iter().any(|prefix| uuid.starts_with(prefix))
}

/// `vg0/pool` of LVM's `vg0-pool-tpool`, in which a hyphen of a name is written twice. Other names stay as they are.
pub fn readable(name: &str) -> String {
    let Some(name) = name.strip_suffix("-tpool") else { return name.to_owned() };
    let mut readable = String::with_capacity(name.len());
    let mut rest = name.chars().peekable();
    let mut in_group = true;
    while let Some(char) = rest.next() {
        if char == '-' && rest.next_if_eq(&'-').is_none() && in_group {
            in_group = false;
            readable.push('/');
        } else {
            readable.push(char);
        }
    }
    readable
}

/// Reads the line of a pool: `1 406/4161 100/200 - rw no_discard_passdown queue_if_no_space - 1024`. `None` when it is
/// another one, or [`has_failed`].
pub fn read(status: &str) -> Option<Pool> {
    let mut words = status.split_ascii_whitespace();
    let _transaction: u64 = words.next()?.parse().ok()?;
    let metadata = share(words.next()?)?;
    let data = share(words.next()?)?;
    let _held_root = words.next()?;
    let mode = words.next()?;
    let needs_check = words.any(|word| word == "needs_check");
    let state = match mode {
        "out_of_data_space" => State::OutOfSpace,
        "ro" => State::ReadOnly,
        "rw" if needs_check => State::NeedsCheck,
        "rw" => State::Writable,
        _ => return None,
    };
    Some(Pool { data, metadata, state })
}

/// Whether this is what the kernel says of a pool that does not work any more.
pub fn has_failed(status: &str) -> bool {
    matches!(status.trim(), "Fail" | "Error")
}

fn share(used_of_all: &str) -> Option<f64> {
    let (used, all) = used_of_all.split_once('/')?;
    let (used, all): (u64, u64) = (used.parse().ok()?, all.parse().ok()?);
    (all > 0 && used <= all).then(|| used as f64 / all as f64)
}

/// The targets in what `dmsetup status` prints of one device: `0 20480 thin-pool 1 406/4161 ...`.
pub fn listed(text: &str) -> Vec<Target> {
    let target = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (_begin, _length) = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
        Some(Target { kind: words.next()?.to_owned(), status: bounded(words.next().unwrap_or_default()) })
    };
    text.lines().take(MAX_TARGETS).filter_map(target).collect()
}

/// The targets in the kernel's answer. What makes no sense ends the list.
pub fn targets(answer: &[u8]) -> Vec<Target> {
    let number = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?) as usize);
    let (Some(size), Some(begin), Some(count)) = (number(12), number(16), number(20)) else {
        return Vec::new();
    };
    let specs = answer.get(..size.min(answer.len())).and_then(|used| used.get(begin..)).unwrap_or_default();
    let mut found = Vec::new();
    let mut at = 0_usize;
    for _ in 0..count.min(MAX_TARGETS) {
        let Some(spec) = specs.get(at..).filter(|spec| spec.len() > SPEC_BYTES) else { break };
        let (head, text) = spec.split_at(SPEC_BYTES);
        let until_nul = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end.min(MAX_LINE_BYTES)]).into_owned()
        };
        found.push(Target { kind: until_nul(&head[24..]), status: bounded(&until_nul(text)) });
        // The next one is counted from the first.
        let next = u32::from_ne_bytes([head[20], head[21], head[22], head[23]]) as usize;
        if next <= at {
            break;
        }
        at = next;
    }
    found
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_LINE_BYTES)].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_line_tells_both_shares_and_whether_it_can_be_written_to() {
        let line = |mode: &str, check: &str| {
            read(&format!("1 406/4060 150/200 - {mode} no_discard_passdown queue_if_no_space {check} 1024"))
        };
        let pool = |state| Some(Pool { data: 0.75, metadata: 0.1, state });
        assert_eq!(line("rw", "-"), pool(State::Writable));
        assert_eq!(line("rw", "needs_check"), pool(State::NeedsCheck));
        assert_eq!(line("ro", "needs_check"), pool(State::ReadOnly));
        assert_eq!(line("out_of_data_space", "-"), pool(State::OutOfSpace));
        // Older kernels end after the mode.
        assert_eq!(read("0 5/10 1/4 - rw discard_passdown").map(|pool| pool.data), Some(0.25));
        for nonsense in ["", "Fail", "1 1/0 1/2 - rw", "1 3/2 1/2 - rw", "x 1/2 1/2 - rw", "1 1/2 1/2 - no"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert!(has_failed("Fail") && has_failed("Error") && !has_failed("1 1/2 1/2 - rw"));
    }

    #[test]
    fn names_of_lvm_are_read_as_a_person_writes_them() {
        assert_eq!(readable("vg0-pool-tpool"), "vg0/pool");
        assert_eq!(readable("my--vg-thin--pool-tpool"), "my-vg/thin-pool");
        assert_eq!(readable("docker-253:0-1-pool"), "docker-253:0-1-pool");
        assert!(may_be_one("LVM-abc-tpool") && may_be_one("") && !may_be_one("LVM-abc-tdata"));
        assert!(!may_be_one("CRYPT-LUKS2-0-root"));
    }

    fn spec(kind: &str, next: u32, status: &str) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes.extend(next.to_ne_bytes());
        bytes.extend(kind.bytes());
        bytes.resize(SPEC_BYTES, 0);
        bytes.extend(status.bytes().chain([0]));
        bytes
    }

    fn answer(count: u32, specs: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        let size = u32::try_from(HEADER_BYTES + specs.len()).unwrap();
        for (at, number) in [(12, size), (16, HEADER_BYTES as u32), (20, count)] {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes.extend(specs);
        bytes
    }

    #[test]
    fn the_kernels_answer_is_the_list_that_dmsetup_prints() {
        let mut specs = spec("linear", 48, "");
        specs.resize(48, 0);
        specs.extend(spec(KIND, 120, "1 2/4 3/4 - rw"));
        let expected = listed("0 8 linear \n8 16 thin-pool 1 2/4 3/4 - rw\n");
        assert_eq!(targets(&answer(2, &specs)), expected);
        assert_eq!(expected[1].status, "1 2/4 3/4 - rw");
    }

    #[test]
    fn an_answer_that_lies_about_its_lengths_ends_the_list() {
        let specs = spec(KIND, 0, "1 2/4 3/4 - rw");
        assert_eq!(targets(&answer(u32::MAX, &specs)).len(), 1, "it points at itself");
        let beyond = spec(KIND, u32::MAX, "x");
        assert_eq!(targets(&answer(9, &beyond)).len(), 1);
        let whole = answer(1, &specs);
        for cut in [0, 12, 24, HEADER_BYTES, HEADER_BYTES + SPEC_BYTES] {
            assert_eq!(targets(&whole[..cut]), Vec::new(), "{cut}");
        }
        assert_eq!(targets(&vec![0xff; 1000]), Vec::new());
    }
}
