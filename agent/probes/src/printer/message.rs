//! IPP requests and replies (RFC 8010). A reply is checked for its size and nesting before the parser sees it, because
//! whoever sits behind a printer's address may send anything.

use crate::ProbeError;
use ipp::attribute::{IppAttribute, IppAttributeGroup};
use ipp::model::{DelimiterTag, IppVersion, Operation};
use ipp::parser::{IppParseError, IppParser};
use ipp::reader::IppReader;
use ipp::request::IppRequestResponse;
use ipp::value::IppValue;
use std::io::Cursor;

/// The most bytes that a reply may have.
pub(crate) const MAX_REPLY_BYTES: usize = 1 << 20;
/// Values and collections beyond these bounds do not come from a printer.
const MAX_VALUES: usize = 50_000;
const MAX_NESTING: usize = 8;
const HEADER_BYTES: usize = 8;
const MAX_TEXT_BYTES: usize = 1024;
const MAX_LIST: usize = 64;

/// Asks the print server for its queues.
pub(crate) fn get_printers(wanted: &[&str]) -> Result<Vec<u8>, ProbeError> {
    request(Operation::CupsGetPrinters, None, wanted, &[])
}

/// Asks for the jobs of a queue that are not completed.
pub(crate) fn get_jobs(printer_uri: &str, wanted: &[&str], limit: i32) -> Result<Vec<u8>, ProbeError> {
    let which = IppValue::new_keyword("not-completed").map_err(unsayable)?;
    request(
        Operation::GetJobs,
        Some(printer_uri),
        wanted,
        &[("limit", IppValue::new_integer(limit)), ("which-jobs", which)],
    )
}

/// Asks a printer or queue about itself.
pub(crate) fn get_printer_attributes(printer_uri: &str, wanted: &[&str]) -> Result<Vec<u8>, ProbeError> {
    request(Operation::GetPrinterAttributes, Some(printer_uri), wanted, &[])
}

fn request(
    operation: Operation,
    printer_uri: Option<&str>,
    wanted: &[&str],
    more: &[(&str, IppValue)],
) -> Result<Vec<u8>, ProbeError> {
    let mut message = IppRequestResponse::new(IppVersion::v2_0(), operation, None).map_err(unsayable)?;
    let mut add = |name: &str, value: IppValue| -> Result<(), ProbeError> {
        let attribute = IppAttribute::with_name(name, value).map_err(unsayable)?;
        message.attributes_mut().add(DelimiterTag::OperationAttributes, attribute);
        Ok(())
    };
    if let Some(uri) = printer_uri {
        add("printer-uri", IppValue::new_uri(uri).map_err(unsayable)?)?;
    }
    for (name, value) in more {
        add(name, value.clone())?;
    }
    let keywords: Result<Vec<IppValue>, _> = wanted.iter().map(|name| IppValue::new_keyword(*name)).collect();
    add("requested-attributes", IppValue::Array(keywords.map_err(unsayable)?))?;
    Ok(message.to_bytes().to_vec())
}

fn unsayable(error: IppParseError) -> ProbeError {
    ProbeError::Malformed(format!("the request cannot be written: {error}"))
}

/// A reply that said yes: its groups of printer or job attributes.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    groups: Vec<Group>,
}

impl Reply {
    /// The groups, one per printer or job.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }
}

/// The attributes of one printer or job.
#[derive(Debug)]
pub(crate) struct Group(IppAttributeGroup);

/// Parses a reply. Not permitted and not found come out as such; a "not found" to a question for all queues means
/// that there are none, which the caller decides.
pub(crate) fn parse(bytes: &[u8]) -> Result<Reply, ProbeError> {
    let status = check(bytes)?;
    match status {
        0x0000..=0x00ff => {}
        0x0401..=0x0403 => return Err(ProbeError::NotPermitted(format!("IPP status {status:#06x}"))),
        0x0406 => return Err(ProbeError::NotPresent("the print server knows no such thing".to_owned())),
        _ => return Err(ProbeError::Malformed(format!("IPP status {status:#06x}"))),
    }
    let mut message = IppParser::new(IppReader::new(Cursor::new(bytes.to_vec())))
        .parse()
        .map_err(|error| ProbeError::Malformed(format!("the IPP reply does not parse: {error}")))?;
    let groups = std::mem::take(message.attributes_mut().groups_mut());
    let wanted = |group: &IppAttributeGroup| {
        matches!(group.tag(), DelimiterTag::PrinterAttributes | DelimiterTag::JobAttributes)
    };
    Ok(Reply { groups: groups.into_iter().filter(wanted).map(Group).collect() })
}

