//! What will happen to which machine and when: shared faults, faults of single machines, and everything that only looks
//! like one. The truth that a score is judged by is written from here, before a line of the trace exists.

use super::benign;
use super::clock::{DAY, HOUR, MINUTE, is_weekend};
use super::day::{powered_after, span_at};
use super::fault::{Domain, Effect, Fault, Happening, Kind, What, kinds};
use super::office::Office;
use super::random::Random;
use super::series::Shape;
use super::shared::{self, SharedFault};
use super::truth::{Shared, Truth};

/// Something that happens to a machine at a second.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub at: u32,
    pub device: usize,
    pub act: Act,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A span of being on begins or ends; its place in the machine's list.
    Wake(usize),
    Leave(usize),
    Begin {
        series: usize,
        shape: Shape,
    },
    End {
        series: usize,
    },
    Happen(What),
}

/// What a machine is taken by, and how long.
struct Taken {
    from: u32,
    to: u32,
    domain: Option<Domain>,
    slots: Vec<&'static str>,
}

pub(super) struct Planner<'o> {
    office: &'o Office,
    end: u32,
    days: u32,
    random: Random,
    taken: Vec<Vec<Taken>>,
    had: Vec<Vec<&'static str>>,
    pub steps: Vec<Step>,
    pub truths: Vec<Truth>,
}

/// Of so many faults one concerns many machines.
const ONE_SHARED_OF: usize = 12;
/// So often a kind is tried before it is given up.
const TRIES: usize = 400;
/// Faults of one domain keep this distance on a machine: what follows a recovery at once is one fault to anybody.
const APART: u32 = 90 * MINUTE;

pub(super) fn plan(office: &Office, days: u32, seed: u64, faults: usize) -> (Vec<Step>, Vec<Truth>) {
    let count = office.devices.len();
    let mut planner = Planner {
        office,
        end: days * DAY,
        days,
        random: Random::new(seed, 2),
        taken: (0..count).map(|_| Vec::new()).collect(),
        had: vec![Vec::new(); count],
        steps: Vec::new(),
        truths: Vec::new(),
    };
    planner.shared(faults / ONE_SHARED_OF);
    planner.single(faults - planner.truths.len());
    planner.benign();
    planner.spans();
    planner.steps.sort_by_key(|step| step.at);
    (planner.steps, planner.truths)
}

