//! What a machine measures while nothing is wrong: each series with its name, its usual values and its rhythm.
//!
//! As the agent does it, a series is sent when it changes and at rest as a sign of life; a fault or a busy hour
//! changes its [`Shape`] for a while and makes it speak at the pace of its probe.

use super::clock::{HOUR, MINUTE};
use super::day::Link;
use super::random::Random;

/// How values come about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Usual {
    Fixed(f64),
    /// Around a mean, within bounds.
    Around {
        mean: f64,
        spread: f64,
        low: f64,
        high: f64,
    },
    /// A cumulative counter, per hour. Starts at zero with the system when `resets`.
    Counter {
        per_hour: f64,
        resets: bool,
    },
    /// A file system: grows by a share a day, and is cleaned when it reaches a level.
    Fill {
        per_day: f64,
        cleaned_at: f64,
    },
    /// Seconds since the system started.
    Uptime,
    /// Seconds since updates were installed.
    SincePatched,
}

/// What a fault or a busy hour makes of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Values {
    /// As usual: only the word differs.
    Same,
    Between(f64, f64),
    /// In a straight line from one value to another within so many seconds, and then there.
    Ramp(f64, f64, u32),
    /// A counter that grows by so much an hour.
    PerHour(f64),
    /// A counter that grew by so much at once.
    Jump(f64),
    /// Nothing is measured.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// The state, for a metric that enumerates states.
    pub word: Option<&'static str>,
    /// The severity beside a printer's keyword.
    pub severity: &'static str,
    pub values: Values,
}

/// When a series is measured at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    InTheOffice,
    Wired,
    Wifi,
    OnWifiAnywhere,
    AtHome,
    /// Once at each start of the system.
    AtBoot,
}

