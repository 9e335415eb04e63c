//! Watches the HTTP/2 frames of a connection go by and ends it when they are a flood.
//!
//! The HTTP/2 library bounds the memory that a peer can take, and the streams that it opens and resets. It answers
//! PING and SETTINGS as fast as they come, though, and a peer that sends nothing else keeps a processor busy. So frames
//! that cost work and bring nothing have a price here, and a connection that spends faster than its budget refills is over.

use super::activity::Activity;
use crate::limits;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What HTTP/2 connections begin with; anything else is HTTP/1.1 and not watched.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame's length, type, flags and stream.
const HEAD: usize = 9;
/// The price of a control frame. A WINDOW_UPDATE comes with every few KiB that a reader takes and costs little: 1.
const PRICE: u64 = 50;

/// Reads frame heads out of the bytes of one direction, and keeps the budget.
#[derive(Debug)]
struct Meter {
    place: Place,
    is_agent: bool,
    left: u64,
    refilled: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So much of the preface was seen.
    Preface(usize),
    /// So much of a frame's head was seen.
    Head { seen: usize, head: [u8; HEAD] },
    /// So much of a frame's payload is to come.
    Payload(usize),
    /// Not HTTP/2.
    Other,
}

impl Meter {
    fn new(is_agent: bool, now: Instant) -> Self {
        let left = u64::from(limits::CONTROL_FRAMES) * PRICE;
        Self { place: Place::Preface(0), is_agent, left, refilled: now }
    }

    /// Takes note of bytes that arrived. `false` when they are a flood.
    fn passes(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        self.refill(now);
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.place {
                Place::Other => return true,
                Place::Preface(seen) => {
                    self.place = match PREFACE.get(seen) {
                        Some(&expected) if expected == byte && seen + 1 == PREFACE.len() => Place::head(),
                        Some(&expected) if expected == byte => Place::Preface(seen + 1),
                        Some(_) | None => Place::Other,
                    };
                    bytes = rest;
                }
                Place::Head { seen, mut head } => {
                    if let Some(place) = head.get_mut(seen) {
                        *place = byte;
                    }
                    bytes = rest;
                    if seen + 1 < HEAD {
                        self.place = Place::Head { seen: seen + 1, head };
                        continue;
                    }
                    let [a, b, c, kind, flags, ..] = head;
                    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    self.place = if length == 0 { Place::head() } else { Place::Payload(length) };
                    match self.left.checked_sub(self.price(kind, flags, length)) {
                        Some(left) => self.left = left,
                        None => return false,
                    }
                }
                Place::Payload(due) => {
                    let passed = due.min(bytes.len());
                    bytes = bytes.get(passed..).unwrap_or_default();
                    self.place = if passed == due { Place::head() } else { Place::Payload(due - passed) };
                }
            }
        }
        true
    }

    fn price(&self, kind: u8, flags: u8, length: usize) -> u64 {
        const END_STREAM: u8 = 1;
        match kind {
            // DATA: brings something, or ends a request.
            0 if length > 0 || flags & END_STREAM != 0 => 0,
            // HEADERS: an agent opens one stream; a browser's requests are bounded by the answers that it waits for.
            1 if self.is_agent => PRICE,
            1 => 0,
            // WINDOW_UPDATE
            8 => 1,
            _ => PRICE,
        }
    }

    fn refill(&mut self, now: Instant) {
        let most = u64::from(limits::CONTROL_FRAMES) * PRICE;
        let passed =
            u64::try_from(now.saturating_duration_since(self.refilled).as_micros()).unwrap_or(u64::MAX);
        let back = passed.saturating_mul(u64::from(limits::CONTROL_FRAMES_PER_SECOND) * PRICE) / 1_000_000;
        if back > 0 {
            self.left = self.left.saturating_add(back).min(most);
            self.refilled = now;
        }
    }
}

impl Place {
    fn head() -> Self {
        Self::Head { seen: 0, head: [0; HEAD] }
    }
}

/// A connection whose incoming frames are watched.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    meter: Meter,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    /// Watches from the first byte on.
    pub(crate) fn new(inner: T, is_agent: bool, activity: Arc<Activity>) -> Self {
        Self { inner, meter: Meter::new(is_agent, Instant::now()), activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return polled;
        }
        self.activity.heard();
        if !self.meter.passes(fresh, Instant::now()) {
            return Poll::Ready(Err(io::Error::other("a flood of HTTP/2 control frames")));
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [.., a, b, c] = length.to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + length, 0);
        frame
    }

    /// How many of these frames pass at once, however they are cut into reads.
    fn passing(is_agent: bool, frame: &[u8], cut: usize) -> usize {
        let begun = Instant::now();
        let mut meter = Meter::new(is_agent, begun);
        assert!(meter.passes(PREFACE, begun));
        (0..100_000).take_while(|_| frame.chunks(cut).all(|part| meter.passes(part, begun))).count()
    }

    #[test]
    fn r17_floods_of_frames_that_bring_nothing_end_and_frames_that_bring_something_pass() {
        let most = limits::CONTROL_FRAMES as usize;
        for cut in [1, 7, 4096] {
            for (what, frame, agents, browsers) in [
                ("PING", frame(6, 0, 8), most, most),
                ("SETTINGS", frame(4, 0, 0), most, most),
                ("PRIORITY", frame(2, 0, 5), most, most),
                ("RST_STREAM", frame(3, 0, 4), most, most),
                ("CONTINUATION", frame(9, 0, 1), most, most),
                ("unknown", frame(200, 0, 0), most, most),
                ("empty DATA", frame(0, 0, 0), most, most),
                ("last DATA", frame(0, 1, 0), 100_000, 100_000),
                ("DATA", frame(0, 0, 1), 100_000, 100_000),
                ("HEADERS", frame(1, 4, 20), most, 100_000),
                ("WINDOW_UPDATE", frame(8, 0, 4), most * 50, most * 50),
            ] {
                assert_eq!(passing(true, &frame, cut), agents, "{what}, cut {cut}");
                assert_eq!(passing(false, &frame, cut), browsers, "{what}, cut {cut}");
            }
        }
    }

    #[test]
    fn r17_the_budget_comes_back_with_time() {
        let begun = Instant::now();
        let mut meter = Meter::new(true, begun);
        assert!(meter.passes(PREFACE, begun));
        // Without payload, so that the last refused one leaves nothing behind.
        let ping = frame(6, 0, 0);
        while meter.passes(&ping, begun) {}
        let after = |ms| begun + Duration::from_millis(ms);
        let passed = (0..100).filter(|_| meter.passes(&ping, after(1000))).count();
        assert_eq!(passed, limits::CONTROL_FRAMES_PER_SECOND as usize);
        // A ping a second is never a flood.
        assert!((2..10_000).all(|second| meter.passes(&ping, after(second * 1000))));
    }

    #[test]
    fn r17_http1_is_not_taken_for_frames() {
        let begun = Instant::now();
        let mut meter = Meter::new(false, begun);
        assert!((0..10_000).all(|_| meter.passes(b"PRI HTTP/1.1\r\nGET / HTTP/1.1\r\n\r\n", begun)));
    }
}
