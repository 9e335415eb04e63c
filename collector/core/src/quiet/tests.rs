//! Windows on calendars with and without summer time, and a naive model of what they hold back.

use super::*;
use crate::device::{KnownDevice, News};
use crate::evaluate::TransitionKind;
use crate::evaluate::{advance, next_deadline, observe};
use crate::finding::DeviceState;
use crate::fixture::{at, code, device, observed_facts, presence as presence_at, space, used};
use crate::knowledge::{KnowledgeSet, Scope};
use crate::peers::Peers;
use firstline_model::{Presence, Value};
use proptest::prelude::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// 2026-03-29T01:00:00Z, when Oslo puts its clocks forward from 02:00 to 03:00, in seconds after the fixture's Monday
/// 2026-01-05T08:00:00Z.
const SPRING: i64 = 83 * DAY - 7 * HOUR;
/// 2026-10-25T01:00:00Z, when Oslo puts its clocks back from 03:00 to 02:00.
const AUTUMN: i64 = 293 * DAY - 7 * HOUR;

fn oslo() -> Zone {
    Zone {
        name: "Europe/Oslo".to_owned(),
        first_offset_s: 3600,
        changes: vec![(at(SPRING), 7200), (at(AUTUMN), 3600)],
    }
}

fn recurring(weekdays: [bool; 7], from: u16, until: u16, zone: Zone, outside: bool) -> Window {
    let days = Days { weekdays, of_month: None };
    let when = When::Recurring { days, from_minute: from, until_minute: until, zone, outside };
    Window { id: 1, name: "patch night".to_owned(), scope: Scope::default(), rules: Vec::new(), when }
}

fn once(from: i64, until: i64) -> Window {
    let when = When::Once { from: at(from), until: at(until) };
    Window { when, ..recurring([false; 7], 0, 0, Zone::utc(), false) }
}

const EVERY_DAY: [bool; 7] = [true; 7];
const WEEKDAYS: [bool; 7] = [true, true, true, true, true, false, false];

#[test]
fn a_window_is_by_the_clocks_of_its_place_in_winter_and_in_summer() {
    let night = recurring(EVERY_DAY, 22 * 60, 4 * 60, oslo(), false);
    // 2026-01-05 in winter: 21:00Z to 03:00Z.
    let evening = 13 * HOUR;
    assert_eq!(night.until(at(evening - 1)), None);
    assert_eq!(night.until(at(evening)), Some(at(evening + 6 * HOUR)));
    assert_eq!(night.until(at(evening + 6 * HOUR - 1)), Some(at(evening + 6 * HOUR)));
    assert_eq!(night.until(at(evening + 6 * HOUR)), None);
    // Half a year later in summer: 20:00Z to 02:00Z.
    let evening = 180 * DAY + 12 * HOUR;
    assert_eq!(night.until(at(evening - 1)), None);
    assert_eq!(night.until(at(evening)), Some(at(evening + 6 * HOUR)));
}

#[test]
fn a_window_over_the_hour_that_is_skipped_is_an_hour_shorter_and_over_the_one_that_comes_twice_an_hour_longer()
 {
    let night = recurring(EVERY_DAY, 60, 4 * 60, oslo(), false);
    let length = |change: i64| {
        let begins =
            (0..6 * HOUR).map(|back| change - back).take_while(|t| night.until(at(*t)).is_some()).last();
        let begins = begins.unwrap();
        night.until(at(change)).unwrap().since(at(begins)).as_secs() / 3600
    };
    assert_eq!((length(SPRING), length(AUTUMN)), (2, 4));
    // One that begins within the hour that is skipped begins when that hour would have.
    let skipped = recurring(EVERY_DAY, 2 * 60 + 30, 3 * 60 + 45, oslo(), false);
    assert_eq!(skipped.until(at(SPRING + 1799)), None);
    assert_eq!(skipped.until(at(SPRING + 1800)), Some(at(SPRING + 2700)));
    // One within the hour that comes twice begins the first time and is never ended by the second.
    let twice = recurring(EVERY_DAY, 2 * 60 + 30, 3 * 60 + 30, oslo(), false);
    assert_eq!(twice.until(at(AUTUMN - 1800)), Some(at(AUTUMN + 5400)));
}

