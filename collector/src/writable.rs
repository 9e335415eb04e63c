//! Whether the store takes writes, also while no agent has anything to store: an administrator must hear of a full or
//! read-only disk within 10 s, not when the first device comes on Monday.

use crate::telemetry::Figures;
use firstline_collector_store::Store;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked at. With [`LIMIT`] it is below the 10 s that are promised.
const LOOK: Duration = Duration::from_secs(3);
/// A write that takes longer counts as refused: the disk hangs, or another process holds the store.
const LIMIT: Duration = Duration::from_secs(4);

/// Runs until `stop`.
pub(crate) async fn follow(store: Arc<dyn Store>, figures: Arc<Figures>, mut stop: watch::Receiver<bool>) {
    let mut commits = 0;
    loop {
        let seen = figures.commits.load(Ordering::Relaxed);
        // What agents sent was stored since the last look; that says enough.
        let refusal = if seen == commits { refusal(&*store).await } else { None };
        commits = seen;
        let refused = figures.store_refuses.swap(refusal.is_some(), Ordering::Relaxed);
        match refusal {
            Some(detail) if !refused => tracing::warn!(detail, "the store cannot be written"),
            None if refused => tracing::info!("the store can be written again"),
            Some(_) | None => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn refusal(store: &dyn Store) -> Option<String> {
    match tokio::time::timeout(LIMIT, store.check_writable()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("a write did not end within {} s", LIMIT.as_secs())),
    }
}
