//! Texts and numbers of a database of dconf, in the layout that GLib calls GVDB: a header, a table of names that each point
//! to their parent, and values that end with their type. Only as much of it is read as tells the desktop's proxy; the file
//! is the person's own, so it may be anything.

/// More names than this are not looked at; a desktop has some thousand.
const MAX_ITEMS: usize = 100_000;
/// Folders above a name.
const MAX_DEPTH: usize = 16;
const HEADER_BYTES: usize = 24;
const ITEM_BYTES: usize = 24;
/// `GVariant` as the file of a little-endian machine begins.
const SIGNATURE: &[u8] = b"GVariant";

/// A database.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    bytes: &'a [u8],
    items: &'a [u8],
}

impl<'a> Database<'a> {
    /// `None` when the bytes are none.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(SIGNATURE) {
            return None;
        }
        let (begin, end) = (number(bytes, HEADER_BYTES - 8)?, number(bytes, HEADER_BYTES - 4)?);
        let table = bytes.get(begin..end)?;
        // The upper bits are a parameter of the filter that comes first.
        let filter_words = number(table, 0)? & 0x07ff_ffff;
        let buckets = number(table, 4)?;
        let items = table.get(8_usize.checked_add(filter_words.checked_add(buckets)?.checked_mul(4)?)?..)?;
        Some(Self { bytes, items })
    }

    /// The text under this name, such as `/system/proxy/mode`.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.value(name, b"\0s")?;
        std::str::from_utf8(value.strip_suffix(b"\0")?).ok()
    }

    /// The whole number of 32 bits under this name.
    pub fn number(&self, name: &str) -> Option<i32> {
        Some(i32::from_le_bytes(self.value(name, b"\0i")?.try_into().ok()?))
    }

    fn value(&self, name: &str, kind: &[u8]) -> Option<&'a [u8]> {
        let items = self.items.chunks_exact(ITEM_BYTES).take(MAX_ITEMS);
        let item = items.into_iter().find(|item| item[14] == b'v' && self.is_called(item, name))?;
        self.bytes.get(number(item, 16)?..number(item, 20)?)?.strip_suffix(kind)
    }

    /// Compares from the end, because each item holds the last part of its name and where its parent stands.
    fn is_called(&self, item: &[u8], name: &str) -> bool {
        let (mut item, mut rest) = (item, name.as_bytes());
        for _ in 0..MAX_DEPTH {
            let part = || {
                let length = usize::from(u16::from_le_bytes([item[12], item[13]]));
                let begin = number(item, 8)?;
                self.bytes.get(begin..begin.checked_add(length)?)
            };
            let Some(before) = part().and_then(|part| rest.strip_suffix(part)) else { return false };
            rest = before;
            let Some(parent) = number(item, 4) else { return false };
            if parent == u32::MAX as usize {
                return rest.is_empty();
            }
            let above = parent.checked_mul(ITEM_BYTES).and_then(|at| self.items.get(at..at + ITEM_BYTES));
            let Some(above) = above else { return false };
            item = above;
        }
        false
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
    usize::try_from(number).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A database of these names with values that end with their type.
    pub(crate) fn database(values: &[(&str, &[u8])]) -> Vec<u8> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in values {
            let mut end = 0;
            while let Some(at) = name[end..].find('/') {
                end += at + 1;
                if !names.contains(&name[..end].to_owned()) {
                    names.push(name[..end].to_owned());
                }
            }
            names.push((*name).to_owned());
        }
        let table = 8 + names.len() * ITEM_BYTES;
        let mut bytes = SIGNATURE.to_vec();
        for word in [0, 0, HEADER_BYTES, HEADER_BYTES + table, 0, 0] {
            bytes.extend((word as u32).to_le_bytes());
        }
        let mut tail = Vec::new();
        for name in &names {
            let parent =
                names.iter().enumerate().filter(|(_, other)| *other != name && name.starts_with(*other));
            let parent = parent.max_by_key(|(_, other)| other.len());
            let (at, part) = match parent {
                Some((at, other)) => (at as u32, &name[other.len()..]),
                None => (u32::MAX, name.as_str()),
            };
            let key = HEADER_BYTES + table + tail.len();
            tail.extend(part.bytes());
            let value = values.iter().find(|(known, _)| known == name);
            let begin = HEADER_BYTES + table + tail.len();
            tail.extend(value.map(|(_, bytes)| *bytes).unwrap_or_default());
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(at.to_le_bytes());
            bytes.extend((key as u32).to_le_bytes());
            bytes.extend((part.len() as u16).to_le_bytes());
            bytes.extend([if value.is_some() { b'v' } else { b'L' }, 0]);
            bytes.extend((begin as u32).to_le_bytes());
            bytes.extend(((HEADER_BYTES + table + tail.len()) as u32).to_le_bytes());
        }
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn values_are_found_by_their_whole_name_and_type() {
        let bytes = database(&[
            ("/system/proxy/mode", b"manual\0\0s"),
            ("/system/proxy/http/port", b"\x38\x0c\0\0\0i"),
            ("/other/proxy/mode", b"auto\0\0s"),
        ]);
        let database = Database::of(&bytes).unwrap();
        assert_eq!(database.text("/system/proxy/mode"), Some("manual"));
        assert_eq!(database.number("/system/proxy/http/port"), Some(3128));
        assert_eq!(database.number("/system/proxy/mode"), None);
        assert_eq!(database.text("/system/proxy/ignore-hosts"), None);
        assert_eq!(database.text("proxy/mode"), None);
    }

    #[test]
    fn databases_that_are_cut_or_changed_anywhere_are_read_without_harm() {
        let whole = database(&[("/system/proxy/mode", b"manual\0\0s")]);
        for at in 0..whole.len() {
            let ask = |bytes: &[u8]| {
                Database::of(bytes).and_then(|found| found.text("/system/proxy/mode").map(str::len))
            };
            ask(&whole[..at]);
            for change in [1, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                ask(&changed);
            }
        }
        assert!(Database::of(b"GVariant").is_none());
    }
}
