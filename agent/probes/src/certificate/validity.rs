//! When a certificate ends (RFC 5280 4.1): the one thing that is wanted of it, so the rest is stepped over and not understood.

use crate::ber::{self, Broken, Reader};
use firstline_model::Timestamp;
use std::time::Duration;

/// `version` has a number of its own and may be left out.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last moment at which a certificate, given in DER, is valid.
pub(super) fn end(der: &[u8]) -> Result<Timestamp, Broken> {
    let mut whole = Reader::new(der);
    let mut signed = Reader::new(whole.expect(ber::SEQUENCE)?);
    let mut to_be_signed = Reader::new(signed.expect(ber::SEQUENCE)?);
    let (first, _) = to_be_signed.element()?;
    let serial_number = if first == VERSION { to_be_signed.element()?.0 } else { first };
    if serial_number != ber::INTEGER {
        return Err(Broken);
    }
    let _algorithm = to_be_signed.expect(ber::SEQUENCE)?;
    let _issuer = to_be_signed.expect(ber::SEQUENCE)?;
    let mut validity = Reader::new(to_be_signed.expect(ber::SEQUENCE)?);
    let _begin = validity.element()?;
    let (kind, text) = validity.element()?;
    moment(kind, text).ok_or(Broken)
}

/// A time of one of the two kinds; both are in UTC and to the second (RFC 5280 4.1.2.5).
fn moment(kind: u8, text: &[u8]) -> Option<Timestamp> {
    let mut digits = text.strip_suffix(b"Z")?;
    let mut number = |length: usize| {
        let (taken, rest) = digits.split_at_checked(length)?;
        digits = rest;
        taken.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let year = match kind {
        GENERALIZED_TIME => number(4)?,
        UTC_TIME => {
            let of_century = number(2)?;
            of_century + if of_century < 50 { 2000 } else { 1900 }
        }
        _ => return None,
    };
    let (month, day) = (number(2)?, number(2)?);
    let (hour, minute, second) = (number(2)?, number(2)?, number(2)?);
    // Some have a leap second.
    if !digits.is_empty() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let of_day = u64::try_from(hour * 3600 + minute * 60 + second).ok()?;
    Some(Timestamp::from_date(year, month, day)?.plus(Duration::from_secs(of_day)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn it_is_the_end_that_another_reader_finds() {
        let key = KeyPair::generate().unwrap();
        // Before 2050 the one kind of time is used, from then on the other.
        for year in [1951, 1999, 2000, 2026, 2049, 2050, 2400, 9999] {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(1950, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 2, 28);
            let certificate = params.self_signed(&key).unwrap();
            let (_, read) = X509Certificate::from_der(certificate.der()).unwrap();
            let theirs = read.validity().not_after.timestamp() * 1000;
            assert_eq!(end(certificate.der()).unwrap().as_millis(), theirs, "{year}");
        }
    }

    #[test]
    fn times_are_read_to_the_second_and_those_that_do_not_exist_are_none() {
        let at = |kind, text: &str| moment(kind, text.as_bytes()).map(|moment| moment.to_string());
        assert_eq!(at(UTC_TIME, "491231235959Z").as_deref(), Some("2049-12-31T23:59:59.000Z"));
        assert_eq!(at(UTC_TIME, "500101000000Z").as_deref(), Some("1950-01-01T00:00:00.000Z"));
        assert_eq!(at(GENERALIZED_TIME, "99991231235959Z").as_deref(), Some("9999-12-31T23:59:59.000Z"));
        for text in
            ["", "Z", "260230000000Z", "260101240000Z", "260101006000Z", "2601010000Z", "260101000000"]
        {
            assert_eq!(at(UTC_TIME, text), None, "{text}");
        }
        for text in [
            "260101000000Z",
            "20260101000000+0100",
            "2026010100000 Z",
            "-0260101000000Z",
            "20260101000000.5Z",
        ] {
            assert_eq!(at(GENERALIZED_TIME, text), None, "{text}");
        }
        assert_eq!(at(ber::OCTETS, "260101000000Z"), None);
    }

    #[test]
    fn what_is_no_certificate_is_broken_wherever_it_differs() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let der = made.cert.der();
        assert!(end(der).is_ok());
        assert_eq!(end(&[]), Err(Broken));
        for at in 0..der.len() {
            let mut damaged = der.to_vec();
            damaged[at] ^= 0xff;
            // It may still have an end, when the damage is elsewhere; it may not do harm.
            let _ = end(&damaged);
        }
        for tag in 0..=u8::MAX {
            let mut other = der.to_vec();
            other[0] = tag;
            assert_eq!(end(&other).is_ok(), tag == ber::SEQUENCE, "{tag:#x}");
        }
    }
}
