//! The part of BER (X.690) that SNMP and certificates use: tag, definite length, content. Reading borrows from what came
//! and never goes deeper by itself; writing builds the two messages that SNMP sends.

/// An object identifier.
pub(crate) type Oid = Vec<u32>;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// An object identifier has at most this many arcs (RFC 2578 3.5).
pub(crate) const MAX_ARCS: usize = 128;

/// The content is cut off, or is no encoding of what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Reads element after element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element's tag and content.
    pub(crate) fn element(&mut self) -> Result<(u8, &'a [u8]), Broken> {
        let (&tag, rest) = self.rest.split_first().ok_or(Broken)?;
        // Tags of several bytes occur in neither.
        if tag & 0x1f == 0x1f {
            return Err(Broken);
        }
        let (&first, mut rest) = rest.split_first().ok_or(Broken)?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            // The indefinite form (0x80) is not allowed, and nothing is that long; some write leading zeros.
            let digits = usize::from(first & 0x7f);
            if !(1..=4).contains(&digits) {
                return Err(Broken);
            }
            let (bytes, after) = rest.split_at_checked(digits).ok_or(Broken)?;
            rest = after;
            bytes.iter().fold(0_usize, |length, &byte| (length << 8) | usize::from(byte))
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok((tag, content))
    }

    /// The content of the next element, which has this tag.
    pub(crate) fn expect(&mut self, wanted: u8) -> Result<&'a [u8], Broken> {
        let (tag, content) = self.element()?;
        if tag == wanted { Ok(content) } else { Err(Broken) }
    }
}

/// A whole number with a sign.
pub(crate) fn integer(content: &[u8]) -> Result<i64, Broken> {
    let (&first, _) = content.split_first().ok_or(Broken)?;
    if content.len() > 8 {
        return Err(Broken);
    }
    let sign = if first & 0x80 == 0 { 0 } else { -1 };
    Ok(content.iter().fold(sign, |number, &byte| (number << 8) | i64::from(byte)))
}

/// A counter, gauge or time: never negative, up to 64 bits. Agents that leave out the leading zero are understood.
pub(crate) fn unsigned(content: &[u8]) -> Result<u64, Broken> {
    let significant = match content {
        [] => return Err(Broken),
        [0, rest @ ..] => rest,
        whole => whole,
    };
    if significant.len() > 8 {
        return Err(Broken);
    }
    Ok(significant.iter().fold(0, |number, &byte| (number << 8) | u64::from(byte)))
}

/// An object identifier.
pub(crate) fn object(content: &[u8]) -> Result<Oid, Broken> {
    let mut arcs = Vec::with_capacity(content.len().min(MAX_ARCS - 1) + 1);
    let mut arc: u32 = 0;
    let mut is_open = false;
    for &byte in content {
        if arc >> 25 != 0 {
            return Err(Broken);
        }
        arc = (arc << 7) | u32::from(byte & 0x7f);
        is_open = byte & 0x80 != 0;
        if !is_open {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.extend([first, arc - first * 40]);
            } else {
                arcs.push(arc);
            }
            if arcs.len() > MAX_ARCS {
                return Err(Broken);
            }
            arc = 0;
        }
    }
    if is_open || arcs.is_empty() { Err(Broken) } else { Ok(arcs) }
}

/// Appends an element.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        // Requests are short; two bytes hold any length that a datagram can have.
        _ => {
            let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
            out.extend([0x82, length[0], length[1]]);
        }
    }
    out.extend_from_slice(content);
}

/// Appends a whole number.
pub(crate) fn put_integer(out: &mut Vec<u8>, number: i32) {
    let bytes = number.to_be_bytes();
    let mut from = 0;
    // Leading bytes that only repeat the sign are left out.
    while from < 3 && matches!((bytes[from], bytes[from + 1] & 0x80), (0, 0) | (0xff, 0x80)) {
        from += 1;
    }
    put(out, INTEGER, &bytes[from..]);
}

/// Appends an object identifier of at least two arcs.
pub(crate) fn put_object(out: &mut Vec<u8>, oid: &[u32]) {
    let mut content = Vec::with_capacity(oid.len() + 4);
    let (first, rest) = oid.split_at_checked(2).unwrap_or((&[0, 0], &[]));
    for arc in std::iter::once(first[0] * 40 + first[1]).chain(rest.iter().copied()) {
        let digits = (32 - arc.leading_zeros()).div_ceil(7).max(1);
        for digit in (0..digits).rev() {
            let more = if digit == 0 { 0 } else { 0x80 };
            content.push(((arc >> (7 * digit)) & 0x7f) as u8 | more);
        }
    }
    put(out, OBJECT, &content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for number in [0, 1, -1, 127, 128, -128, -129, 32_767, i32::MAX, i32::MIN] {
            let mut out = Vec::new();
            put_integer(&mut out, number);
            assert_eq!(integer(Reader::new(&out).expect(INTEGER).unwrap()), Ok(i64::from(number)));
        }
        for oid in [vec![1, 3, 6, 1, 2, 1, 43], vec![0, 0], vec![1, 3, 127, 128, 16_384, u32::MAX]] {
            let mut out = Vec::new();
            put_object(&mut out, &oid);
            assert_eq!(object(Reader::new(&out).expect(OBJECT).unwrap()), Ok(oid));
        }
        let mut long = Vec::new();
        put(&mut long, OCTETS, &[7; 300]);
        assert_eq!(Reader::new(&long).expect(OCTETS).unwrap(), [7; 300]);
    }

    #[test]
    fn lengths_that_lie_are_broken() {
        for bytes in [
            &b""[..],
            &[0x30],
            &[0x30, 0x05, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
            &[0x30, 0xff],
            &[0x1f, 0x81, 0x01, 0x00],
        ] {
            assert_eq!(Reader::new(bytes).element(), Err(Broken), "{bytes:02x?}");
        }
    }

    #[test]
    fn numbers_too_long_to_be_true_are_broken() {
        assert_eq!(integer(&[0; 9]), Err(Broken));
        assert_eq!(integer(&[]), Err(Broken));
        assert_eq!(unsigned(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Broken));
        assert_eq!(unsigned(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Ok(u64::MAX));
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff]), Ok(u64::from(u32::MAX)));
        assert_eq!(integer(&[0xfd]), Ok(-3));
    }

    #[test]
    fn identifiers_that_do_not_end_overflow_or_are_too_long_are_broken() {
        assert_eq!(object(&[]), Err(Broken));
        assert_eq!(object(&[0x2b, 0x86]), Err(Broken));
        assert_eq!(object(&[0x2b, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Err(Broken));
        assert_eq!(object(&[1; 200]), Err(Broken));
        assert_eq!(object(&[0x88, 0x37]), Ok(vec![2, 999]));
    }
}
