//! SNMP messages of versions 1 and 2c (RFC 1157, RFC 3416): the request for what comes next, and its response.

use super::{Oid, Variable};
use crate::ber::{self, Broken, Reader};

const GET_NEXT: u8 = 0xa1;
const RESPONSE: u8 = 0xa2;
const COUNTER_32: u8 = 0x41;
const GAUGE_32: u8 = 0x42;
const TIME_TICKS: u8 = 0x43;
const COUNTER_64: u8 = 0x46;
const END_OF_VIEW: u8 = 0x82;

/// The versions that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Version 1.
    V1,
    /// Version 2c.
    V2c,
}

impl Version {
    const fn number(self) -> i32 {
        match self {
            Self::V1 => 0,
            Self::V2c => 1,
        }
    }
}

/// A value, as far as printers use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A whole number.
    Integer(i64),
    /// Counters, gauges, times.
    Unsigned(u64),
    /// Text or bits.
    Octets(Vec<u8>),
    /// There is nothing after the name that was asked for.
    End,
    /// Anything else.
    Other,
}

impl Value {
    /// A number that an enumeration or a level can hold.
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            Self::Octets(_) | Self::End | Self::Other => None,
        }
    }

    pub(super) fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Octets(octets) => Some(octets),
            Self::Integer(_) | Self::Unsigned(_) | Self::End | Self::Other => None,
        }
    }
}

/// Asks for the variables after these names.
pub(super) fn get_next(version: Version, community: &str, id: i32, names: &[Oid]) -> Vec<u8> {
    let mut bindings = Vec::new();
    for name in names {
        let mut binding = Vec::new();
        ber::put_object(&mut binding, name);
        ber::put(&mut binding, ber::NULL, &[]);
        ber::put(&mut bindings, ber::SEQUENCE, &binding);
    }
    let mut request = Vec::new();
    for number in [id, 0, 0] {
        ber::put_integer(&mut request, number);
    }
    ber::put(&mut request, ber::SEQUENCE, &bindings);
    let mut message = Vec::new();
    ber::put_integer(&mut message, version.number());
    ber::put(&mut message, ber::OCTETS, community.as_bytes());
    ber::put(&mut message, GET_NEXT, &request);
    let mut datagram = Vec::new();
    ber::put(&mut datagram, ber::SEQUENCE, &message);
    datagram
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    /// 0, or why there are no values.
    pub(super) error_status: i64,
    /// Which variable is to blame, counted from 1.
    pub(super) error_index: i64,
    pub(super) variables: Vec<Variable>,
}

/// Reads the response to the request `id`; `None` when the datagram answers something else. At most `most` variables.
pub(super) fn response(
    datagram: &[u8],
    version: Version,
    community: &str,
    id: i32,
    most: usize,
) -> Result<Option<Response>, Broken> {
    let mut message = Reader::new(Reader::new(datagram).expect(ber::SEQUENCE)?);
    let said_version = ber::integer(message.expect(ber::INTEGER)?)?;
    let said_community = message.expect(ber::OCTETS)?;
    let (kind, content) = message.element()?;
    if said_version != i64::from(version.number())
        || said_community != community.as_bytes()
        || kind != RESPONSE
    {
        return Ok(None);
    }
    let mut response = Reader::new(content);
    if ber::integer(response.expect(ber::INTEGER)?)? != i64::from(id) {
        return Ok(None);
    }
    let error_status = ber::integer(response.expect(ber::INTEGER)?)?;
    let error_index = ber::integer(response.expect(ber::INTEGER)?)?;
    let mut bindings = Reader::new(response.expect(ber::SEQUENCE)?);
    let mut variables = Vec::new();
    while !bindings.is_empty() {
        if variables.len() == most {
            return Err(Broken);
        }
        let mut binding = Reader::new(bindings.expect(ber::SEQUENCE)?);
        let name = ber::object(binding.expect(ber::OBJECT)?)?;
        let (tag, content) = binding.element()?;
        variables.push((name, value(tag, content)?));
    }
    Ok(Some(Response { error_status, error_index, variables }))
}

fn value(tag: u8, content: &[u8]) -> Result<Value, Broken> {
    Ok(match tag {
        ber::INTEGER => Value::Integer(ber::integer(content)?),
        ber::OCTETS => Value::Octets(content.to_vec()),
        COUNTER_32 | GAUGE_32 | TIME_TICKS | COUNTER_64 => Value::Unsigned(ber::unsigned(content)?),
        END_OF_VIEW => Value::End,
        _ => Value::Other,
    })
}

#[cfg(test)]
pub(super) mod testing {
    //! Responses as an agent writes them.

    use super::*;

