//! Walks columns of a table side by side. An agent that goes backwards, stands still or answers for other names than it
//! was asked for ends the walk, so that no printer can keep it going.

use super::message::Value;
use super::{Agent, Oid, Variable};
use crate::ProbeError;
use std::collections::BTreeMap;

/// The rows of a table: what follows the column in a variable's name, and for each column its value.
pub(super) type Rows = BTreeMap<Vec<u32>, Vec<Option<Value>>>;

/// A row with its value in one column.
pub(super) type Cell = (Vec<u32>, Value);

/// Reads at most `most` values of each of the columns.
pub(super) fn columns(agent: &mut dyn Agent, columns: &[&[u32]], most: usize) -> Result<Rows, ProbeError> {
    let mut rows = Rows::new();
    let mut open: Vec<(usize, Oid)> = columns.iter().map(|column| column.to_vec()).enumerate().collect();
    for _ in 0..most {
        if open.is_empty() {
            break;
        }
        let names: Vec<Oid> = open.iter().map(|(_, name)| name.clone()).collect();
        let answers = agent.after(&names)?;
        let mut still_open = Vec::with_capacity(open.len());
        for ((at, asked), answer) in open.into_iter().zip(answers) {
            let Some((name, value)) = next(&asked, answer)? else { continue };
            // A name below the column has its row behind it; any other belongs to what comes after the column.
            let Some(row) = columns.get(at).and_then(|column| name.strip_prefix(*column)) else { continue };
            let cells = rows.entry(row.to_vec()).or_insert_with(|| vec![None; columns.len()]);
            if let Some(cell) = cells.get_mut(at) {
                *cell = Some(value);
            }
            still_open.push((at, name));
        }
        open = still_open;
    }
    Ok(rows)
}

/// The first row of each of the columns, or the first one of the device `index`, with its value.
pub(super) fn first_below(
    agent: &mut dyn Agent,
    columns: &[&[u32]],
    index: Option<u32>,
) -> Result<Vec<Option<Cell>>, ProbeError> {
    // What comes after the row before a row is that row.
    let before = index.and_then(|index| index.checked_sub(1));
    let names: Vec<Oid> =
        columns.iter().map(|column| column.iter().copied().chain(before).collect()).collect();
    let answers = agent.after(&names)?;
    let mut found = Vec::with_capacity(names.len());
    for ((asked, column), answer) in names.iter().zip(columns).zip(answers) {
        found.push(next(asked, answer)?.and_then(|(name, value)| {
            let row = name.strip_prefix(*column)?.to_vec();
            let is_wanted = index.is_none() || row.first().copied() == index;
            is_wanted.then_some((row, value))
        }));
    }
    Ok(found)
}

fn next(asked: &Oid, answer: Option<Variable>) -> Result<Option<Variable>, ProbeError> {
    match answer {
        None | Some((_, Value::End)) => Ok(None),
        Some((name, _)) if name <= *asked => {
            Err(ProbeError::Malformed("the printer's SNMP agent does not go forward".to_owned()))
        }
        Some(variable) => Ok(Some(variable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every request with the same step.
    struct Steps<F: FnMut(&Oid) -> Option<Variable>> {
        step: F,
        requests: usize,
    }

    impl<F: FnMut(&Oid) -> Option<Variable>> Agent for Steps<F> {
        fn after(&mut self, names: &[Oid]) -> Result<Vec<Option<Variable>>, ProbeError> {
            self.requests += 1;
            Ok(names.iter().map(&mut self.step).collect())
        }
    }

    #[test]
    fn an_agent_that_stands_still_or_goes_backwards_ends_the_walk() {
        for answer in [vec![1, 3, 6], vec![1, 3], vec![1, 2, 9, 9]] {
            let step = |_: &Oid| Some((answer.clone(), Value::Integer(1)));
            let mut agent = Steps { step, requests: 0 };
            let outcome = columns(&mut agent, &[&[1, 3, 6]], 100);
            assert!(matches!(outcome, Err(ProbeError::Malformed(_))), "{outcome:?}");
            assert_eq!(agent.requests, 1);
        }
    }

    #[test]
    fn an_endless_table_is_read_up_to_the_bound() {
        let step = |name: &Oid| {
            let mut next = name.clone();
            next.push(1);
            Some((next, Value::Integer(1)))
        };
        let mut agent = Steps { step, requests: 0 };
        assert_eq!(columns(&mut agent, &[&[1, 3, 6]], 20).unwrap().len(), 20);
        assert_eq!(agent.requests, 20);
    }

    #[test]
    fn columns_of_different_length_keep_their_rows() {
        let table = BTreeMap::from([
            (vec![1, 1, 1], Value::Integer(11)),
            (vec![1, 2, 1], Value::Integer(21)),
            (vec![1, 2, 5], Value::Integer(25)),
            (vec![1, 3, 1], Value::Integer(31)),
        ]);
        let step = |name: &Oid| {
            let after = (std::ops::Bound::Excluded(name.clone()), std::ops::Bound::Unbounded);
            table.range(after).next().map(|(name, value)| (name.clone(), value.clone()))
        };
        let rows = columns(&mut Steps { step, requests: 0 }, &[&[1, 1], &[1, 2]], 20).unwrap();
        let expected = Rows::from([
            (vec![1], vec![Some(Value::Integer(11)), Some(Value::Integer(21))]),
            (vec![5], vec![None, Some(Value::Integer(25))]),
        ]);
        assert_eq!(rows, expected);
    }
}
