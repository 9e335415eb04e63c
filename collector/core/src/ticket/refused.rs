//! Why something cannot be done to a ticket.

use super::TicketState;

/// Why an input does not apply to a ticket as it is. The ticket is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The ticket's state does not allow it.
    #[error("ticket {key} is {}; {advice}", state.as_str())]
    State {
        /// The ticket's key.
        key: String,
        /// Its state.
        state: TicketState,
        /// What to do instead.
        advice: &'static str,
    },
    /// The ticket was resolved too long ago to be reopened.
    #[error("ticket {key} was resolved more than 7 days ago; open a new ticket that refers to it")]
    TooOld {
        /// The ticket's key.
        key: String,
    },
    /// There is no such tier, or the ticket is there already.
    #[error("ticket {key} cannot go to tier {tier}; name a tier from 1 to 3 other than the present one")]
    Tier {
        /// The ticket's key.
        key: String,
        /// The tier that was asked for.
        tier: u8,
    },
    /// A text is needed and was empty.
    #[error("ticket {key} needs {what}; write one sentence")]
    Empty {
        /// The ticket's key.
        key: String,
        /// Which text.
        what: &'static str,
    },
    /// The ticket did not ask for this test.
    #[error("ticket {key} did not ask for test {request_id}; the report belongs to another ticket")]
    UnknownTest {
        /// The ticket's key.
        key: String,
        /// The id that the report came with.
        request_id: String,
    },
}
