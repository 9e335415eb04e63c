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
        .unwrap_or_else(|error| panic!("{} cannot be opened: {error}; {}", path.display(), around(path)));
    database.busy_timeout(std::time::Duration::from_secs(5)).expect("a time limit can be set");
    database
}

/// What lies where a database should: a disk that lost it is told from one that is not mounted.
fn around(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path);
    let names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_else(|error| vec![error.to_string()]);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| path.starts_with(at)).max();
    format!("its folder holds {names:?} and is on what is mounted at {}", mounted.unwrap_or("nothing"))
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

/// Keeps everybody else from writing to a database until it goes.
#[derive(Debug)]
pub struct WriteLock {
    _database: Connection,
}

impl WriteLock {
    /// Waits for its turn and takes the lock.
    ///
    /// # Panics
    /// When it does not get it.
    pub fn on(path: &Path) -> Self {
        let database = Connection::open(path).expect("the database can be opened");
        database.busy_timeout(std::time::Duration::from_secs(5)).expect("a time limit can be set");
        database.execute_batch("BEGIN IMMEDIATE").expect("the lock is free within 5 s");
        Self { _database: database }
    }
}

/// One number.
///
/// # Panics
/// When the query does not give one.
pub fn number(path: &Path, query: &str) -> i64 {
    let found = rows(path, query, [], |row| row.get(0));
    *found.first().unwrap_or_else(|| panic!("{query} gives nothing"))
}

/// One text a row, of a query about a device.
pub fn texts(path: &Path, query: &str, device: &str) -> Vec<String> {
    rows(path, query, [device], |row| row.get(0))
}

/// Every record in an agent's spool.
pub fn spooled(spool: &Path) -> Records {
    let query = "SELECT e.name, r.seq, r.payload FROM record r JOIN epoch e ON e.id = r.epoch";
    rows(spool, query, [], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).into_iter().collect()
}

/// Every record of a device that a collector stored.
pub fn stored(collector: &Path, device: &str) -> Records {
    stored_rows(collector, device).into_iter().collect()
}

fn stored_rows(collector: &Path, device: &str) -> Vec<(RecordName, Vec<u8>)> {
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
    let (spooled, rows) = (spooled(spool), stored_rows(collector, device));
    let stored: Records = rows.iter().cloned().collect();
    let doubled = rows.len() - stored.len();
    let missing = spooled.keys().filter(|name| !stored.contains_key(*name)).count();
    let invented = stored.keys().filter(|name| !spooled.contains_key(*name)).count();
    let changed =
        spooled.iter().filter(|(name, payload)| stored.get(*name).is_some_and(|s| s != *payload)).count();
    if doubled + missing + invented + changed > 0 {
        return Err(format!(
            "{} records are spooled and {} stored: {doubled} doubled, {missing} missing, {invented} from nowhere, \
             {changed} changed",
            spooled.len(),
            rows.len()
        ));
    }
    Ok(spooled.len())
}

/// How many records of a device are stored, when no number is missing in any of its epochs.
///
/// # Errors
/// What is missing.
pub fn stored_without_a_hole(collector: &Path, device: &str) -> Result<usize, String> {
    let rows = stored_rows(collector, device);
    let mut last: BTreeMap<&[u8], u64> = BTreeMap::new();
    let mut names: Vec<(&[u8], u64)> =
        rows.iter().map(|((epoch, seq), _)| (epoch.as_slice(), *seq)).collect();
    names.sort_unstable();
    for (epoch, seq) in &names {
        let before = last.insert(epoch, *seq).unwrap_or(0);
        if *seq != before + 1 {
            return Err(format!("record {} of an epoch is not stored, {seq} is", before + 1));
        }
    }
    Ok(names.len())
}

/// Findings and the latest values of a collector, for the report of a failed test.
pub fn summary(collector: &Path) -> String {
    let query = "SELECT 'finding', component_kind || '/' || component_id, rule || ' ' || phase, body FROM finding
                 UNION ALL SELECT 'latest', component_kind || '/' || component_id, name || ' ' || series, content
                 FROM latest ORDER BY 1, 2, 3 LIMIT 60";
    let lines = rows(collector, query, [], |row| {
        let line: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        Ok(line.join(" ").chars().take(300).collect::<String>())
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the reader on a spool and a store with these records (sequence number, payload).
    fn compare(spooled: &[(u64, &str)], stored: &[(u64, &str)]) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        let (spool, store) = (folder.path().join("spool.db"), folder.path().join("collector.db"));
        let database = Connection::open(&spool).unwrap();
        database
            .execute_batch(
                "CREATE TABLE epoch(id, name); CREATE TABLE record(epoch, seq, payload);
                 INSERT INTO epoch VALUES(1, x'AA'); INSERT INTO epoch VALUES(2, x'BB');",
            )
            .unwrap();
        for (seq, payload) in spooled {
            database.execute("INSERT INTO record VALUES(1, ?, ?)", (seq, payload.as_bytes())).unwrap();
        }
        let database = Connection::open(&store).unwrap();
        database.execute_batch("CREATE TABLE record(device, epoch, seq, payload);").unwrap();
        for (seq, payload) in stored {
            let row = ("pc", [0xAA_u8].as_slice(), seq, payload.as_bytes());
            database.execute("INSERT INTO record VALUES(?, ?, ?, ?)", row).unwrap();
        }
        delivered_exactly_once(&spool, &store, "pc")
    }

    #[test]
    fn what_is_lost_doubled_changed_or_invented_is_seen() {
        assert_eq!(compare(&[(1, "a"), (2, "b")], &[(1, "a"), (2, "b")]), Ok(2));
        for (stored, expected) in [
            (&[(1, "a")][..], "1 missing"),
            (&[(1, "a"), (2, "x")], "1 changed"),
            (&[(1, "a"), (2, "b"), (3, "c")], "1 from nowhere"),
            (&[(1, "a"), (2, "b"), (2, "b")], "1 doubled"),
        ] {
            let error = compare(&[(1, "a"), (2, "b")], stored).unwrap_err();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }
}
