//! The command line.
#![expect(clippy::print_stderr, reason = "this is where the program speaks to the person who called it")]

use crate::knowledge;
use clap::{Args, Parser, Subcommand, ValueEnum};
use firstline_collector_store::record::Role;
use std::path::PathBuf;

/// Takes the agents' streams in, opens tickets, shows the fleet.
#[derive(Debug, Parser)]
#[command(name = "firstline-collector", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The data folder
    #[arg(
        long,
        env = "FIRSTLINE_DATA",
        default_value = "/var/lib/firstline-collector",
        global = true,
        value_name = "DIR"
    )]
    pub data: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run until stopped
    Serve(ServeArgs),
    /// Enrollment tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// People who sign in
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens for the REST interface
    #[command(subcommand)]
    ApiToken(ApiTokenCommand),
    /// Managed machines
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Check, test and show knowledge entries
    #[command(subcommand)]
    Knowledge(knowledge::KnowledgeCommand),
    /// Play a recorded trace through the rules: which tickets, when, and why none
    Replay(ReplayArgs),
    /// The authority that certificates come from
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Copy everything into one file, also while the collector runs
    Backup(BackupArgs),
    /// Make a data folder (--data) from a backup
    Restore(RestoreArgs),
    /// Find out why the collector does not work
    Doctor(OutputArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where agents connect; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "ADDR", value_parser = parse_address)]
    pub agents: String,
    /// Where browsers and REST clients connect; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDR", value_parser = parse_address)]
    pub web: String,
    /// Where everything is kept
    #[arg(long, default_value = "sqlite", value_name = "ENGINE")]
    pub store: String,
    /// Further names and addresses under which browsers reach this collector, for its certificate
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// How long device certificates are valid, 10s to 90d; they are renewed at half of it
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = parse_lifetime)]
    pub certificate_lifetime: std::time::Duration,
    /// How long raw records are kept, 1d to 366d: what back-tests and diagnosis look back on
    #[arg(long, default_value = "7d", value_name = "TIME", value_parser = parse_keeping)]
    pub keep_records: std::time::Duration,
    /// Take this machine's clock for right although it is behind the time that was kept, or more than a year ahead
    #[arg(long)]
    pub believe_clock: bool,
    /// The log filter
    #[arg(long, env = "FIRSTLINE_LOG", default_value = "info", value_name = "LEVEL")]
    pub log: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print the one address to paste into `firstline-agent enroll`
    Create {
        /// How many devices may use it
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        uses: u32,
        /// How long it holds: 30m, 1h, 7d
        #[arg(long, default_value = "1h", value_parser = parse_duration)]
        ttl: std::time::Duration,
        /// The site that its devices belong to
        #[arg(long)]
        site: Option<String>,
        /// Host (and port) under which agents reach this collector [default: where `serve` listens]
        #[arg(long, value_name = "HOST[:PORT]")]
        host: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a person
    Add {
        /// The sign-in name
        name: String,
        /// What they may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// The only site that they see
        #[arg(long)]
        site: Option<String>,
        /// Read the password from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// List people
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiTokenCommand {
    /// Make a token and print it; it is not shown again
    Create {
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// The only site that it sees
        #[arg(long)]
        site: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List devices
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Withdraw a device's identity; its stream is cut
    Revoke {
        /// The device's id
        id: String,
    },
    /// Let a device in again that was in quarantine, once only one machine has its identity
    Release {
        /// The device's id
        id: String,
    },
    /// Take a device out of service; its stream is cut
    Retire {
        /// The device's id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The trace: one observation a line (NDJSON), sorted by time; `-` reads standard input
    pub trace: PathBuf,
    /// A folder with your entries and overrides, laid over the built-in ones
    #[arg(long, value_name = "DIR")]
    pub knowledge: Option<PathBuf>,
    /// Maintenance windows: a JSON array of what `POST /api/v1/maintenance` takes
    #[arg(long, value_name = "FILE")]
    pub maintenance: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// Replace the authority step by step while everything runs; can be interrupted and called again
    Rotate {
        /// Make only the next step
        #[arg(long)]
        step: bool,
        /// How long agents get to know the new authority before it issues
        #[arg(long, default_value = "1h", value_name = "TIME", value_parser = parse_duration)]
        overlap: std::time::Duration,
        /// Retire the old authority although devices hold its certificates; they must be enrolled again
        #[arg(long)]
        force: bool,
    },
    /// Tell how far a rotation is, and how many devices hold certificates of which authority
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where the backup goes, best on another disk; while it is made twice its size is needed there
    pub file: PathBuf,
    /// Put the key in that the authority's key is sealed with; without it the file is worth no authority
    #[arg(long)]
    pub with_seal_key: bool,
    /// Replace a file that is there, once the new one is whole
    #[arg(long)]
    pub replace: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup; --data names the folder that is made from it, which must not be there yet or be empty
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Roles as they are written on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// Reads
    Viewer,
    /// Works on tickets
    Technician,
    /// Reads everything and reports
    Manager,
    /// Everything
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Technician => Self::Technician,
            RoleName::Manager => Self::Manager,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// A host (a name or an address, which is looked up when it is listened on) and a port.
fn parse_address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        Some(_) | None => Err("it is not HOST:PORT, such as 0.0.0.0:7443 or [::]:7443".to_owned()),
    }
}

fn parse_lifetime(text: &str) -> Result<std::time::Duration, String> {
    let lifetime = parse_duration(text)?;
    match lifetime.as_secs() {
        // A shorter one would be renewed all the time, a longer one is of use to a thief for too long.
        10..=7_776_000 => Ok(lifetime),
        _ => Err("it must be between 10 s and 90 d".to_owned()),
    }
}

fn parse_keeping(text: &str) -> Result<std::time::Duration, String> {
    let time = parse_duration(text)?;
    // Less would take away what agents may still send again.
    if time.as_secs() >= 86_400 { Ok(time) } else { Err("it must be at least 1 d".to_owned()) }
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        other => return Err(format!("{other:?} is not a unit; use s, m, h or d")),
    };
    match number.checked_mul(unit) {
        Some(seconds) if (1..=366 * 86_400).contains(&seconds) => Ok(std::time::Duration::from_secs(seconds)),
        _ => Err("it must be between 1 s and 366 d".to_owned()),
    }
}

/// Says what went wrong, with every cause behind it.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("firstline-collector: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_listeners_address_that_cannot_be_one_is_wrong_usage() {
        for good in ["127.0.0.1:0", "0.0.0.0:7443", "[::]:7443", "localhost:7443"] {
            let parsed = Cli::try_parse_from(["firstline-collector", "serve", "--agents", good]);
            assert!(parsed.is_ok(), "{good}");
        }
        for bad in ["7443", ":7443", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ""] {
            let refused = Cli::try_parse_from(["firstline-collector", "serve", "--web", bad]);
            assert_eq!(refused.map(|_| ()).map_err(|error| error.exit_code()), Err(2), "{bad:?}");
        }
    }

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(parse_duration("90m"), Ok(std::time::Duration::from_secs(5400)));
        for bad in ["", "m", "1", "1w", "0s", "99999999999999999999d", "-1h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
