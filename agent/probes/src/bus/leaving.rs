//! Hears from systemd's login manager that the machine is about to sleep or to shut down, and that it is awake again: the
//! last moment in which an agent can say where it goes. Nothing is delayed by listening; what is not heard in time is told
//! after waking, from the clocks.
//!
//! Windows and macOS tell their services in ways of their own, which are not asked yet; there, sleep is told after waking.

use crate::{ProbeError, Root};

/// What the machine is about to do, or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It sleeps within moments.
    ToSleep,
    /// It slept, or did not come to it.
    Awake,
    /// It shuts down or starts anew within moments.
    ToShutDown,
    /// It goes on after all.
    Stays,
}

/// Tells `told` whatever is heard, until that says `false`. An error when nobody can be listened to (any more).
pub fn listen(root: &Root, told: impl FnMut(Leaving) -> bool) -> Result<(), ProbeError> {
    imp::listen(root, told)
}

#[cfg(unix)]
mod imp {
    use super::{Leaving, ProbeError, Root};
    use crate::bus::Connection;
    use crate::bus::message::{Argument, Call, Reply};

    const BUS: &str = "org.freedesktop.DBus";
    const LOGIN: &str = "org.freedesktop.login1";
    const MANAGER: &str = "org.freedesktop.login1.Manager";

    pub(super) fn listen(root: &Root, mut told: impl FnMut(Leaving) -> bool) -> Result<(), ProbeError> {
        let mut bus = Connection::open(root)?;
        for member in ["PrepareForSleep", "PrepareForShutdown"] {
            let rule = format!("type='signal',sender='{LOGIN}',interface='{MANAGER}',member='{member}'");
            ask(&mut bus, "AddMatch", &rule)?;
        }
        loop {
            let signal = bus.signal()?;
            let Some(leaving) = leaving(&signal) else { continue };
            // Anybody on the machine can send us such a signal. The bus says truly who did.
            if is_login_manager(root, &signal.sender)? && !told(leaving) {
                return Ok(());
            }
        }
    }

    /// On a connection of its own: a call throws away what else comes until it is answered, and that may be the true signal
    /// behind a false one.
    fn is_login_manager(root: &Root, sender: &str) -> Result<bool, ProbeError> {
        match ask(&mut Connection::open(root)?, "GetNameOwner", LOGIN) {
            Ok(reply) => Ok(reply.body().text() == Some(sender)),
            // Nobody has that name.
            Err(ProbeError::Unsupported(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ask(bus: &mut Connection, member: &str, text: &str) -> Result<Reply, ProbeError> {
        let arguments = [Argument::Text(text)];
        let path = "/org/freedesktop/DBus";
        bus.call(&Call { destination: BUS, path, interface: BUS, member, arguments: &arguments })
    }

    fn leaving(signal: &Reply) -> Option<Leaving> {
        if signal.interface != MANAGER || signal.signature != "b" {
            return None;
        }
        match (signal.member.as_str(), signal.body().boolean()?) {
            ("PrepareForSleep", true) => Some(Leaving::ToSleep),
            ("PrepareForSleep", false) => Some(Leaving::Awake),
            ("PrepareForShutdown", true) => Some(Leaving::ToShutDown),
            ("PrepareForShutdown", false) => Some(Leaving::Stays),
            (_, true | false) => None,
        }
    }
}

#[cfg(not(unix))]
mod imp {
    use super::{Leaving, ProbeError, Root};

    pub(super) fn listen(_root: &Root, _told: impl FnMut(Leaving) -> bool) -> Result<(), ProbeError> {
        Err(ProbeError::Unsupported("this system has no bus to listen to".to_owned()))
    }
}
