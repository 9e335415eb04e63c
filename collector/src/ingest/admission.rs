//! Who may begin now, and when the others are to come again.
//!
//! What a newcomer costs (a handshake, a stream's opening, an enrollment) is done for a few at a time; a short queue waits,
//! and whoever comes while that is full is told a time. Those times follow on each other at a steady pace, so a thousand
//! agents that lost the collector in the same second come back one after the other and not all again. No place
//! is held while a peer is waited for, or only for a moment: a slow one must not keep others out.

use crate::limits;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Draws a number in 0..1.
pub type Randomness = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What the operating system draws; one half when it gives nothing, because a lost spread is no reason to stop.
pub(crate) fn system() -> Randomness {
    Arc::new(|| {
        let mut bytes = [0; 4];
        match crate::secret::fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
            Err(_) => 0.5,
        }
    })
}

/// Lets streams and enrollments of all devices begin, and spreads those that cannot.
pub struct Admission {
    openings: Gate,
    enrollments: Gate,
    crowd: Mutex<Crowd>,
    randomness: Randomness,
}

impl Admission {
    /// With nobody inside. `randomness` spreads those that are turned away.
    pub fn new(randomness: Randomness) -> Arc<Self> {
        Arc::new(Self {
            openings: Gate::new("stream openings", limits::OPENINGS_AT_ONCE, limits::OPENING_QUEUE),
            enrollments: Gate::new("enrollments", limits::ENROLLMENTS_AT_ONCE, limits::ENROLLMENT_QUEUE),
            crowd: Mutex::default(),
            randomness,
        })
    }

    /// A turn to open a stream, or when to come again.
    pub(crate) async fn opening(&self) -> Result<Turn, Duration> {
        self.openings.enter().await.ok_or_else(|| self.come_again_in())
    }

    /// A turn to enroll or to renew, or when to come again.
    pub(crate) async fn enrollment(&self) -> Result<Turn, Duration> {
        self.enrollments.enter().await.ok_or_else(|| self.come_again_in())
    }

    /// When somebody who is turned away, for whatever reason, is to come again.
    pub(crate) fn come_again_in(&self) -> Duration {
        let random = (self.randomness)();
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner).turn_away(Instant::now(), random)
    }
}

/// Those that were told to come again and whose time has not come.
#[derive(Debug, Default)]
struct Crowd {
    /// Up to when times were given out.
    booked: Option<Instant>,
}

impl Crowd {
    /// How far one time may lie from its place in the sequence.
    const SPREAD: Duration = Duration::from_secs(1);

    /// When the next one is to come. `random` is uniform in 0..1.
    fn turn_away(&mut self, now: Instant, random: f64) -> Duration {
        let random = if random.is_nan() { 0.5 } else { random.clamp(0.0, 1.0) };
        let place = self.booked.map_or(now, |booked| booked.max(now));
        let window = place.saturating_duration_since(now);
        if window >= limits::LONGEST_TURNED_AWAY {
            // More than can be given a place: anywhere, so that no moment gets all of them.
            return limits::LONGEST_TURNED_AWAY.mul_f64(random);
        }
        self.booked = Some(place + Duration::from_secs(1) / limits::ADMITTED_PER_SECOND);
        window + Self::SPREAD.mul_f64(random)
    }
}

/// A few places and a short queue in front of them.
pub(crate) struct Gate {
    what: &'static str,
    /// Places and queue together.
    room: Arc<Semaphore>,
    places: Arc<Semaphore>,
    most: usize,
    turned_away: AtomicU64,
}

