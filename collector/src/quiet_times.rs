//! Keeps the maintenance windows in force: takes over what any process stored, and notes the end of each.

use crate::ingest::worker::Ingest;
use crate::maintenance;
use anyhow::{Context, Result};
use firstline_collector_core::quiet::Window;
use firstline_collector_store::quiet::{MaintenanceWindow, SuppressionFilter};
use firstline_collector_store::record::{AuditEntry, Page};
use firstline_model::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the store is looked at; a window takes effect within this time.
const LOOK: Duration = Duration::from_secs(1);
/// Most breaches that the note of an end counts.
const MOST_COUNTED: u32 = 500;

/// Takes over what is stored now.
pub(crate) async fn load(ingest: &Ingest) -> Result<()> {
    let kept = ingest.store.windows().await.context("maintenance windows cannot be read")?;
    ingest.set_windows(maintenance::in_force(&kept));
    Ok(())
}

/// Runs until `stop`.
pub(crate) async fn follow(ingest: Arc<Ingest>, mut stop: watch::Receiver<bool>) {
    let mut known: Option<Vec<MaintenanceWindow>> = None;
    let mut windows: Vec<Window> = Vec::new();
    let mut active: BTreeMap<u64, Timestamp> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match ingest.store.windows().await {
            Ok(kept) if known.as_ref() != Some(&kept) => {
                windows = maintenance::in_force(&kept);
                tracing::info!(windows = windows.len(), "maintenance windows in force");
                ingest.set_windows(windows.clone());
                known = Some(kept);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error, "maintenance windows cannot be read"),
        }
        let now = ingest.now();
        active.retain(|id, _| windows.iter().any(|window| window.id == *id));
        for window in &windows {
            match (window.until(now), active.get(&window.id).copied()) {
                (Some(_), None) => {
                    active.insert(window.id, now);
                }
                (None, Some(since)) => {
                    active.remove(&window.id);
                    if let Err(error) = note_end(&ingest, window, since, now).await {
                        tracing::warn!(error = format!("{error:#}"), "the end of a window cannot be noted");
                    }
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}

/// One line for the end of a window, however many breaches it held back.
async fn note_end(ingest: &Ingest, window: &Window, since: Timestamp, now: Timestamp) -> Result<()> {
    let reason = firstline_collector_core::quiet::reason_of(window);
    let filter = SuppressionFilter { reason: Some(reason.clone()), ..SuppressionFilter::default() };
    let held = ingest.store.suppressions(&filter, &Page { limit: MOST_COUNTED, after: None }).await?.rows;
    let held = held.iter().filter(|one| one.suppression.at >= since).count();
    let findings = ingest.store.findings(None, None).await?;
    let left = findings.iter().filter(|one| one.finding.suppressed.as_ref() == Some(&reason)).count();
    let detail = format!(
        "{}: {held} breaches were held back; {left} of them were not over and open within {} minutes if they are true",
        window.name,
        firstline_collector_core::quiet::SPREAD.as_secs() / 60
    );
    tracing::info!(window = window.name, held, left, "a maintenance window is over");
    let line = AuditEntry {
        at: now,
        actor: "firstline".to_owned(),
        action: "maintenance.end".to_owned(),
        subject: format!("maintenance:{}", window.id),
        detail,
    };
    ingest.store.append_audit(&line).await.context("the audit log cannot be written")
}
