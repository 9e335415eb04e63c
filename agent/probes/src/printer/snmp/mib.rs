//! The objects of the two MIBs that are read, and what their numbers mean. What a printer reports becomes the keywords
//! of IPP, so that a jam is one and the same reason however it was heard of.

use super::Agent;
use super::message::Value;
use super::walk::{self, Rows};
use crate::ProbeError;
use crate::printer::reasons::Reason;
use crate::printer::supplies::{self, Level, Supply};
use firstline_model::{Value as Document, order};

const HR_DEVICE_DESCRIPTION: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 3];
const HR_DEVICE_STATUS: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 3, 2, 1, 5];
const HR_PRINTER_STATUS: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 3, 5, 1, 1];
const HR_PRINTER_ERRORS: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 3, 5, 1, 2];
const GENERAL_SERIAL: &[u32] = &[1, 3, 6, 1, 2, 1, 43, 5, 1, 1, 17];
const MARKER_LIFE_COUNT: &[u32] = &[1, 3, 6, 1, 2, 1, 43, 10, 2, 1, 4];
/// Class, type, description, unit, capacity and level of a supply.
const SUPPLY_COLUMNS: &[&[u32]] = &[
    &[1, 3, 6, 1, 2, 1, 43, 11, 1, 1, 4],
    &[1, 3, 6, 1, 2, 1, 43, 11, 1, 1, 5],
    &[1, 3, 6, 1, 2, 1, 43, 11, 1, 1, 6],
    &[1, 3, 6, 1, 2, 1, 43, 11, 1, 1, 7],
    &[1, 3, 6, 1, 2, 1, 43, 11, 1, 1, 8],
    &[1, 3, 6, 1, 2, 1, 43, 11, 1, 1, 9],
];
/// Severity, group, code and description of an alert.
const ALERT_COLUMNS: &[&[u32]] = &[
    &[1, 3, 6, 1, 2, 1, 43, 18, 1, 1, 2],
    &[1, 3, 6, 1, 2, 1, 43, 18, 1, 1, 4],
    &[1, 3, 6, 1, 2, 1, 43, 18, 1, 1, 7],
    &[1, 3, 6, 1, 2, 1, 43, 18, 1, 1, 8],
];
const MAX_ALERTS: usize = 24;
const MAX_TEXT_BYTES: usize = 255;

const CLASS_RECEPTACLE: i64 = 4;
const UNIT_PERCENT: i64 = 19;
const GROUP_INPUT: i64 = 8;
const GROUP_OUTPUT: i64 = 9;
const GROUP_SUPPLIES: i64 = 11;

/// The state of the printer as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// `hrDeviceStatus`: `unknown`, `running`, `warning`, `testing`, `down`.
    pub(crate) device: &'static str,
    /// `hrPrinterStatus`: `other`, `unknown`, `idle`, `printing`, `warmup`.
    pub(crate) printer: &'static str,
    /// The names of the bits of `hrPrinterDetectedErrorState`.
    pub(crate) errors: Vec<&'static str>,
    /// Its number among the devices of its agent.
    index: u32,
}

/// One line of the printer's alert table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alert {
    severity: &'static str,
    keyword: Option<&'static str>,
    code: i64,
    text: Option<String>,
}

/// Everything that a printer said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) status: Status,
    pub(crate) supplies: Vec<Supply>,
    pub(crate) serial: Option<String>,
    pub(crate) model: Option<String>,
    /// Pages since it was made.
    pub(crate) pages: Option<i64>,
    alerts: Vec<Alert>,
    /// Why a table is missing.
    incomplete: Option<String>,
}

