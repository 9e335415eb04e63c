//! Tunnels: whether each is up, switched off, or sends without anybody answering.
//!
//! WireGuard has no connection that could break: a tunnel is down when something is being sent through it and the last
//! handshake is older than the three minutes that a session lasts. That is asked over generic netlink and needs the
//! right to administer the network. Of a tunnel that a program holds (tun: OpenVPN, AnyConnect, Tailscale), the system
//! knows only whether the program still holds it; that the program means to connect and cannot is not seen.

#[cfg(target_os = "linux")]
#[path = "vpn/linux.rs"]
mod imp;
#[cfg(not(target_os = "linux"))]
#[path = "vpn/other.rs"]
mod imp;
#[cfg_attr(all(not(target_os = "linux"), not(test)), expect(dead_code, reason = "only Linux has netlink"))]
mod message;

use crate::{Context, Descriptor, Due, Probe, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const FOLDER: &str = "/sys/class/net";
/// More tunnels than this are not looked at.
const MAX_TUNNELS: usize = 32;
/// How long a session of WireGuard lasts (its REJECT_AFTER_TIME).
const SESSION: Duration = Duration::from_secs(180);
const IFF_UP: u64 = 0x1;
const IFF_TUN: u64 = 0x1;

/// The state of each tunnel.
#[derive(Debug)]
pub struct Vpn {
    before: BTreeMap<String, Memory>,
    /// Paces what does not change by itself.
    slow: Due,
}

impl Default for Vpn {
    fn default() -> Self {
        Self { before: BTreeMap::new(), slow: Due::every(Duration::from_secs(3600)) }
    }
}

/// What is known of a tunnel from the looks before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Memory {
    sent: u64,
    /// Whether no session was alive at the last look.
    was_stale: bool,
    /// When something was last sent without a session.
    in_vain: Option<Timestamp>,
}

/// One peer of a WireGuard tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Peer {
    /// Seconds since 1970; 0 when there never was one.
    last_handshake: i64,
    sent_bytes: u64,
}

/// A tunnel as `/sys` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tunnel {
    WireGuard { name: String, enabled: bool },
    Tun { name: String, held: bool },
}

impl Probe for Vpn {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            name: "vpn",
            interval: Duration::from_secs(60),
            trigger_interval: Some(Duration::from_secs(30)),
            time_limit: Duration::from_secs(10),
            cpu_budget: Duration::from_millis(3),
        }
    }

    fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let slow = self.slow.is_due(context.now);
        let tunnels = match tunnels(&context.root) {
            Ok(tunnels) => tunnels,
            Err(error) => {
                if slow {
                    sink.failed(&Component::only(ComponentKind::Vpn), semconv::VPN_STATE, &error);
                }
                return;
            }
        };
        let mut before = std::mem::take(&mut self.before);
        if tunnels.is_empty() && before.is_empty() && slow {
            let error = ProbeError::NotPresent("this machine has no tunnel".to_owned());
            sink.failed(&Component::only(ComponentKind::Vpn), semconv::VPN_STATE, &error);
        }
        for tunnel in tunnels {
            let (name, state) = match tunnel {
                Tunnel::Tun { name, held } => {
                    self.before.insert(name.clone(), Memory::default());
                    (name, if held { "up" } else { "disconnected" })
                }
                Tunnel::WireGuard { name, enabled: false } => {
                    self.before.insert(name.clone(), Memory::default());
                    (name, "off")
                }
                Tunnel::WireGuard { name, enabled: true } => {
                    let memory = before.get(&name).copied();
                    match peers(context, &name) {
                        Ok(peers) => {
                            let (state, memory) = judge(&peers, memory, clock(context), context.now);
                            self.before.insert(name.clone(), memory);
                            (name, state)
                        }
                        Err(error) => {
                            self.before.insert(name.clone(), Memory::default());
                            before.remove(&name);
                            if let Ok(component) = Component::new(ComponentKind::Vpn, name)
                                && slow
                            {
                                sink.failed(&component, semconv::VPN_STATE, &error);
                            }
                            continue;
                        }
                    }
                }
            };
            before.remove(&name);
            report(name, state, sink);
        }
        // A tunnel that was taken down is off, which ends what was said about it.
        for name in before.into_keys() {
            report(name, "off", sink);
        }
    }
}

fn report(name: String, state: &'static str, sink: &mut Sink) {
    if let Ok(component) = Component::new(ComponentKind::Vpn, name) {
        sink.sample(&component, semconv::VPN_STATE, Attributes::none().with(attribute::STATE, state), 1.0);
    }
}

fn tunnels(root: &Root) -> Result<Vec<Tunnel>, ProbeError> {
    if root.is_system() && !cfg!(target_os = "linux") {
        return Err(ProbeError::Unsupported("tunnels are not read on this operating system yet".to_owned()));
    }
    let names = root.list(FOLDER)?;
    Ok(names.into_iter().filter_map(|name| tunnel(root, name)).take(MAX_TUNNELS).collect())
}

