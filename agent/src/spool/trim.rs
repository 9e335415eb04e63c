//! What goes when nobody needs it any more: acked records that were kept long enough, and epochs that are done.

use super::database::write_watermarks;
use super::{Spool, SpoolError, broken, gap, writing};
use firstline_model::{Epoch, SequenceNumber, Timestamp};
use rusqlite::params;
use std::time::Duration;

/// How much of what is acked one pass of housekeeping may delete, by the time in which it was spooled. Passes are an
/// hour apart, so a normal one deletes an hour's worth, and a wrong clock cannot empty the tail at once.
const MOST_AT_ONCE: Duration = Duration::from_secs(2 * 3600);
/// A record from so far in the future was spooled under a wrong clock.
const FUTURE: Duration = Duration::from_secs(3600);

impl Spool {
    /// Makes the watermarks durable, then deletes acked records that were kept long enough, and epochs that are done.
    /// Returns what was deleted.
    ///
    /// `awake` does not jump as `now` may: within one life, time passes for retention as it passes for the machine, and
    /// one pass deletes what was spooled within [`MOST_AT_ONCE`] at most. What was spooled in the future counts as spooled
    /// now.
    pub(crate) fn flush(
        &mut self,
        now: Timestamp,
        awake: Duration,
    ) -> Result<Vec<(Epoch, SequenceNumber)>, SpoolError> {
        if !self.is_open {
            return Ok(Vec::new());
        }
        let watermarks = std::mem::take(&mut self.watermarks);
        let (awake_then, then) = *self.begun.get_or_insert((awake, now));
        let now = now.min(then.plus(awake.saturating_sub(awake_then)));
        let kept = self.mending(now, |spool| {
            broken::unlink_early(&mut spool.database, &watermarks)?;
            let transaction = writing(&mut spool.database)?;
            write_watermarks(&transaction, &watermarks)?;
            transaction.commit()
        });
        if let Err(error) = kept {
            self.watermarks = watermarks;
            return Err(error);
        }
        // Only now is the watermark durable, and only what it covers may go.
        self.note_all();
        let deleted = self.mending(now, |spool| spool.try_trim(now))?;
        self.note_all();
        Ok(deleted)
    }

    fn try_trim(&mut self, now: Timestamp) -> rusqlite::Result<Vec<(Epoch, SequenceNumber)>> {
        let (keep, current) = (self.limits.keep_acked, self.current_row.unwrap_or(-1));
        let transaction = writing(&mut self.database)?;
        let stamp = now.as_millis();
        transaction.execute(
            "UPDATE record SET spooled_at = ?1 WHERE spooled_at > ?2",
            params![stamp, now.plus(FUTURE).as_millis()],
        )?;
        let oldest: Option<i64> = transaction.query_row(
            "SELECT min(r.spooled_at) FROM record r JOIN epoch e ON e.id = r.epoch WHERE r.seq <= e.watermark",
            [],
            |row| row.get(0),
        )?;
        let paced = oldest.map(|oldest| Timestamp::from_millis(oldest).plus(MOST_AT_ONCE));
        let before = paced.map_or(now.minus(keep), |paced| paced.min(now.minus(keep))).as_millis();
        let old: Vec<(i64, [u8; 16], u64)> = {
            // The beginning of each epoch up to the first record that stays: an old stamp further on may be a wrong clock.
            let mut old = transaction.prepare(
                "SELECT e.id, e.name, max(r.seq) FROM epoch e JOIN record r ON r.epoch = e.id
                 WHERE r.seq <= e.watermark AND r.seq < coalesce(
                     (SELECT min(s.seq) FROM record s WHERE s.epoch = e.id AND s.spooled_at >= ?),
                     9223372036854775807)
                 GROUP BY e.id",
            )?;
            old.query_map([before], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?
        };
        let mut deleted = Vec::new();
        for (id, name, last) in old {
            gap::delete_through(&transaction, id, Epoch(name), last)?;
            deleted.push((Epoch(name), SequenceNumber(last)));
        }
        transaction.execute(
            "DELETE FROM epoch WHERE id <> ?1 AND id NOT IN (SELECT DISTINCT epoch FROM record)",
            [current],
        )?;
        transaction.execute("DELETE FROM lost WHERE epoch NOT IN (SELECT id FROM epoch)", [])?;
        let bytes =
            transaction
                .query_row("SELECT coalesce(sum(length(payload)), 0) FROM record", [], |row| row.get(0))?;
        transaction.commit()?;
        self.bytes = bytes;
        Ok(deleted)
    }
}
