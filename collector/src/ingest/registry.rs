//! Which device has a stream now, and how to reach it.

use firstline_collector_store::sabotage;
use firstline_model::DeviceId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a session is told by the rest of the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// There are tests to ask for.
    Diagnostics,
    /// The rules changed.
    Policy,
    /// The authorities changed.
    Trust,
    /// What the device said cannot be read without what it said before, and that is not here.
    SendWhole,
    /// Somebody watches the device for so long.
    Live(Duration),
    /// The stream must end now.
    End(EndReason),
}

/// Why a stream must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The device's identity was withdrawn.
    Revoked,
    /// Two machines use the device's identity; a person sorts it out.
    Quarantined,
    /// A newer stream of the device took over.
    Superseded,
    /// The collector stops.
    Stopping,
}

/// The streams that are open, one per device.
#[derive(Debug, Default)]
pub struct Registry {
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    open: BTreeMap<DeviceId, (u64, mpsc::UnboundedSender<Notice>)>,
}

impl Registry {
    /// A device's stream begins; an older one of the same device is told to end. Returns its number and its notices.
    pub(crate) fn enter(&self, device: &DeviceId) -> (u64, mpsc::UnboundedReceiver<Notice>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut streams = self.streams();
        streams.next += 1;
        let number = streams.next;
        if let Some((_, older)) = streams.open.insert(device.clone(), (number, sender)) {
            // A session that has ended already is gone either way.
            let _ = older.send(Notice::End(EndReason::Superseded));
        }
        (number, receiver)
    }

    /// A stream is over. `true` when the device has no newer one.
    pub(crate) fn leave(&self, device: &DeviceId, number: u64) -> bool {
        let mut streams = self.streams();
        if streams.open.get(device).is_some_and(|(open, _)| *open == number) {
            streams.open.remove(device);
            return true;
        }
        false
    }

    /// Tells a device's session; `false` when it has none.
    pub(crate) fn tell(&self, device: &DeviceId, notice: Notice) -> bool {
        if sabotage::is(sabotage::REVOKE_NOT_BROADCAST)
            && matches!(notice, Notice::End(EndReason::Revoked | EndReason::Quarantined))
        {
            return false;
        }
        self.streams().open.get(device).is_some_and(|(_, session)| session.send(notice).is_ok())
    }

    /// Tells every session.
    pub(crate) fn tell_all(&self, notice: &Notice) {
        for (_, session) in self.streams().open.values() {
            let _ = session.send(notice.clone());
        }
    }

    /// How many streams are open.
    pub(crate) fn count(&self) -> usize {
        self.streams().open.len()
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_stream_ends_the_older_and_the_older_does_not_remove_the_newer() {
        let registry = Registry::default();
        let device = DeviceId::new("pc-1").unwrap();
        let (first, mut told) = registry.enter(&device);
        let (second, _newer) = registry.enter(&device);
        assert_eq!(told.try_recv(), Ok(Notice::End(EndReason::Superseded)));
        assert!(!registry.leave(&device, first));
        assert_eq!(registry.count(), 1);
        assert!(registry.leave(&device, second));
        assert_eq!(registry.count(), 0);
    }
}
