//! The wire between agent and collector, which can go dead, be cut, or stop after so many bytes.
//!
//! A dead wire keeps what is written to it and delivers it when it comes back, as TCP does, unless one end has given
//! up meanwhile. Agents are enrolled with the address of the link, so a collector may come back on another port.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    open: Vec<TcpStream>,
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
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
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(wire.admit(way, rest.len()));
            if to.write_all(now).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            rest = later;
        }
    }
    // The end of a stream passes only where bytes pass.
    wire.admit(way, 1);
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
