//! Which device stands behind a queue, so that computers that call the same printer differently speak of one thing.
//!
//! The device's own UUID says it best, its serial number next, and its address where it says neither. What is known once
//! is kept while the queue leads to the same place: a printer that is silent is still the same printer.

use crate::printer::Examined;
use crate::printer::device::DeviceUri;
use crate::printer::queue::Queue;
use firstline_model::order;
use std::net::IpAddr;

const MAX_SERIAL_BYTES: usize = 64;
/// Shorter ones, and ones of fewer different characters, are what makers write who give none.
const MIN_SERIAL_BYTES: usize = 6;
const MIN_DIFFERENT: usize = 3;

/// A device's identity; a greater one is a better one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity {
    /// Its address, with the port where it is not that of one printer's usual services.
    Address(String),
    /// Its maker's number.
    Serial(String),
    /// In lower case, with hyphens.
    Uuid(String),
}

impl Identity {
    /// The identity as it is reported: `uuid:...`, `serial:...` or `address:...`.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Address(text) => format!("address:{text}"),
            Self::Serial(text) => format!("serial:{text}"),
            Self::Uuid(text) => format!("uuid:{text}"),
        }
    }

    /// The best that a device and the queue's address for it say; `None` when nothing of it is believable.
    pub(super) fn of(examined: &Examined, device: Option<&Queue>) -> Option<Self> {
        let uri = examined.queue.device_uri.as_deref();
        let said = device.and_then(|device| uuid(device.uuid.as_deref()?));
        let over_snmp = examined.snmp.as_ref().and_then(|known| known.said().ok()?.serial.as_deref());
        said.or_else(|| uuid(parameter(uri?, "uuid")?))
            .or_else(|| serial(over_snmp?))
            .or_else(|| serial(parameter(uri?, "serial")?))
            .or_else(|| {
                let address = examined.contact.as_ref().ok()?.address.filter(is_of_one_host)?;
                DeviceUri::parse(uri?).ok()?.place(address).map(Self::Address)
            })
    }
}

fn uuid(text: &str) -> Option<Identity> {
    let text = text.to_ascii_lowercase();
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_hexadecimal = || parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_one = lengths == [8, 4, 4, 4, 12] && is_hexadecimal() && is_varied(&text);
    is_one.then_some(Identity::Uuid(text))
}

fn serial(text: &str) -> Option<Identity> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = (MIN_SERIAL_BYTES..=MAX_SERIAL_BYTES).contains(&text.len());
    (is_plain && fits && is_varied(text)).then(|| Identity::Serial(text.to_owned()))
}

fn is_varied(text: &str) -> bool {
    order::set(text.bytes().filter(u8::is_ascii_alphanumeric)).len() >= MIN_DIFFERENT
}

/// A parameter of a URI: `uuid` of printers that were found by DNS-SD, `serial` of those behind USB.
fn parameter<'uri>(uri: &'uri str, wanted: &str) -> Option<&'uri str> {
    let (_, query) = uri.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted))
        .map(|pair| pair.1)
}

/// Whether an address means the same host to everybody on a network.
fn is_of_one_host(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_unspecified() || v4.is_link_local()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_better_than_a_serial_number_and_that_is_better_than_an_address() {
        let uuid = Identity::Uuid("f119f7ed-31f1-3647-5d3d-79b700c9950a".to_owned());
        let serial = Identity::Serial("zzzzzzz-9".to_owned());
        let address = Identity::Address("203.0.113.9".to_owned());
        assert!(uuid > serial && serial > address);
        assert_eq!(uuid.text(), "uuid:f119f7ed-31f1-3647-5d3d-79b700c9950a");
    }

    #[test]
    fn what_makers_write_instead_of_an_identity_is_none() {
        assert_eq!(
            uuid("F119F7ED-31F1-3647-5D3D-79B700C9950A").unwrap().text(),
            "uuid:f119f7ed-31f1-3647-5d3d-79b700c9950a"
        );
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "f119f7ed31f136475d3d79b700c9950a",
            "f119f7ed-31f1-3647-5d3d-79b700c9950g",
            "",
            "-----",
        ] {
            assert_eq!(uuid(text), None, "{text}");
        }
        assert_eq!(serial(" VNB3C12345 ").unwrap().text(), "serial:VNB3C12345");
        let long = "ab1".repeat(22);
        for text in ["000000000", "XXXXXXXXX", "N/A", "12345", "SN\u{202e}471100", "SN 4711", &long, ""] {
            assert_eq!(serial(text), None, "{text}");
        }
    }

    #[test]
    fn uris_of_printers_that_are_not_asked_name_the_device_too() {
        let uri = "dnssd://HP%20LaserJet._ipp._tcp.local/?uuid=f119f7ed-31f1-3647-5d3d-79b700c9950a";
        assert_eq!(parameter(uri, "uuid"), Some("f119f7ed-31f1-3647-5d3d-79b700c9950a"));
        assert_eq!(
            parameter("usb://HP/LaserJet?interface=1&serial=VNB3C12345", "serial"),
            Some("VNB3C12345")
        );
        assert_eq!(parameter("ipp://host/ipp/print", "uuid"), None);
    }

    #[test]
    fn addresses_that_mean_another_host_on_each_computer_are_none() {
        for (text, expected) in [
            ("203.0.113.9", true),
            ("192.168.1.9", true),
            ("127.0.0.1", false),
            ("169.254.7.7", false),
            ("::1", false),
            ("fe80::9", false),
            ("fd00::9", true),
        ] {
            assert_eq!(is_of_one_host(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
