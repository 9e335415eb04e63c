//! What systemd's manager says of units over D-Bus. Pure; the methods are those of org.freedesktop.systemd1(5), all of them
//! there since systemd 230.

use super::services::Unit;
use crate::bus::message::{Argument, Call, Reply};

const MANAGER: &str = "org.freedesktop.systemd1";
/// More units than this are not read.
const MOST: usize = 4096;

/// A unit in a list, with the object that tells more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What the list itself says.
    pub unit: Unit,
    /// The unit's object.
    pub object: String,
}

/// Asks for the units in these states.
pub fn in_states<'a>(arguments: &'a [Argument<'a>]) -> Call<'a> {
    of_manager("ListUnitsFiltered", arguments)
}

/// Asks for the units of these names, whether they are loaded or not.
pub fn by_names<'a>(arguments: &'a [Argument<'a>]) -> Call<'a> {
    of_manager("ListUnitsByNames", arguments)
}

fn of_manager<'a>(member: &'a str, arguments: &'a [Argument<'a>]) -> Call<'a> {
    Call {
        destination: MANAGER,
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member,
        arguments,
    }
}

/// Asks an object for a property: the arguments are its interface and its name.
pub fn property<'a>(object: &'a str, arguments: &'a [Argument<'a>]) -> Call<'a> {
    Call {
        destination: MANAGER,
        path: object,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        arguments,
    }
}

/// The units of a list. `None` when it is none.
pub fn listed(reply: &Reply) -> Option<Vec<Listed>> {
    if reply.signature != "a(ssssssouso)" {
        return None;
    }
    let mut body = reply.body();
    let end = body.array(8)?;
    let mut units = Vec::new();
    while !body.is_at(end) && units.len() < MOST {
        body.align(8)?;
        let (id, _description) = (body.text()?.to_owned(), body.text()?);
        let (load_state, active_state) = (body.text()?.to_owned(), body.text()?.to_owned());
        let (sub_state, _following) = (body.text()?.to_owned(), body.text()?);
        let object = body.text()?.to_owned();
        let (_job, _kind_of_job, _object_of_job) = (body.number()?, body.text()?, body.text()?);
        units.push(Listed {
            unit: Unit { id, load_state, active_state, sub_state, ..Unit::default() },
            object,
        });
    }
    Some(units)
}

/// A property's value that is a text.
pub fn text(reply: &Reply) -> Option<String> {
    let mut body = reply.body();
    (reply.signature == "v" && body.signature()? == "s").then(|| body.text().map(str::to_owned))?
}

/// A property's value that is a number of 32 bits.
pub fn number(reply: &Reply) -> Option<i64> {
    let mut body = reply.body();
    if reply.signature != "v" {
        return None;
    }
    match body.signature()? {
        "u" => body.number().map(i64::from),
        "i" => body.number().map(|bits| i64::from(bits.cast_signed())),
        _ => None,
    }
}

/// The interface whose properties tell how the last run of this unit ended.
pub fn interface(id: &str) -> Option<&'static str> {
    match id.rsplit_once('.')?.1 {
        "service" => Some("org.freedesktop.systemd1.Service"),
        "mount" => Some("org.freedesktop.systemd1.Mount"),
        "timer" => Some("org.freedesktop.systemd1.Timer"),
        "socket" => Some("org.freedesktop.systemd1.Socket"),
        "swap" => Some("org.freedesktop.systemd1.Swap"),
        "path" => Some("org.freedesktop.systemd1.Path"),
        "scope" => Some("org.freedesktop.systemd1.Scope"),
        "automount" => Some("org.freedesktop.systemd1.Automount"),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bus::message::reply;
    use crate::bus::message::tests::answer;

    fn text_bytes(body: &mut Vec<u8>, text: &str) {
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend((text.len() as u32).to_le_bytes());
        body.extend(text.bytes().chain([0]));
    }

    /// The body of a list of units: name, load state, active state, sub state.
    pub(crate) fn list(units: &[[&str; 4]]) -> Vec<u8> {
        let mut body = vec![0; 8];
        for [id, load, active, sub] in units {
            body.resize(body.len().next_multiple_of(8), 0);
            for text in [*id, "a description", *load, *active, *sub, "", "/org/freedesktop/systemd1/unit/x"] {
                text_bytes(&mut body, text);
            }
            body.resize(body.len().next_multiple_of(4), 0);
            body.extend(0_u32.to_le_bytes());
            text_bytes(&mut body, "");
            text_bytes(&mut body, "/");
        }
        let length = (body.len() - 8) as u32;
        body[..4].copy_from_slice(&length.to_le_bytes());
        body
    }

    #[test]
    fn units_of_a_list_have_their_states_and_their_object() {
        let body = list(&[
            ["a.service", "loaded", "failed", "failed"],
            ["b.mount", "not-found", "inactive", "dead"],
        ]);
        let units = listed(&reply(&answer(1, "a(ssssssouso)", &body, true)).unwrap()).unwrap();
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].unit.name(), units[0].unit.active_state.as_str()), ("a", "failed"));
        assert_eq!(
            (units[1].unit.load_state.as_str(), units[1].object.as_str()),
            ("not-found", "/org/freedesktop/systemd1/unit/x")
        );
    }

    #[test]
    fn a_list_of_other_types_or_one_that_is_cut_off_is_none() {
        let body = list(&[["a.service", "loaded", "failed", "failed"]]);
        assert_eq!(listed(&reply(&answer(1, "as", &body, true)).unwrap()), None);
        for cut in [4, 8, 20, body.len() - 1] {
            assert_eq!(
                listed(&reply(&answer(1, "a(ssssssouso)", &body[..cut], true)).unwrap()),
                None,
                "{cut}"
            );
        }
    }

    #[test]
    fn properties_are_read_by_their_own_type() {
        let value = |signature: &str, body: &[u8]| {
            let mut bytes = vec![signature.len() as u8];
            bytes.extend(signature.bytes().chain([0]));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(body);
            reply(&answer(1, "v", &bytes, true)).unwrap()
        };
        assert_eq!(number(&value("u", &5_u32.to_le_bytes())), Some(5));
        assert_eq!(number(&value("i", &(-1_i32).to_le_bytes())), Some(-1));
        assert_eq!(text(&value("s", b"\x04\0\0\0core\0")), Some("core".to_owned()));
        assert_eq!((number(&value("s", b"\x01\0\0\0a\0")), text(&value("u", &[1, 0, 0, 0]))), (None, None));
    }
}