/// Walks the tags and lengths: everything must lie within the reply, nest shallowly and be limited in number. The
/// parser builds nested values whose release is recursive, so depth must be bounded before it runs.
fn check(bytes: &[u8]) -> Result<u16, ProbeError> {
    let bad = |what: &str| ProbeError::Malformed(format!("the IPP reply {what}"));
    if bytes.len() > MAX_REPLY_BYTES {
        return Err(bad("is too long"));
    }
    let (Some(header), Some(mut rest)) = (bytes.get(..HEADER_BYTES), bytes.get(HEADER_BYTES..)) else {
        return Err(bad("is cut off in its header"));
    };
    let (mut values, mut depth) = (0usize, 0usize);
    loop {
        let Some((&tag, after)) = rest.split_first() else { return Err(bad("has no end")) };
        rest = after;
        match tag {
            0x03 if depth == 0 => return Ok(u16::from_be_bytes([header[2], header[3]])),
            0x00..=0x0f if depth > 0 => return Err(bad("ends a group within a collection")),
            0x00..=0x0f => continue,
            0x34 => depth += 1,
            0x37 => depth = depth.checked_sub(1).ok_or_else(|| bad("ends a collection that never began"))?,
            _ => {}
        }
        values += 1;
        if depth > MAX_NESTING || values > MAX_VALUES {
            return Err(bad("nests too deeply or holds too many values"));
        }
        let cut_off = || bad("is cut off within an attribute");
        let (_name, after) = field(rest).ok_or_else(cut_off)?;
        let (value, after) = field(after).ok_or_else(cut_off)?;
        // A text or name with its language is two fields in one value, and the parser believes their lengths.
        if matches!(tag, 0x35 | 0x36) && field(value).and_then(|(_language, text)| field(text)).is_none() {
            return Err(bad("holds a text that ends behind its value"));
        }
        rest = after;
    }
}

