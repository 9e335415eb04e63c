//! A running Windows. The only file of the Windows half that compiles for Windows alone.
#![expect(unsafe_code, reason = "the event log and three numbers are asked by calls of the system")]

use super::{
    Class, Half, MAX_EVENTS, MAX_ROWS, Machine, MemoryStatus, ProcessorTimes, RegistryValue, Row, Since,
};
use crate::{Context, Descriptor, Probe, ProbeError, Sink};
use std::collections::HashMap;
use std::time::Duration;
use windows::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_NO_MORE_ITEMS, FILETIME};
use windows::Win32::System::EventLog::{
    EVT_HANDLE, EvtClose, EvtNext, EvtQuery, EvtQueryChannelPath, EvtQueryForwardDirection, EvtRender,
    EvtRenderEventXml,
};
use windows::Win32::System::SystemInformation::{GetTickCount64, GlobalMemoryStatusEx, MEMORYSTATUSEX};
use windows::Win32::System::Threading::GetSystemTimes;
use windows::core::{Error, HRESULT, HSTRING};
use windows_registry::{Key, LOCAL_MACHINE, Type};
use wmi::{AuthLevel, Variant, WMIConnection, WMIError};

/// Waiting for the event log's service takes this long at most.
const EVENT_WAIT_MS: u32 = 5000;
/// An event whose XML is longer is passed over.
const MAX_EVENT_UNITS: usize = 64 << 10;

/// The machine that this program runs on. Queries of WMI may hang in a provider; then the probe's time limit ends the
/// wait, as with everything that hangs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live;

impl Machine for Live {
    fn rows(&self, class: &Class) -> Result<Vec<Row>, ProbeError> {
        let refused = |error: &WMIError| wmi_error(class.name, error);
        let namespace = format!("ROOT\\{}", class.namespace);
        let connection = WMIConnection::with_namespace_path(&namespace).map_err(|error| refused(&error))?;
        // BitLocker's provider speaks to nobody else.
        connection.set_proxy_blanket(AuthLevel::PktPrivacy).map_err(|error| refused(&error))?;
        let rows: Vec<HashMap<String, Variant>> =
            connection.raw_query(class.query()).map_err(|error| refused(&error))?;
        let row = |row: HashMap<String, Variant>| Row::new(serde_json::to_value(row).ok()?);
        Ok(rows.into_iter().take(MAX_ROWS).filter_map(row).collect())
    }

    fn registry(&self, key: &str, name: &str) -> Result<RegistryValue, ProbeError> {
        let failed = |error: &Error| win_error(&format!("{key}\\{name}"), error);
        let opened = open(key)?;
        let read = |opened: &Key| -> Result<Option<RegistryValue>, Error> {
            Ok(Some(match opened.get_type(name)? {
                Type::String | Type::ExpandString => RegistryValue::Text(opened.get_string(name)?),
                Type::U32 => RegistryValue::Number(opened.get_u32(name)?.into()),
                Type::U64 => RegistryValue::Number(opened.get_u64(name)?),
                Type::MultiString => RegistryValue::Texts(opened.get_multi_string(name)?),
                Type::Bytes | Type::Other(_) => return Ok(None),
            }))
        };
        let missing = || ProbeError::Malformed(format!("{key}\\{name} has a type that is not read"));
        read(&opened).map_err(|error| failed(&error))?.ok_or_else(missing)
    }

    fn subkeys(&self, key: &str) -> Result<Vec<String>, ProbeError> {
        let opened = open(key)?;
        let names = opened.keys().map_err(|error| win_error(key, &error))?;
        Ok(names.take(MAX_ROWS).collect())
    }

