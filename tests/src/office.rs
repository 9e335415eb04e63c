//! An office with one desk: a network namespace whose only wire leads to this machine, which is its gateway.
//!
//! Whatever happens on the desk (daemons, ports, print queues) is invisible outside, and the gateway really answers.

use crate::process;
use std::net::{IpAddr, Ipv4Addr};

/// A network namespace; removed with this value. Needs root and iproute2.
#[derive(Debug)]
pub struct Office {
    name: String,
    wire: String,
    gateway: Ipv4Addr,
}

impl Office {
    /// One with a link, an address and a gateway.
    ///
    /// # Panics
    /// When the system does not give one.
    pub fn opened() -> Self {
        let id = std::process::id();
        // RFC 2544's addresses belong to tests.
        let third = u8::try_from(id % 250 + 1).unwrap_or(1);
        let office = Self {
            name: format!("firstline-{id}"),
            wire: format!("fl{}", id % 1_000_000),
            gateway: Ipv4Addr::new(198, 18, third, 1),
        };
        let (name, wire, gateway) = (&office.name, &office.wire, office.gateway);
        for line in [
            format!("netns add {name}"),
            format!("link add {wire} type veth peer name eth0 netns {name}"),
            format!("addr add {gateway}/24 dev {wire}"),
            format!("link set {wire} up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} addr add 198.18.{third}.2/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} route add default via {gateway}"),
        ] {
            let mut ip = process::command("ip");
            ip.args(line.split(' '));
            process::succeed(ip);
        }
        office
    }

    /// From now on the wire loses this share of the packets in each direction, and the desk sends no faster than this.
    ///
    /// # Panics
    /// When the system does not do it.
    pub fn is_bad(&self, percent_lost: u32, kbit: u32) {
        // The ruleset goes with the namespace.
        let rules = format!(
            "table inet bad {{
                chain in {{
                    type filter hook input priority 0
                    iifname \"eth0\" numgen random mod 100 < {percent_lost} counter drop
                }}
                chain out {{
                    type filter hook output priority 0
                    oifname \"eth0\" numgen random mod 100 < {percent_lost} counter drop
                }}
            }}"
        );
        let mut nft = process::command("ip");
        nft.args(["netns", "exec", &self.name, "nft", "-f", "-"]);
        let loaded = process::run_with_input(nft, &rules);
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let mut tc = process::command("ip");
        let narrow = format!("qdisc add dev eth0 root tbf rate {kbit}kbit burst 8kb latency 800ms");
        tc.args(["netns", "exec", &self.name, "tc"]).args(narrow.split(' '));
        process::succeed(tc);
    }

    /// Pulls the plug of the desk: nothing arrives, and nobody is told.
    pub fn unplug(&self) {
        let mut ip = process::command("ip");
        ip.args(["netns", "exec", &self.name, "ip", "link", "set", "eth0", "down"]);
        process::succeed(ip);
    }

    /// How many packets the bad wire has lost.
    pub fn lost(&self) -> u64 {
        let mut nft = process::command("ip");
        nft.args(["netns", "exec", &self.name, "nft", "list", "ruleset"]);
        let rules = process::succeed(nft);
        let counters = rules.split("counter packets ").skip(1);
        counters.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// The namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This machine, as seen from the desk.
    pub fn gateway(&self) -> IpAddr {
        self.gateway.into()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        for arguments in [["link", "del", &self.wire], ["netns", "del", &self.name]] {
            // The wire goes with the namespace if that is quicker.
            let _ = process::command("ip").args(arguments).stderr(std::process::Stdio::null()).status();
        }
    }
}
