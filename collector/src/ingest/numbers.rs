//! Ticket numbers that this process has reserved in the store.

use firstline_model::TicketId;

/// What is left of a reservation.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    next: TicketId,
    left: u64,
    /// More were taken than there are.
    overdrawn: bool,
}

impl Numbers {
    /// So many, from `first` on.
    pub(super) fn of(first: TicketId, left: u64) -> Self {
        Self { next: first, left, overdrawn: false }
    }

    /// How many are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Whether more were taken than there are, since this was asked last. Nothing of such a decision may be saved.
    pub(super) fn was_overdrawn(&mut self) -> bool {
        std::mem::take(&mut self.overdrawn)
    }

    /// The next one.
    pub(super) fn take(&mut self) -> TicketId {
        let id = self.next;
        self.next = TicketId(id.0 + 1);
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            // The number is not ours.
            None => self.overdrawn = true,
        }
        id
    }
}