#[test]
fn outside_of_business_hours_is_quiet_over_nights_and_weekends() {
    let hours = recurring(WEEKDAYS, 8 * 60, 17 * 60, oslo(), true);
    // Monday 2026-01-05, 09:00 in Oslo.
    assert_eq!(hours.until(at(0)), None);
    let close = 8 * HOUR;
    assert_eq!(hours.until(at(close - 1)), None);
    assert_eq!(hours.until(at(close)), Some(at(DAY - HOUR)));
    let friday = 4 * DAY + close;
    assert_eq!(hours.until(at(friday)), Some(at(7 * DAY - HOUR)), "until Monday");
}

#[test]
fn the_second_tuesday_of_a_month_is_found() {
    let days = Days { weekdays: [false, true, false, false, false, false, false], of_month: Some(2) };
    let when = When::Recurring { days, from_minute: 0, until_minute: 0, zone: Zone::utc(), outside: false };
    let patch = Window { when, ..once(0, 0) };
    let on: Vec<i64> = (0..60).filter(|day| patch.until(at(day * DAY)).is_some()).collect();
    // 2026-01-13 and 2026-02-10; the fixture's day 0 is 2026-01-05.
    assert_eq!(on, [8, 36]);
}

#[test]
fn a_window_concerns_its_scope_and_its_rules_only() {
    let mut window = once(0, 10);
    window.rules = vec!["net.".to_owned(), "fs.space".to_owned()];
    window.scope = Scope { site: Some("oslo".to_owned()), ..Scope::default() };
    assert!(window.concerns(&device(), &code("net.dns")) && window.concerns(&device(), &code("fs.space")));
    assert!(!window.concerns(&device(), &code("fs.space_more")));
    let elsewhere = DeviceTraits { site: Some("bergen".to_owned()), ..device() };
    assert!(!window.concerns(&elsewhere, &code("net.dns")));
}

/// What fires when, of a device whose drive is full at these minutes.
fn play(quiet: Quiet, full: &[bool]) -> (Vec<i64>, Vec<(i64, String)>) {
    let mut knowledge = KnowledgeSet::new([space(0, 0)], Vec::new());
    knowledge.quiet = quiet;
    let (traits, mut state, mut out) = (device(), DeviceState::default(), Vec::new());
    for (minute, full) in full.iter().enumerate() {
        let now = 60 * i64::try_from(minute).unwrap();
        while let Some(due) = next_deadline(&knowledge, &traits, &state).filter(|due| *due < at(now)) {
            // It may mean that another window holds the same breach back: then the next look is later.
            let before = state.findings.clone();
            advance(&knowledge, &traits, &mut state, due, &mut out);
            assert!(state.findings != before, "a deadline at {due} that means nothing");
        }
        observe(
            &knowledge,
            &traits,
            &mut state,
            &used(now, if *full { 0.95 } else { 0.5 }),
            Vec::new(),
            &mut out,
        );
    }
    let second = |transition: &crate::evaluate::Transition| crate::fixture::seconds(transition.at);
    let fired = out.iter().filter(|t| t.kind == TransitionKind::Fired).map(second).collect();
    let held = out.iter().filter_map(|transition| {
        let TransitionKind::Suppressed { reason } = &transition.kind else { return None };
        Some((second(transition), reason.clone()))
    });
    (fired, held.collect())
}