    fn has_key(&self, key: &str) -> Result<bool, ProbeError> {
        match open(key) {
            Ok(_) => Ok(true),
            Err(ProbeError::NotPresent(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn events(&self, channel: &'static str, ids: &[u32], since: Since) -> Result<Vec<String>, ProbeError> {
        let ids: Vec<String> = ids.iter().map(|id| format!("EventID={id}")).collect();
        let newer = match since {
            Since::Record(record) => format!("EventRecordID > {record}"),
            Since::Ago(ago) => format!("TimeCreated[timediff(@SystemTime) <= {}]", ago.as_millis()),
        };
        let query = format!("*[System[({}) and {newer}]]", ids.join(" or "));
        let flags = EvtQueryChannelPath.0 | EvtQueryForwardDirection.0;
        // SAFETY: both texts live until the call returns.
        let found = unsafe { EvtQuery(None, &HSTRING::from(channel), &HSTRING::from(query.as_str()), flags) };
        let found = Closing(found.map_err(|error| win_error(&format!("the event log {channel}"), &error))?);
        let mut events = Vec::new();
        while events.len() < MAX_EVENTS {
            let mut handles = [0_isize; 16];
            let mut count = 0_u32;
            // SAFETY: the handle is open, and both places are valid for the call.
            match unsafe { EvtNext(found.0, &mut handles, EVENT_WAIT_MS, 0, &raw mut count) } {
                Ok(()) => {
                    let count = usize::try_from(count).unwrap_or(0);
                    for handle in handles.into_iter().take(count).map(|handle| Closing(EVT_HANDLE(handle))) {
                        events.extend(rendered(&handle));
                    }
                }
                Err(error) if error.code() == HRESULT::from_win32(ERROR_NO_MORE_ITEMS.0) => break,
                Err(error) => return Err(win_error(&format!("the event log {channel}"), &error)),
            }
        }
        Ok(events)
    }

    fn processor_times(&self) -> Result<ProcessorTimes, ProbeError> {
        let (mut idle, mut kernel, mut user) =
            (FILETIME::default(), FILETIME::default(), FILETIME::default());
        // SAFETY: the three places are valid for the call.
        unsafe { GetSystemTimes(Some(&raw mut idle), Some(&raw mut kernel), Some(&raw mut user)) }
            .map_err(|error| win_error("GetSystemTimes", &error))?;
        let whole = |time: FILETIME| (u64::from(time.dwHighDateTime) << 32) | u64::from(time.dwLowDateTime);
        Ok(ProcessorTimes { idle: whole(idle), kernel: whole(kernel), user: whole(user) })
    }

    fn memory_status(&self) -> Result<MemoryStatus, ProbeError> {
        let length = u32::try_from(size_of::<MEMORYSTATUSEX>()).unwrap_or(0);
        let mut status = MEMORYSTATUSEX { dwLength: length, ..MEMORYSTATUSEX::default() };
        // SAFETY: the place is valid for the call and says its own length.
        unsafe { GlobalMemoryStatusEx(&raw mut status) }
            .map_err(|error| win_error("GlobalMemoryStatusEx", &error))?;
        Ok(MemoryStatus { total: status.ullTotalPhys, available: status.ullAvailPhys })
    }

    fn uptime(&self) -> Result<Duration, ProbeError> {
        // SAFETY: it takes nothing and cannot fail.
        Ok(Duration::from_millis(unsafe { GetTickCount64() }))
    }
}

/// A handle of the event log that is closed with this value.
struct Closing(EVT_HANDLE);

impl Drop for Closing {
    fn drop(&mut self) {
        // SAFETY: the handle came from the log and is closed once.
        let _ = unsafe { EvtClose(self.0) };
    }
}

/// The XML of an event, unless it is absurdly long.
fn rendered(event: &Closing) -> Option<String> {
    let mut buffer = vec![0_u16; 4096];
    loop {
        let bytes = u32::try_from(buffer.len() * 2).ok()?;
        let (mut used, mut properties) = (0_u32, 0_u32);
        let place = Some(buffer.as_mut_ptr().cast());
        // SAFETY: the handle is open, the buffer has so many bytes, and both numbers are valid for the call.
        let outcome = unsafe {
            EvtRender(None, event.0, EvtRenderEventXml.0, bytes, place, &raw mut used, &raw mut properties)
        };
        let units = usize::try_from(used).ok()? / 2;
        match outcome {
            Ok(()) => {
                let text = buffer.get(..units.min(buffer.len()))?;
                return Some(String::from_utf16_lossy(text).trim_end_matches('\0').to_owned());
            }
            Err(error)
                if error.code() == HRESULT::from_win32(ERROR_INSUFFICIENT_BUFFER.0)
                    && units > buffer.len()
                    && units <= MAX_EVENT_UNITS =>
            {
                buffer.resize(units, 0);
            }
            Err(_) => return None,
        }
    }
}

fn open(key: &str) -> Result<Key, ProbeError> {
    LOCAL_MACHINE.open(key).map_err(|error| win_error(key, &error))
}

fn win_error(what: &str, error: &Error) -> ProbeError {
    let code = error.code().0.cast_unsigned();
    // Codes of WMI have no message.
    let text = format!("{what}: {} (0x{code:08X})", error.message().trim());
    match code {
        // No such file, path, channel; WMI: no such namespace, class, object.
        0x8007_0002 | 0x8007_0003 | 0x8007_3a9f | 0x8004_100e | 0x8004_1010 | 0x8004_1002 => {
            ProbeError::NotPresent(text)
        }
        0x8007_0005 | 0x8004_1003 | 0x8007_0522 => ProbeError::NotPermitted(text),
        0x8004_1069 | 0x8007_05b4 | 0x0004_0004 => ProbeError::TimedOut(text),
        // Not supported, not available, no provider.
        0x8007_0032 | 0x8004_100c | 0x8004_1013 | 0x8004_1011 | 0x8007_06ba => ProbeError::Unsupported(text),
        _ => ProbeError::Malformed(text),
    }
}

fn wmi_error(class: &str, error: &WMIError) -> ProbeError {
    if let WMIError::HResultError { hres } = error {
        win_error(class, &Error::from(HRESULT(*hres)))
    } else {
        ProbeError::Malformed(format!("{class}: {error}"))
    }
}

/// A probe whose half for Windows replaces what it does elsewhere. Of a captured machine it does what it does everywhere.
pub(crate) struct OnWindows {
    pub(crate) probe: Box<dyn Probe>,
    pub(crate) half: Box<dyn Half>,
}

impl Probe for OnWindows {
    fn descriptor(&self) -> Descriptor {
        self.probe.descriptor()
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        if context.root.is_system() {
            self.half.collect(&Live, context, sink);
        } else {
            self.probe.collect(context, sink);
        }
    }
}
