//! Asks the Linux kernel over generic netlink.

use super::{Look, message, no_radio};
use crate::network::netlink::Progress;
use crate::network::{Protocol, dump};
use crate::{ProbeError, Root};

pub(super) fn looks(root: &Root) -> Result<Vec<Look>, ProbeError> {
    // A machine without a radio need not be asked.
    let interfaces = root.list("/sys/class/net").unwrap_or_default();
    if !interfaces.iter().any(|name| root.exists(&format!("/sys/class/net/{name}/phy80211"))) {
        return Err(no_radio());
    }
    let ask =
        |request: &[u8], read: &mut dyn FnMut(&[u8]) -> Progress| dump(Protocol::Generic, request, read);
    let mut family = None;
    ask(&message::family_request(), &mut |datagram| message::read_family(datagram, &mut family))?;
    let family =
        family.ok_or_else(|| ProbeError::Unsupported("the kernel does not know nl80211".to_owned()))?;
    let mut stations = Vec::new();
    ask(&message::interfaces_request(family), &mut |datagram| {
        message::read_interfaces(datagram, family, &mut stations)
    })?;
    for station in &mut stations {
        let look = &mut station.look;
        ask(&message::station_request(family, station.index), &mut |datagram| {
            message::read_station(datagram, family, look)
        })?;
        // Many drivers keep no survey; the association is worth reporting without one.
        let surveyed = ask(&message::survey_request(family, station.index), &mut |datagram| {
            message::read_survey(datagram, family, look)
        });
        if let Err(error) = surveyed {
            tracing::debug!(interface = look.interface, error = %error, "the channel cannot be surveyed");
        }
    }
    Ok(stations.into_iter().map(|station| station.look).collect())
}