impl When {
    pub(super) fn holds(self, link: Link) -> bool {
        match self {
            Self::Always => true,
            Self::InTheOffice => link != Link::Home,
            Self::Wired => link == Link::Wired,
            Self::Wifi => link == Link::Wifi,
            Self::OnWifiAnywhere => link != Link::Wired,
            Self::AtHome => link == Link::Home,
            Self::AtBoot => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Series {
    pub slot: &'static str,
    pub metric: &'static str,
    pub component: String,
    /// The attributes as they stand in a line, without braces.
    pub attributes: String,
    /// The attribute that enumerates states, and its usual value.
    pub word: Option<(&'static str, &'static str)>,
    pub usual: Usual,
    /// How often its probe runs.
    pub every: u32,
    /// How often it is sent when nothing changes.
    pub rest: u32,
    pub when: When,
    /// The newest value.
    pub value: f64,
    pub measured_at: u32,
    pub shape: Option<Shape>,
    pub shaped_at: u32,
    /// Tells planned measurements that were overtaken by others.
    pub turn: u32,
}

/// Puts series together for one machine.
pub(super) struct Bench<'r> {
    pub series: Vec<Series>,
    pub random: &'r mut Random,
}

impl Bench<'_> {
    pub(super) fn add(
        &mut self,
        slot: &'static str,
        (component, metric): (&str, &'static str),
        attributes: &[(&str, &str)],
        usual: Usual,
        (every, rest): (u32, u32),
    ) -> &mut Series {
        let pairs: Vec<String> =
            attributes.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let value = match usual {
            Usual::Fixed(value) => value,
            Usual::Around { mean, .. } => mean,
            Usual::Counter { per_hour, .. } => (per_hour * self.random.range(1.0, 400.0)).floor(),
            Usual::Fill { .. } | Usual::Uptime | Usual::SincePatched => 0.0,
        };
        self.series.push(Series {
            slot,
            metric,
            component: component.to_owned(),
            attributes: pairs.join(","),
            word: None,
            usual,
            every,
            rest,
            when: When::Always,
            value,
            measured_at: 0,
            shape: None,
            shaped_at: 0,
            turn: 0,
        });
        let last = self.series.len() - 1;
        &mut self.series[last]
    }

    /// A number that stays what it is.
    pub(super) fn fixed(
        &mut self,
        slot: &'static str,
        what: (&str, &'static str),
        value: f64,
    ) -> &mut Series {
        self.add(slot, what, &[], Usual::Fixed(value), (MINUTE, HOUR))
    }

    /// A number around a mean.
    pub(super) fn around(
        &mut self,
        slot: &'static str,
        what: (&str, &'static str),
        (mean, spread): (f64, f64),
        (low, high): (f64, f64),
    ) -> &mut Series {
        self.add(slot, what, &[], Usual::Around { mean, spread, low, high }, (MINUTE, 15 * MINUTE))
    }

    /// A metric that enumerates states.
    pub(super) fn word(
        &mut self,
        slot: &'static str,
        what: (&str, &'static str),
        attributes: &[(&str, &str)],
        word: (&'static str, &'static str),
    ) -> &mut Series {
        let series = self.add(slot, what, attributes, Usual::Fixed(1.0), (MINUTE, 30 * MINUTE));
        series.word = Some(word);
        series
    }

    pub(super) fn counter(
        &mut self,
        slot: &'static str,
        what: (&str, &'static str),
        attributes: &[(&str, &str)],
        per_hour: f64,
    ) -> &mut Series {
        self.add(slot, what, attributes, Usual::Counter { per_hour, resets: true }, (MINUTE, 15 * MINUTE))
    }
}

impl Series {
    pub(super) fn only(&mut self, when: When) -> &mut Self {
        self.when = when;
        self
    }

    pub(super) fn pace(&mut self, every: u32, rest: u32) -> &mut Self {
        (self.every, self.rest) = (every, rest);
        self
    }

    pub(super) fn with(&mut self, name: &str, value: &str) -> &mut Self {
        let comma = if self.attributes.is_empty() { "" } else { "," };
        self.attributes.push_str(&format!("{comma}\"{name}\":\"{value}\""));
        self
    }

    /// A counter that survives a restart of the system.
    pub(super) fn lasting(&mut self) -> &mut Self {
        if let Usual::Counter { per_hour, .. } = self.usual {
            self.usual = Usual::Counter { per_hour, resets: false };
        }
        self
    }

    /// Measures at `now`. `None` when there is nothing to say.
    pub(super) fn measure(&mut self, now: u32, facts: Clocks, random: &mut Random) -> Option<f64> {
        let hours = f64::from(now.saturating_sub(self.measured_at.max(facts.awake_since))) / f64::from(HOUR);
        self.measured_at = now;
        let values = self.shape.map_or(Values::Same, |shape| shape.values);
        let usual = self.usual;
        self.value = match (values, usual) {
            (Values::Nothing, _) => return None,
            (Values::Between(low, high), _) => random.range(low, high),
            (Values::Ramp(from, to, over), _) => {
                let share = f64::from(now.saturating_sub(self.shaped_at)) / f64::from(over.max(1));
                from + (to - from) * share.min(1.0)
            }
            (Values::PerHour(per_hour), _) => self.value + (per_hour * hours).round(),
            (Values::Same | Values::Jump(_), Usual::Fixed(value)) => value,
            (Values::Same | Values::Jump(_), Usual::Around { mean, spread, low, high }) => {
                let toward = self.value + (mean - self.value) * 0.3;
                (toward + spread * (random.unit() + random.unit() - 1.0)).clamp(low, high)
            }
            (Values::Same | Values::Jump(_), Usual::Counter { per_hour, .. }) => {
                self.value + (per_hour * hours * random.range(0.4, 1.6)).round()
            }
            (Values::Same | Values::Jump(_), Usual::Fill { per_day, cleaned_at }) => {
                let grown = self.value + per_day * hours / 24.0;
                if grown >= cleaned_at { grown - 0.12 } else { grown }
            }
            (Values::Same | Values::Jump(_), Usual::Uptime) => {
                f64::from(now.saturating_sub(facts.booted)) + facts.up_before
            }
            (Values::Same | Values::Jump(_), Usual::SincePatched) => {
                f64::from(now.saturating_sub(facts.patched)) + facts.old_before
            }
        };
        Some(self.value)
    }
}

/// What a measurement needs to know of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub awake_since: u32,
    pub booted: u32,
    /// How long the system had been up when the trace began.
    pub up_before: f64,
    pub patched: u32,
    pub old_before: f64,
}

/// The pace of things that hardly ever change.
pub(super) const SLOW: (u32, u32) = (30 * MINUTE, 2 * HOUR);
