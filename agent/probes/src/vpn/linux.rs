//! Asks the Linux kernel for the peers of a WireGuard tunnel, which needs CAP_NET_ADMIN.

use super::{Peer, message};
use crate::ProbeError;
use crate::network::{Protocol, dump};

pub(super) fn peers(name: &str) -> Result<Vec<Peer>, ProbeError> {
    let mut family = None;
    dump(Protocol::Generic, &message::family_request(), |bytes| message::read_family(bytes, &mut family))?;
    let family =
        family.ok_or_else(|| ProbeError::Unsupported("the kernel does not know WireGuard".to_owned()))?;
    let mut found = Vec::new();
    dump(Protocol::Generic, &message::device_request(family, name), |bytes| {
        message::read_peers(bytes, family, &mut found)
    })?;
    Ok(found)
}