    /// The request's number.
    pub(in super::super) fn id_of(request: &[u8]) -> i32 {
        let mut message = Reader::new(Reader::new(request).expect(ber::SEQUENCE).unwrap());
        message.expect(ber::INTEGER).unwrap();
        message.expect(ber::OCTETS).unwrap();
        let mut pdu = Reader::new(message.expect(GET_NEXT).unwrap());
        i32::try_from(ber::integer(pdu.expect(ber::INTEGER).unwrap()).unwrap()).unwrap()
    }

    /// The names that are asked for.
    pub(in super::super) fn names_of(request: &[u8]) -> Vec<Oid> {
        let mut message = Reader::new(Reader::new(request).expect(ber::SEQUENCE).unwrap());
        message.expect(ber::INTEGER).unwrap();
        message.expect(ber::OCTETS).unwrap();
        let mut pdu = Reader::new(message.expect(GET_NEXT).unwrap());
        for _ in 0..3 {
            pdu.expect(ber::INTEGER).unwrap();
        }
        let mut bindings = Reader::new(pdu.expect(ber::SEQUENCE).unwrap());
        let mut names = Vec::new();
        while !bindings.is_empty() {
            let mut binding = Reader::new(bindings.expect(ber::SEQUENCE).unwrap());
            names.push(ber::object(binding.expect(ber::OBJECT).unwrap()).unwrap());
        }
        names
    }

    pub(in super::super) fn respond(
        version: Version,
        community: &str,
        id: i32,
        error: (i32, i32),
        variables: &[Variable],
    ) -> Vec<u8> {
        let mut bindings = Vec::new();
        for (name, value) in variables {
            let mut binding = Vec::new();
            ber::put_object(&mut binding, name);
            match value {
                Value::Integer(number) => ber::put_integer(&mut binding, i32::try_from(*number).unwrap()),
                Value::Unsigned(number) => {
                    let mut bytes = vec![0];
                    bytes.extend(number.to_be_bytes());
                    ber::put(&mut binding, COUNTER_64, &bytes);
                }
                Value::Octets(octets) => ber::put(&mut binding, ber::OCTETS, octets),
                Value::End => ber::put(&mut binding, END_OF_VIEW, &[]),
                Value::Other => ber::put(&mut binding, ber::NULL, &[]),
            }
            ber::put(&mut bindings, ber::SEQUENCE, &binding);
        }
        let mut pdu = Vec::new();
        for number in [id, error.0, error.1] {
            ber::put_integer(&mut pdu, number);
        }
        ber::put(&mut pdu, ber::SEQUENCE, &bindings);
        let mut message = Vec::new();
        ber::put_integer(&mut message, version.number());
        ber::put(&mut message, ber::OCTETS, community.as_bytes());
        ber::put(&mut message, RESPONSE, &pdu);
        let mut datagram = Vec::new();
        ber::put(&mut datagram, ber::SEQUENCE, &message);
        datagram
    }
}

#[cfg(test)]
mod tests {
    use super::testing::respond;
    use super::*;

    fn one(id: i32) -> Vec<u8> {
        respond(Version::V2c, "public", id, (0, 0), &[(vec![1, 3, 6], Value::Integer(-3))])
    }

    #[test]
    fn a_request_is_the_one_that_the_standard_shows() {
        let request = get_next(Version::V1, "public", 1, &[vec![1, 3, 6, 1, 2, 1]]);
        let expected = b"\x30\x23\x02\x01\x00\x04\x06public\xa1\x16\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00";
        assert_eq!(request, expected);
    }

    #[test]
    fn only_the_answer_to_this_request_counts() {
        let read = |datagram: &[u8]| response(datagram, Version::V2c, "public", 7, 4);
        let answer = read(&one(7)).unwrap().unwrap();
        assert_eq!(answer.variables, [(vec![1, 3, 6], Value::Integer(-3))]);
        assert_eq!(read(&one(8)), Ok(None), "another request");
        assert_eq!(read(&respond(Version::V1, "public", 7, (0, 0), &[])), Ok(None), "another version");
        assert_eq!(read(&respond(Version::V2c, "private", 7, (0, 0), &[])), Ok(None), "another community");
        assert_eq!(read(&get_next(Version::V2c, "public", 7, &[])), Ok(None), "a request");
    }

    #[test]
    fn a_cut_answer_and_too_many_variables_are_broken() {
        let whole = one(7);
        for cut in 0..whole.len() {
            assert_eq!(response(&whole[..cut], Version::V2c, "public", 7, 4), Err(Broken), "at {cut}");
        }
        let many: Vec<Variable> = (0..5).map(|arc| (vec![1, 3, arc], Value::Other)).collect();
        let many = respond(Version::V2c, "public", 7, (0, 0), &many);
        assert_eq!(response(&many, Version::V2c, "public", 7, 4), Err(Broken));
    }
}