/// Reads the status: one request, two where the agent describes other devices before the printer.
pub(super) fn status(agent: &mut dyn Agent) -> Result<Status, ProbeError> {
    let found = walk::first_below(agent, &[HR_PRINTER_STATUS, HR_PRINTER_ERRORS, HR_DEVICE_STATUS], None)?;
    let [printer, errors, device] = found.as_slice() else {
        return Err(ProbeError::Malformed("the printer's SNMP agent answers a part".to_owned()));
    };
    let first = printer.as_ref().or(errors.as_ref());
    let Some(&index) = first.and_then(|(row, _)| row.first()) else {
        return Err(ProbeError::NotPresent("the SNMP agent at this address describes no printer".to_owned()));
    };
    let device = match device {
        Some((row, value)) if row.first() == Some(&index) => value.number(),
        Some(_) | None => {
            let mut again = walk::first_below(agent, &[HR_DEVICE_STATUS], Some(index))?;
            again.pop().flatten().and_then(|(_, value)| value.number())
        }
    };
    let errors = errors.as_ref().filter(|(row, _)| row.first() == Some(&index));
    Ok(Status {
        device: match device {
            Some(2) => "running",
            Some(3) => "warning",
            Some(4) => "testing",
            Some(5) => "down",
            Some(_) | None => "unknown",
        },
        printer: match printer.as_ref().and_then(|(_, value)| value.number()) {
            Some(1) => "other",
            Some(3) => "idle",
            Some(4) => "printing",
            Some(5) => "warmup",
            Some(_) | None => "unknown",
        },
        errors: error_bits(errors.and_then(|(_, value)| value.octets()).unwrap_or_default()),
        index,
    })
}

/// Reads the tables. One that cannot be read does not cost what is known already.
pub(super) fn tables(agent: &mut dyn Agent, status: Status) -> Result<Said, ProbeError> {
    let mut said = Said {
        supplies: Vec::new(),
        serial: None,
        model: None,
        pages: None,
        alerts: Vec::new(),
        incomplete: None,
        status,
    };
    let index = said.status.index;
    let mut read = || -> Result<(), ProbeError> {
        said.supplies = supplies_of(&walk::columns(agent, SUPPLY_COLUMNS, supplies::MAX_SUPPLIES)?);
        said.alerts = alerts_of(&walk::columns(agent, ALERT_COLUMNS, MAX_ALERTS)?);
        let wanted = [GENERAL_SERIAL, HR_DEVICE_DESCRIPTION, MARKER_LIFE_COUNT];
        let mut found = walk::first_below(agent, &wanted, Some(index))?.into_iter();
        let mut next = || found.next().flatten().map(|(_, value)| value);
        said.serial = next().as_ref().and_then(text);
        said.model = next().as_ref().and_then(text);
        said.pages = next().and_then(|value| value.number()).filter(|pages| *pages >= 0);
        Ok(())
    };
    if let Err(why) = read() {
        said.incomplete = Some(why.detail().to_owned());
    }
    Ok(said)
}

/// Bit 0 is the highest bit of the first octet (RFC 2790); what comes after the second octet has no meaning.
fn error_bits(octets: &[u8]) -> Vec<&'static str> {
    const NAMES: [&str; 15] = [
        "lowPaper",
        "noPaper",
        "lowToner",
        "noToner",
        "doorOpen",
        "jammed",
        "offline",
        "serviceRequested",
        "inputTrayMissing",
        "outputTrayMissing",
        "markerSupplyMissing",
        "outputNearFull",
        "outputFull",
        "inputTrayEmpty",
        "overduePreventMaint",
    ];
    let is_set = |bit: usize| octets.get(bit / 8).is_some_and(|octet| octet & (0x80 >> (bit % 8)) != 0);
    NAMES.into_iter().enumerate().filter(|(bit, _)| is_set(*bit)).map(|(_, name)| name).collect()
}

fn supplies_of(rows: &Rows) -> Vec<Supply> {
    let mut found: Vec<Supply> = rows
        .values()
        .take(supplies::MAX_SUPPLIES)
        .enumerate()
        .map(|(at, cells)| {
            let number = |column: usize| cells.get(column)?.as_ref()?.number();
            let small = |column: usize| number(column).and_then(|number| i32::try_from(number).ok());
            let description = cells.get(2).and_then(Option::as_ref).and_then(text);
            let capacity = match small(4) {
                Some(capacity) if capacity > 0 => capacity,
                Some(_) | None if number(3) == Some(UNIT_PERCENT) => 100,
                Some(_) | None => -2,
            };
            Supply {
                name: supplies::named(description.as_deref().unwrap_or_default(), at),
                kind: number(1).and_then(supply_type).map(str::to_owned),
                level: small(5).map_or(Level::Unknown, |level| supplies::level_of(level, capacity)),
                low: None,
                receptacle: number(0) == Some(CLASS_RECEPTACLE),
            }
        })
        .collect();
    supplies::tell_apart(&mut found);
    found
}

