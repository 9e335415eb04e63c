//! Print queues on Windows, as `Get-Printer`, `Get-PrinterPort` and `Get-PrintJob` see them, brought into the form of a
//! print server's answer. Drivers that say nothing leave a queue "normal", so the device itself, asked over IPP and SNMP
//! at the address of its port, outranks the spooler.

use super::queue::{Job, Jobs, Queue};
use super::reasons::Reason;
use crate::ProbeError;
use crate::on_windows::{Class, Machine, Row};
use firstline_model::Timestamp;

const fn of_printing(name: &'static str, properties: &'static [&'static str]) -> Class {
    Class { namespace: "StandardCimv2", name, properties, condition: None }
}

const PRINTERS: Class = of_printing(
    "MSFT_Printer",
    &["Name", "DriverName", "PortName", "PrinterStatus", "Shared", "Location", "JobCount"],
);
const PORTS: Class =
    of_printing("MSFT_TcpIpPrinterPort", &["Name", "PrinterHostAddress", "PortNumber", "Protocol"]);
const JOBS: Class = of_printing("MSFT_PrintJob", &["ID", "PrinterName", "JobStatus", "SubmittedTime"]);

/// Printers that print into files and applications.
const NOT_PRINTERS: &[&str] = &["PORTPROMPT:", "SHRFAX:", "nul:", "FILE:", "XPSPort:"];

const PAUSED: u64 = 0x1;
const OFFLINE: u64 = 0x80;
const PRINTING: u64 = 0x400;
const PROCESSING: u64 = 0x4000;
/// Bits of the spooler's status that mean what a keyword of IPP means (`PRINTER_STATUS_*`).
const STATUS_WORDS: &[(u64, &str)] = &[
    (PAUSED, "paused"),
    (0x2, "other-error"),
    (0x8, "media-jam-error"),
    (0x10, "media-empty-error"),
    (0x20, "media-needed-warning"),
    (0x40, "media-needed-error"),
    (OFFLINE, "offline-error"),
    (0x800, "output-area-full-error"),
    (0x2_0000, "toner-low-warning"),
    (0x4_0000, "toner-empty-error"),
    (0x20_0000, "interpreter-resource-unavailable-error"),
    (0x40_0000, "cover-open-error"),
];
/// The bits above at which nothing is printed.
const STOPPED: u64 = PAUSED | 0x2 | 0x8 | 0x10 | 0x40 | OFFLINE | 0x800 | 0x4_0000 | 0x40_0000;

const JOB_PAUSED: u64 = 0x1;
const JOB_PRINTING: u64 = 0x10;
const JOB_STOPPED: u64 = 0x2 | 0x20 | 0x40 | 0x200 | 0x400;
/// Printed, deleted, deleting, complete: it waits no longer.
const JOB_OVER: u64 = 0x4 | 0x80 | 0x100 | 0x1000;

/// What the spooler says at one moment.
#[derive(Debug, Clone)]
pub struct Spooler {
    queues: Result<Vec<Queue>, ProbeError>,
    jobs: Result<Vec<(String, Job)>, ProbeError>,
}

impl Spooler {
    /// Asks for queues, ports and jobs.
    pub fn read(machine: &dyn Machine, now: Timestamp) -> Self {
        let queues = machine.rows(&PRINTERS).map(|rows| {
            // Without ports, queues have no address; that is said of each.
            let ports = machine.rows(&PORTS).unwrap_or_default();
            let mut found: Vec<Queue> = Vec::new();
            for queue in rows.iter().filter_map(|row| queue(row, &ports)) {
                if found.len() < super::queue::MAX_QUEUES
                    && !found.iter().any(|known| known.name == queue.name)
                {
                    found.push(queue);
                }
            }
            found
        });
        let jobs = machine.rows(&JOBS).map(|rows| rows.iter().filter_map(|row| job(row, now)).collect());
        Self { queues, jobs }
    }

    pub(super) fn queues(&self) -> Result<Vec<Queue>, ProbeError> {
        self.queues.clone()
    }

    pub(super) fn jobs(&self, queue: &str) -> Result<Jobs, ProbeError> {
        let all = self.jobs.as_ref().map_err(Clone::clone)?;
        let of_queue: Vec<Job> =
            all.iter().filter(|(of, _)| of == queue).map(|(_, job)| job.clone()).collect();
        Ok(Jobs {
            count: of_queue.len(),
            oldest: of_queue
                .into_iter()
                .filter(|job| job.state != "held")
                .max_by_key(|job| (job.age_s, std::cmp::Reverse(job.id))),
        })
    }
}

fn queue(row: &Row, ports: &[Row]) -> Option<Queue> {
    let name = row.text("Name").filter(|name| name.len() <= super::queue::MAX_NAME_BYTES)?;
    let port = row.text("PortName").unwrap_or_default();
    if NOT_PRINTERS.iter().any(|other| port.eq_ignore_ascii_case(other)) {
        return None;
    }
    let status = row.whole("PrinterStatus");
    let said: Vec<String> = STATUS_WORDS
        .iter()
        .filter(|(bit, _)| status.is_some_and(|status| status & bit != 0))
        .map(|(_, word)| (*word).to_owned())
        .collect();
    let said = if said.is_empty() { vec!["none".to_owned()] } else { said };
    Some(Queue {
        name: name.to_owned(),
        state: status.map(|status| {
            if status & STOPPED != 0 {
                5
            } else if status & (PRINTING | PROCESSING) != 0 {
                4
            } else {
                3
            }
        }),
        reasons: said.iter().filter_map(|text| Reason::parse(text)).collect(),
        said,
        message: None,
        accepting: None,
        shared: row.truth("Shared"),
        device_uri: Some(device_uri(port, ports)),
        uuid: None,
        model: row.text("DriverName").map(str::to_owned),
        location: row.text("Location").map(str::to_owned),
        queued: row.whole("JobCount").and_then(|count| i32::try_from(count).ok()),
        supplies: Vec::new(),
    })
}

/// The port in the form of a device's address: raw and LPR ports have one, all others only a name.
fn device_uri(name: &str, ports: &[Row]) -> String {
    let port = ports.iter().find(|row| row.text("Name") == Some(name));
    let address = port.and_then(|row| Some((row, row.text("PrinterHostAddress")?)));
    match address {
        // 2 is LPR, 1 is raw.
        Some((row, host)) if row.whole("Protocol") == Some(2) => format!("lpd://{}/", bracketed(host)),
        Some((row, host)) => {
            let number =
                row.whole("PortNumber").filter(|number| (1..=65_535).contains(number)).unwrap_or(9100);
            format!("socket://{}:{number}", bracketed(host))
        }
        None => format!("windows-port:{name}"),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn job(row: &Row, now: Timestamp) -> Option<(String, Job)> {
    let status = row.whole("JobStatus").unwrap_or(0);
    if status & JOB_OVER != 0 {
        return None;
    }
    let state = if status & JOB_PAUSED != 0 {
        "held"
    } else if status & JOB_STOPPED != 0 {
        "stopped"
    } else if status & JOB_PRINTING != 0 {
        "processing"
    } else {
        "pending"
    };
    let age = row.time("SubmittedTime").filter(|at| *at <= now).map_or(0, |at| now.since(at).as_secs());
    let id = row.whole("ID").and_then(|id| i32::try_from(id).ok())?;
    let job = Job { id, state, age_s: u32::try_from(age).unwrap_or(u32::MAX) };
    Some((row.text("PrinterName")?.to_owned(), job))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: serde_json::Value) -> Row {
        Row::new(value).unwrap_or_default()
    }

    #[test]
    fn the_bits_of_the_spooler_are_states_and_words_of_ipp() {
        for (status, state, words) in [
            (0, 3, vec!["none"]),
            (PRINTING, 4, vec!["none"]),
            (PAUSED, 5, vec!["paused"]),
            (0x8 | PRINTING, 5, vec!["media-jam-error"]),
            (0x2_0000, 3, vec!["toner-low-warning"]),
            (0x100_0000, 3, vec!["none"]),
        ] {
            let queue = queue(&row(json!({"Name": "q", "PortName": "USB001", "PrinterStatus": status})), &[])
                .unwrap();
            assert_eq!(
                (queue.state, queue.said),
                (Some(state), words.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn ports_become_addresses_that_can_be_asked() {
        let ports = [
            row(
                json!({"Name": "IP_10.0.0.9", "PrinterHostAddress": "10.0.0.9", "PortNumber": 9100, "Protocol": 1}),
            ),
            row(json!({"Name": "six", "PrinterHostAddress": "fd00::9", "PortNumber": 0, "Protocol": 1})),
            row(json!({"Name": "lpr", "PrinterHostAddress": "old.example", "Protocol": 2})),
        ];
        for (name, expected) in [
            ("IP_10.0.0.9", "socket://10.0.0.9:9100"),
            ("six", "socket://[fd00::9]:9100"),
            ("lpr", "lpd://old.example/"),
            ("USB001", "windows-port:USB001"),
        ] {
            assert_eq!(device_uri(name, &ports), expected);
        }
    }

    #[test]
    fn what_prints_into_files_is_no_printer() {
        assert!(queue(&row(json!({"Name": "Print to PDF", "PortName": "PORTPROMPT:"})), &[]).is_none());
    }
}
