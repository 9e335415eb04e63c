//! Events as the Windows event log renders them (`EvtRenderEventXml`), and what a few of them mean. Programs write their
//! own events, so every text in them is a stranger's.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event as Xml};

/// An event with more data than this is no event of the system.
const MAX_DATA: usize = 64;
const MAX_TEXT_BYTES: usize = 2048;
const MAX_DEPTH: usize = 16;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Who wrote it: `Microsoft-Windows-Kernel-Power`, `disk`, `Application Error`.
    pub provider: String,
    /// Its number, which means something together with the provider only.
    pub id: u32,
    /// Its number in its channel.
    pub record: u64,
    /// When it was written, as in the log.
    pub time: String,
    data: Vec<(Option<String>, String)>,
}

impl Event {
    /// Reads one event.
    pub fn parse(xml: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(xml);
        let mut event = Self::default();
        let mut path: Vec<String> = Vec::new();
        loop {
            match reader.read_event().map_err(|error| format!("the event is no XML: {error}"))? {
                Xml::Start(element) => {
                    if path.len() == MAX_DEPTH {
                        return Err("the event is nested too deeply".to_owned());
                    }
                    event.begin(&element)?;
                    path.push(name_of(&element));
                }
                Xml::Empty(element) => event.begin(&element)?,
                Xml::Text(text) => {
                    event.add(&path, &text.xml10_content())?;
                }
                // `&lt;` and the like; what is no character is left out.
                Xml::GeneralRef(reference) => {
                    let character = match reference.resolve_char_ref() {
                        Ok(Some(character)) => Some(character),
                        Ok(None) | Err(_) => quick_xml::escape::resolve_xml_entity(&reference)
                            .and_then(|text| text.chars().next()),
                    };
                    if let Some(character) = character {
                        event.add(&path, character.encode_utf8(&mut [0; 4]))?;
                    }
                }
                Xml::End(_) => drop(path.pop()),
                Xml::Eof => break,
                Xml::CData(_) | Xml::Comment(_) | Xml::Decl(_) | Xml::PI(_) | Xml::DocType(_) => {}
            }
        }
        if event.provider.is_empty() || !path.is_empty() {
            return Err("the event has no provider or is cut off".to_owned());
        }
        Ok(event)
    }

    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        match name_of(element).as_str() {
            "Provider" => self.provider = attribute(element, "Name").unwrap_or_default(),
            "TimeCreated" => self.time = attribute(element, "SystemTime").unwrap_or_default(),
            "Data" => {
                if self.data.len() == MAX_DATA {
                    return Err("the event has too much data".to_owned());
                }
                self.data.push((attribute(element, "Name"), String::new()));
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, path: &[String], text: &str) -> Result<(), String> {
        match path.last().map(String::as_str) {
            Some("EventID") => {
                self.id = text.trim().parse().map_err(|_| "the event's number is none".to_owned())?;
            }
            Some("EventRecordID") => {
                self.record = text.trim().parse().map_err(|_| "the record's number is none".to_owned())?;
            }
            Some("Data") => {
                if let Some((_, data)) = self.data.last_mut() {
                    let room = MAX_TEXT_BYTES.saturating_sub(data.len());
                    data.push_str(&text[..text.floor_char_boundary(room)]);
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Data by its name.
    pub fn named(&self, name: &str) -> Option<&str> {
        let found = self.data.iter().find(|(of, _)| of.as_deref() == Some(name))?;
        Some(found.1.trim()).filter(|text| !text.is_empty())
    }

    /// Data by its place, for programs that name none.
    pub fn nth(&self, at: usize) -> Option<&str> {
        Some(self.data.get(at)?.1.trim()).filter(|text| !text.is_empty())
    }
}

fn name_of(element: &BytesStart<'_>) -> String {
    element.local_name().as_ref().to_owned()
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.attributes().flatten().find(|attribute| attribute.key.as_ref() == name)?;
    let text = found.value;
    Some(text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned())
}

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The machine did not shut down before it started.
    UnexpectedRestart {
        /// `bugcheck`, `power_button`, `power_loss`.
        cause: &'static str,
        /// The stop code, when there was one.
        line: Option<String>,
    },
    /// A drive did not do what it was told; the drive's number.
    DriveError {
        /// The number in `\Device\Harddisk0\DR0`.
        drive: u32,
        /// `read`, `write`, or `other`.
        operation: &'static str,
    },
    /// A program ended unexpectedly.
    ProgramCrash {
        /// Its file name.
        program: String,
    },
    /// A program stopped responding.
    ProgramHang {
        /// Its file name.
        program: String,
    },
    /// A service ended unexpectedly; by the name that is shown.
    ServiceCrash {
        /// The name that is shown.
        display_name: String,
    },
}

/// Numbers of events in the channel `System` that have a meaning.
pub const SYSTEM_IDS: &[u32] = &[41, 7031, 7034];
/// Numbers of events of drives in the channel `System`.
pub const DRIVE_IDS: &[u32] = &[7, 11, 51, 129, 153, 154];
/// Numbers of events in the channel `Application` that have a meaning.
pub const APPLICATION_IDS: &[u32] = &[1000, 1002];

/// What an event means; `None` for all others.
pub fn meaning(event: &Event) -> Option<Meaning> {
    match (event.provider.as_str(), event.id) {
        ("Microsoft-Windows-Kernel-Power", 41) => {
            let number =
                |name: &str| event.named(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            // The stop code is written in decimal here, and looked up in hexadecimal by everybody.
            let code = number("BugcheckCode");
            let (cause, line) = if code != 0 {
                ("bugcheck", Some(format!("stop code 0x{code:08X}")))
            } else if number("PowerButtonTimestamp") != 0 {
                ("power_button", None)
            } else {
                ("power_loss", None)
            };
            Some(Meaning::UnexpectedRestart { cause, line })
        }
        ("disk", 7 | 11 | 51 | 153 | 154) => {
            let drive = drive_number(event)?;
            // 7 is a bad block that was read; the others do not say what was tried.
            let operation = if event.id == 7 { "read" } else { "other" };
            Some(Meaning::DriveError { drive, operation })
        }
        ("Service Control Manager", 7031 | 7034) => {
            Some(Meaning::ServiceCrash { display_name: event.named("param1")?.to_owned() })
        }
        ("Application Error", 1000) => Some(Meaning::ProgramCrash { program: program(event)? }),
        ("Application Hang", 1002) => Some(Meaning::ProgramHang { program: program(event)? }),
        _ => None,
    }
}

fn program(event: &Event) -> Option<String> {
    event.named("AppName").or_else(|| event.nth(0)).map(str::to_owned)
}

/// `\Device\Harddisk1\DR1`.
fn drive_number(event: &Event) -> Option<u32> {
    let device = event.nth(0)?;
    let digits = device.split("Harddisk").nth(1)?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(provider: &str, id: u32, data: &str) -> String {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='{provider}'/>\
             <EventID Qualifiers='49156'>{id}</EventID><TimeCreated SystemTime='2026-01-05T08:12:13.1234567Z'/>\
             <EventRecordID>4711</EventRecordID><Channel>System</Channel></System><EventData>{data}</EventData></Event>"
        )
    }

    #[test]
    fn an_event_has_its_parts() {
        let data = "<Data>winword.exe &amp; co</Data><Data Name='Two'>&lt;b&gt;&#x41;</Data><Data/>";
        let event = Event::parse(&event("Application Error", 1000, data)).unwrap();
        assert_eq!((event.id, event.record, event.provider.as_str()), (1000, 4711, "Application Error"));
        assert_eq!(event.time, "2026-01-05T08:12:13.1234567Z");
        assert_eq!(
            (event.nth(0), event.named("Two"), event.nth(2)),
            (Some("winword.exe & co"), Some("<b>A"), None)
        );
    }

    #[test]
    fn what_is_cut_off_nested_or_endless_is_refused() {
        let whole = event("disk", 7, "<Data>x</Data>");
        for cut in (1..whole.len() - 1).step_by(7) {
            assert!(Event::parse(&whole[..cut]).is_err(), "{}", &whole[..cut]);
        }
        assert!(Event::parse(&"<a>".repeat(100_000)).is_err());
        assert!(Event::parse(&event("disk", 7, &"<Data>x</Data>".repeat(1000))).is_err());
        let huge = event("disk", 7, &format!("<Data>{}</Data>", "é".repeat(1 << 20)));
        assert!(Event::parse(&huge).unwrap().nth(0).unwrap().len() <= MAX_TEXT_BYTES);
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>";
        let bombed = format!("{bomb}{}", event("disk", 7, "<Data>&b;</Data>"));
        assert_eq!(Event::parse(&bombed).unwrap().nth(0), None, "entities of a document are not expanded");
    }

    #[test]
    fn events_mean_what_their_provider_means() {
        let of = |provider: &str, id, data: &str| meaning(&Event::parse(&event(provider, id, data)).unwrap());
        let kernel_power = |code: u32, button: u64| {
            let data = format!(
                "<Data Name='BugcheckCode'>{code}</Data><Data Name='PowerButtonTimestamp'>{button}</Data>"
            );
            of("Microsoft-Windows-Kernel-Power", 41, &data)
        };
        let restart = |cause, line: Option<&str>| {
            Some(Meaning::UnexpectedRestart { cause, line: line.map(str::to_owned) })
        };
        assert_eq!(kernel_power(122, 0), restart("bugcheck", Some("stop code 0x0000007A")));
        assert_eq!(kernel_power(0, 133_000_000), restart("power_button", None));
        assert_eq!(kernel_power(0, 0), restart("power_loss", None));
        let drive = "<Data>\\Device\\Harddisk12\\DR12</Data>";
        assert_eq!(of("disk", 7, drive), Some(Meaning::DriveError { drive: 12, operation: "read" }));
        assert_eq!(of("disk", 7, "<Data>\\Device\\CdRom0</Data>"), None);
        assert_eq!(of("Somebody else", 7, drive), None);
    }
}
