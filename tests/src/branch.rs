//! A branch office with one desk behind a router of its own, and the world behind that: two network namespaces and this
//! machine. Unlike in an [`Office`](crate::office::Office) the way out can break at each of its layers, and the collector
//! is still reached, over a second wire.

use crate::process;
use std::net::{IpAddr, Ipv4Addr};

/// The namespaces and wires; removed with this value. Needs root and iproute2.
#[derive(Debug)]
pub struct Branch {
    desk: String,
    router: String,
    /// This machine's ends of the wires.
    world: String,
    side: String,
    third: u8,
}

impl Branch {
    /// One whose way out works.
    ///
    /// # Panics
    /// When the system does not give one.
    pub fn opened() -> Self {
        let id = std::process::id();
        let third = u8::try_from(id % 250 + 1).unwrap_or(1);
        let branch = Self {
            desk: format!("firstline-desk-{id}"),
            router: format!("firstline-router-{id}"),
            world: format!("fw{}", id % 1_000_000),
            side: format!("fs{}", id % 1_000_000),
            third,
        };
        let Self { desk, router, world, side, .. } = &branch;
        // RFC 2544's addresses belong to tests: desk and router, router and world, desk and collector.
        let at = |last: u8| format!("{}/26", branch.address(last));
        let (inside, outside) = (branch.router(), branch.address(66));
        for line in [
            format!("netns add {desk}"),
            format!("netns add {router}"),
            format!("link add eth0 netns {desk} type veth peer name lan0 netns {router}"),
            format!("link add {world} type veth peer name wan0 netns {router}"),
            format!("link add {side} type veth peer name eth1 netns {desk}"),
            format!("-n {desk} link set lo up"),
            format!("-n {desk} addr add {} dev eth0", at(2)),
            format!("-n {desk} addr add {} dev eth1", at(130)),
            format!("-n {desk} link set eth0 up"),
            format!("-n {desk} link set eth1 up"),
            format!("-n {router} addr add {} dev lan0", at(1)),
            format!("-n {router} addr add {} dev lan0", at(3)),
            format!("-n {router} addr add {} dev wan0", at(66)),
            format!("-n {router} link set lan0 up"),
            format!("-n {router} link set wan0 up"),
            format!("addr add {} dev {world}", at(65)),
            format!("addr add {} dev {world}", at(67)),
            format!("addr add {} dev {side}", at(129)),
            format!("link set {world} up"),
            format!("link set {side} up"),
            format!("route add {}/26 via {outside}", branch.address(0)),
            format!("-n {desk} route add default via {inside}"),
            format!("netns exec {router} sysctl -q -w net.ipv4.ip_forward=1"),
        ] {
            run(&line);
        }
        branch
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.third, last)
    }

    /// The desk's namespace.
    pub fn desk(&self) -> &str {
        &self.desk
    }

    /// The desk's gateway.
    pub fn router(&self) -> IpAddr {
        self.address(1).into()
    }

    /// This machine as the collector's host: reached over a wire of its own.
    pub fn collector(&self) -> IpAddr {
        self.address(129).into()
    }

    /// Two addresses of this machine that are reached through the router.
    pub fn world(&self) -> [IpAddr; 2] {
        [self.address(65).into(), self.address(67).into()]
    }

    /// The router hangs: its plug stays in, and it answers nothing.
    pub fn router_dies(&self) {
        run(&format!("-n {} addr flush dev lan0", self.router));
    }

    /// The router works again.
    pub fn router_lives(&self) {
        for last in [1, 3] {
            run(&format!("-n {} addr add {}/26 dev lan0", self.router, self.address(last)));
        }
        // What the router forgot with its addresses.
        run(&format!("-n {} link set lan0 up", self.router));
    }

    /// Larger packets than this vanish on the way from the router to the world, and nobody says so.
    pub fn narrows(&self, bytes: u32) {
        run(&format!("link set {} mtu {bytes}", self.world));
    }

    /// The desk goes out by another address of the router.
    pub fn takes_the_other_way(&self) {
        run(&format!("-n {} route replace default via {}", self.desk, self.address(3)));
    }

    /// From now on the router loses this share of the echo requests to its first address. (This kernel has no `netem`.)
    ///
    /// # Panics
    /// When the system does not do it.
    pub fn loses(&self, percent: u32) {
        let rules = format!(
            "table ip bad {{
                chain in {{
                    type filter hook input priority 0
                    ip daddr {} icmp type echo-request numgen random mod 100 < {percent} drop
                }}
            }}",
            self.router()
        );
        let mut nft = process::command("ip");
        nft.args(["netns", "exec", &self.router, "nft", "-f", "-"]);
        let loaded = process::run_with_input(nft, &rules);
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    }
}

fn run(line: &str) {
    let mut ip = process::command("ip");
    ip.args(line.split(' '));
    process::succeed(ip);
}

impl Drop for Branch {
    fn drop(&mut self) {
        let all = [
            ["link", "del", &self.world],
            ["link", "del", &self.side],
            ["netns", "del", &self.desk],
            ["netns", "del", &self.router],
        ];
        for arguments in all {
            // The wires go with the namespaces if that is quicker.
            let _ = process::command("ip").args(arguments).stderr(std::process::Stdio::null()).status();
        }
    }
}
