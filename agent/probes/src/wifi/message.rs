//! Messages of generic netlink and of nl80211, decoded without any system call, so that it is tested everywhere.

use super::Look;
use crate::network::netlink::{Progress, attributes, generic_request, walk};

const CONTROL_FAMILY: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NAME: &[u8] = b"nl80211\0";

const CMD_GET_INTERFACE: u8 = 5;
const CMD_GET_STATION: u8 = 17;
const CMD_GET_SURVEY: u8 = 50;
const ATTR_IFINDEX: u16 = 3;
const ATTR_IFNAME: u16 = 4;
const ATTR_IFTYPE: u16 = 5;
const ATTR_MAC: u16 = 6;
const ATTR_STA_INFO: u16 = 21;
const ATTR_WIPHY_FREQ: u16 = 38;
const ATTR_SSID: u16 = 52;
const ATTR_SURVEY_INFO: u16 = 84;
const IFTYPE_STATION: u32 = 2;
const STA_SIGNAL: u16 = 7;
const STA_TX_PACKETS: u16 = 10;
const STA_TX_RETRIES: u16 = 11;
const STA_SIGNAL_AVERAGE: u16 = 13;
const SURVEY_NOISE: u16 = 2;
const SURVEY_IN_USE: u16 = 3;
const SURVEY_TIME: u16 = 4;
const SURVEY_TIME_BUSY: u16 = 5;
/// The header of generic netlink: command, version, two reserved bytes.
const GENERIC_HEADER_BYTES: usize = 4;

/// An interface that is a station of some network, or could be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Station {
    pub(super) index: u32,
    pub(super) look: Look,
}

pub(super) fn family_request() -> Vec<u8> {
    generic_request(CONTROL_FAMILY, CTRL_CMD_GETFAMILY, false, &[(CTRL_ATTR_FAMILY_NAME, NAME)])
}

pub(super) fn interfaces_request(family: u16) -> Vec<u8> {
    generic_request(family, CMD_GET_INTERFACE, true, &[])
}

pub(super) fn station_request(family: u16, index: u32) -> Vec<u8> {
    generic_request(family, CMD_GET_STATION, true, &[(ATTR_IFINDEX, &index.to_ne_bytes())])
}

pub(super) fn survey_request(family: u16, index: u32) -> Vec<u8> {
    generic_request(family, CMD_GET_SURVEY, true, &[(ATTR_IFINDEX, &index.to_ne_bytes())])
}

/// The number that the kernel gave to nl80211.
pub(super) fn read_family(datagram: &[u8], found: &mut Option<u16>) -> Progress {
    let progress = walk(datagram, CONTROL_FAMILY, |payload| {
        let id = body(payload).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID);
        *found = id.and_then(|(_, value)| value.try_into().ok()).map(u16::from_ne_bytes).or(*found);
    });
    // This question has one answer and no end of a dump.
    if found.is_some() { Progress::Done } else { progress }
}

pub(super) fn read_interfaces(datagram: &[u8], family: u16, found: &mut Vec<Station>) -> Progress {
    walk(datagram, family, |payload| {
        let mut station = Station::default();
        let mut is_station = false;
        for (kind, value) in body(payload) {
            match kind {
                ATTR_IFINDEX => station.index = number(value).unwrap_or(0),
                ATTR_IFNAME => station.look.interface = text(value),
                ATTR_IFTYPE => is_station = number(value) == Some(IFTYPE_STATION),
                ATTR_WIPHY_FREQ => station.look.frequency_mhz = number(value),
                ATTR_SSID => station.look.ssid = Some(text(value)),
                _ => {}
            }
        }
        if is_station && station.index > 0 && !station.look.interface.is_empty() {
            found.push(station);
        }
    })
}

/// Puts the access point and the figures of the association into `look`. A station has one.
pub(super) fn read_station(datagram: &[u8], family: u16, look: &mut Look) -> Progress {
    walk(datagram, family, |payload| {
        for (kind, value) in body(payload) {
            match kind {
                ATTR_MAC => look.bssid = hardware_address(value),
                ATTR_STA_INFO => {
                    let mut average = None;
                    for (kind, value) in attributes(value) {
                        match kind {
                            STA_SIGNAL => look.signal_dbm = decibels(value),
                            STA_SIGNAL_AVERAGE => average = decibels(value),
                            STA_TX_PACKETS => look.frames = number(value).map(u64::from),
                            STA_TX_RETRIES => look.retries = number(value).map(u64::from),
                            _ => {}
                        }
                    }
                    look.signal_dbm = average.or(look.signal_dbm);
                }
                _ => {}
            }
        }
    })
}

