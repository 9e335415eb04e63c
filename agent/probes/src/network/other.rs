//! Systems without route netlink.

use crate::ProbeError;
use crate::network::netlink::Progress;

/// Whom of the kernel a socket would speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Addresses, routes, neighbours.
    Route,
}

pub(crate) fn dump(_: Protocol, _: &[u8], _: impl FnMut(&[u8]) -> Progress) -> Result<(), ProbeError> {
    Err(ProbeError::Unsupported(
        "neighbours and addresses are not read on this operating system yet".to_owned(),
    ))
}
