//! What a network printer says of itself over SNMP (Printer MIB, RFC 3805; Host Resources MIB, RFC 2790): printers that
//! speak no IPP, or say over IPP that all is well, name their jam, their empty tray and their drum here.
//!
//! Only read, only from printers that this machine has a queue for, and only at the address that just accepted a
//! connection. The status is one datagram in every run; the tables of supplies and alerts are walked every five minutes
//! and whenever the status changes. A wrong community and no SNMP at all are the same silence, so a printer that never
//! answered is `not_present` and is asked again after five minutes only.
//!
//! The reader of the encoding is our own because all that is needed are two kinds of message, and because whoever sits at
//! the printer's address may send anything: it borrows from the datagram, does not recurse, and never allocates more
//! than the datagram holds.

mod message;
mod mib;
mod recording;
mod udp;
mod walk;

use crate::ber::Oid;
use crate::{Context, ProbeError, Root};
pub(crate) use mib::Said;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long the tables of a printer are taken as they were read, and how long a silent one is left alone.
const TABLES_EVERY: Duration = Duration::from_secs(300);
const PORT: u16 = 161;
const COMMUNITY: &str = "public";
const MAX_RECORDING_BYTES: usize = 256 << 10;

/// Something that answers GETNEXT: a printer, or its recording.
trait Agent {
    /// For each name, the first variable after it, or `None` when there is none. As many answers as names.
    fn after(&mut self, names: &[Oid]) -> Result<Vec<Option<Variable>>, ProbeError>;
}

/// A name with its value.
type Variable = (Oid, message::Value);

/// How printers are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    port: u16,
    community: &'a str,
}

impl<'a> Settings<'a> {
    /// Those of this machine; `None` when its configuration switches SNMP off.
    pub(crate) fn of(context: &'a Context) -> Option<Self> {
        let community = context.overrides.snmp_community.as_ref().map_or(COMMUNITY, |own| own.0.as_str());
        let port = context.overrides.snmp_port.unwrap_or(PORT);
        (!community.is_empty()).then_some(Self { port, community })
    }
}

/// What is remembered of a printer from one run to the next.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It answers.
    Speaks {
        /// In which version.
        version: message::Version,
        /// What it said.
        said: Box<Said>,
        /// When its tables were read.
        walked: Instant,
    },
    /// It did not answer, or nothing usable.
    Silent {
        /// Why.
        why: ProbeError,
        /// When it was asked.
        asked: Instant,
    },
}

impl Known {
    /// What it says of itself.
    pub(crate) fn said(&self) -> Result<&Said, &ProbeError> {
        match self {
            Self::Speaks { said, .. } => Ok(said),
            Self::Silent { why, .. } => Err(why),
        }
    }
}

/// Asks the printer at `address`, as much of it as is due.
pub(crate) fn ask(address: IpAddr, settings: Settings<'_>, before: Option<&Known>) -> Known {
    let now = Instant::now();
    // One that is only late is asked again at once.
    if let Some(known @ Known::Silent { asked, why }) = before
        && now.duration_since(*asked) < TABLES_EVERY
        && !matches!(why, ProbeError::TimedOut(_))
    {
        return known.clone();
    }
    let begun = match before {
        Some(Known::Speaks { version, .. }) => udp::Printer::connected(address, settings, *version)
            .and_then(|mut printer| mib::status(&mut printer).map(|status| (printer, status))),
        Some(Known::Silent { .. }) | None => udp::introduced(address, settings, mib::status),
    };
    match begun.and_then(|(mut printer, status)| {
        let version = printer.version();
        if let Some(Known::Speaks { said, walked, .. }) = before
            && said.status == status
            && now.duration_since(*walked) < TABLES_EVERY
        {
            return Ok(Known::Speaks { version, said: said.clone(), walked: *walked });
        }
        let said = Box::new(mib::tables(&mut printer, status)?);
        Ok(Known::Speaks { version, said, walked: now })
    }) {
        Ok(known) => known,
        Err(why) => Known::Silent { why: plain(why, before), asked: now },
    }
}

/// A printer that never answered has no SNMP for all that can be told; one that did answer is late.
fn plain(why: ProbeError, before: Option<&Known>) -> ProbeError {
    let has_spoken = match before {
        Some(Known::Speaks { .. } | Known::Silent { why: ProbeError::TimedOut(_), .. }) => true,
        Some(Known::Silent { .. }) | None => false,
    };
    match (why, has_spoken) {
        (ProbeError::TimedOut(_), false) => {
            ProbeError::NotPresent("the printer does not answer SNMP with this community".to_owned())
        }
        (ProbeError::NotPresent(what), true) => ProbeError::TimedOut(format!("{what} any more")),
        (why, _) => why,
    }
}

/// What the recorded printer says: `DIR/snmp/<queue>.snmprec`, lines of `OID|type|value` as snmpsim writes them.
pub(crate) fn recorded(root: &Root, queue: &str) -> Known {
    let mut bytes = Vec::new();
    let said = root
        .read_into(&format!("/snmp/{queue}.snmprec"), MAX_RECORDING_BYTES, &mut bytes)
        .and_then(|()| recording::Recording::parse(&String::from_utf8_lossy(&bytes)))
        .and_then(|mut recording| {
            let status = mib::status(&mut recording)?;
            mib::tables(&mut recording, status)
        });
    let now = Instant::now();
    match said {
        Ok(said) => Known::Speaks { version: message::Version::V2c, said: Box::new(said), walked: now },
        Err(why) => Known::Silent { why, asked: now },
    }
}

/// Whether a recording of this queue's printer exists.
pub(crate) fn is_recorded(root: &Root, queue: &str) -> bool {
    root.exists(&format!("/snmp/{queue}.snmprec"))
}

/// Takes `bytes` as the datagrams of a printer, each after its length in two bytes, and walks through them as through a
/// live one; how many requests that took. For the fuzz targets.
pub fn reads_datagrams(bytes: &[u8]) -> usize {
    let mut printer = udp::Printer::over(udp::Scripted::new(bytes), COMMUNITY, message::Version::V2c, 1);
    if let Ok(status) = mib::status(&mut printer)
        && let Ok(said) = mib::tables(&mut printer, status)
    {
        let _ = said.reasons();
    }
    printer.requests()
}