/// `prtMarkerSuppliesType`, for the types that people replace.
fn supply_type(number: i64) -> Option<&'static str> {
    Some(match number {
        3 => "toner",
        4 => "wasteToner",
        5 => "ink",
        6 => "inkCartridge",
        7 => "inkRibbon",
        8 => "wasteInk",
        9 => "opc",
        10 => "developer",
        11 => "fuserOil",
        12 => "solidWax",
        13 => "ribbonWax",
        14 => "wasteWax",
        15 => "fuser",
        16 => "coronaWire",
        17 => "fuserOilWick",
        18 => "cleanerUnit",
        19 => "fuserCleaningPad",
        20 => "transferUnit",
        21 => "tonerCartridge",
        22 => "fuserOiler",
        32 => "staples",
        _ => return None,
    })
}

fn alerts_of(rows: &Rows) -> Vec<Alert> {
    rows.values()
        .map(|cells| {
            let number = |column: usize| cells.get(column).and_then(Option::as_ref).and_then(Value::number);
            let code = number(2).unwrap_or(0);
            Alert {
                severity: match number(0) {
                    Some(3) => "critical",
                    Some(4 | 5) => "warning",
                    Some(_) | None => "other",
                },
                keyword: keyword_of_alert(code, number(1).unwrap_or(0)),
                code,
                text: cells.get(3).and_then(Option::as_ref).and_then(text),
            }
        })
        .collect()
}

/// The keyword of `prtAlertCode`, for codes that say what a person can do. General codes need the group of the part.
fn keyword_of_alert(code: i64, group: i64) -> Option<&'static str> {
    Some(match (code, group) {
        (3 | 501, _) => "cover-open",
        (5, _) => "interlock-open",
        (8, _) => "media-jam",
        (801, _) | (9, GROUP_INPUT) => "input-tray-missing",
        (807, _) | (12, GROUP_INPUT) => "media-low",
        (808, _) | (13, GROUP_INPUT) => "media-empty",
        (809 | 810, _) => "media-needed",
        (901, _) | (9, GROUP_OUTPUT) => "output-tray-missing",
        (902, _) | (14, GROUP_OUTPUT) => "output-area-almost-full",
        (903, _) | (15, GROUP_OUTPUT) => "output-area-full",
        (1001, _) => "fuser-under-temp",
        (1002, _) => "fuser-over-temp",
        (1101, _) => "toner-empty",
        (1102 | 1103, _) | (13, GROUP_SUPPLIES) => "marker-supply-empty",
        (1104, _) => "toner-low",
        (1105 | 1106, _) | (12, GROUP_SUPPLIES) => "marker-supply-low",
        (1107 | 1108, _) | (14, GROUP_SUPPLIES) => "marker-waste-almost-full",
        (1109 | 1110, _) | (15, GROUP_SUPPLIES) => "marker-waste-full",
        (1111, _) => "opc-near-eol",
        (1112, _) => "opc-life-over",
        (1113, _) => "developer-low",
        (1114, _) => "developer-empty",
        (1115, _) | (9, GROUP_SUPPLIES) => "marker-supply-missing",
        (1509, _) => "interpreter-resource-unavailable",
        _ => return None,
    })
}

/// The keyword of an error bit. `offline` and `serviceRequested` are set by healthy printers too and stay without one;
/// overdue maintenance has no word in IPP.
fn keyword_of_bit(bit: &str) -> Option<&'static str> {
    Some(match bit {
        "lowPaper" => "media-low",
        "noPaper" | "inputTrayEmpty" => "media-empty",
        "lowToner" => "toner-low",
        "noToner" => "toner-empty",
        "doorOpen" => "cover-open",
        "jammed" => "media-jam",
        "inputTrayMissing" => "input-tray-missing",
        "outputTrayMissing" => "output-tray-missing",
        "markerSupplyMissing" => "marker-supply-missing",
        "outputNearFull" => "output-area-almost-full",
        "outputFull" => "output-area-full",
        _ => return None,
    })
}

/// Octets as text, without what no display shows; nothing when there is none.
fn text(value: &Value) -> Option<String> {
    let text = String::from_utf8_lossy(value.octets()?).into_owned();
    let shown: String = text.chars().filter(|c| !c.is_control()).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown[..shown.floor_char_boundary(MAX_TEXT_BYTES)].to_owned())
}

