//! What was seen once more: consecutive observations of an earlier record of the same epoch, some with another value.
//!
//! Machines say the same thing minute after minute. A repeat says it in a few bytes, and whoever reads it gets every single
//! observation back ([`Repeat::expand`]): so an unchanged value counts as seen, and what was not seen is not there.

use crate::{Body, Invalid, Observation, SequenceNumber, Timestamp, resolution};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The record that says it in full.
    pub record: SequenceNumber,
    /// Place of the first of them among that record's own observations.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// When the first of them was seen again; the others keep their distances to it.
    pub at: Timestamp,
    /// The samples with another value: their places among these, rising, and by how many units of their last decimal.
    pub changed: Vec<(usize, i64)>,
}

/// An observation with the decimals that its value is told in.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What was observed.
    pub observation: Observation,
    /// Decimals of a sample.
    pub decimals: i32,
}

impl Repeat {
    /// The observations, in order, given all that the record says of its own.
    pub fn expand(&self, record: &[Told]) -> Result<Vec<Observation>, Invalid> {
        let cannot = |why: &str| Invalid::new("repeat", why.to_owned());
        let end = self.first.checked_add(self.count);
        let told = end
            .and_then(|end| record.get(self.first..end))
            .ok_or_else(|| cannot("it repeats more than the record says"))?;
        let Some(begin) = told.first().map(|told| told.observation.observed_at) else {
            return Err(cannot("it repeats nothing"));
        };
        let mut seen: Vec<Observation> = told
            .iter()
            .map(|told| {
                let distance = told.observation.observed_at.as_millis().saturating_sub(begin.as_millis());
                let at = Timestamp::from_millis(self.at.as_millis().saturating_add(distance));
                Observation { observed_at: at, ..told.observation.clone() }
            })
            .collect();
        for (place, by) in &self.changed {
            let (Some(told), Some(observation)) = (told.get(*place), seen.get_mut(*place)) else {
                return Err(cannot("it changes more than it repeats"));
            };
            let Body::Sample { value, .. } = &mut observation.body else {
                return Err(cannot("it changes what is no number"));
            };
            *value = resolution::units(*value, told.decimals)
                .and_then(|units| resolution::value(units.checked_add(*by)?, told.decimals))
                .ok_or_else(|| cannot("it changes a number that has no such decimals"))?;
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Component, ComponentKind};

    fn told(at: i64, value: f64, decimals: i32) -> Told {
        let body = Body::Sample { metric: "m".into(), attributes: Attributes::none(), value };
        let component = Component::only(ComponentKind::Cpu);
        Told {
            observation: Observation { component, observed_at: Timestamp::from_millis(at), body },
            decimals,
        }
    }

    fn repeat(first: usize, count: usize, changed: &[(usize, i64)]) -> Repeat {
        let at = Timestamp::from_millis(60_000);
        Repeat { record: SequenceNumber(1), first, count, at, changed: changed.to_vec() }
    }

    #[test]
    fn what_is_repeated_is_there_with_its_distances_and_its_changes() {
        let record = [told(0, 9.0, 0), told(1_000, 0.9, 3), told(1_005, 4e6, -6)];
        let seen = repeat(1, 2, &[(0, 1), (1, -3)]).expand(&record).unwrap();
        let seen: Vec<_> = seen.iter().map(|o| (o.observed_at.as_millis(), o.body.clone())).collect();
        let value = |at: usize| {
            let Body::Sample { value, .. } = seen[at].1 else { panic!("{:?}", seen[at]) };
            value
        };
        assert_eq!((seen[0].0, value(0)), (60_000, 0.901));
        assert_eq!((seen[1].0, value(1)), (60_005, 1e6));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn what_the_record_does_not_say_cannot_be_repeated() {
        let mut record = vec![told(0, 1.0, 0), told(0, 1e300, 0)];
        record.push(Told {
            observation: Observation {
                body: Body::Presence(crate::Presence::Online),
                ..record[0].observation.clone()
            },
            decimals: 0,
        });
        for impossible in [
            repeat(0, 0, &[]),
            repeat(0, 4, &[]),
            repeat(3, 1, &[]),
            repeat(usize::MAX, 2, &[]),
            repeat(0, 1, &[(1, 1)]),
            repeat(0, 2, &[(1, 1)]),
            repeat(0, 3, &[(2, 1)]),
            repeat(0, 1, &[(0, i64::MAX)]),
        ] {
            assert!(impossible.expand(&record).is_err(), "{impossible:?}");
        }
    }
}
