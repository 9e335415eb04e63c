//! Whether the streams of one device can all be of one machine.
//!
//! Each stream that is let in gets a place in a chain: a generation that only grows, and a token nobody can guess. The
//! agent makes it durable and shows it when it comes back. A cloned disk or a rolled-back virtual machine shows a
//! place that the chain has left behind, because somebody else went on from it.
//!
//! What looks similar and is innocent: a welcome that was lost (the place before is shown once more, until the agent
//! says that it has the new one on its disk), a collector that was restored from a backup (the agent's place is ahead), and a hello that was long under way (its process has
//! said hello again since, or another process took over). A late hello comes once; one that keeps coming is alive.

/// How many late hellos in a row are taken for accidents of the network.
const MOST_LATE: u32 = 2;
/// Bytes of a lineage as it is kept.
const BYTES: usize = 16 + 8 + 8 + 16 + 16 + 8 + 16 + 4 + 4;

/// A place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Grows with each stream that is let in; 0: none yet.
    pub generation: u64,
    /// Drawn at random for each place.
    pub token: [u8; 16],
}

/// What a hello shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Drawn at random by each process of the agent.
    pub incarnation: [u8; 16],
    /// Counts the hellos of that process.
    pub attempt: u64,
    /// The place that the agent has durable.
    pub place: Place,
}

/// What the collector keeps of a device's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// The process that was let in last.
    pub incarnation: [u8; 16],
    /// Its newest hello.
    pub attempt: u64,
    /// The place that it was given.
    pub place: Place,
    /// The process before it; all zero when there was none.
    pub former: [u8; 16],
    /// The place that was shown then: shown again, the welcome was lost. Once the agent has its new place on the disk, that
    /// one: nothing was lost.
    pub shown: Place,
    /// Late hellos of others since this process came: of the one before it, or of somebody who shows no place.
    pub late: u32,
    /// Late hellos of this very process since its last one that was let in.
    pub stale: u32,
}

/// What a hello means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in and give it this place.
    Continues(Lineage),
    /// An older hello that arrived late: refuse it and note that it came.
    Late(Lineage),
    /// Two machines use this identity.
    Forked,
}

/// Judges a hello. `fresh` is a token that nobody has seen.
pub fn judge(kept: Option<&Lineage>, shown: &Shown, fresh: [u8; 16]) -> Verdict {
    let next = |former, late| {
        let generation = kept.map_or(0, |kept| kept.place.generation).max(shown.place.generation);
        Verdict::Continues(Lineage {
            incarnation: shown.incarnation,
            attempt: shown.attempt,
            place: Place { generation: generation.saturating_add(1), token: fresh },
            former,
            shown: shown.place,
            late,
            stale: 0,
        })
    };
    let Some(kept) = kept else { return next([0; 16], 0) };
    let is_same_process = shown.incarnation == kept.incarnation;
    if is_same_process && shown.attempt <= kept.attempt {
        let stale = kept.stale + 1;
        return if stale > MOST_LATE { Verdict::Forked } else { Verdict::Late(Lineage { stale, ..*kept }) };
    }
    // A process does not come back after another one took over, so its hellos count for as long as that one lives.
    if shown.incarnation == kept.former {
        return late(kept);
    }
    let is_known = shown.place == kept.place || shown.place == kept.shown;
    if !is_known && shown.place.generation <= kept.place.generation {
        return Verdict::Forked;
    }
    if is_same_process { next(kept.former, kept.late) } else { next(kept.incarnation, 0) }
}

/// Judges a stream that shows a certificate which was replaced, or no place although the device has one.
pub fn late(kept: &Lineage) -> Verdict {
    if kept.late >= MOST_LATE {
        Verdict::Forked
    } else {
        Verdict::Late(Lineage { late: kept.late + 1, ..*kept })
    }
}