/// One place; it is free again when the value is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _place: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Gate {
    /// For `at_once` and `queue` more that wait.
    pub(crate) fn new(what: &'static str, at_once: usize, queue: usize) -> Self {
        let most = at_once + queue;
        Self {
            what,
            room: Arc::new(Semaphore::new(most)),
            places: Arc::new(Semaphore::new(at_once)),
            most,
            turned_away: AtomicU64::new(0),
        }
    }

    /// A turn, waiting for it; `None` at once when too many wait already.
    pub(crate) async fn enter(&self) -> Option<Turn> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            // Said once and not each time: a flood must not flood the log too.
            if self.turned_away.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::info!(what = self.what, "more come than can begin at once; they are spread");
            }
            return None;
        };
        if self.room.available_permits() > self.most / 2 {
            let turned_away = self.turned_away.swap(0, Ordering::Relaxed);
            if turned_away > 0 {
                tracing::info!(what = self.what, turned_away, "whoever comes can begin again");
            }
        }
        // Nobody closes it.
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Turn { _place: place, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64, as a source of numbers in 0..1.
    fn dice(mut seed: u64) -> impl FnMut() -> f64 {
        move || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn told(count: u32, seed: u64, now: Instant) -> (Crowd, Vec<Duration>) {
        let (mut crowd, mut dice) = (Crowd::default(), dice(seed));
        let delays = (0..count).map(|_| crowd.turn_away(now, dice())).collect();
        (crowd, delays)
    }

    #[test]
    fn f13_a_thousand_turned_away_come_back_evenly_over_a_window_that_grows_with_them() {
        let now = Instant::now();
        for (count, seed) in [(100, 1), (1_000, 2), (1_000, 3), (10_000, 4)] {
            let (_, delays) = told(count, seed, now);
            let window = u64::from(count / limits::ADMITTED_PER_SECOND);
            let in_second =
                |second: u64| delays.iter().filter(|delay| delay.as_secs() == second).count() as f64;
            let pace = f64::from(limits::ADMITTED_PER_SECOND);
            for second in 1..window {
                let came = in_second(second);
                assert!((came - pace).abs() <= pace / 2.0, "{came} in second {second} of {count}");
            }
            assert!(in_second(0) <= pace && in_second(0) >= pace / 4.0, "{count}");
            assert!(delays.iter().all(|delay| delay.as_secs() <= window), "{count}: beyond the window");
        }
        assert_ne!(told(50, 1, now).1, told(50, 2, now).1, "it is drawn");
    }

    #[test]
    fn f13_a_window_ends_and_nobody_is_told_more_than_five_minutes() {
        let now = Instant::now();
        let (mut crowd, delays) = told(100_000, 5, now);
        assert!(delays.iter().all(|delay| *delay <= limits::LONGEST_TURNED_AWAY + Crowd::SPREAD));
        let late = &delays[50_000..];
        let first_half = late.iter().filter(|delay| **delay < limits::LONGEST_TURNED_AWAY / 2).count();
        assert!(first_half.abs_diff(late.len() / 2) < late.len() / 50, "{first_half} of {}", late.len());
        let after = now + limits::LONGEST_TURNED_AWAY + Crowd::SPREAD;
        assert!(crowd.turn_away(after, 0.9) <= Crowd::SPREAD, "the crowd is gone");
        assert!(crowd.turn_away(after, f64::NAN) <= Crowd::SPREAD * 2);
    }

    #[tokio::test]
    async fn r17_a_gate_lets_few_in_and_some_wait_and_turns_the_rest_away_at_once() {
        let gate = Arc::new(Gate::new("tests", 2, 3));
        let inside = [gate.enter().await.unwrap(), gate.enter().await.unwrap()];
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { gate.enter().await.is_some() })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(gate.enter().await.is_none(), "the queue is full");
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "nobody passes those inside");
        drop(inside);
        for waiting in waiting {
            assert!(waiting.await.unwrap(), "who waited gets a turn");
        }
        assert!(gate.enter().await.is_some(), "places are given back");
        assert_eq!(gate.room.available_permits(), 5);
    }

    #[tokio::test]
    async fn f13_who_finds_no_turn_is_told_when_to_come() {
        let admission = Admission::new(Arc::new(|| 0.5));
        let full = limits::OPENINGS_AT_ONCE + limits::OPENING_QUEUE;
        let _all = Arc::clone(&admission.openings.room).acquire_many_owned(full as u32).await.unwrap();
        assert_eq!(admission.opening().await.unwrap_err(), Crowd::SPREAD / 2);
        assert!(admission.opening().await.unwrap_err() > Crowd::SPREAD / 2);
        assert!(admission.enrollment().await.is_ok(), "enrollments have places of their own");
    }
}
