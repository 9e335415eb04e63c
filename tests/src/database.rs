//! Reads the two databases of a delivery from outside: what the agent made durable and what the collector stored.
//! No code of the product takes part; the tables are read as they lie on disk.

use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;

/// A record's name: epoch and sequence number.
pub type RecordName = (Vec<u8>, u64);
/// Records by name.
pub type Records = BTreeMap<RecordName, Vec<u8>>;

fn open(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)
        .unwrap_or_else(|error| panic!("{} cannot be opened: {error}", path.display()));
    database.busy_timeout(std::time::Duration::from_secs(5)).expect("a time limit can be set");
    database
}

fn rows<T>(
    path: &Path,
    query: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let database = open(path);
    let mut statement = database.prepare(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let rows =
        statement.query_map(parameters, |row| read(row)).unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// One number.
///
/// # Panics
/// When the query does not give one.
pub fn number(path: &Path, query: &str) -> i64 {
    let found = rows(path, query, [], |row| row.get(0));
    *found.first().unwrap_or_else(|| panic!("{query} gives nothing"))
}

/// Every record in an agent's spool.
pub fn spooled(spool: &Path) -> Records {
    let query = "SELECT e.name, r.seq, r.payload FROM record r JOIN epoch e ON e.id = r.epoch";
    rows(spool, query, [], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).into_iter().collect()
}

/// Every record of a device that a collector stored.
pub fn stored(collector: &Path, device: &str) -> Records {
    let query = "SELECT epoch, seq, payload FROM record WHERE device = ?";
    rows(collector, query, [device], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
        .into_iter()
        .collect()
}

/// How often a ticket was opened, by rule and component.
pub fn openings(collector: &Path, device: &str) -> BTreeMap<(String, String), u64> {
    let query = "SELECT t.rule, t.component_id, count(l.id) FROM ticket t
                 LEFT JOIN timeline l ON l.ticket = t.id AND l.kind = 'opened' WHERE t.device = ? GROUP BY t.id";
    let mut openings = BTreeMap::new();
    for (rule, component, count) in
        rows(collector, query, [device], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, u64>(2)?)))
    {
        *openings.entry((rule, component)).or_default() += count;
    }
    openings
}

/// Whether every record of the spool is stored, exactly once and unchanged, and nothing else is.
///
/// # Errors
/// What differs.
pub fn delivered_exactly_once(spool: &Path, collector: &Path, device: &str) -> Result<usize, String> {
    let (spooled, stored) = (spooled(spool), stored(collector, device));
    let missing = spooled.keys().filter(|name| !stored.contains_key(*name)).count();
    let invented = stored.keys().filter(|name| !spooled.contains_key(*name)).count();
    let changed =
        spooled.iter().filter(|(name, payload)| stored.get(*name).is_some_and(|s| s != *payload)).count();
    if missing + invented + changed > 0 {
        return Err(format!(
            "{} records are spooled and {} stored: {missing} missing, {invented} from nowhere, {changed} changed",
            spooled.len(),
            stored.len()
        ));
    }
    Ok(spooled.len())
}