impl Planner<'_> {
    /// A second in working hours, late enough for machines to be known and early enough for a fault to be noticed.
    fn working_time(&mut self) -> u32 {
        loop {
            let day = self.random.whole(0, self.days.saturating_sub(1));
            let first = if day == 0 { 10 * HOUR } else { 8 * HOUR + 30 * MINUTE };
            let at = day * DAY + self.random.whole(first, 15 * HOUR + 30 * MINUTE);
            if !is_weekend(day) || self.days < 3 {
                return at;
            }
        }
    }

    fn is_free(&self, device: usize, from: u32, to: u32, domain: Option<Domain>, effects: &[Effect]) -> bool {
        self.taken[device].iter().all(|taken| {
            let apart = to.saturating_add(APART) <= taken.from || taken.to.saturating_add(APART) <= from;
            let same = domain.is_some() && taken.domain == domain;
            apart || (!same && !effects.iter().any(|effect| taken.slots.contains(&effect.slot)))
        })
    }

    fn take(&mut self, device: usize, from: u32, to: u32, domain: Option<Domain>, effects: &[Effect]) {
        let slots = effects.iter().map(|effect| effect.slot).collect();
        self.taken[device].push(Taken { from, to, domain, slots });
    }

    fn schedule(&mut self, device: usize, from: u32, to: u32, effects: &[Effect], happenings: &[Happening]) {
        for effect in effects {
            let Some(series) = self.office.devices[device].slot(effect.slot) else { continue };
            let act = Act::Begin { series, shape: effect.shape };
            self.steps.push(Step { at: from + effect.after, device, act });
            if to < self.end {
                self.steps.push(Step { at: to, device, act: Act::End { series } });
            }
        }
        for happening in happenings {
            let act = Act::Happen(happening.what.clone());
            self.steps.push(Step { at: from + happening.after, device, act });
        }
    }

    fn shared(&mut self, count: usize) {
        let kinds: Vec<usize> = weighted(shared::KINDS.iter().map(|(weight, _)| *weight));
        let mut number = 0;
        for attempt in 0..count * 200 {
            if number == count {
                break;
            }
            let kind = if attempt < shared::KINDS.len() { attempt } else { *self.random.pick(&kinds) };
            let at = self.working_time();
            let make = shared::KINDS[kind].1;
            let Some(fault) = make(self.office, at, &mut self.random) else { continue };
            number += usize::from(self.place_shared(fault, at));
        }
    }

    fn place_shared(&mut self, fault: SharedFault, at: u32) -> bool {
        let (to, domain) = ((at + fault.lasts).min(self.end), domain_of(fault.problem));
        let free = fault
            .parts
            .iter()
            .all(|(device, part)| self.is_free(*device, at, to, Some(domain), &part.effects));
        // The same part failing twice within a day would be one story to anybody.
        let repeated = self.truths.iter().any(|truth| {
            truth.shared.as_ref().is_some_and(|shared| shared.value == fault.value)
                && truth.start < to.saturating_add(30 * HOUR)
                && at < truth.end.saturating_add(30 * HOUR)
        });
        // Machines share their last span with the fault: what begins in the evening is seen the next morning.
        let mut dues: Vec<u32> = fault
            .parts
            .iter()
            .filter_map(|(device, _)| {
                powered_after(&self.office.devices[*device].spans, at, fault.onset + fault.hold)
            })
            .collect();
        dues.sort_unstable();
        let needed = if domain == Domain::Printing { 2 } else { 3 };
        let Some(due) = dues.get(needed - 1).copied() else { return false };
        if !free || repeated || due + 10 * MINUTE > to {
            return false;
        }
        for (device, part) in &fault.parts {
            self.take(*device, at, to, Some(domain), &part.effects);
            self.schedule(*device, at, to, &part.effects, &part.happenings);
        }
        let devices = fault.parts.iter().map(|(device, _)| self.office.devices[*device].id.clone()).collect();
        self.truths.push(Truth {
            fault: format!("f{:04}", self.truths.len() + 1),
            kind: format!("shared.{}", fault.kind),
            devices,
            components: Vec::new(),
            start: at,
            end: to,
            due,
            hold_s: fault.hold,
            interval_s: fault.every,
            rules: texts(fault.rules),
            also: texts(fault.also),
            likely_cause: named(&fault),
            shared: Some(Shared {
                attribute: fault.attribute.to_owned(),
                value: fault.value,
                rule: fault.problem.to_owned(),
                components: fault.components,
            }),
        });
        true
    }

    fn single(&mut self, count: usize) {
        let kinds = kinds();
        let by_weight = weighted(kinds.iter().map(|(weight, _)| *weight));
        let target = self.truths.len() + count;
        // Every kind gets its turn before chance decides.
        for kind in &kinds {
            let has_room = self.truths.len() < target;
            let _ = has_room && (0..TRIES).any(|_| self.try_single(*kind));
        }
        for _ in 0..count * TRIES {
            if self.truths.len() == target {
                break;
            }
            let kind = *self.random.pick(&by_weight);
            self.try_single(kinds[kind]);
        }
    }

    /// Whether the fault fits in with a machine and a time of chance.
    fn try_single(&mut self, kind: Kind) -> bool {
        let place = self.random.place(self.office.devices.len());
        let device = &self.office.devices[place];
        let Some(fault) = kind.1(device, &mut self.random) else { return false };
        if device.spans.is_empty() || self.had[place].contains(&fault.kind) {
            return false;
        }
        let span = *self.random.pick(&device.spans);
        if fault.link.is_some_and(|link| link != span.link) || span.to < span.from + 30 * MINUTE {
            return false;
        }
        // Long faults have to begin early to be seen at all.
        let latest = if fault.hold > 12 * HOUR { span.from.max(self.end / 4) } else { span.to - 20 * MINUTE };
        let at = span.from + 6 * MINUTE;
        let at = if latest > at { self.random.whole(at, latest) } else { at };
        let lasts = if fault.lasts.1 >= self.end {
            self.end
        } else {
            self.random.whole(fault.lasts.0, fault.lasts.1)
        };
        if at < fault.earliest {
            return false;
        }
        let last_happening = fault.happenings.iter().map(|happening| happening.after).max().unwrap_or(0);
        let mut to = at.saturating_add(lasts).min(self.end);
        if fault.link.is_some() {
            to = to.min(span.to);
        }
        let shows = at.saturating_add(fault.onset);
        let Some(due) = powered_after(&device.spans, shows, fault.hold) else { return false };
        let seen_by = due.saturating_add(2 * fault.every + 12 * MINUTE);
        let happens_awake = last_happening == 0 || at + last_happening + 5 * MINUTE < span.to;
        let is_on = span_at(&device.spans, at).is_some() && span_at(&device.spans, due).is_some();
        let too_late = seen_by > to || (fault.link.is_some() && seen_by > span.to);
        if too_late
            || !happens_awake
            || !is_on
            || !self.is_free(place, at, to, Some(fault.domain), &fault.effects)
        {
            return false;
        }
        self.place_single(place, fault, (at, to, due));
        true
    }

    fn place_single(&mut self, place: usize, fault: Fault, (at, to, due): (u32, u32, u32)) {
        self.take(place, at, to, Some(fault.domain), &fault.effects);
        self.schedule(place, at, to, &fault.effects, &fault.happenings);
        self.had[place].push(fault.kind);
        self.truths.push(Truth {
            fault: format!("f{:04}", self.truths.len() + 1),
            kind: fault.kind.to_owned(),
            devices: vec![self.office.devices[place].id.clone()],
            components: std::iter::once(fault.component).chain(fault.others).collect(),
            start: at,
            end: to,
            due,
            hold_s: fault.hold,
            interval_s: fault.every,
            rules: texts(fault.rules),
            also: texts(fault.also),
            likely_cause: texts(fault.cause),
            shared: None,
        });
    }

    fn benign(&mut self) {
        for place in 0..self.office.devices.len() {
            let device = &self.office.devices[place];
            for span in &device.spans {
                let days = f64::from(span.to - span.from) / f64::from(9 * HOUR);
                for (a_day, make) in benign::KINDS {
                    if self.random.chance((a_day * days).min(0.9)) {
                        let episode = make(device, &mut self.random);
                        let at = self.random.whole(span.from + 3 * MINUTE, span.to);
                        let to = at + episode.lasts;
                        let fits = to + MINUTE < span.to || episode.lasts > 3 * HOUR;
                        let link = episode.link.is_none_or(|link| link == span.link);
                        if fits && link && self.is_quiet(place, at, to, &episode.effects) {
                            self.take(place, at, to, None, &episode.effects);
                            self.schedule(place, at, to.min(self.end), &episode.effects, &episode.happenings);
                        }
                    }
                }
                if self.random.chance(0.03) && span.to > span.from + 2 * HOUR {
                    self.silence(place, span.from, span.to);
                }
            }
        }
    }

    /// The agent of a machine that is on says nothing for a while.
    fn silence(&mut self, place: usize, from: u32, to: u32) {
        let lasts = self.random.whole(4 * MINUTE, HOUR);
        let at = self.random.whole(from + 10 * MINUTE, to - lasts - 10 * MINUTE);
        if self.is_quiet(place, at, at + lasts, &[]) {
            self.steps.push(Step { at, device: place, act: Act::Happen(What::Dark(lasts)) });
        }
    }

    /// What only looks like a fault neither mixes with a real one, nor with another of its sort on the same series.
    fn is_quiet(&self, device: usize, from: u32, to: u32, effects: &[Effect]) -> bool {
        self.taken[device].iter().all(|taken| {
            let apart = to + 20 * MINUTE <= taken.from || taken.to.saturating_add(20 * MINUTE) <= from;
            let lasting = taken.to >= self.end && taken.from < from;
            let clash = effects.iter().any(|effect| taken.slots.contains(&effect.slot));
            apart || (!clash && (taken.domain.is_none() || lasting))
        })
    }

    fn spans(&mut self) {
        for (device, machine) in self.office.devices.iter().enumerate() {
            for (number, span) in machine.spans.iter().enumerate() {
                self.steps.push(Step { at: span.from, device, act: Act::Wake(number) });
                if span.to < self.end {
                    self.steps.push(Step { at: span.to, device, act: Act::Leave(number) });
                }
            }
        }
    }
}

/// How a likely cause may name what is shared: by its value, or by that of another right component.
fn named(fault: &SharedFault) -> Vec<String> {
    let ids = fault.components.iter().filter_map(|component| component.split_once('/'));
    std::iter::once(fault.value.as_str()).chain(ids.map(|(_, id)| id)).map(str::to_lowercase).collect()
}

fn domain_of(rule: &str) -> Domain {
    match rule.split('.').next() {
        Some("prn") => Domain::Printing,
        Some("net") => Domain::Network,
        Some("sec") => Domain::Security,
        _ => Domain::System,
    }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Each place as often as its weight says.
fn weighted(weights: impl Iterator<Item = u32>) -> Vec<usize> {
    weights.enumerate().flat_map(|(place, weight)| std::iter::repeat_n(place, weight as usize)).collect()
}
