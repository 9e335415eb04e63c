//! D-Bus messages as bytes, by the D-Bus specification 0.43: calls are written in little-endian order, replies are read in
//! either. Everything that is read is bounded and may be nonsense.

/// Bytes from which the length of a message is known.
pub const HEADER_BYTES: usize = 16;
/// Longest message that is written or read; the specification allows 128 MiB.
const LONGEST: usize = 1 << 20;

/// A method call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Whom to call: `org.freedesktop.systemd1`.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface that the method belongs to.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub arguments: &'a [Argument<'a>],
}

/// An argument.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    /// A text, `s`.
    Text(&'a str),
    /// Texts, `as`.
    Texts(&'a [String]),
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method's return.
    Return,
    /// A method's error.
    Error,
    /// A signal.
    Signal,
    /// A call, or what the specification does not know.
    Other,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What it is.
    pub kind: Kind,
    /// The serial number of the call that it answers.
    pub answers: Option<u32>,
    /// The error's name.
    pub error: String,
    /// Who sent it, by the name that the bus gave to its connection.
    pub sender: String,
    /// The interface of a signal.
    pub interface: String,
    /// The name of a signal.
    pub member: String,
    /// The types of the body.
    pub signature: String,
    body: Vec<u8>,
    is_little: bool,
}

impl Reply {
    /// Reads the body.
    pub fn body(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0, is_little: self.is_little }
    }
}

/// Writes a call. `None` when it is too long.
pub fn call(serial: u32, call: &Call<'_>) -> Option<Vec<u8>> {
    let (mut body, mut types) = (Writer::default(), String::new());
    for argument in call.arguments {
        match argument {
            Argument::Text(text) => {
                types.push('s');
                body.text(text)?;
            }
            Argument::Texts(texts) => {
                types.push_str("as");
                body.align(4);
                let length_at = body.bytes.len();
                body.number(0);
                let begin = body.bytes.len();
                texts.iter().try_for_each(|text| body.text(text))?;
                let length = u32::try_from(body.bytes.len() - begin).ok()?;
                body.bytes.get_mut(length_at..begin)?.copy_from_slice(&length.to_le_bytes());
            }
        }
    }
    let mut message = Writer::default();
    // Little-endian, a method call, no flags, version 1.
    message.bytes.extend([b'l', 1, 0, 1]);
    message.number(u32::try_from(body.bytes.len()).ok()?);
    message.number(serial);
    message.number(0);
    let begin = message.bytes.len();
    let fields = [
        (1, "o", call.path),
        (2, "s", call.interface),
        (3, "s", call.member),
        (6, "s", call.destination),
        (8, "g", types.as_str()),
    ];
    for (code, kind, value) in fields {
        if value.is_empty() {
            continue;
        }
        message.align(8);
        message.bytes.push(code);
        message.signature(kind)?;
        if kind == "g" { message.signature(value)? } else { message.text(value)? }
    }
    let length = u32::try_from(message.bytes.len() - begin).ok()?;
    message.bytes.get_mut(begin - 4..begin)?.copy_from_slice(&length.to_le_bytes());
    message.align(8);
    message.bytes.extend(body.bytes);
    (message.bytes.len() <= LONGEST).then_some(message.bytes)
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    /// A text with a NUL would be another text for its reader.
    fn text(&mut self, text: &str) -> Option<()> {
        if text.contains('\0') {
            return None;
        }
        self.number(u32::try_from(text.len()).ok()?);
        self.bytes.extend(text.bytes().chain([0]));
        Some(())
    }

    fn signature(&mut self, types: &str) -> Option<()> {
        self.bytes.push(u8::try_from(types.len()).ok()?);
        self.bytes.extend(types.bytes().chain([0]));
        Some(())
    }
}

/// The length of the whole message that begins with these bytes. `None` when it is none or too long.
pub fn length(header: &[u8]) -> Option<usize> {
    let is_little = order(header)?;
    if *header.get(3)? != 1 {
        return None;
    }
    let mut reader = Reader { bytes: header, at: 4, is_little };
    let body = usize::try_from(reader.number()?).ok()?;
    reader.number()?;
    let fields = usize::try_from(reader.number()?).ok()?;
    if body > LONGEST || fields > LONGEST {
        return None;
    }
    let length = (HEADER_BYTES + fields).next_multiple_of(8) + body;
    (length <= LONGEST).then_some(length)
}

