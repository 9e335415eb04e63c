//! Whether the kernel filters incoming packets, as `nft` lists its rules. Rules of iptables are among them, except for
//! those of kernels that still use its old tables.

use crate::exec::{self, Limits, Program};
use crate::{ProbeError, Root};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

const TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Ruleset {
    nftables: Vec<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    chain: Option<Chain>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    hook: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    family: String,
    table: String,
    #[serde(default)]
    expr: Vec<serde_json::Value>,
}

/// Whether the ruleset (`nft --json list ruleset`) turns any incoming packet away: a chain at the hook `input` that
/// drops what no rule accepts, or whose table has a rule that drops or rejects.
pub fn turns_away(ruleset: &str) -> Result<bool, String> {
    let ruleset: Ruleset =
        serde_json::from_str(ruleset).map_err(|error| format!("the list of nft cannot be read: {error}"))?;
    let filters_people = |family: &str| matches!(family, "ip" | "ip6" | "inet");
    let mut tables = BTreeSet::new();
    for chain in ruleset.nftables.iter().filter_map(|entry| entry.chain.as_ref()) {
        if chain.hook.as_deref() == Some("input") && filters_people(&chain.family) {
            if chain.policy.as_deref() == Some("drop") {
                return Ok(true);
            }
            tables.insert((chain.family.as_str(), chain.table.as_str()));
        }
    }
    let turns_away = |rule: &Rule| {
        rule.expr
            .iter()
            .any(|expression| expression.get("drop").is_some() || expression.get("reject").is_some())
    };
    let mut rules = ruleset.nftables.iter().filter_map(|entry| entry.rule.as_ref());
    Ok(rules.any(|rule| tables.contains(&(rule.family.as_str(), rule.table.as_str())) && turns_away(rule)))
}

pub(super) fn filters(root: &Root) -> Result<bool, ProbeError> {
    let limits = Limits { time: TIME, output: 4 << 20 };
    match exec::run(root, Program::Nft, &["--json", "list", "ruleset"], limits) {
        Ok(finished) if finished.exit_code == Some(0) => {
            turns_away(&String::from_utf8_lossy(&finished.stdout)).map_err(ProbeError::Malformed)
        }
        Ok(_) => Err(ProbeError::NotPermitted(
            "only an administrator may list the packet filter's rules".to_owned(),
        )),
        Err(ProbeError::NotPresent(_)) => without_nft(root),
        Err(error) => Err(error),
    }
}

/// Without the program it is known only whether there can be any rule at all.
fn without_nft(root: &Root) -> Result<bool, ProbeError> {
    let modules = root.read_text("/proc/modules").unwrap_or_default();
    if modules.lines().any(|line| line.starts_with("nf_tables ")) {
        let detail = "nft (nftables) is needed to list the packet filter's rules and is not installed";
        return Err(ProbeError::Unsupported(detail.to_owned()));
    }
    for file in ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"] {
        match root.read_text(file) {
            Ok(names) if names.lines().any(|name| name == "filter") => {
                let detail = "rules in the old tables of iptables are not read";
                return Err(ProbeError::Unsupported(detail.to_owned()));
            }
            Ok(_) | Err(ProbeError::NotPresent(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_accepts_everything_is_no_firewall() {
        let ruleset = |policy: &str, rule: &str| {
            format!(
                r#"{{"nftables":[{{"metainfo":{{"version":"1.0.6"}}}},{{"chain":{{"family":"inet","table":"f","name":"in","hook":"input","policy":"{policy}"}}}},{{"rule":{{"family":"inet","table":"f","chain":"in","expr":[{rule}]}}}}]}}"#
            )
        };
        assert_eq!(turns_away(&ruleset("drop", r#"{"accept":null}"#)), Ok(true));
        assert_eq!(turns_away(&ruleset("accept", r#"{"accept":null}"#)), Ok(false));
        assert_eq!(
            turns_away(&ruleset("accept", r#"{"match":{}},{"reject":{"type":"tcp reset"}}"#)),
            Ok(true)
        );
        assert_eq!(turns_away(r#"{"nftables":[]}"#), Ok(false));
        assert!(turns_away("{").is_err());
    }
}
