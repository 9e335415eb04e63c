//! The wire between agent and collector, which can go dead, be cut, be slow, or stop after so many bytes.
//!
//! A dead wire keeps what is written to it and delivers it when it comes back, as TCP does, unless one end has given
//! up meanwhile. Agents are enrolled with the address of the link, so a collector may come back on another port.

use crate::oracle::generator::mix;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Pieces that are on a slow wire at once, each way; beyond, its ends wait. With 16 KiB each, more than a socket buffers.
const ON_THE_WAY: usize = 64;

/// One direction of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToCollector,
    ToAgent,
}

#[derive(Debug, Default)]
struct State {
    target: Option<SocketAddr>,
    /// Bytes that may still pass; `None`: any number.
    to_collector: Option<usize>,
    to_agent: Option<usize>,
    delay: Option<Delay>,
    open: Vec<TcpStream>,
}

/// How long bytes are on their way.
#[derive(Debug, Clone, Copy)]
struct Delay {
    least: Duration,
    most: Duration,
}

#[derive(Debug, Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

/// A link; it ends with the test's process.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    wire: Arc<Wire>,
}

impl Link {
    /// A working link to `target`.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn to(target: SocketAddr) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// A working link that agents reach at this address of the machine.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn at(address: IpAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let wire = Arc::new(Wire::default());
        wire.lock().target = Some(target);
        let accepting = Arc::clone(&wire);
        std::thread::spawn(move || {
            while let Ok((agent, _)) = listener.accept() {
                let wire = Arc::clone(&accepting);
                std::thread::spawn(move || connect(&wire, agent));
            }
        });
        Self { address, wire }
    }

    /// Where agents connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The collector is somewhere else now.
    pub fn lead_to(&self, target: SocketAddr) {
        self.wire.lock().target = Some(target);
    }

    /// On connections from now on, bytes are `mean` on their way in each direction, give or take `spread`, and arrive in order,
    /// as TCP gives them out however its packets fared.
    pub fn is_slow(&self, mean: Duration, spread: Duration) {
        let delay = Delay { least: mean.saturating_sub(spread), most: mean + spread };
        self.change(|state| state.delay = Some(delay));
    }

    /// Nothing passes any more, and nobody is told.
    pub fn go_dead(&self) {
        self.change(|state| (state.to_collector, state.to_agent) = (Some(0), Some(0)));
    }

    /// So many bytes still pass to the collector, then nothing more.
    pub fn stop_after(&self, bytes: usize) {
        self.change(|state| state.to_collector = Some(bytes));
    }

    /// Nothing passes to the agent any more: the collector hears, but its acks are lost.
    pub fn lose_acks(&self) {
        self.change(|state| state.to_agent = Some(0));
    }

    /// Everything passes.
    pub fn heal(&self) {
        self.change(|state| (state.to_collector, state.to_agent) = (None, None));
    }

    /// Every connection is reset.
    pub fn cut(&self) {
        self.change(|state| {
            for stream in state.open.drain(..) {
                // Its other end may be gone already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Waits until the bytes of [`Link::stop_after`] have passed.
    ///
    /// # Panics
    /// After `limit`.
    pub fn wait_until_stopped(&self, limit: Duration) {
        crate::wait::until("so many bytes pass", limit, || {
            (self.wire.lock().to_collector == Some(0)).then_some(())
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.wire.lock());
        self.wire.changed.notify_all();
    }
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may pass; how much of `wanted`.
    fn admit(&self, way: Way, wanted: usize) -> usize {
        let mut state = self.lock();
        loop {
            let left = match way {
                Way::ToCollector => &mut state.to_collector,
                Way::ToAgent => &mut state.to_agent,
            };
            match left {
                None => return wanted,
                Some(0) => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let admitted = wanted.min(*left);
                    *left -= admitted;
                    return admitted;
                }
            }
        }
    }
}

fn connect(wire: &Arc<Wire>, agent: TcpStream) {
    // A dead wire does not even connect.
    wire.admit(Way::ToCollector, 0);
    let target = wire.lock().target;
    let Some(Ok(collector)) = target.map(TcpStream::connect) else {
        let _ = agent.shutdown(Shutdown::Both);
        return;
    };
    let _ = (agent.set_nodelay(true), collector.set_nodelay(true));
    let (Ok(agent_copy), Ok(collector_copy)) = (agent.try_clone(), collector.try_clone()) else { return };
    if let (Ok(one), Ok(other)) = (agent.try_clone(), collector.try_clone()) {
        wire.lock().open.extend([one, other]);
    }
    let back = Arc::clone(wire);
    std::thread::spawn(move || pump(&back, Way::ToAgent, collector_copy, agent_copy));
    pump(wire, Way::ToCollector, agent, collector);
}

fn pump(wire: &Wire, way: Way, mut from: TcpStream, mut to: TcpStream) {
    let delay = wire.lock().delay;
    match delay {
        None => {
            let mut buffer = [0; 16 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if !passes(wire, way, &buffer[..length], &mut to) {
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
        Some(delay) => {
            let Ok(near) = from.try_clone() else { return };
            let (sender, pieces) = mpsc::sync_channel(ON_THE_WAY);
            std::thread::spawn(move || send_off(delay, near, &sender));
            for (due, piece) in pieces {
                travel(due);
                if !passes(wire, way, &piece, &mut to) {
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }
    // The end of a stream passes only where bytes pass.
    wire.admit(way, 1);
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

/// Hands these bytes over as they may pass; `false` when the far end is gone.
fn passes(wire: &Wire, way: Way, bytes: &[u8], to: &mut TcpStream) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(wire.admit(way, rest.len()));
        if to.write_all(now).is_err() {
            return false;
        }
        rest = later;
    }
    true
}

#[expect(clippy::disallowed_methods, reason = "this wait is what a slow wire is")]
fn travel(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Puts what comes on the wire, with when it arrives. Many pieces are on their way at once.
fn send_off(delay: Delay, mut from: TcpStream, wire: &mpsc::SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = [0; 16 << 10];
    let (mut seed, mut due) = (u64::from_le_bytes(*b"one wire"), Instant::now());
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        seed = mix(&[seed]);
        let drawn = (delay.most - delay.least).mul_f64(seed as f64 / u64::MAX as f64);
        due = due.max(Instant::now() + delay.least + drawn);
        if wire.send((due, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_a_slow_link_delays_both_ways_and_many_pieces_at_once() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let link = Link::to(echo.local_addr().expect("an address"));
        let (mean, spread) = (Duration::from_millis(60), Duration::from_millis(20));
        link.is_slow(mean, spread);
        std::thread::spawn(move || {
            let (stream, _) = echo.accept().expect("a connection");
            let mut back = stream.try_clone().expect("a copy");
            std::io::copy(&mut &stream, &mut back)
        });
        let mut near = TcpStream::connect(link.address()).expect("a connection");
        near.set_nodelay(true).expect("no delay of its own");
        let begun = Instant::now();
        let mut answer = [0; 10];
        for byte in 0..10 {
            near.write_all(&[byte]).expect("sent");
        }
        near.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let took = begun.elapsed();
        assert!(took >= (mean - spread) * 2, "{took:?}");
        assert!(took < mean * 10, "{took:?}: one piece waited for the other");
    }
}