/// Reads a whole message.
pub fn reply(bytes: &[u8]) -> Option<Reply> {
    if length(bytes)? != bytes.len() {
        return None;
    }
    let is_little = order(bytes)?;
    let kind = match bytes.get(1)? {
        2 => Kind::Return,
        3 => Kind::Error,
        4 => Kind::Signal,
        _ => Kind::Other,
    };
    let mut reader = Reader { bytes, at: 12, is_little };
    let end = HEADER_BYTES + usize::try_from(reader.number()?).ok()?;
    let mut reply = Reply {
        kind,
        answers: None,
        error: String::new(),
        sender: String::new(),
        interface: String::new(),
        member: String::new(),
        signature: String::new(),
        body: Vec::new(),
        is_little,
    };
    while reader.at < end {
        reader.align(8)?;
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (5, "u") => reply.answers = Some(reader.number()?),
            (2, "s") => reply.interface = reader.text()?.to_owned(),
            (3, "s") => reply.member = reader.text()?.to_owned(),
            (4, "s") => reply.error = reader.text()?.to_owned(),
            (7, "s") => reply.sender = reader.text()?.to_owned(),
            (8, "g") => reply.signature = reader.signature()?.to_owned(),
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.number()?),
            // A type that the specification gives to no field: what follows cannot be found.
            (_, _) => return None,
        }
    }
    reader.align(8)?;
    reply.body = bytes.get(reader.at..)?.to_vec();
    Some(reply)
}

fn order(header: &[u8]) -> Option<bool> {
    match header.first()? {
        b'l' => Some(true),
        b'B' => Some(false),
        _ => None,
    }
}

/// Reads values one after the other. Each read is `None` when the bytes end before it or are no such value.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_little: bool,
}

impl<'a> Reader<'a> {
    /// Moves on to the next multiple of `to`.
    pub fn align(&mut self, to: usize) -> Option<()> {
        let at = self.at.checked_next_multiple_of(to)?;
        (at <= self.bytes.len()).then(|| self.at = at)
    }

    /// A number of 32 bits, `u`.
    pub fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// Yes or no, `b`.
    pub fn boolean(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A text or an object's path, `s`, `o`.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        self.terminated(length)
    }

    /// Types, `g`.
    pub fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        self.terminated(length)
    }

    /// Where the array that begins here ends; the reader stands at its first element, which is aligned to `to`.
    pub fn array(&mut self, to: usize) -> Option<usize> {
        let length = usize::try_from(self.number()?).ok()?;
        self.align(to)?;
        let end = self.at.checked_add(length)?;
        (end <= self.bytes.len()).then_some(end)
    }

    /// Whether this place is reached.
    pub const fn is_at(&self, end: usize) -> bool {
        self.at >= end
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn terminated(&mut self, length: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A method's return with this body, as a service would write it.
    pub(crate) fn answer(answers: u32, signature: &str, body: &[u8], is_little: bool) -> Vec<u8> {
        let number = |number: u32| if is_little { number.to_le_bytes() } else { number.to_be_bytes() };
        let mut bytes = vec![if is_little { b'l' } else { b'B' }, 2, 0, 1];
        bytes.extend(number(body.len() as u32));
        bytes.extend(number(7));
        let mut fields = vec![5, 1, b'u', 0];
        fields.extend(number(answers));
        fields.extend([8, 1, b'g', 0, signature.len() as u8]);
        fields.extend(signature.bytes().chain([0]));
        bytes.extend(number(fields.len() as u32));
        bytes.extend(fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_call_has_the_bytes_that_the_specification_demands() {
        let names = ["a".to_owned(), "bc".to_owned()];
        let call = Call {
            destination: "d.e",
            path: "/p",
            interface: "i.f",
            member: "M",
            arguments: &[Argument::Text("x"), Argument::Texts(&names)],
        };
        let bytes = super::call(3, &call).unwrap();
        assert_eq!(length(&bytes), Some(bytes.len()));
        assert_eq!(&bytes[..12], &[b'l', 1, 0, 1, 27, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(&bytes[16..27], b"\x01\x01o\0\x02\0\0\0/p\0");
        let body = &bytes[bytes.len() - 27..];
        assert_eq!(body, b"\x01\0\0\0x\0\0\0\x0f\0\0\0\x01\0\0\0a\0\0\0\x02\0\0\0bc\0");
        let read = reply(&bytes).unwrap();
        assert_eq!((read.kind, read.signature.as_str()), (Kind::Other, "sas"));
        assert_eq!((read.interface.as_str(), read.member.as_str()), ("i.f", "M"));
    }

    #[test]
    fn replies_are_read_in_both_orders() {
        for is_little in [true, false] {
            let five = if is_little { 5_u32.to_le_bytes() } else { 5_u32.to_be_bytes() };
            let read = reply(&answer(9, "u", &five, is_little)).unwrap();
            assert_eq!((read.kind, read.answers, read.signature.as_str()), (Kind::Return, Some(9), "u"));
            assert_eq!(read.body().number(), Some(5));
        }
    }

    #[test]
    fn damaged_messages_are_refused_and_never_read_beyond_their_end() {
        let whole = answer(9, "s", b"\x02\0\0\0ab\0", true);
        for cut in 0..whole.len() {
            assert_eq!(reply(&whole[..cut]), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                if let Some(read) = reply(&damaged) {
                    let _ = (read.body().text(), read.body().array(8), read.body().signature());
                }
            }
        }
        assert_eq!(length(&[b'l', 2, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_name_that_holds_a_nul_is_not_sent() {
        let call = Call {
            destination: "d",
            path: "/",
            interface: "i",
            member: "M",
            arguments: &[Argument::Text("a\0b")],
        };
        assert_eq!(super::call(1, &call), None);
    }
}