/// Puts the figures of the channel in use into `look`.
pub(super) fn read_survey(datagram: &[u8], family: u16, look: &mut Look) -> Progress {
    walk(datagram, family, |payload| {
        let Some((_, survey)) = body(payload).find(|(kind, _)| *kind == ATTR_SURVEY_INFO) else { return };
        if !attributes(survey).any(|(kind, _)| kind == SURVEY_IN_USE) {
            return;
        }
        for (kind, value) in attributes(survey) {
            match kind {
                SURVEY_NOISE => look.noise_dbm = decibels(value),
                SURVEY_TIME => look.active_ms = long_number(value),
                SURVEY_TIME_BUSY => look.busy_ms = long_number(value),
                _ => {}
            }
        }
    })
}

fn body(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(payload.get(GENERIC_HEADER_BYTES..).unwrap_or_default())
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn long_number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_ne_bytes)
}

/// A byte with a sign.
fn decibels(value: &[u8]) -> Option<i32> {
    value.first().map(|byte| i32::from(byte.cast_signed()))
}

/// Names may hold any bytes; a network's name is whatever its owner, or an attacker next door, typed.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

fn hardware_address(value: &[u8]) -> Option<String> {
    (value.len() == 6).then(|| value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: u16 = 28;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = [vec![7, 1, 0, 0], attributes.concat()].concat();
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(&body);
        bytes
    }

    fn station() -> Vec<u8> {
        let info = [
            attribute(STA_SIGNAL, &[(-71_i8).cast_unsigned()]),
            attribute(STA_SIGNAL_AVERAGE, &[(-68_i8).cast_unsigned()]),
            attribute(STA_TX_PACKETS, &5000_u32.to_ne_bytes()),
            attribute(STA_TX_RETRIES, &700_u32.to_ne_bytes()),
        ];
        // Nested attributes carry a flag in their kind.
        let nested = attribute(0x8000 | ATTR_STA_INFO, &info.concat());
        message(FAMILY, &[attribute(ATTR_MAC, &[2, 0xfc, 0, 0, 0, 9]), nested])
    }

    #[test]
    fn the_number_of_the_family_is_read_from_its_answer() {
        let mut found = None;
        let answer = message(CONTROL_FAMILY, &[attribute(CTRL_ATTR_FAMILY_ID, &FAMILY.to_ne_bytes())]);
        assert_eq!(read_family(&answer, &mut found), Progress::Done);
        assert_eq!(found, Some(FAMILY));
    }

    #[test]
    fn only_stations_are_interfaces_of_interest() {
        let interface = |kind: u32| {
            message(
                FAMILY,
                &[
                    attribute(ATTR_IFINDEX, &3_u32.to_ne_bytes()),
                    attribute(ATTR_IFNAME, b"wlan0\0"),
                    attribute(ATTR_IFTYPE, &kind.to_ne_bytes()),
                    attribute(ATTR_WIPHY_FREQ, &5180_u32.to_ne_bytes()),
                    attribute(ATTR_SSID, b"caf\xc3\xa9 \xff"),
                ],
            )
        };
        let mut found = Vec::new();
        let access_point = 3;
        read_interfaces(&[interface(access_point), interface(IFTYPE_STATION)].concat(), FAMILY, &mut found);
        assert_eq!((found.len(), found[0].index), (1, 3));
        assert_eq!(found[0].look.interface, "wlan0");
        assert_eq!(found[0].look.ssid.as_deref(), Some("café \u{fffd}"));
        assert_eq!(found[0].look.frequency_mhz, Some(5180));
    }

    #[test]
    fn the_average_signal_outranks_the_last_frame() {
        let mut look = Look::default();
        read_station(&station(), FAMILY, &mut look);
        assert_eq!(look.bssid.as_deref(), Some("02:fc:00:00:00:09"));
        assert_eq!((look.signal_dbm, look.frames, look.retries), (Some(-68), Some(5000), Some(700)));
    }

    #[test]
    fn only_the_channel_in_use_is_surveyed() {
        let survey = |in_use: bool, busy: u64| {
            let mut info = vec![
                attribute(SURVEY_NOISE, &[(-92_i8).cast_unsigned()]),
                attribute(SURVEY_TIME, &10_000_u64.to_ne_bytes()),
                attribute(SURVEY_TIME_BUSY, &busy.to_ne_bytes()),
            ];
            if in_use {
                info.push(attribute(SURVEY_IN_USE, &[]));
            }
            message(FAMILY, &[attribute(ATTR_SURVEY_INFO, &info.concat())])
        };
        let mut look = Look::default();
        read_survey(&[survey(true, 6_000), survey(false, 1)].concat(), FAMILY, &mut look);
        assert_eq!((look.noise_dbm, look.active_ms, look.busy_ms), (Some(-92), Some(10_000), Some(6_000)));
    }

    #[test]
    fn every_truncation_is_survived() {
        let whole = station();
        for end in 0..whole.len() {
            read_station(&whole[..end], FAMILY, &mut Look::default());
            read_interfaces(&whole[..end], FAMILY, &mut Vec::new());
            read_survey(&whole[..end], FAMILY, &mut Look::default());
            read_family(&whole[..end], &mut None);
        }
    }
}
