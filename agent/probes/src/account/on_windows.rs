//! Accounts of Windows: who sits at the machine, and which local accounts are locked. Those of a domain are locked in the
//! domain, of which a member knows nothing.

use super::session::{Kind, Session};
use super::tell_sessions;
use crate::on_windows::{Class, Half, Machine, Row};
use crate::{Context, Due, ProbeError, Sink};
use firstline_model::{Attributes, Component, ComponentKind, semconv};
use std::collections::BTreeSet;
use std::time::Duration;

const COMPUTER: Class = Class::of_cimv2("Win32_ComputerSystem", &["UserName"]);
const ACCOUNTS: Class = Class {
    namespace: "cimv2",
    name: "Win32_UserAccount",
    properties: &["Name", "Lockout", "Disabled"],
    // Without it, every account of the domain would be asked for.
    condition: Some("LocalAccount = TRUE"),
};
/// More accounts than this are not told of.
const MAX_ACCOUNTS: usize = 64;

/// Sessions and locks.
#[derive(Debug)]
pub struct Source {
    slow: Due,
    signed_in: BTreeSet<String>,
}

impl Default for Source {
    fn default() -> Self {
        Self { slow: Due::every(Duration::from_secs(3600)), signed_in: BTreeSet::new() }
    }
}

impl Half for Source {
    fn collect(&mut self, machine: &dyn Machine, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let all = Component::only(ComponentKind::User);
        match at_the_machine(machine) {
            Ok(session) => tell_sessions(session.as_slice(), &mut self.signed_in, sink),
            Err(error) if slow => sink.failed(&all, semconv::USER_SESSIONS, &error),
            Err(_) => {}
        }
        match machine.rows(&ACCOUNTS) {
            Ok(rows) => {
                rows.iter().filter(|row| row.truth("Disabled") != Some(true)).take(MAX_ACCOUNTS).for_each(
                    |row| {
                        lock(row, sink);
                    },
                )
            }
            Err(error) if slow => sink.failed(&all, semconv::USER_LOCKED, &error),
            Err(_) => {}
        }
    }
}

/// Who sits at the machine; nobody's name is there while nobody does, and while somebody works from elsewhere.
fn at_the_machine(machine: &dyn Machine) -> Result<Option<Session>, ProbeError> {
    let rows = machine.rows(&COMPUTER)?;
    let name = rows.first().and_then(|row| row.text("UserName"));
    let user = name
        .map(|name| name.rsplit_once('\\').map_or(name, |(_, user)| user))
        .filter(|user| !user.is_empty());
    Ok(user.map(|user| Session {
        user: user.to_owned(),
        kind: Kind::Desktop,
        is_at_the_machine: true,
        since: None,
        begun: None,
        number: None,
    }))
}

fn lock(row: &Row, sink: &mut Sink) -> Option<()> {
    let component = Component::new(ComponentKind::User, row.text("Name")?).ok()?;
    let locked = f64::from(u8::from(row.truth("Lockout")?));
    sink.sample(&component, semconv::USER_LOCKED, Attributes::none(), locked);
    Some(())
}