impl Said {
    /// What is wrong, as IPP would say it. A printer that is down says errors; one that still prints says warnings.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let whole = if self.status.device == "down" { "error" } else { "warning" };
        // Levels say more than the two toner bits, which some printers set for any cartridge that is not the maker's.
        let consumed = || self.supplies.iter().filter(|supply| !supply.receptacle);
        let levels_are_known =
            consumed().next().is_some() && consumed().all(|supply| supply.share_left().is_some());
        let bits = self
            .status
            .errors
            .iter()
            .filter(|bit| !(levels_are_known && matches!(**bit, "lowToner" | "noToner")))
            .filter_map(|bit| keyword_of_bit(bit))
            .map(|keyword| (keyword, whole));
        let alerts = self.alerts.iter().filter_map(|alert| {
            let severity = match alert.severity {
                "critical" => "error",
                "warning" => "warning",
                _ => return None,
            };
            Some((alert.keyword?, severity))
        });
        let texts = bits.chain(alerts).map(|(keyword, severity)| format!("{keyword}-{severity}"));
        let mut reasons: Vec<Reason> = texts.filter_map(|text| Reason::parse(&text)).collect();
        order::sort_by(&mut reasons, Ord::cmp);
        reasons.dedup();
        reasons
    }

    /// Whether every table was read, so that what is not named is not there.
    pub(crate) const fn is_complete(&self) -> bool {
        self.incomplete.is_none()
    }

    /// The part of the printer's document that only SNMP tells.
    pub(crate) fn document(&self) -> Document {
        let alerts = self.alerts.iter().map(|alert| {
            let mut pairs = vec![
                ("severity", Document::from(alert.severity)),
                ("code", Document::from(alert.code as f64)),
            ];
            pairs.extend(alert.keyword.map(|keyword| ("keyword", Document::from(keyword))));
            pairs.extend(alert.text.clone().map(|text| ("text", Document::from(text))));
            Document::map(pairs)
        });
        let mut pairs = vec![
            ("device_status", Document::from(self.status.device)),
            ("printer_status", Document::from(self.status.printer)),
            ("errors", Document::texts(self.status.errors.iter().map(|&name| name.to_owned()))),
            ("alerts", Document::List(alerts.collect())),
        ];
        pairs.extend(self.incomplete.clone().map(|why| ("incomplete_because", Document::from(why))));
        Document::map(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::Recording;
    use super::*;

    fn said(recording: &str) -> Said {
        let mut agent = Recording::parse(recording).unwrap();
        let status = status(&mut agent).unwrap();
        tables(&mut agent, status).unwrap()
    }

    const DOWN: &str = "1.3.6.1.2.1.25.3.2.1.5.1|2|5\n1.3.6.1.2.1.25.3.5.1.1.1|2|1\n";

    #[test]
    fn special_levels_stay_apart_and_are_no_shares() {
        let said = said(
            "1.3.6.1.2.1.25.3.5.1.1.1|2|3\n\
             1.3.6.1.2.1.43.11.1.1.4.1.1|2|3\n1.3.6.1.2.1.43.11.1.1.4.1.2|2|3\n1.3.6.1.2.1.43.11.1.1.4.1.3|2|4\n\
             1.3.6.1.2.1.43.11.1.1.6.1.1|4|Black Toner\n1.3.6.1.2.1.43.11.1.1.6.1.2|4|Drum\n\
             1.3.6.1.2.1.43.11.1.1.7.1.1|2|13\n1.3.6.1.2.1.43.11.1.1.7.1.2|2|7\n1.3.6.1.2.1.43.11.1.1.7.1.4|2|19\n\
             1.3.6.1.2.1.43.11.1.1.8.1.1|2|-2\n1.3.6.1.2.1.43.11.1.1.8.1.2|2|12000\n1.3.6.1.2.1.43.11.1.1.8.1.4|2|-2\n\
             1.3.6.1.2.1.43.11.1.1.9.1.1|2|-3\n1.3.6.1.2.1.43.11.1.1.9.1.2|2|11501\n1.3.6.1.2.1.43.11.1.1.9.1.3|2|-1\n\
             1.3.6.1.2.1.43.11.1.1.9.1.4|2|40\n1.3.6.1.2.1.43.11.1.1.9.1.5|2|-2\n",
        );
        let levels: Vec<(&str, Level)> =
            said.supplies.iter().map(|supply| (supply.name.as_str(), supply.level)).collect();
        let expected = [
            ("Black Toner", Level::SomeLeft),
            ("Drum", Level::Share(11_501.0 / 12_000.0)),
            ("supply 3", Level::Unavailable),
            ("supply 4", Level::Share(0.4)),
            ("supply 5", Level::Unknown),
        ];
        assert_eq!(levels, expected);
        assert!(said.supplies[2].receptacle);
        assert_eq!(said.supplies[0].share_left(), None, "something is left, nobody knows how much");
    }

    #[test]
    fn bits_are_counted_from_the_highest_and_short_or_long_strings_are_understood() {
        assert_eq!(error_bits(&[]), Vec::<&str>::new());
        assert_eq!(error_bits(&[0x04]), ["jammed"]);
        assert_eq!(error_bits(&[0x40, 0x0c, 0xff]), ["noPaper", "outputFull", "inputTrayEmpty"]);
        assert_eq!(error_bits(&[0xff, 0xff]).len(), 15);
    }

    #[test]
    fn a_jam_is_the_same_word_as_over_ipp() {
        let reasons = |text: &str| said(&format!("{DOWN}{text}")).reasons();
        let jam = Reason::parse("media-jam-error").unwrap();
        assert_eq!(reasons("1.3.6.1.2.1.25.3.5.1.2.1|4x|0400\n"), std::slice::from_ref(&jam));
        let table = "1.3.6.1.2.1.43.18.1.1.2.1.7|2|3\n1.3.6.1.2.1.43.18.1.1.4.1.7|2|13\n\
                     1.3.6.1.2.1.43.18.1.1.7.1.7|2|8\n1.3.6.1.2.1.43.18.1.1.8.1.7|4|Jam in tray 2\n";
        assert_eq!(reasons(table), [jam]);
    }

    #[test]
    fn offline_and_service_requested_alone_are_no_reason() {
        let said = said(&format!("{DOWN}1.3.6.1.2.1.25.3.5.1.2.1|4x|03\n"));
        assert_eq!(said.status.errors, ["offline", "serviceRequested"]);
        assert_eq!(said.reasons(), []);
    }

    #[test]
    fn known_levels_outrank_the_toner_bits() {
        let bits = "1.3.6.1.2.1.25.3.5.1.1.1|2|3\n1.3.6.1.2.1.25.3.5.1.2.1|4x|30\n";
        assert_eq!(said(bits).reasons().len(), 2);
        let level = "1.3.6.1.2.1.43.11.1.1.4.1.1|2|3\n1.3.6.1.2.1.43.11.1.1.8.1.1|2|100\n1.3.6.1.2.1.43.11.1.1.9.1.1|2|80\n";
        assert_eq!(said(&format!("{bits}{level}")).reasons(), []);
    }

    #[test]
    fn the_printer_is_found_behind_other_devices_of_its_agent() {
        let text = "1.3.6.1.2.1.25.3.2.1.3.1|4|Processor\n1.3.6.1.2.1.25.3.2.1.3.9|4|LaserJet\n\
                    1.3.6.1.2.1.25.3.2.1.5.1|2|2\n1.3.6.1.2.1.25.3.2.1.5.9|2|5\n1.3.6.1.2.1.25.3.5.1.1.9|2|1\n\
                    1.3.6.1.2.1.43.5.1.1.17.9|4|SN-1\n1.3.6.1.2.1.43.10.2.1.4.9.1|65|1234\n";
        let said = said(text);
        assert_eq!((said.status.device, said.model.as_deref()), ("down", Some("LaserJet")));
        assert_eq!((said.serial.as_deref(), said.pages), (Some("SN-1"), Some(1234)));
    }

    #[test]
    fn an_agent_without_a_printer_is_not_present() {
        let mut agent = Recording::parse("1.3.6.1.2.1.1.5.0|4|switch\n").unwrap();
        assert!(matches!(status(&mut agent), Err(ProbeError::NotPresent(_))));
    }
}
