//! One question to systemd's journal: when a unit of a person's own manager was started in this boot. Files have the layout of
//! systemd's "Journal File Format" (its public page of that name): a hash table of all fields leads to the entries that
//! have one, so a few short reads answer and the file itself is never read through.

use std::hash::Hasher;
use std::io::{Read, Seek, SeekFrom};

const SIGNATURE: &[u8] = b"LPKSHHRH";
const HEADER_BYTES: usize = 208;
const KEYED_HASH: u32 = 1 << 2;
const COMPACT: u32 = 1 << 4;
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// Entries of one field that are looked at; a person signs in some times a day.
const MAX_ENTRIES: usize = 2048;
/// Arrays of entries, fields of one hash, and fields of an entry.
const MAX_CHAIN: usize = 256;
const MAX_FIELDS: usize = 128;

/// A file of the journal.
#[derive(Debug)]
pub struct Journal<R> {
    file: R,
    key: (u64, u64),
    is_compact: bool,
    table: u64,
    buckets: u64,
}

/// When something was started, in microseconds of the clock that stands while the machine sleeps.
pub type Monotonic = u64;

impl<R: Read + Seek> Journal<R> {
    /// `None` when the file is none, or of a systemd before 246 (its hashes are others).
    pub fn open(mut file: R) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        file.seek(SeekFrom::Start(0)).ok()?;
        file.read_exact(&mut header).ok()?;
        let flags = u32_at(&header, 12)?;
        if !header.starts_with(SIGNATURE) || flags & KEYED_HASH == 0 {
            return None;
        }
        Some(Self {
            file,
            // The file's own identity is the key.
            key: (u64_at(&header, 24)?, u64_at(&header, 32)?),
            is_compact: flags & COMPACT != 0,
            table: u64_at(&header, 104)?,
            buckets: u64_at(&header, 112)? / 16,
        })
    }

    /// When this unit of this user's manager was started the first time after `after` in this boot.
    pub fn started(&mut self, unit: &str, user: u32, boot: u128, after: Monotonic) -> Option<Monotonic> {
        let of_unit = self.data(format!("USER_UNIT={unit}").as_bytes())?;
        let wanted = [
            self.data(b"JOB_TYPE=start")?,
            self.data(b"JOB_RESULT=done")?,
            self.data(format!("_UID={user}").as_bytes())?,
        ];
        let entries = self.entries(of_unit)?;
        let mut first = None;
        for entry in entries {
            let Some(head) = self.object::<64>(entry, ENTRY) else { continue };
            let at = u64_at(&head, 32)?;
            let is_sooner = first.is_none_or(|first| at < first);
            if at > after && is_sooner && head.get(40..56)? == boot.to_be_bytes() {
                let fields = self.fields(entry, u64_at(&head, 8)?)?;
                if wanted.iter().all(|wanted| fields.contains(wanted)) {
                    first = Some(at);
                }
            }
        }
        first
    }

    /// Where this field with this value stands.
    fn data(&mut self, field: &[u8]) -> Option<u64> {
        #[expect(
            deprecated,
            reason = "the journal's hash is SipHash-2-4, and this is the one of the standard library"
        )]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.key.0, self.key.1);
        hasher.write(field);
        let bucket = hasher.finish().checked_rem(self.buckets)?;
        let mut at = self.number(self.table.checked_add(bucket.checked_mul(16)?)?)?;
        let payload_at: usize = if self.is_compact { 72 } else { 64 };
        for _ in 0..MAX_CHAIN {
            let head = self.object::<64>(at, DATA)?;
            if u64_at(&head, 8)? == (payload_at + field.len()) as u64 {
                let mut payload = vec![0; field.len()];
                self.read(at.checked_add(payload_at as u64)?, &mut payload)?;
                if payload == field {
                    return Some(at);
                }
            }
            at = u64_at(&head, 24).filter(|next| *next > 0)?;
        }
        None
    }

    /// Where the entries stand that have this field.
    fn entries(&mut self, data: u64) -> Option<Vec<u64>> {
        let head = self.object::<64>(data, DATA)?;
        let all = usize::try_from(u64_at(&head, 56)?).ok()?.min(MAX_ENTRIES);
        let mut found = vec![u64_at(&head, 40)?];
        let mut array = u64_at(&head, 48)?;
        for _ in 0..MAX_CHAIN {
            if array == 0 || found.len() >= all {
                break;
            }
            let head = self.object::<24>(array, ENTRY_ARRAY)?;
            let items =
                self.items(array, u64_at(&head, 8)?, 24, if self.is_compact { 4 } else { 8 }, MAX_ENTRIES)?;
            found.extend(items.into_iter().take_while(|item| *item > 0));
            array = u64_at(&head, 16)?;
        }
        found.truncate(all);
        Some(found)
    }

    /// Where the fields of an entry stand.
    fn fields(&mut self, entry: u64, size: u64) -> Option<Vec<u64>> {
        self.items(entry, size, 64, if self.is_compact { 4 } else { 16 }, MAX_FIELDS)
    }

    /// The places that an object lists, each at the beginning of so many bytes.
    fn items(&mut self, object: u64, size: u64, head: u64, each: usize, most: usize) -> Option<Vec<u64>> {
        let bytes = usize::try_from(size.checked_sub(head)?).ok()?.min(most * each) / each * each;
        let mut items = vec![0; bytes];
        self.read(object.checked_add(head)?, &mut items)?;
        let place =
            |item: &[u8]| if self.is_compact { u32_at(item, 0).map(u64::from) } else { u64_at(item, 0) };
        items.chunks_exact(each).map(place).collect()
    }

    fn object<const BYTES: usize>(&mut self, at: u64, kind: u8) -> Option<[u8; BYTES]> {
        let mut head = [0; BYTES];
        self.read(at, &mut head)?;
        (at > 0 && head[0] == kind).then_some(head)
    }

    fn number(&mut self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Option<()> {
        self.file.seek(SeekFrom::Start(at)).ok()?;
        self.file.read_exact(buffer).ok()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The boot's number as the kernel writes it, with hyphens.
pub fn boot_id(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const BOOT: u128 = 0xe3ca_4409_2709_42bd_8195_a6f0_f98f_7f3c;
    const TARGET: &str = "graphical-session.target";
    const BUCKETS: u64 = 4;

    /// A journal of these entries: fields and time of each.
    fn journal(is_compact: bool, entries: &[(&[&str], u64)]) -> Vec<u8> {
        let mut file = vec![0; 272 + BUCKETS as usize * 16];
        file[..8].copy_from_slice(SIGNATURE);
        file[12..16].copy_from_slice(&(KEYED_HASH | if is_compact { COMPACT } else { 0 }).to_le_bytes());
        file[24..40].copy_from_slice(&[7; 16]);
        file[104..112].copy_from_slice(&272_u64.to_le_bytes());
        file[112..120].copy_from_slice(&(BUCKETS * 16).to_le_bytes());
        let put = |file: &mut Vec<u8>, at: usize, number: u64| {
            file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        };
        let mut fields: Vec<&str> = entries.iter().flat_map(|(fields, _)| fields.iter().copied()).collect();
        fields.sort_unstable();
        fields.dedup();
        let mut places = std::collections::BTreeMap::new();
        for field in &fields {
            file.resize(file.len().next_multiple_of(8), 0);
            let at = file.len();
            places.insert(*field, at as u64);
            let payload = if is_compact { 72 } else { 64 };
            file.resize(at + payload, 0);
            file[at] = DATA;
            file.extend(field.bytes());
            put(&mut file, at + 8, (payload + field.len()) as u64);
            #[expect(deprecated, reason = "as above")]
            let mut hasher =
                std::hash::SipHasher::new_with_keys(0x0707_0707_0707_0707, 0x0707_0707_0707_0707);
            hasher.write(field.as_bytes());
            let bucket = 272 + (hasher.finish() % BUCKETS) as usize * 16;
            // The newest one stands first.
            let before = u64_at(&file, bucket).unwrap();
            put(&mut file, at + 24, before);
            put(&mut file, bucket, at as u64);
        }
        let mut of_field = std::collections::BTreeMap::<&str, Vec<u64>>::new();
        for (own, time) in entries {
            file.resize(file.len().next_multiple_of(8), 0);
            let at = file.len();
            let each = if is_compact { 4 } else { 16 };
            file.resize(at + 64 + own.len() * each, 0);
            file[at] = ENTRY;
            put(&mut file, at + 8, (64 + own.len() * each) as u64);
            put(&mut file, at + 32, *time);
            file[at + 40..at + 56].copy_from_slice(&BOOT.to_be_bytes());
            for (number, field) in own.iter().enumerate() {
                let place = places[field].to_le_bytes();
                let bytes = if is_compact { 4 } else { 8 };
                let item = at + 64 + number * each;
                file[item..item + bytes].copy_from_slice(&place[..bytes]);
                of_field.entry(field).or_default().push(at as u64);
            }
        }
        for (field, all) in of_field {
            let data = places[field] as usize;
            put(&mut file, data + 40, all[0]);
            put(&mut file, data + 56, all.len() as u64);
            file.resize(file.len().next_multiple_of(8), 0);
            let at = file.len();
            let each = if is_compact { 4 } else { 8 };
            file.resize(at + 24 + (all.len() - 1 + 2) * each, 0);
            file[at] = ENTRY_ARRAY;
            let size = file.len() - at;
            put(&mut file, at + 8, size as u64);
            for (number, place) in all[1..].iter().enumerate() {
                let item = at + 24 + number * each;
                file[item..item + each].copy_from_slice(&place.to_le_bytes()[..each]);
            }
            put(&mut file, data + 48, if all.len() > 1 { at as u64 } else { 0 });
        }
        file
    }

    fn day(is_compact: bool) -> Vec<u8> {
        let of = "USER_UNIT=graphical-session.target";
        let (start, stop, done) = ("JOB_TYPE=start", "JOB_TYPE=stop", "JOB_RESULT=done");
        journal(
            is_compact,
            &[
                (&["_UID=1000", "MESSAGE=hello"], 5),
                (&[of, start, done, "_UID=1000"], 1000),
                (&[of, stop, done, "_UID=1000"], 2000),
                (&[of, start, "JOB_RESULT=failed", "_UID=1000"], 2500),
                (&[of, start, done, "_UID=1001"], 2600),
                (&[of, start, done, "_UID=1000"], 3000),
                (&[of, start, done, "_UID=1000"], 9000),
            ],
        )
    }

    #[test]
    fn the_first_start_after_the_sign_in_is_found_in_both_layouts() {
        for is_compact in [false, true] {
            let mut journal = Journal::open(Cursor::new(day(is_compact))).unwrap();
            let mut ask = |user, boot, after| journal.started(TARGET, user, boot, after);
            assert_eq!(ask(1000, BOOT, 900), Some(1000));
            assert_eq!(
                ask(1000, BOOT, 1000),
                Some(3000),
                "neither a stop nor a failure nor another person's"
            );
            assert_eq!(ask(1001, BOOT, 0), Some(2600));
            assert_eq!(ask(1000, BOOT, 9000), None);
            assert_eq!(ask(1000, BOOT ^ 1, 0), None, "of another boot");
            assert_eq!(ask(7, BOOT, 0), None);
            assert_eq!(journal.started("other.target", 1000, BOOT, 0), None);
        }
    }

    #[test]
    fn files_that_are_cut_or_changed_anywhere_are_read_without_harm() {
        let whole = day(true);
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                if let Some(mut journal) = Journal::open(Cursor::new(changed)) {
                    journal.started(TARGET, 1000, BOOT, 900);
                }
            }
            if let Some(mut journal) = Journal::open(Cursor::new(whole[..at].to_vec())) {
                journal.started(TARGET, 1000, BOOT, 900);
            }
        }
    }

    #[test]
    fn a_boot_is_named_with_hyphens_or_without() {
        assert_eq!(boot_id("e3ca4409-2709-42bd-8195-a6f0f98f7f3c\n"), Some(BOOT));
        assert_eq!(boot_id("nonsense"), None);
    }
}
