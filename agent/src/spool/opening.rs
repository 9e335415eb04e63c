//! Opening the spool, which may take several attempts: a disk that is full, read-only or failing when the agent starts is no
//! reason to end. Until it heals the agent keeps what it can in memory, as it does when a write is refused, and what the
//! file holds is told when it was read.

use super::carve::Journal;
use super::database::{self, is_damage};
use super::held::Held;
use super::mend::{self, Trouble};
use super::tally::Tally;
use super::{Limits, Spool, SpoolError};
use crate::seams::Disk;
use firstline_model::{Epoch, SequenceNumber, Timestamp};

impl Spool {
    /// A spool on `disk` that is not open yet; new records will belong to `fresh`, which must be random.
    pub(crate) fn closed(disk: Box<dyn Disk>, fresh: Epoch, limits: Limits) -> Self {
        Self {
            path: disk.path().to_path_buf(),
            disk,
            database: None,
            is_open: false,
            journal: Journal::default(),
            tally: Tally::default(),
            limits,
            current: fresh,
            current_row: None,
            next: SequenceNumber(1),
            held: Held::default(),
            bytes: 0,
            watermarks: Vec::new(),
            news: Vec::new(),
            begun: None,
        }
    }

    /// A spool that is open.
    pub(crate) fn open(
        disk: Box<dyn Disk>,
        fresh: Epoch,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Self, SpoolError> {
        let mut spool = Self::closed(disk, fresh, limits);
        spool.try_open(now)?;
        Ok(spool)
    }

    /// Whether it is open. From then on [`Spool::stored`] tells what it holds.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Opens it. After a failure it is as closed as before and may be tried again.
    pub(crate) fn try_open(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let opened = self.open_file(now);
        if opened.is_err() {
            self.database = None;
        }
        opened
    }

    fn open_file(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let mended = mend::mended_path(&self.path);
        if self.disk.folder().is_some() && !self.path.exists() && mended.exists() {
            // Killed between setting the damaged file aside and putting the complete mended one in its place.
            database::put_in_place(&mended, &self.path)?;
        }
        let (tally, counts) = Tally::load(self.disk.folder());
        self.tally = tally;
        // SQLite would overwrite what lies behind a damaged place of the journal. An attempt that failed may have done so.
        let journal = Journal::beside(&*self.disk);
        if journal.len() >= self.journal.len() {
            self.journal = journal;
        }
        let opened = database::open_settled(&*self.disk);
        let surveyed = match &opened {
            Ok(database) => mend::survey(database, &counts),
            Err(error) if is_damage(error) => Err(Trouble::Inconsistent("it is not a database any more")),
            Err(_) => Ok(Vec::new()),
        };
        let stored = match surveyed {
            Ok(stored) => {
                self.database = Some(opened.map_err(|source| self.refused(source))?);
                stored
            }
            Err(Trouble::Refused(error)) if !is_damage(&error) => return Err(self.refused(error)),
            Err(trouble) => {
                tracing::warn!(file = %self.path.display(), trouble = %trouble, "the spool is damaged and is mended");
                let journal = self.journal.clone();
                self.mend(opened.ok(), journal, &counts, now)?;
                // Whoever opens a spool asks for all that it holds.
                self.news.clear();
                let reopened = database::open_settled(&*self.disk).map_err(|source| self.refused(source))?;
                self.database = Some(reopened);
                self.stored()?
            }
        };
        self.tally.rewrite(&stored, self.current);
        self.bytes = stored.iter().flat_map(|epoch| &epoch.records).map(|(_, length)| *length as u64).sum();
        self.find_current();
        (self.is_open, self.journal) = (true, Journal::default());
        Ok(())
    }
}

impl SpoolError {
    /// Whether somebody else could use what is in the spool's place, so that a person has to put it right first.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::PermissionDenied)
            }
            Self::SetAside { .. } => false,
        }
    }
}
