//! The network: byte streams between agents and the collector, with everything that networks do to them.
//!
//! A stream keeps its order, as TCP does; what varies is when bytes arrive and how streams end. Bytes that were on their
//! way when a stream was torn may arrive long after its successor began, a recorded stream may come a second time, and a
//! flipped bit ends a stream as TLS ends it. TLS itself is not simulated: it draws its randomness from the operating
//! system, so a seed would not replay; identity is given to the listener as TLS would have proven it.

use crate::random::Random;
use firstline_agent::identity::Identity;
use firstline_agent::seams::{ByteStream, Connecting};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that one direction holds; more than that waits at the sender, as in a socket buffer.
pub(crate) const CAPACITY: usize = 64 << 10;
/// Bytes of a stream that are recorded, for the streams that come twice.
const RECORDED: usize = 256 << 10;
/// An agent gives a connection up after this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One direction of a stream.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<(Instant, VecDeque<u8>)>,
    held: usize,
    most_held: usize,
    newest: Option<Instant>,
    /// Nothing comes after this.
    closed: Option<Instant>,
    torn_for_reader: bool,
    torn_for_writer: bool,
    /// Bytes stay on the way until this is false.
    muted: bool,
    /// After so many more bytes one is flipped.
    flip_after: Option<usize>,
    /// Whoever writes here is not read by anybody.
    sink: bool,
    recorded: Option<Vec<u8>>,
    latency: (u64, u64),
    random: Option<Random>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn delay(&mut self) -> Duration {
        let (low, high) = self.latency;
        Duration::from_millis(self.random.as_mut().map_or(low, |random| random.between(low, high)))
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = (Instant::now() + self.delay()).max(self.newest.unwrap_or_else(Instant::now));
        self.newest = Some(at);
        self.held += bytes.len();
        self.most_held = self.most_held.max(self.held);
        self.queue.push_back((at, bytes.iter().copied().collect()));
        if let Some(recorded) = &mut self.recorded
            && recorded.len() + bytes.len() <= RECORDED
        {
            recorded.extend_from_slice(bytes);
        }
    }
}

type Shared = Arc<Mutex<Lane>>;

