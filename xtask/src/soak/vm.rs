//! `cargo xtask soak vm`: faults of hardware that no other test can have, in a virtual machine (QEMU without acceleration): the
//! real agent as its own service on a Debian guest, a collector beside it, a fault, and the ticket that must come of it.
//!
//! One guest plays all kinds, one after the other (`kinds.rs`); what runs in it lies in `tests/vm`. QEMU counts instructions, so
//! a busy host makes the guest's time go slower instead of making it late, and all bounds are in the guest's time.

mod guest;
mod image;
mod kinds;
mod monitor;
mod play;
mod qemu;

use std::time::Instant;

use anyhow::{Result, bail};

use self::kinds::{KINDS, Kind};
use self::play::{Outcome, Stage};
use crate::instance::Binaries;
use crate::workspace;

/// Names of the kinds, for the command line.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Plays the named kinds, or all of them; returns the lines of figures, and whether every ticket came as it should.
pub(super) fn run(named: &[String]) -> Result<(bool, Vec<String>)> {
    if !crate::drill::is_root() {
        bail!("the guest's image is made with debootstrap, which needs root; run it with sudo");
    }
    let chosen: Vec<&Kind> =
        KINDS.iter().filter(|kind| named.is_empty() || named.iter().any(|name| name == kind.name)).collect();
    let root = workspace::root()?;
    let qemu = qemu::find()?;
    let binaries = Binaries::build(&root, false)?;
    let image = image::ready(&root, &binaries)?;
    let begun = Instant::now();
    let mut stage = Stage::start(&qemu, &image, &chosen)?;
    println!(
        "the guest is up after {:.0} s; its agent and its collector know each other",
        begun.elapsed().as_secs_f64()
    );
    let mut rows = Vec::new();
    for kind in chosen {
        let since = Instant::now();
        println!("\n--- {}: {}", kind.name, kind.what);
        let outcome = stage.play(kind);
        if let Err(error) = &outcome {
            println!("    FAILED: {error:#}");
            stage.show(kind);
        }
        rows.push((kind, outcome, since.elapsed().as_secs_f64()));
    }
    stage.finish();
    Ok((rows.iter().all(|(_, outcome, _)| outcome.is_ok()), report(&rows)))
}

/// The table, with times of the guest but for the last column; returns the same as lines of figures.
fn report(rows: &[(&Kind, Result<Outcome>, f64)]) -> Vec<String> {
    let mut figures = Vec::new();
    println!("\nkind    check                  severity  ticket after  resolved after    real  result");
    for (kind, outcome, took) in rows {
        let (ticket, resolved, result) = match outcome {
            Ok(outcome) => {
                figures.push(format!("FIGURE vm_{}_ticket {:.1} s", kind.name, outcome.ticket_s));
                let resolved = outcome.resolved_s.map_or_else(|| "-".to_owned(), |s| format!("{s:.0} s"));
                (
                    format!("{:.0} s", outcome.ticket_s),
                    resolved,
                    format!("{} {}", outcome.key, kind.afterwards()),
                )
            }
            Err(error) => ("-".to_owned(), "-".to_owned(), format!("FAILED: {error:#}")),
        };
        println!(
            "{:<7} {:<22} {:<9} {ticket:>12} {resolved:>15} {took:>5.0} s  {result}",
            kind.name, kind.rule, kind.severity
        );
    }
    figures
}
