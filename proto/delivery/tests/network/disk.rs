//! The agent's spool as it survives a crash: rows and watermarks of each epoch.

use std::collections::BTreeMap;

use firstline_delivery::{Epoch, Sender, SequenceNumber, Spooled, Tick};

/// One epoch on the agent's disk.
#[derive(Debug, Default)]
pub(crate) struct EpochOnDisk {
    pub(crate) watermark: u64,
    /// The highest number given out, which a spool keeps beside its rows.
    pub(crate) last: u64,
    pub(crate) rows: BTreeMap<u64, Vec<u8>>,
}

/// The agent's disk, oldest epoch first.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) epochs: Vec<(Epoch, EpochOnDisk)>,
    epochs_made: u64,
}

impl Disk {
    pub(crate) fn begin_epoch(&mut self) -> Epoch {
        self.epochs_made += 1;
        let mut name = [0; 16];
        // Spread, so that the order of names says nothing about age.
        name[..8].copy_from_slice(&self.epochs_made.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        self.epochs.push((Epoch(name), EpochOnDisk::default()));
        Epoch(name)
    }

    pub(crate) fn newest(&mut self) -> Option<(Epoch, &mut EpochOnDisk)> {
        self.epochs.last_mut().map(|(epoch, on_disk)| (*epoch, on_disk))
    }

    pub(crate) fn epoch(&mut self, epoch: Epoch) -> Option<&mut EpochOnDisk> {
        self.epochs.iter_mut().find(|(name, _)| *name == epoch).map(|(_, on_disk)| on_disk)
    }

    pub(crate) fn read(&mut self, epoch: Epoch, first: u64, count: u64) -> Vec<Vec<u8>> {
        let rows = self.epoch(epoch).map(|on_disk| &on_disk.rows);
        (first..first + count)
            .map(|seq| rows.and_then(|r| r.get(&seq)).cloned().unwrap_or_default())
            .collect()
    }

    /// Tells a fresh sender what is here.
    pub(crate) fn load(&self, sender: &mut Sender, now: Tick) -> Result<(), String> {
        for (epoch, on_disk) in &self.epochs {
            sender.handle_epoch(*epoch, SequenceNumber(on_disk.watermark), SequenceNumber(on_disk.last + 1));
            for (&seq, payload) in &on_disk.rows {
                let seq = SequenceNumber(seq);
                let record = Spooled { epoch: *epoch, seq, len: payload.len(), urgent: false };
                sender.handle_spooled(record, now).map_err(|fault| fault.to_string())?;
            }
        }
        Ok(())
    }
}
