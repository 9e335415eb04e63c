//! What happens in one seed: the faults, when and to whom, and what the devices measure. All of it follows from the seed
//! before the first act, so that a failing seed can be read as a story.

use crate::random::Random;
use std::time::Duration;

/// Devices in a simulation. The first one is calm: networks and collectors fail for it, the machine itself does not.
pub(crate) const DEVICES: usize = 3;
/// Faults happen until now.
pub(crate) const STORM: Duration = Duration::from_secs(90 * 60);
/// The simulation ends, if not everything was delivered before.
pub(crate) const END: Duration = Duration::from_secs(135 * 60);

/// How long a drive is full: the hold time of the rule is 15 minutes, and so is its clear time.
const FULL: Duration = Duration::from_secs(25 * 60);

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    CollectorDies,
    CollectorStarts,
    /// The collector's disk is full, or works again.
    CollectorRefuses(bool),
    BackupIsMade,
    BackupIsRestored,
    AgentDies(usize),
    AgentIsStopped(usize),
    /// Power goes after so many more writes.
    PowerGoes(usize, u64),
    PowerIsGone(usize),
    AgentStarts(usize),
    DiskIsFull(usize, bool),
    SyncFails(usize, bool),
    ClockJumps(usize, i64),
    StreamIsTorn(usize),
    StreamIsTornLate(usize, Duration),
    LinkIsDead(usize, bool),
    LinkIsSlow(usize, u64, u64),
    LinkFlipsBits(usize, u64),
    StreamComesAgain(usize),
    Sleeps(usize, bool),
}

/// The story of a seed, in order of time.
pub(crate) fn story(seed: u64) -> Vec<(Duration, Act)> {
    let mut random = Random::new(seed, "story");
    let mut acts: Vec<(Duration, Act)> = Vec::new();
    let mut agent_free = [Duration::ZERO; DEVICES];
    let (mut collector_free, mut has_backup, mut is_restored) = (Duration::ZERO, false, false);
    let mut has_come_again = [false; DEVICES];
    let mut now = random.seconds(5, 120);
    while now < STORM {
        let device = usize::try_from(random.between(0, DEVICES as u64 - 1)).unwrap_or(0);
        let long = random.seconds(1, 600);
        let kind = random.between(0, 19);
        let calm = device == 0;
        let mut also = |at: Duration, act: Act| acts.push((at, act));
        match kind {
            0 | 1 if now >= collector_free => {
                also(now, Act::CollectorDies);
                let back = now + long / 4;
                if has_backup && !has_come_again.contains(&true) && random.percent(25) {
                    also(back, Act::BackupIsRestored);
                    is_restored = true;
                }
                also(back, Act::CollectorStarts);
                collector_free = back + Duration::from_secs(1);
            }
            2 if now >= collector_free => {
                also(now, Act::CollectorRefuses(true));
                also(now + long / 4, Act::CollectorRefuses(false));
                collector_free = now + long / 4 + Duration::from_secs(1);
            }
            3 if now >= collector_free => {
                also(now, Act::BackupIsMade);
                has_backup = true;
            }
            4..=9 if !calm && now >= agent_free[device] => {
                let back = now + long / 3;
                match kind {
                    4 => also(now, Act::AgentDies(device)),
                    5 => also(now, Act::AgentIsStopped(device)),
                    6 | 7 => {
                        also(now, Act::PowerGoes(device, random.between(0, 30)));
                        also(back, Act::PowerIsGone(device));
                    }
                    8 => {
                        also(now, Act::DiskIsFull(device, true));
                        also(back, Act::DiskIsFull(device, false));
                    }
                    _ => {
                        also(now, Act::SyncFails(device, true));
                        also(back, Act::SyncFails(device, false));
                    }
                }
                // One that starts while its disk refuses knows nothing of its spool until the disk heals.
                if kind >= 8 && random.percent(40) {
                    also(now + long / 12, Act::AgentDies(device));
                    also(now + long / 6, Act::AgentStarts(device));
                }
                if kind < 8 {
                    also(back + Duration::from_secs(1), Act::AgentStarts(device));
                }
                agent_free[device] = back + Duration::from_secs(2);
            }
            10 if !calm => {
                let years = i64::try_from(random.between(0, 20)).unwrap_or(0) - 10;
                let by = years * 365 * 86_400_000 + i64::try_from(random.between(0, 900_000)).unwrap_or(0)
                    - 450_000;
                also(now, Act::ClockJumps(device, by));
            }
            11 if !calm && now >= agent_free[device] => {
                also(now, Act::Sleeps(device, true));
                also(now + long, Act::Sleeps(device, false));
                agent_free[device] = now + long + Duration::from_secs(1);
            }
            12 | 13 => also(now, Act::StreamIsTorn(device)),
            14 => also(now, Act::StreamIsTornLate(device, random.seconds(0, 60))),
            15 | 16 => {
                also(now, Act::LinkIsDead(device, true));
                also(now + long, Act::LinkIsDead(device, false));
            }
            17 => {
                also(now, Act::LinkIsSlow(device, 200, 4_000));
                also(now + long, Act::LinkIsSlow(device, 1, 40));
            }
            18 => {
                also(now, Act::LinkFlipsBits(device, 60));
                also(now + long, Act::LinkFlipsBits(device, 0));
            }
            // Once, and to no collector that forgot: a hello that keeps coming is a second machine, and is meant to be cut.
            // TLS keeps strangers from doing this at all.
            19 if !has_come_again[device] && !is_restored => {
                also(now, Act::StreamComesAgain(device));
                has_come_again[device] = true;
            }
            _ => {}
        }
        now += random.seconds(10, 300);
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// Whether this drive of a device is full at this time. Of two drives one is never full; the other one once or twice.
pub(crate) fn is_full(seed: u64, device: usize, drive: usize, at: Duration) -> bool {
    episodes(seed, device, drive).iter().any(|(from, until)| *from <= at && at < *until)
}

/// When a drive is full.
pub(crate) fn episodes(seed: u64, device: usize, drive: usize) -> Vec<(Duration, Duration)> {
    if drive == 1 {
        return Vec::new();
    }
    let mut random = Random::new(seed ^ (device as u64) << 32, "episodes");
    let first = random.seconds(2 * 60, 12 * 60);
    let mut all = vec![(first, first + FULL)];
    if random.percent(50) {
        let second = first + FULL + FULL + random.seconds(0, 600);
        all.push((second, second + FULL));
    }
    all
}