fn lock(lane: &Shared) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end of a stream.
#[derive(Debug)]
pub(crate) struct End {
    incoming: Shared,
    outgoing: Shared,
    timer: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let incoming = Arc::clone(&self.incoming);
        loop {
            let mut lane = lock(&incoming);
            if lane.torn_for_reader {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let now = Instant::now();
            let next = lane.queue.front().map(|(at, _)| *at).or(lane.closed);
            let due = match next {
                Some(at) if !lane.muted => at,
                Some(_) | None => {
                    lane.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            };
            if due <= now {
                let Some((_, bytes)) = lane.queue.front_mut() else { return Poll::Ready(Ok(())) };
                let count = bytes.len().min(buffer.remaining());
                let taken: Vec<u8> = bytes.drain(..count).collect();
                if bytes.is_empty() {
                    lane.queue.pop_front();
                }
                lane.held -= count;
                if let Some(left) = &mut lane.flip_after {
                    if count > *left {
                        lane.torn_for_reader = true;
                        lane.torn_for_writer = true;
                        lane.wake();
                        return Poll::Ready(Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "bad record mac",
                        )));
                    }
                    *left -= count;
                }
                buffer.put_slice(&taken);
                if let Some(writer) = lane.writer.take() {
                    writer.wake();
                }
                return Poll::Ready(Ok(()));
            }
            lane.reader = Some(context.waker().clone());
            drop(lane);
            let timer = self.timer.insert(Box::pin(sleep_until(due)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.outgoing);
        if lane.torn_for_writer {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if lane.sink {
            return Poll::Ready(Ok(bytes.len()));
        }
        let room = CAPACITY.saturating_sub(lane.held);
        if room == 0 {
            lane.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        lane.push(&bytes[..count]);
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(&self.outgoing);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        close(&self.outgoing);
        let mut lane = lock(&self.incoming);
        lane.torn_for_writer = true;
        lane.wake();
    }
}

fn close(lane: &Shared) {
    let mut lane = lock(lane);
    if lane.closed.is_none() {
        let at = (Instant::now() + lane.delay()).max(lane.newest.unwrap_or_else(Instant::now));
        lane.closed = Some(at);
    }
    lane.wake();
}

/// A stream as the network knows it.
#[derive(Debug)]
struct Conversation {
    up: Shared,
    down: Shared,
}

/// The way between one device and the collector.
#[derive(Debug)]
pub(crate) struct Link {
    device: usize,
    state: Mutex<LinkState>,
}

#[derive(Debug)]
struct LinkState {
    random: Random,
    /// Nothing gets through and nobody is told.
    dead: bool,
    /// The machine sleeps.
    asleep: bool,
    latency: (u64, u64),
    /// Every so many-th connection of a hundred has a flipped bit.
    flips: u64,
    open: Vec<Conversation>,
    recorded: VecDeque<Vec<u8>>,
    doors: Option<mpsc::UnboundedSender<(usize, End)>>,
    streams: u64,
    most_held: usize,
}

impl Link {
    pub(crate) fn new(device: usize, random: Random) -> Self {
        let state = LinkState {
            random,
            dead: false,
            asleep: false,
            latency: (1, 40),
            flips: 0,
            open: Vec::new(),
            recorded: VecDeque::new(),
            doors: None,
            streams: 0,
            most_held: 0,
        };
        Self { device, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where new streams arrive; `None` while nobody listens.
    pub(crate) fn set_door(&self, door: Option<mpsc::UnboundedSender<(usize, End)>>) {
        self.state().doors = door;
    }

    pub(crate) fn set_latency(&self, low: u64, high: u64) {
        let mut state = self.state();
        state.latency = (low, high);
        for conversation in &state.open {
            lock(&conversation.up).latency = (low, high);
            lock(&conversation.down).latency = (low, high);
        }
    }

    pub(crate) fn set_flips(&self, percent: u64) {
        self.state().flips = percent;
    }

    /// Nothing gets through, silently.
    pub(crate) fn set_dead(&self, dead: bool) {
        let mut state = self.state();
        state.dead = dead;
        state.mute();
    }

    /// The machine at this end sleeps.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        let mut state = self.state();
        state.asleep = asleep;
        state.mute();
    }

    /// Every stream is torn; both ends are told.
    pub(crate) fn tear(&self) {
        let mut state = self.state();
        for conversation in state.take_open() {
            for lane in [&conversation.up, &conversation.down] {
                let mut lane = lock(lane);
                (lane.torn_for_reader, lane.torn_for_writer) = (true, true);
                lane.wake();
            }
        }
    }

    /// The device's end is torn; what is on its way to the collector arrives so much later, and then the end.
    pub(crate) fn tear_late(&self, later: Duration) {
        let mut state = self.state();
        for conversation in state.take_open() {
            let mut down = lock(&conversation.down);
            down.torn_for_reader = true;
            down.sink = true;
            down.wake();
            let mut up = lock(&conversation.up);
            up.torn_for_writer = true;
            up.muted = false;
            for (at, _) in &mut up.queue {
                *at += later;
            }
            let last = up.queue.back().map_or_else(Instant::now, |(at, _)| *at);
            up.closed = Some(last + later);
            up.wake();
        }
    }

    /// A recorded stream comes again. `false` when there is none, or nobody listens.
    pub(crate) fn replay(&self) -> bool {
        let mut state = self.state();
        let recorded = state.open.iter().filter_map(|c| lock(&c.up).recorded.clone()).next();
        let Some(bytes) = recorded.or_else(|| state.recorded.back().cloned()).filter(|b| !b.is_empty())
        else {
            return false;
        };
        let Some(door) = state.doors.clone() else { return false };
        let latency = state.latency;
        let mut lane = Lane { latency, ..Lane::default() };
        lane.random = Some(Random::new(state.random.next(), "replay"));
        lane.push(&bytes);
        lane.closed = lane.newest.map(|at| at + Duration::from_secs(5));
        let up = Arc::new(Mutex::new(lane));
        let down = Arc::new(Mutex::new(Lane { sink: true, ..Lane::default() }));
        door.send((self.device, End { incoming: up, outgoing: down, timer: None })).is_ok()
    }

    /// Streams that were opened, and the most bytes that one direction held.
    pub(crate) fn figures(&self) -> (u64, usize) {
        let mut state = self.state();
        let held = state.open.iter().map(|c| lock(&c.up).most_held.max(lock(&c.down).most_held)).max();
        state.most_held = state.most_held.max(held.unwrap_or(0));
        (state.streams, state.most_held)
    }

    async fn open(&self) -> io::Result<Box<dyn ByteStream>> {
        let wait = {
            let mut state = self.state();
            let (low, high) = state.latency;
            Duration::from_millis(2 * state.random.between(low, high))
        };
        tokio::time::sleep(wait).await;
        if self.state().dead {
            tokio::time::sleep(PATIENCE).await;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        let mut state = self.state();
        let Some(door) = state.doors.clone() else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        state.streams += 1;
        let (latency, flips) = (state.latency, state.flips);
        let flipped = if state.random.percent(flips) {
            Some((state.random.percent(50), usize::try_from(state.random.between(30, 20_000)).unwrap_or(30)))
        } else {
            None
        };
        let mut lane = |is_up: bool| {
            let mut lane = Lane { latency, ..Lane::default() };
            lane.random = Some(Random::new(state.random.next(), "lane"));
            lane.recorded = is_up.then(Vec::new);
            lane.flip_after = flipped.filter(|(up, _)| *up == is_up).map(|(_, after)| after);
            Arc::new(Mutex::new(lane))
        };
        let (up, down) = (lane(true), lane(false));
        let mine = End { incoming: Arc::clone(&down), outgoing: Arc::clone(&up), timer: None };
        let theirs = End { incoming: Arc::clone(&up), outgoing: Arc::clone(&down), timer: None };
        state.forget_ended();
        state.open.push(Conversation { up, down });
        if door.send((self.device, theirs)).is_err() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Box::new(mine))
    }
}

impl LinkState {
    fn mute(&mut self) {
        let muted = self.dead || self.asleep;
        for conversation in &self.open {
            for lane in [&conversation.up, &conversation.down] {
                let mut lane = lock(lane);
                lane.muted = muted;
                lane.wake();
            }
        }
    }

    fn take_open(&mut self) -> Vec<Conversation> {
        let open = std::mem::take(&mut self.open);
        for conversation in &open {
            self.keep(conversation);
        }
        open
    }

    fn forget_ended(&mut self) {
        let open = std::mem::take(&mut self.open);
        for conversation in open {
            if lock(&conversation.up).torn_for_writer || lock(&conversation.down).torn_for_writer {
                self.keep(&conversation);
            } else {
                self.open.push(conversation);
            }
        }
    }

    fn keep(&mut self, conversation: &Conversation) {
        self.most_held =
            self.most_held.max(lock(&conversation.up).most_held).max(lock(&conversation.down).most_held);
        let recorded = lock(&conversation.up).recorded.take();
        self.recorded.extend(recorded);
        while self.recorded.len() > 4 {
            self.recorded.pop_front();
        }
    }
}

/// The network as an agent sees it.
#[derive(Debug)]
pub(crate) struct Way(pub(crate) Arc<Link>);

impl firstline_agent::seams::Network for Way {
    fn connect<'a>(&'a self, _: &'a Identity) -> Connecting<'a> {
        Box::pin(self.0.open())
    }
}
