//! Who has how many connections: places for unfinished handshakes, shared among addresses, and for each device's few
//! connections. Keys are the socket's address and the verified certificate's device, never anything that a peer says.

use crate::limits;
use firstline_model::DeviceId;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Places for handshakes that are not finished.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    pending: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

impl Handshakes {
    /// A place, unless there are too many, in all or from this address.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut pending = self.lock();
        let (all, by_network) = &mut *pending;
        let here = by_network.get(&network).copied().unwrap_or(0);
        if *all >= limits::PENDING_HANDSHAKES || here >= limits::PENDING_HANDSHAKES_PER_ADDRESS {
            return None;
        }
        *all += 1;
        by_network.insert(network, here + 1);
        Some(Place { handshakes: Arc::clone(self), network })
    }

    fn lock(&self) -> MutexGuard<'_, (usize, HashMap<IpAddr, usize>)> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place; it is free again when the value is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut pending = self.handshakes.lock();
        let (all, by_network) = &mut *pending;
        *all = all.saturating_sub(1);
        if let Some(here) = by_network.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                by_network.remove(&self.network);
            }
        }
    }
}

/// One household gets a whole /64 with IPv6, so that is what counts as an address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// A device's connections, oldest first, with the way to cut each.
type Open = VecDeque<(u64, Arc<Notify>)>;

/// The connections of devices.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<(u64, HashMap<DeviceId, Open>)>,
}

impl Connections {
    /// A device has another connection. When it has too many, its oldest is cut.
    pub(crate) fn enter(self: &Arc<Self>, device: &DeviceId) -> Connection {
        let cut = Arc::new(Notify::new());
        let mut open = self.lock();
        open.0 += 1;
        let number = open.0;
        let mine = open.1.entry(device.clone()).or_default();
        mine.push_back((number, Arc::clone(&cut)));
        if mine.len() > limits::CONNECTIONS_PER_DEVICE
            && let Some((_, oldest)) = mine.pop_front()
        {
            oldest.notify_one();
        }
        Connection { connections: Arc::clone(self), device: device.clone(), number, cut }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<DeviceId, Open>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection of a device.
#[derive(Debug)]
pub(crate) struct Connection {
    connections: Arc<Connections>,
    device: DeviceId,
    number: u64,
    cut: Arc<Notify>,
}

impl Connection {
    /// Ends when the device has too many newer ones.
    pub(crate) async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        if let Some(mine) = open.1.get_mut(&self.device) {
            mine.retain(|(number, _)| *number != self.number);
            if mine.is_empty() {
                open.1.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r17_one_address_cannot_take_all_places_for_handshakes() {
        let handshakes = Arc::new(Handshakes::default());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let enter = |text: &str| handshakes.enter(address(text));
        let mut taken: Vec<Place> = std::iter::from_fn(|| enter("192.0.2.1")).collect();
        assert_eq!(taken.len(), limits::PENDING_HANDSHAKES_PER_ADDRESS);
        assert!(enter("::ffff:192.0.2.1").is_none(), "the same address in IPv6 clothes");
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        taken.pop();
        assert!(enter("192.0.2.1").is_some());
        drop((taken, other));
        let neighbours = (0..5000).filter_map(|host| enter(&format!("2001:db8::{host:x}")));
        assert_eq!(neighbours.collect::<Vec<_>>().len(), limits::PENDING_HANDSHAKES_PER_ADDRESS);
        assert!(handshakes.lock().1.is_empty(), "places are given back");
    }

    #[test]
    fn r17_all_places_together_are_bounded() {
        let handshakes = Arc::new(Handshakes::default());
        let places: Vec<Place> = (0..=255_u8)
            .flat_map(|a| (0..20).map(move |_| a))
            .filter_map(|a| handshakes.enter([198, 51, 100, a].into()))
            .collect();
        assert_eq!(places.len(), limits::PENDING_HANDSHAKES);
    }

    #[tokio::test]
    async fn r17_a_device_with_too_many_connections_loses_its_oldest() {
        let connections = Arc::new(Connections::default());
        let device = DeviceId::new("pc-1").unwrap();
        let mine: Vec<Connection> =
            (0..limits::CONNECTIONS_PER_DEVICE).map(|_| connections.enter(&device)).collect();
        let other = connections.enter(&DeviceId::new("pc-2").unwrap());
        let newest = connections.enter(&device);
        mine[0].is_cut().await;
        for kept in mine.iter().skip(1).chain([&other, &newest]) {
            let cut = tokio::time::timeout(std::time::Duration::from_millis(2), kept.is_cut());
            assert!(cut.await.is_err());
        }
        drop((mine, other, newest));
        assert!(connections.lock().1.is_empty());
    }
}