/// A field that begins with its length, and what follows it.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = bytes.split_first_chunk::<2>()?;
    after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl Group {
    /// The value of an integer or enum attribute.
    pub(crate) fn integer(&self, name: &str) -> Option<i32> {
        self.integers(name).first().copied()
    }

    /// All values of an integer attribute.
    pub(crate) fn integers(&self, name: &str) -> Vec<i32> {
        self.values(name)
            .filter_map(|value| {
                if let IppValue::Integer(number) | IppValue::Enum(number) = value {
                    Some(*number)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The value of a boolean attribute.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.values(name)
            .find_map(|value| if let IppValue::Boolean(truth) = value { Some(*truth) } else { None })
    }

    /// The value of an attribute of text, name, keyword, URI or octet string; `None` when it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next().filter(|text| !text.is_empty())
    }

    /// All values of such an attribute, cleaned of control characters.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.values(name).filter_map(text_of).collect()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &IppValue> {
        self.0.get(name).into_iter().flat_map(|attribute| attribute.value()).take(MAX_LIST)
    }
}

fn text_of(value: &IppValue) -> Option<String> {
    Some(if let IppValue::TextWithoutLanguage(text) | IppValue::TextWithLanguage { text, .. } = value {
        clean(text)
    } else if let IppValue::NameWithoutLanguage(name) | IppValue::NameWithLanguage { name, .. } = value {
        clean(name)
    } else if let IppValue::Keyword(keyword) = value {
        clean(keyword)
    } else if let IppValue::Uri(uri) = value {
        clean(uri)
    } else if let IppValue::OctetString(data) | IppValue::NonUtf8 { data, .. } = value {
        clean(String::from_utf8_lossy(data))
    } else {
        return None;
    })
}

/// Text of a device without control characters, bounded.
fn clean(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let cut = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// A writer of replies for tests: the shape of RFC 8010 and nothing else, so that it can also write what is wrong.
#[cfg(test)]
pub(crate) mod testing {
    /// A reply under construction.
    #[derive(Debug, Clone)]
    pub(crate) struct Writer(pub(crate) Vec<u8>);

    impl Writer {
        pub(crate) fn new(status: u16) -> Self {
            let mut bytes = vec![2, 0];
            bytes.extend_from_slice(&status.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 1, 1]);
            Self(bytes).value(0x47, "attributes-charset", b"utf-8").value(
                0x48,
                "attributes-natural-language",
                b"en",
            )
        }

        pub(crate) fn group(mut self, tag: u8) -> Self {
            self.0.push(tag);
            self
        }

        pub(crate) fn value(mut self, tag: u8, name: &str, value: &[u8]) -> Self {
            self.0.push(tag);
            for field in [name.as_bytes(), value] {
                self.0.extend_from_slice(&u16::try_from(field.len()).unwrap().to_be_bytes());
                self.0.extend_from_slice(field);
            }
            self
        }

        pub(crate) fn integer(self, tag: u8, name: &str, number: i32) -> Self {
            self.value(tag, name, &number.to_be_bytes())
        }

        pub(crate) fn texts(self, tag: u8, name: &str, values: &[&str]) -> Self {
            let name_of = |at: usize| if at == 0 { name } else { "" };
            values
                .iter()
                .enumerate()
                .fold(self, |writer, (at, value)| writer.value(tag, name_of(at), value.as_bytes()))
        }

        pub(crate) fn end(mut self) -> Vec<u8> {
            self.0.push(3);
            self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Writer;
    use super::*;
    use firstline_model::UnavailableReason;

    fn reply() -> Vec<u8> {
        Writer::new(0)
            .group(4)
            .integer(0x23, "printer-state", 5)
            .texts(0x44, "printer-state-reasons", &["media-jam-error", "paused"])
            .value(0x22, "printer-is-accepting-jobs", &[1])
            .value(0x41, "printer-state-message", b"stuck\x1b[31m\r\nhere \xe4")
            .end()
    }

    #[test]
    fn attributes_are_read_by_their_kind_and_cleaned() {
        let parsed = parse(&reply()).unwrap();
        let group = &parsed.groups()[0];
        assert_eq!(group.integer("printer-state"), Some(5));
        assert_eq!(group.texts("printer-state-reasons"), ["media-jam-error", "paused"]);
        assert_eq!(group.boolean("printer-is-accepting-jobs"), Some(true));
        assert_eq!(group.text("printer-state-message").unwrap(), "stuck [31m  here \u{fffd}");
        assert_eq!((group.integer("none"), group.text("none"), group.boolean("none")), (None, None, None));
    }

    #[test]
    fn every_cut_of_a_reply_is_malformed() {
        let whole = reply();
        for end in 0..whole.len() {
            assert_eq!(
                parse(&whole[..end]).unwrap_err().reason(),
                UnavailableReason::Malformed,
                "cut at {end}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_built() {
        let mut writer = Writer::new(0).group(4).value(0x34, "deep", b"");
        for _ in 0..60_000 {
            writer = writer.value(0x4a, "", b"m").value(0x34, "", b"");
        }
        for _ in 0..=60_000 {
            writer = writer.value(0x37, "", b"");
        }
        assert_eq!(parse(&writer.end()).unwrap_err().reason(), UnavailableReason::Malformed);
        let unbalanced = Writer::new(0).group(4).value(0x37, "x", b"").end();
        assert_eq!(parse(&unbalanced).unwrap_err().reason(), UnavailableReason::Malformed);
    }

    #[test]
    fn statuses_become_reasons() {
        for (status, expected) in [
            (0x0401, UnavailableReason::NotPermitted),
            (0x0403, UnavailableReason::NotPermitted),
            (0x0406, UnavailableReason::NotPresent),
            (0x0503, UnavailableReason::Malformed),
        ] {
            assert_eq!(parse(&Writer::new(status).end()).unwrap_err().reason(), expected, "{status:#x}");
        }
        assert!(parse(&Writer::new(1).end()).is_ok(), "ok with ignored attributes is ok");
    }

    #[test]
    fn random_bytes_never_panic() {
        // A fixed linear congruence: the same bytes on every run.
        let mut state = 1u32;
        for _ in 0..2_000 {
            let mut bytes = reply();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = usize::try_from(state >> 8).unwrap() % bytes.len();
                bytes[at] = u8::try_from(state >> 24).unwrap();
            }
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn requests_name_what_they_want() {
        let bytes = get_jobs("ipp://localhost/printers/a", &["job-id", "job-state"], 20).unwrap();
        assert_eq!(&bytes[..8], [2, 0, 0, 0x0a, 0, 0, 0, 1]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for part in ["printer-uri", "ipp://localhost/printers/a", "not-completed", "job-id", "job-state"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(get_printer_attributes(&"x".repeat(2000), &[]).is_err());
    }
}
