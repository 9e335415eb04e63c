//! The one thread that writes, and its queue.
//!
//! Whatever waits in the queue goes into one transaction, each piece of work inside its own savepoint, so that one
//! conflict costs only the work that met it. Answers leave strictly after COMMIT returned. When the file or the disk
//! is in trouble nothing of the group is reported as saved, the connection is thrown away, and the next group opens
//! a new one: after a repair the store works again without a restart.

use super::connection::Opener;
use super::failure::Failure;
use crate::StoreError;
use crate::sabotage::{FSYNC_ERROR_IGNORED, is};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// How much work may wait before callers wait for room.
const QUEUE: usize = 1024;

/// How much work goes into one transaction at most; bounds how long the first caller of a group waits.
const GROUP: usize = 128;

/// The queue's near end. The thread ends, after the work that waits, when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(opener: Opener, connection: Connection) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || Loop { opener, connection: Some(connection), waiting }.run())
            .map_err(|error| StoreError::Unavailable {
                detail: format!("the writer cannot start: {error}"),
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Does `work` in a transaction; durable when this returns `Ok`, undone when it returns an error.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Unavailable { detail: "the writer has stopped".to_owned() };
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work: Some(work), result: None, reply });
        let Some(queue) = &self.queue else { return Err(stopped()) };
        queue.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Panics of the thread were logged where they happened.
            let _ = thread.join();
        }
    }
}

/// A piece of work that waits.
trait Job: Send {
    /// Does it, and keeps the result until the transaction's end is known.
    fn run(&mut self, connection: &Connection) -> Ran;
    /// Tells the caller. `saved` is the end of the transaction.
    fn answer(self: Box<Self>, saved: Result<(), StoreError>);
}

/// What one piece of work did to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    /// Its changes stay.
    Kept,
    /// It refused; its changes must be undone.
    Refused,
    /// The file or the disk is in trouble.
    Trouble,
}

struct Write<T, W> {
    work: Option<W>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, W: FnOnce(&Connection) -> Result<T, Failure> + Send> Job for Write<T, W> {
    fn run(&mut self, connection: &Connection) -> Ran {
        let Some(work) = self.work.take() else { return Ran::Refused };
        let result = work(connection);
        let ran = match &result {
            Ok(_) => Ran::Kept,
            Err(failure) if failure.is_trouble() => Ran::Trouble,
            Err(_) => Ran::Refused,
        };
        self.result = Some(result.map_err(StoreError::from));
        ran
    }

    fn answer(self: Box<Self>, saved: Result<(), StoreError>) {
        let answer = match (saved, self.result) {
            // A refusal says more than the trouble that others of its group met.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(StoreError::Unavailable { detail: "the work was not done".to_owned() }),
            (Err(error), _) => Err(error),
        };
        // A caller that went away does not need the answer.
        let _ = self.reply.send(answer);
    }
}

struct Loop {
    opener: Opener,
    connection: Option<Connection>,
    waiting: mpsc::Receiver<Box<dyn Job>>,
}

impl Loop {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP {
                let Ok(next) = self.waiting.try_recv() else { break };
                group.push(next);
            }
            let work =
                catch_unwind(AssertUnwindSafe(|| self.transaction(&mut group).map_err(StoreError::from)));
            let saved = work.unwrap_or_else(|_| {
                tracing::error!(jobs = group.len(), "a write panicked, its whole group was undone");
                Err(StoreError::Unavailable { detail: "an error inside the store".to_owned() })
            });
            if let Err(error) = &saved {
                tracing::error!(%error, jobs = group.len(), "nothing of this group was saved");
                // Dropping the connection rolls back whatever it had open.
                self.connection = None;
            }
            let saved = if is(FSYNC_ERROR_IGNORED) { Ok(()) } else { saved };
            for job in group {
                job.answer(saved.clone());
            }
        }
    }

    fn transaction(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connection = Some(self.opener.writer()?);
            tracing::info!("the store was opened again");
        }
        let Some(connection) = &self.connection else {
            return Err(Failure::Store(StoreError::Unavailable {
                detail: "there is no connection".to_owned(),
            }));
        };
        self.opener.bound(connection)?;
        in_transaction(connection, group)
    }
}

fn in_transaction(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
    execute(connection, "BEGIN IMMEDIATE")?;
    for job in group {
        execute(connection, "SAVEPOINT job")?;
        let ran = job.run(connection);
        // After some failures SQLite has already rolled the whole transaction back.
        if ran == Ran::Trouble || connection.is_autocommit() {
            return Err(Failure::Store(StoreError::Unavailable {
                detail: "the file or its disk failed during the transaction".to_owned(),
            }));
        }
        if ran == Ran::Refused {
            execute(connection, "ROLLBACK TO job")?;
        }
        execute(connection, "RELEASE job")?;
    }
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
