//! Bytes on the wire, both ways, as the kernel counts them: whole IP packets by port, headers and acknowledgements
//! included. The counters are a table of nftables of our own, which goes when the measurement ends.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::Process;

/// A port, and whether it is counted as UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub number: u16,
    pub is_udp: bool,
}

/// The counters; dropping it removes them.
pub(super) struct Counters {
    table: String,
}

/// Bytes since the counters began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// In packets to the port.
    pub to: u64,
    /// In packets from the port.
    pub from: u64,
}

impl Counters {
    pub(super) fn start(ports: &[Port]) -> Result<Self> {
        let table = format!("firstline_bench_{}", std::process::id());
        let mut rules = format!(
            "add table inet {table}\nadd chain inet {table} out {{ type filter hook output priority 0 ; policy accept ; }}\n"
        );
        for port in ports {
            let protocol = if port.is_udp { "udp" } else { "tcp" };
            for side in ["dport", "sport"] {
                rules.push_str(&format!(
                    "add rule inet {table} out {protocol} {side} {} counter\n",
                    port.number
                ));
            }
        }
        Process::new("nft")
            .quiet()
            .args(["-f", "-"])
            .read_with_input(&rules)
            .context("bytes cannot be counted; nftables and the rights of root are needed")?;
        Ok(Self { table })
    }

    pub(super) fn read(&self) -> Result<BTreeMap<u16, Bytes>> {
        let text = Process::new("nft").quiet().args(["-j", "list", "table", "inet", &self.table]).read()?;
        parse(&text)
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // Nobody is left to tell; the table's name says whose it was.
        let _ = Process::new("nft").quiet().args(["delete", "table", "inet", &self.table]).finish();
    }
}

fn parse(text: &str) -> Result<BTreeMap<u16, Bytes>> {
    let listing: Value = serde_json::from_str(text).context("nft printed no JSON")?;
    let mut found: BTreeMap<u16, Bytes> = BTreeMap::new();
    let rules = listing["nftables"].as_array().context("nft printed no table")?;
    for rule in rules.iter().filter_map(|entry| entry.get("rule")) {
        let expressions = rule["expr"].as_array().context("a rule has no expressions")?;
        let part = |name: &str| expressions.iter().find_map(|part| part.get(name));
        let (matched, counter) =
            (part("match").context("a rule matches nothing")?, part("counter").context("no counter")?);
        let port = matched["right"].as_u64().and_then(|port| u16::try_from(port).ok()).context("no port")?;
        let bytes = counter["bytes"].as_u64().context("a counter has no bytes")?;
        let entry = found.entry(port).or_default();
        match matched["left"]["payload"]["field"].as_str() {
            Some("dport") => entry.to = bytes,
            Some("sport") => entry.from = bytes,
            Some(_) | None => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_a_port_are_told_apart() {
        let rule = |side: &str, bytes: u64| {
            format!(
                r#"{{"rule":{{"expr":[{{"match":{{"op":"==","left":{{"payload":{{"protocol":"tcp","field":"{side}"}}}},"right":7015}}}},{{"counter":{{"packets":1,"bytes":{bytes}}}}}]}}}}"#
            )
        };
        let text =
            format!(r#"{{"nftables":[{{"metainfo":{{}}}},{},{}]}}"#, rule("dport", 1000), rule("sport", 52));
        assert_eq!(parse(&text).unwrap()[&7015], Bytes { to: 1000, from: 52 });
        assert!(parse("{}").is_err());
    }
}