#[test]
fn what_is_still_true_at_the_end_of_a_window_opens_then_and_what_is_over_never_does() {
    let quiet = Quiet { windows: vec![once(60, 600)], ..Quiet::default() };
    let late = i64::try_from(share_of(&device().device).as_millis() / 1000).unwrap();
    let full = |from: usize, until: usize| -> Vec<bool> {
        (0..40).map(|minute| (from..until).contains(&minute)).collect()
    };
    let (fired, held) = play(quiet.clone(), &full(5, 40));
    assert_eq!(fired, [600 + late]);
    assert_eq!(held, [(300, "maintenance: patch night".to_owned())]);
    assert_eq!(play(quiet.clone(), &full(5, 8)).0, [0_i64; 0]);
    assert_eq!(play(quiet.clone(), &full(0, 20)).0, [0], "it was there before");
    assert_eq!(play(quiet, &full(11, 20)).0, [660], "what begins after the end waits for nothing");
}

#[test]
fn the_end_of_a_window_for_a_thousand_devices_is_spread() {
    let mut seconds = std::collections::BTreeMap::<u64, u32>::new();
    for number in 0..1_000 {
        let device = DeviceId::new(format!("pc-{number}")).unwrap();
        assert!(share_of(&device) < SPREAD);
        *seconds.entry(share_of(&device).as_secs()).or_default() += 1;
    }
    assert!(seconds.values().all(|devices| *devices < 20), "{seconds:?}");
}

/// Full and empty by turns, so many minutes each.
fn by_turns(times: usize, full: usize, empty: usize) -> Vec<bool> {
    let turn = std::iter::repeat_n(true, full).chain(std::iter::repeat_n(false, empty));
    std::iter::repeat_n(turn, times).flatten().collect()
}

#[test]
fn what_comes_and_goes_has_to_hold_for_longer_each_time() {
    let quiet = Quiet { flapping: true, ..Quiet::default() };
    // Every four minutes for two of them: three times a ticket, from then on none.
    let (fired, held) = play(quiet.clone(), &by_turns(10, 2, 2));
    assert_eq!(fired, [0, 240, 480]);
    let reasons: Vec<&str> = held.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(held.len(), 7, "each breach has its reason: {held:?}");
    assert_eq!(reasons[0], "flapping: 4 times within an hour, has to hold for 5 minutes");
    assert_eq!(reasons[2], "flapping: 6 times within an hour, has to hold for 20 minutes");
    // The fourth time it stays: five minutes later it is worth a ticket.
    let stays: Vec<bool> = by_turns(3, 2, 2).into_iter().chain(by_turns(1, 30, 0)).collect();
    assert_eq!(play(quiet.clone(), &stays).0, [0, 240, 480, 720 + 300]);
    // An hour later all is forgotten.
    let later: Vec<bool> =
        by_turns(4, 2, 2).into_iter().chain(by_turns(1, 0, 60)).chain(by_turns(1, 5, 0)).collect();
    assert_eq!(play(quiet, &later).0, [0, 240, 480, (16 + 60) * 60]);
    assert_eq!(play(Quiet::default(), &by_turns(10, 2, 2)).0.len(), 10, "where nobody wants it");
}

#[test]
fn what_a_machine_does_just_after_it_came_back_waits_until_it_has_settled() {
    let slow = |category: &str| {
        let mut entry = space(60, 60);
        category.clone_into(&mut entry.category);
        entry
    };
    let play = |category: &str, before: Presence, seconds: i64| {
        let mut knowledge = KnowledgeSet::new([slow(category)], Vec::new());
        knowledge.quiet = Quiet::standard();
        let (traits, mut state, mut out) = (device(), DeviceState::default(), Vec::new());
        for (t, presence) in [(0, Presence::Online), (60, before), (3600, Presence::Online)] {
            observe(&knowledge, &traits, &mut state, &presence_at(t, presence), Vec::new(), &mut out);
        }
        for t in (3600..3600 + seconds).step_by(20) {
            advance(&knowledge, &traits, &mut state, at(t - 1), &mut out);
            observe(&knowledge, &traits, &mut state, &used(t, 0.95), Vec::new(), &mut out);
        }
        advance(&knowledge, &traits, &mut state, at(3600 + seconds), &mut out);
        let told = out
            .iter()
            .filter(|t| matches!(t.kind, TransitionKind::Fired | TransitionKind::Suppressed { .. }));
        told.map(|t| (t.kind.clone(), crate::fixture::seconds(t.at) - 3600)).collect::<Vec<_>>()
    };
    let held = |reason: &str| TransitionKind::Suppressed { reason: reason.to_owned() };
    assert_eq!(
        play("network", Presence::Asleep, 200),
        [(held("settling after resume"), 60), (TransitionKind::Fired, 120)]
    );
    assert_eq!(
        play("network", Presence::ShutDown, 400),
        [(held("settling after boot"), 60), (TransitionKind::Fired, 300)]
    );
    assert_eq!(play("filesystem", Presence::Asleep, 200), [(TransitionKind::Fired, 60)]);
    assert_eq!(play("network", Presence::OffNetwork, 200), [(TransitionKind::Fired, 60)]);
}