fn tunnel(root: &Root, name: String) -> Option<Tunnel> {
    let value = |file: &str| root.read_value(&format!("{FOLDER}/{name}/{file}"));
    let hexadecimal = |file: &str| u64::from_str_radix(value(file)?.strip_prefix("0x")?, 16).ok();
    let enabled = hexadecimal("flags")? & IFF_UP != 0;
    if value("uevent").is_some_and(|text| text.lines().any(|line| line == "DEVTYPE=wireguard")) {
        return Some(Tunnel::WireGuard { name, enabled });
    }
    // A tap (the other sort) is a virtual machine's cable far more often than a tunnel.
    if hexadecimal("tun_flags")? & IFF_TUN == 0 {
        return None;
    }
    let held = enabled && value("carrier").as_deref() == Some("1");
    Some(Tunnel::Tun { name, held })
}

/// The peers of a tunnel. A captured machine's answer is `wireguard.json`: peers by name of the tunnel.
fn peers(context: &Context, name: &str) -> Result<Vec<Peer>, ProbeError> {
    if context.root.is_system() {
        return imp::peers(name);
    }
    let text = context.root.read_text("/wireguard.json").map_err(|error| match error {
        ProbeError::NotPresent(_) => ProbeError::NotPermitted("no handshakes were captured".to_owned()),
        ProbeError::Unsupported(_)
        | ProbeError::NotPermitted(_)
        | ProbeError::TimedOut(_)
        | ProbeError::Malformed(_) => error,
    })?;
    let mut all: BTreeMap<String, Vec<Peer>> = serde_json::from_str(&text)
        .map_err(|error| ProbeError::Malformed(format!("wireguard.json: {error}")))?;
    Ok(all.remove(name).unwrap_or_default())
}

/// The clock that handshakes are dated by: the machine's own, whatever the agent believes the time to be.
fn clock(context: &Context) -> Timestamp {
    if !context.root.is_system() {
        return context.now;
    }
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The state of a WireGuard tunnel that is switched on, and what is to be remembered. `clock` dates handshakes, `now`
/// dates the looks.
fn judge(peers: &[Peer], before: Option<Memory>, clock: Timestamp, now: Timestamp) -> (&'static str, Memory) {
    let alive = |peer: &Peer| {
        let at = Timestamp::from_millis(peer.last_handshake.saturating_mul(1000));
        peer.last_handshake > 0 && clock.since(at) <= SESSION
    };
    let sent = peers.iter().fold(0u64, |sum, peer| sum.saturating_add(peer.sent_bytes));
    if peers.iter().any(alive) {
        return ("up", Memory { sent, was_stale: false, in_vain: None });
    }
    // What was sent before the session ended was not in vain.
    let grew = before.is_some_and(|before| before.was_stale && sent > before.sent);
    let in_vain = if grew { Some(now) } else { before.and_then(|before| before.in_vain) };
    let recently = in_vain.is_some_and(|at| now >= at && now.since(at) <= SESSION);
    // Nobody wants it just now: the next packet would bring a handshake.
    let state = if recently { "down" } else { "disconnected" };
    (state, Memory { sent, was_stale: true, in_vain: in_vain.filter(|_| recently) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// What is said at each look: (time, last handshake, bytes sent).
    fn states(looks: &[(i64, i64, u64)]) -> Vec<&'static str> {
        let mut memory = None;
        let mut said = Vec::new();
        for &(time, last_handshake, sent_bytes) in looks {
            let (state, next) = judge(&[Peer { last_handshake, sent_bytes }], memory, at(time), at(time));
            memory = Some(next);
            said.push(state);
        }
        said
    }

    #[test]
    fn a_tunnel_is_down_when_it_sends_without_a_session_and_up_again_with_the_next_handshake() {
        let looks = [(1000, 990, 10), (1180, 990, 20), (1200, 990, 500), (1230, 990, 900), (1260, 1259, 950)];
        assert_eq!(states(&looks), ["up", "disconnected", "down", "down", "up"]);
        assert_eq!(states(&[(1000, 0, 0), (1030, 0, 148)]), ["disconnected", "down"], "never a handshake");
    }

    #[test]
    fn a_session_ends_after_three_minutes_and_not_before() {
        assert_eq!(states(&[(1180, 1000, 1)]), ["up"]);
        assert_eq!(states(&[(1181, 1000, 1)]), ["disconnected"]);
    }

    #[test]
    fn what_was_sent_within_the_session_is_not_in_vain() {
        let looks = [(1150, 1000, 10), (1179, 1000, 900), (1200, 1000, 950), (1230, 1000, 950)];
        assert_eq!(states(&looks), ["up", "up", "disconnected", "disconnected"]);
    }

    #[test]
    fn a_tunnel_that_nobody_uses_any_more_is_not_down_for_ever() {
        let looks = [(1000, 0, 0), (1030, 0, 148), (1210, 0, 148), (1211, 0, 148)];
        assert_eq!(states(&looks), ["disconnected", "down", "down", "disconnected"]);
    }

    #[test]
    fn one_peer_that_answers_keeps_the_tunnel_up() {
        let dead = Peer { last_handshake: 0, sent_bytes: 1000 };
        let alive = Peer { last_handshake: 999, sent_bytes: 10 };
        let memory = Memory { sent: 0, was_stale: true, in_vain: Some(at(990)) };
        assert_eq!(judge(&[dead, alive], Some(memory), at(1000), at(1000)).0, "up");
        assert_eq!(judge(&[dead, dead], Some(memory), at(1000), at(1000)).0, "down");
        assert_eq!(judge(&[], None, at(1000), at(1000)).0, "disconnected");
    }
}
