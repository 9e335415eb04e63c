//! Systems without route netlink.

use crate::ProbeError;
use crate::network::netlink::Progress;

pub(super) fn dump(_: &[u8], _: impl FnMut(&[u8]) -> Progress) -> Result<(), ProbeError> {
    Err(ProbeError::Unsupported(
        "neighbours and addresses are not read on this operating system yet".to_owned(),
    ))
}