#[test]
fn another_network_and_another_system_are_noticed_when_they_change_and_not_when_they_are_first_known() {
    let known = |facts: &[(&'static str, &str)]| {
        let none = Value::map::<&'static str>([]);
        let mut known =
            KnownDevice::new(device(), "pc-1".to_owned(), none, DeviceState::default(), Vec::new());
        for (name, value) in facts {
            let facts = Value::map([(*name, Value::from(*value))]);
            known.observe(
                &KnowledgeSet::default(),
                &mut Peers::default(),
                &observed_facts(10, facts),
                &mut News::default(),
            );
        }
        known.state.settling
    };
    assert_eq!(known(&[("subnet", "a")]), None);
    assert_eq!(known(&[("subnet", "a"), ("subnet", "a")]), None);
    assert_eq!(known(&[("subnet", "a"), ("subnet", "b")]), Some((at(130), Cause::Dock)));
    assert_eq!(known(&[("os_version", "1"), ("os_version", "2")]), Some((at(610), Cause::Update)));
    assert_eq!(known(&[("hostname", "a"), ("hostname", "b")]), None);
}

/// When a device whose drive is full at these minutes gets findings, read off minute by minute.
fn naive(windows: &[(i64, i64)], late: i64, full: &[bool]) -> Vec<i64> {
    let in_window = |t: i64| windows.iter().any(|(from, until)| *from <= t && t < *until);
    let end = |t: i64| (t..).find(|t| !in_window(*t)).unwrap();
    let mut fired = Vec::new();
    // Held until then; `None`: not held. Looked at with every value, and when that moment has come.
    let (mut is_open, mut held) = (false, None);
    for t in 0..60 * i64::try_from(full.len()).unwrap() - 59 {
        let value = (t % 60 == 0).then(|| full[usize::try_from(t / 60).unwrap()]);
        if value == Some(false) {
            (is_open, held) = (false, None);
        }
        let breaks_out = value == Some(true) && !is_open && held.is_none();
        if breaks_out || (held.is_some() && (value.is_some() || held == Some(t))) {
            if in_window(t) {
                held = Some(end(t) + late);
            } else if held.is_none_or(|until| until <= t) {
                fired.push(t);
                (is_open, held) = (true, None);
            }
        }
    }
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn windows_hold_back_what_a_naive_reader_says(
        windows in prop::collection::vec((0_i64..90, 1_i64..40), 0..4),
        full in prop::collection::vec(any::<bool>(), 1..90),
    ) {
        // Off the minute, so that an end and a sample never fall together.
        let windows: Vec<(i64, i64)> =
            windows.iter().map(|(from, length)| (from * 60 + 7, (from + length) * 60 + 7)).collect();
        let quiet = Quiet {
            windows: windows.iter().map(|(from, until)| once(*from, *until)).collect(),
            ..Quiet::default()
        };
        let late = i64::try_from(share_of(&device().device).as_millis()).unwrap();
        let (fired, _) = play(quiet, &full);
        let expected = naive(&windows, (late + 999) / 1000, &full);
        prop_assert_eq!(fired.len(), expected.len(), "{:?} {:?}", &fired, &expected);
        for (is, should) in fired.iter().zip(&expected) {
            prop_assert!((is - should).abs() <= 1, "{:?} {:?}", &fired, &expected);
        }
    }
}
