//! When a machine is switched on, and how it is connected then: laptops that sleep at night, at weekends and over
//! lunch and work from home on some days, desktops that are switched off in the evening or never, servers that are on.

use super::clock::{DAY, HOUR, MINUTE, is_patch_day, is_weekend};
use super::office::Class;
use super::random::Random;

/// How a machine reaches the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// By a cable in the office; a laptop in its dock.
    Wired,
    /// By Wi-Fi in the office.
    Wifi,
    /// At home, through the VPN.
    Home,
}

/// How a time of being on ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Asleep,
    ShutDown,
    /// Asleep as well, but the last message did not get through.
    Unsaid,
}

/// One time of being on, from its first second up to, not including, its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub from: u32,
    pub to: u32,
    pub link: Link,
    /// Whether it begins with a start of the system.
    pub boots: bool,
    /// Whether updates are installed at the start.
    pub patched: bool,
    pub ending: Ending,
}

/// Every time of being on, in order.
pub(super) fn spans(class: Class, days: u32, random: &mut Random) -> Vec<Span> {
    let mut spans = match class {
        Class::Server => always_on(days, 3 * HOUR, random),
        Class::Desktop if random.chance(0.4) => always_on(days, 12 * HOUR, random),
        Class::Desktop => desktop(days, random),
        Class::Laptop => laptop(days, random),
    };
    spans.retain(|span| span.to > span.from + 5 * MINUTE);
    spans
}

/// On all the time, restarted once after each patch day.
fn always_on(days: u32, hour: u32, random: &mut Random) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = 0;
    for day in (0..days).filter(|day| is_patch_day(*day)) {
        let to = day * DAY + hour + random.whole(0, 2 * HOUR);
        let patched = !spans.is_empty();
        spans.push(Span { from, to, link: Link::Wired, boots: patched, patched, ending: Ending::ShutDown });
        from = to + random.whole(3 * MINUTE, 8 * MINUTE);
    }
    let patched = !spans.is_empty();
    let to = days * DAY;
    spans.push(Span { from, to, link: Link::Wired, boots: patched, patched, ending: Ending::Unsaid });
    spans
}

fn desktop(days: u32, random: &mut Random) -> Vec<Span> {
    let holiday = holiday(days, random);
    let mut spans = Vec::new();
    for day in (0..days).filter(|day| !is_weekend(*day) && !holiday.contains(day)) {
        let from = day * DAY + 7 * HOUR + random.whole(0, 2 * HOUR);
        let to = day * DAY + 16 * HOUR + random.whole(0, 3 * HOUR);
        let patched = is_patch_day(day.wrapping_sub(1));
        spans.push(Span { from, to, link: Link::Wired, boots: true, patched, ending: Ending::ShutDown });
    }
    spans
}

fn laptop(days: u32, random: &mut Random) -> Vec<Span> {
    let holiday = holiday(days, random);
    let docks = random.chance(0.6);
    let mut spans: Vec<Span> = Vec::new();
    let mut patched = true;
    for day in 0..days {
        if holiday.contains(&day) || (is_weekend(day) && !random.chance(0.08)) {
            continue;
        }
        let home = is_weekend(day) || random.chance(0.25);
        let at_desk = match (home, docks) {
            (true, _) => Link::Home,
            (false, true) => Link::Wired,
            (false, false) => Link::Wifi,
        };
        patched &= !is_patch_day(day);
        let mut from = day * DAY + 7 * HOUR + random.whole(0, 2 * HOUR);
        let evening = day * DAY + 16 * HOUR + random.whole(0, 3 * HOUR);
        let lunch = day * DAY + 11 * HOUR + random.whole(30 * MINUTE, 90 * MINUTE);
        let mut pauses = vec![];
        if random.chance(0.5) {
            pauses.push((lunch, lunch + random.whole(20 * MINUTE, 60 * MINUTE), at_desk));
        }
        if !home && random.chance(0.5) {
            // Off to a meeting, with the lid closed on the way.
            let begin = day * DAY + 14 * HOUR + random.whole(0, HOUR);
            pauses.push((begin, begin + random.whole(MINUTE, 4 * MINUTE), Link::Wifi));
        }
        let mut link = at_desk;
        // A week begins with a start, and updates ask for one.
        let mut boots = spans.is_empty() || (!patched && is_patch_day(day.wrapping_sub(1)));
        let mut patches = !spans.is_empty();
        for (to, next, then) in pauses {
            spans.push(Span { from, to, link, boots, patched: boots && patches, ending: closing(random) });
            patched |= boots;
            (from, link, boots, patches) = (next, then, false, true);
        }
        spans.push(Span {
            from,
            to: evening,
            link,
            boots,
            patched: boots && patches,
            ending: closing(random),
        });
        patched |= boots;
        if random.chance(0.15) {
            let from = day * DAY + 20 * HOUR + random.whole(0, HOUR);
            let to = from + random.whole(20 * MINUTE, 90 * MINUTE);
            let ending = closing(random);
            spans.push(Span { from, to, link: Link::Home, boots: false, patched: false, ending });
        }
    }
    spans
}

fn closing(random: &mut Random) -> Ending {
    if random.chance(0.05) { Ending::Unsaid } else { Ending::Asleep }
}

/// A few people are away for days.
fn holiday(days: u32, random: &mut Random) -> std::ops::Range<u32> {
    if !random.chance(0.08) {
        return 0..0;
    }
    let from = random.whole(0, days);
    from..from + random.whole(3, 9)
}

/// The second at which a machine has been on for `seconds` since `from`; `None` when that is never.
pub(super) fn powered_after(spans: &[Span], from: u32, seconds: u32) -> Option<u32> {
    let mut left = seconds;
    for span in spans.iter().filter(|span| span.to > from) {
        let begin = span.from.max(from);
        if span.to - begin > left {
            return Some(begin + left);
        }
        left -= span.to - begin;
    }
    None
}

/// The span that holds a second.
pub(super) fn span_at(spans: &[Span], second: u32) -> Option<&Span> {
    spans.iter().find(|span| span.from <= second && second < span.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u32, to: u32) -> Span {
        Span { from, to, link: Link::Wired, boots: false, patched: false, ending: Ending::Asleep }
    }

    #[test]
    fn a_hold_time_stands_still_while_the_machine_is_off() {
        let spans = [span(0, 100), span(200, 300)];
        assert_eq!(powered_after(&spans, 50, 20), Some(70));
        assert_eq!(powered_after(&spans, 50, 60), Some(210));
        assert_eq!(powered_after(&spans, 150, 0), Some(200));
        assert_eq!(powered_after(&spans, 50, 151), None);
    }

    #[test]
    fn spans_lie_in_order_and_apart() {
        for (seed, class) in
            (0..60).flat_map(|seed| [Class::Laptop, Class::Desktop, Class::Server].map(|class| (seed, class)))
        {
            let spans = spans(class, 14, &mut Random::new(seed, 1));
            assert!(spans.windows(2).all(|pair| pair[0].to < pair[1].from), "{spans:?}");
            assert!(spans.last().is_none_or(|span| span.to <= 14 * DAY));
        }
    }
}
