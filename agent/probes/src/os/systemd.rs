//! Whom to ask about units: systemd over D-Bus, and where there is no bus the program systemctl, which costs a process.

use super::services::{self, Unit};
use super::units;
use crate::bus::Connection;
use crate::bus::message::Argument;
use crate::exec::{self, Limits, Program};
use crate::{ProbeError, Root};
use std::time::Duration;

const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts";

/// Somebody who knows the units.
#[derive(Debug)]
pub(super) enum Systemd<'a> {
    Bus(Connection),
    Program(&'a Root),
}

impl<'a> Systemd<'a> {
    /// The bus, if one answers.
    pub(super) fn of(root: &'a Root) -> Self {
        match Connection::open(root) {
            Ok(bus) => Self::Bus(bus),
            Err(error) => {
                tracing::debug!(%error, "systemd is not asked over D-Bus");
                Self::Program(root)
            }
        }
    }

    /// The names of units that have failed.
    pub(super) fn failed(&mut self) -> Result<Vec<String>, ProbeError> {
        match self {
            Self::Bus(bus) => {
                let states = ["failed".to_owned()];
                let reply = bus.call(&units::in_states(&[Argument::Texts(&states)]))?;
                let listed = units::listed(&reply).ok_or_else(no_list)?;
                Ok(listed
                    .into_iter()
                    .map(|listed| listed.unit.id)
                    .filter(|id| services::is_unit_name(id))
                    .collect())
            }
            Self::Program(root) => {
                let list = [
                    "list-units",
                    "--all",
                    "--state=failed",
                    "--output=json",
                    "--plain",
                    "--no-legend",
                    "--no-pager",
                ];
                services::listed(&systemctl(root, &list)?).map_err(ProbeError::Malformed)
            }
        }
    }

    /// How these units are.
    pub(super) fn units(&mut self, names: &[String]) -> Result<Vec<Unit>, ProbeError> {
        match self {
            Self::Bus(bus) => {
                let reply = bus.call(&units::by_names(&[Argument::Texts(names)]))?;
                let listed = units::listed(&reply).ok_or_else(no_list)?;
                listed.into_iter().map(|listed| detailed(bus, listed)).collect()
            }
            Self::Program(root) => {
                let mut show = vec!["show", "--no-pager", PROPERTIES, "--"];
                show.extend(names.iter().map(String::as_str));
                Ok(services::shown(&systemctl(root, &show)?))
            }
        }
    }
}

/// Adds what only the unit's own object tells.
fn detailed(bus: &mut Connection, listed: units::Listed) -> Result<Unit, ProbeError> {
    let mut unit = listed.unit;
    let Some(interface) = units::interface(&unit.id).filter(|_| unit.load_state == "loaded") else {
        return Ok(unit);
    };
    let mut get = |name: &str| {
        let arguments = [Argument::Text(interface), Argument::Text(name)];
        match bus.call(&units::property(&listed.object, &arguments)) {
            Ok(reply) => Ok(Some(reply)),
            // Such as a property that this version does not have.
            Err(ProbeError::Unsupported(_)) => Ok(None),
            Err(error) => Err(error),
        }
    };
    unit.result = get("Result")?.as_ref().and_then(units::text).unwrap_or_default();
    if interface.ends_with(".Service") {
        unit.restarts =
            get("NRestarts")?.as_ref().and_then(units::number).and_then(|count| u64::try_from(count).ok());
        unit.exit_status = get("ExecMainStatus")?.as_ref().and_then(units::number);
    }
    Ok(unit)
}

fn no_list() -> ProbeError {
    ProbeError::Malformed("systemd's list of units is of another form".to_owned())
}

/// What systemctl prints.
pub(super) fn systemctl(root: &Root, arguments: &[&str]) -> Result<String, ProbeError> {
    let limits = Limits { time: Duration::from_secs(10), output: 1 << 20 };
    let finished = exec::run(root, Program::Systemctl, arguments, limits)?;
    if finished.exit_code != Some(0) {
        let code =
            finished.exit_code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
        return Err(ProbeError::Malformed(format!("systemctl {} ended with {code}", arguments[0])));
    }
    Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::tests::answer;
    use crate::bus::message::{HEADER_BYTES, length};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A bus of one service that answers the calls, in their order, with these types and bodies.
    fn bus(
        machine: &std::path::Path,
        answers: Vec<(&'static str, Vec<u8>)>,
    ) -> std::thread::JoinHandle<Vec<String>> {
        let folder = machine.join("run/dbus");
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join("system_bus_socket")).unwrap();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
            let mut begin = String::new();
            stream.read_line(&mut begin).unwrap();
            let mut said = vec![line, begin];
            said.push(called(&mut stream));
            stream.get_mut().write_all(&answer(1, "s", b"\x04\0\0\0:1.7\0", true)).unwrap();
            for (serial, (types, body)) in (2..).zip(answers) {
                said.push(called(&mut stream));
                stream.get_mut().write_all(&answer(serial, types, &body, true)).unwrap();
            }
            said
        })
    }

    fn called(stream: &mut BufReader<UnixStream>) -> String {
        let mut bytes = vec![0; HEADER_BYTES];
        stream.read_exact(&mut bytes).unwrap();
        bytes.resize(length(&bytes).unwrap(), 0);
        stream.read_exact(&mut bytes[HEADER_BYTES..]).unwrap();
        bytes.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' }).collect()
    }

    #[test]
    fn systemd_is_asked_over_the_bus_and_no_program_is_started() {
        let machine = tempfile::tempdir().unwrap();
        let root = Root::at(machine.path());
        let unit = units::tests::list(&[["cups.service", "loaded", "failed", "failed"]]);
        let text = |text: &str| {
            let mut body = vec![1, b's', 0, 0];
            body.extend((text.len() as u32).to_le_bytes());
            body.extend(text.bytes().chain([0]));
            body
        };
        let number = |kind: u8, number: i32| {
            let mut body = vec![1, kind, 0, 0];
            body.extend(number.to_le_bytes());
            body
        };
        let served = bus(
            machine.path(),
            vec![
                ("a(ssssssouso)", unit.clone()),
                ("a(ssssssouso)", unit),
                ("v", text("exit-code")),
                ("v", number(b'u', 5)),
                ("v", number(b'i', 3)),
            ],
        );
        // There is no bin/systemctl: starting it would fail.
        let mut systemd = Systemd::of(&root);
        let failed = systemd.failed().unwrap();
        let units = systemd.units(&failed).unwrap();
        let said = served.join().unwrap();
        assert!(said[0].starts_with("\0AUTH EXTERNAL "), "{said:?}");
        assert!(said[3].contains("ListUnitsFiltered") && said[4].contains("ListUnitsByNames"), "{said:?}");
        assert_eq!(failed, ["cups.service"]);
        let expected = Unit {
            id: "cups.service".to_owned(),
            load_state: "loaded".to_owned(),
            active_state: "failed".to_owned(),
            sub_state: "failed".to_owned(),
            result: "exit-code".to_owned(),
            exit_status: Some(3),
            restarts: Some(5),
        };
        assert_eq!(units, [expected]);
    }

    #[test]
    fn without_a_bus_or_with_one_that_speaks_otherwise_the_program_is_asked() {
        let machine = tempfile::tempdir().unwrap();
        let root = Root::at(machine.path());
        assert!(matches!(Systemd::of(&root), Systemd::Program(_)));
        let folder = machine.path().join("run/dbus");
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join("system_bus_socket")).unwrap();
        let rude = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
        });
        assert!(matches!(Systemd::of(&root), Systemd::Program(_)));
        rude.join().unwrap();
    }
}
