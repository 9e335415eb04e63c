//! The resolver's configuration file: which DNS servers this machine asks, and in which domain it searches.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// More servers than this are not asked. The C library itself uses three.
const MAX_SERVERS: usize = 6;
const MAX_NAME_BYTES: usize = 253;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResolvConf {
    /// The servers in order, each once.
    pub(crate) servers: Vec<Server>,
    /// The first search domain, or the local domain.
    pub(crate) domain: Option<String>,
}

/// One DNS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The address as the file writes it, scope included; the component's id.
    pub(crate) name: String,
    /// Address without the scope.
    pub(crate) address: IpAddr,
    /// The interface of a link-local IPv6 address.
    pub(crate) scope: Option<String>,
}

impl Server {
    /// Whether this is a stub on the machine itself, which hides the real servers.
    pub(crate) fn is_stub(&self) -> bool {
        self.address.is_loopback()
    }

    /// Where to send the question. `scope_id` turns an interface's name into its index.
    pub(crate) fn socket_address(&self, port: u16, scope_id: impl Fn(&str) -> Option<u32>) -> SocketAddr {
        match self.address {
            IpAddr::V4(v4) => SocketAddr::from((v4, port)),
            IpAddr::V6(v6) => {
                let scope = self.scope.as_deref().and_then(scope_id).unwrap_or(0);
                SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope))
            }
        }
    }
}

/// Parses the file by the rules of resolv.conf(5): keywords at the start of the line, the last `domain` or `search`
/// wins, comments begin with `#` or `;`.
pub(crate) fn parse(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(keyword) = words.next() else { continue };
        let Some(value) = words.next() else { continue };
        match keyword {
            "nameserver" => {
                if let Some(server) = server(value)
                    && conf.servers.len() < MAX_SERVERS
                    && !conf.servers.iter().any(|known| known.name == server.name)
                {
                    conf.servers.push(server);
                }
            }
            "domain" | "search" => {
                let value = value.trim_end_matches('.');
                conf.domain = (!value.is_empty() && value.len() <= MAX_NAME_BYTES).then(|| value.to_owned());
            }
            _ => {}
        }
    }
    conf
}

fn server(text: &str) -> Option<Server> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Server { name: address.to_string(), address, scope: None });
    }
    let (address, scope) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let plausible =
        !scope.is_empty() && scope.len() < 16 && scope.bytes().all(|byte| byte.is_ascii_graphic());
    plausible.then(|| Server {
        name: format!("{address}%{scope}"),
        address: IpAddr::V6(address),
        scope: Some(scope.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_keep_their_order_and_stand_once() {
        let conf = parse(
            "# by hand\nsearch corp.example. lab.example\nnameserver 10.0.0.2 # first\nnameserver fe80::1%eth0\n\
             nameserver 10.0.0.2\nnameserver not-an-address\noptions edns0\nnameserver ::1\n",
        );
        let names: Vec<&str> = conf.servers.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["10.0.0.2", "fe80::1%eth0", "::1"]);
        assert_eq!(conf.domain.as_deref(), Some("corp.example"));
        assert!(conf.servers[2].is_stub());
        let to = conf.servers[1].socket_address(53, |name| (name == "eth0").then_some(7));
        assert_eq!(to.to_string(), "[fe80::1%7]:53");
    }

    #[test]
    fn hostile_files_stay_bounded() {
        let many: String = (0..300).map(|n| format!("nameserver 10.0.1.{}\n", n % 256)).collect();
        assert_eq!(parse(&many).servers.len(), MAX_SERVERS);
        assert_eq!(parse(&format!("search {}", "a".repeat(400))).domain, None);
        assert_eq!(parse("nameserver\nsearch\n;x\nnameserver fe80::1%\n"), ResolvConf::default());
    }
}