impl Lineage {
    /// What is kept when the agent says which place it has on its disk; `None` when that changes nothing.
    pub fn settled(&self, durable: u64) -> Option<Self> {
        let is_new = durable == self.place.generation && self.shown != self.place;
        is_new.then_some(Self { shown: self.place, ..*self })
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.incarnation);
        bytes.extend_from_slice(&self.attempt.to_be_bytes());
        bytes.extend_from_slice(&self.place.generation.to_be_bytes());
        bytes.extend_from_slice(&self.place.token);
        bytes.extend_from_slice(&self.former);
        bytes.extend_from_slice(&self.shown.generation.to_be_bytes());
        bytes.extend_from_slice(&self.shown.token);
        bytes.extend_from_slice(&self.late.to_be_bytes());
        bytes.extend_from_slice(&self.stale.to_be_bytes());
        bytes
    }

    /// From what was kept; `None` when it is nothing that [`Self::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (first, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(*first)
        }
        let rest = &mut { bytes };
        let lineage = Self {
            incarnation: take(rest)?,
            attempt: u64::from_be_bytes(take(rest)?),
            place: Place { generation: u64::from_be_bytes(take(rest)?), token: take(rest)? },
            former: take(rest)?,
            shown: Place { generation: u64::from_be_bytes(take(rest)?), token: take(rest)? },
            late: u32::from_be_bytes(take(rest)?),
            stale: u32::from_be_bytes(take(rest)?),
        };
        rest.is_empty().then_some(lineage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine: what its disk holds and what its process knows.
    #[derive(Clone, Copy)]
    struct Machine {
        incarnation: u8,
        attempt: u64,
        place: Place,
    }

    impl Machine {
        fn new(incarnation: u8) -> Self {
            Self { incarnation, attempt: 0, place: Place::default() }
        }

        fn hello(&mut self) -> Shown {
            self.attempt += 1;
            Shown { incarnation: [self.incarnation; 16], attempt: self.attempt, place: self.place }
        }

        fn restarted(self, incarnation: u8) -> Self {
            Self { incarnation, attempt: 0, ..self }
        }
    }

    /// The collector's side of it, with tokens that differ.
    #[derive(Default)]
    struct Desk {
        kept: Option<Lineage>,
        drawn: u128,
    }

    impl Desk {
        fn hears(&mut self, shown: &Shown) -> Verdict {
            self.drawn += 1;
            let verdict = judge(self.kept.as_ref(), shown, self.drawn.to_be_bytes());
            match verdict {
                Verdict::Continues(lineage) | Verdict::Late(lineage) => self.kept = Some(lineage),
                Verdict::Forked => {}
            }
            verdict
        }

        /// Connects, makes the place durable and says so.
        fn lets_in(&mut self, machine: &mut Machine) -> bool {
            match self.hears(&machine.hello()) {
                Verdict::Continues(lineage) => {
                    machine.place = lineage.place;
                    self.kept = lineage.settled(machine.place.generation).or(self.kept);
                    true
                }
                Verdict::Late(_) | Verdict::Forked => false,
            }
        }
    }

    #[test]
    fn r7_one_machine_comes_back_for_ever_whatever_is_lost_on_the_way() {
        let (mut desk, mut machine) = (Desk::default(), Machine::new(1));
        for round in 2..200_u8 {
            assert!(desk.lets_in(&mut machine), "round {round}");
            // The welcome is lost, twice.
            for _ in 0..2 {
                assert!(matches!(desk.hears(&machine.hello()), Verdict::Continues(_)), "round {round}");
            }
            // A hello of the process that was killed arrives behind the first one of its successor.
            let delayed = machine.hello();
            if round % 3 == 0 {
                machine = machine.restarted(round);
            }
            assert!(desk.lets_in(&mut machine), "round {round}");
            if delayed.incarnation == [machine.incarnation; 16] || round % 3 == 0 {
                assert!(matches!(desk.hears(&delayed), Verdict::Late(_)), "round {round}");
            }
        }
    }

    #[test]
    fn r7_of_two_machines_with_one_disk_one_is_found_out() {
        let (mut desk, mut first) = (Desk::default(), Machine::new(1));
        assert!(desk.lets_in(&mut first));
        let (mut first, mut second) = (first.restarted(2), first.restarted(3));
        // By turns, as the newer stream takes the place of the older one.
        let mut turns = 0;
        let found = (0..20).any(|turn| {
            turns = turn;
            let machine = if turn % 2 == 0 { &mut first } else { &mut second };
            match desk.hears(&machine.hello()) {
                Verdict::Continues(lineage) => {
                    machine.place = lineage.place;
                    false
                }
                Verdict::Late(_) => false,
                Verdict::Forked => true,
            }
        });
        assert!(found && turns <= 8, "found after {turns} turns");
    }

    #[test]
    fn r7_a_machine_rolled_back_is_found_out_with_and_without_its_memory() {
        for with_memory in [true, false] {
            let (mut desk, mut machine) = (Desk::default(), Machine::new(1));
            assert!(desk.lets_in(&mut machine));
            let snapshot = machine;
            for _ in 0..2 {
                assert!(desk.lets_in(&mut machine));
            }
            let mut machine = if with_memory { snapshot } else { snapshot.restarted(9) };
            let found = (0..6).any(|_| desk.hears(&machine.hello()) == Verdict::Forked);
            assert!(found, "with memory: {with_memory}");
        }
    }

    #[test]
    fn r7_a_machine_set_back_by_one_stream_is_found_out_at_its_first_hello() {
        let (mut desk, mut machine) = (Desk::default(), Machine::new(1));
        assert!(desk.lets_in(&mut machine));
        let mut snapshot = machine.restarted(9);
        assert!(desk.lets_in(&mut machine));
        assert_eq!(desk.hears(&snapshot.hello()), Verdict::Forked);
    }

    #[test]
    fn r7_a_place_that_never_reached_the_disk_is_not_asked_for() {
        let (mut desk, mut machine) = (Desk::default(), Machine::new(1));
        assert!(desk.lets_in(&mut machine));
        // It sends on the new stream, and its disk refuses: it says no place, or the one it has.
        let Verdict::Continues(lineage) = desk.hears(&machine.hello()) else { panic!() };
        assert_eq!(lineage.settled(0), None);
        assert_eq!(lineage.settled(machine.place.generation), None);
        assert!(desk.lets_in(&mut machine.restarted(2)));
    }

    #[test]
    fn r7_a_collector_restored_from_a_backup_accuses_nobody() {
        let (mut desk, mut machine) = (Desk::default(), Machine::new(1));
        assert!(desk.lets_in(&mut machine));
        let backup = desk.kept;
        for _ in 0..5 {
            assert!(desk.lets_in(&mut machine));
        }
        desk.kept = backup;
        let mut machine = machine.restarted(2);
        for _ in 0..5 {
            assert!(desk.lets_in(&mut machine));
        }
    }

    #[test]
    fn what_is_kept_is_read_back_and_nonsense_is_not() {
        let Verdict::Continues(lineage) = judge(None, &Machine::new(7).hello(), [8; 16]) else { panic!() };
        assert_eq!(Lineage::from_bytes(&lineage.to_bytes()), Some(lineage));
        assert_eq!(lineage.to_bytes().len(), BYTES);
        assert_eq!(Lineage::from_bytes(&lineage.to_bytes()[1..]), None);
        assert_eq!(Lineage::from_bytes(&[lineage.to_bytes(), vec![0]].concat()), None);
    }
}
