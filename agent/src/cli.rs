//! The command line: what it may hold, and what becomes of it.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this is where the program speaks to the person who called it"
)]

mod grammar;

use firstline_agent_probes::PROBES;
use firstline_model::DiagnosticRequest;
use firstline_model::deceptive::lines;
use grammar::{Flag, Given, Grammar, Instead, Operand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Names the data folder where `--data` does not.
const DATA: &str = "FIRSTLINE_DATA";

/// A command line that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cli {
    /// The data folder: identity, spool, state of probes
    pub data: Option<PathBuf>,
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Enroll(EnrollArgs),
    Run(RunArgs),
    Check(ReadArgs),
    Probe(ProbeArgs),
    Diagnose(DiagnoseArgs),
    Doctor(OutputArgs),
    Service(ServiceArgs),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServiceArgs {
    pub action: ServiceAction,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServiceAction {
    Install {
        /// Print the unit instead of installing it
        print: bool,
    },
    Uninstall,
    Start,
    Stop,
    Status {
        json: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnrollArgs {
    /// The address; `-` reads it from standard input
    pub url: String,
    pub replace: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunArgs {
    pub config: Option<PathBuf>,
    /// A captured machine instead of the running system
    pub root: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadArgs {
    pub json: bool,
    /// A captured machine instead of the running system
    pub root: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProbeArgs {
    /// Without one, all probes run
    pub name: Option<String>,
    pub list: bool,
    pub read: ReadArgs,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DiagnoseArgs {
    pub name: String,
    /// What it is about, for the tests that need it: a mount point, a print queue, a service, a disk
    pub subject: Option<String>,
    pub read: ReadArgs,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutputArgs {
    pub json: bool,
}

const JSON: Flag = Flag { name: "--json", value: None, about: "Print JSON" };
const ROOT: Flag = Flag {
    name: "--root",
    value: Some("DIR"),
    about: "Read a captured machine in this folder instead of the running system",
};
const LIST: Flag =
    Flag { name: "--list", value: None, about: "Print the probes' names, a line each, and run none" };

const fn any() -> Vec<&'static str> {
    Vec::new()
}

fn probes() -> Vec<&'static str> {
    PROBES.iter().map(|entry| entry.name).collect()
}

fn diagnostics() -> Vec<&'static str> {
    DiagnosticRequest::NAMES.iter().map(|(name, _)| *name).collect()
}

const fn command(name: &'static str, about: &'static str, options: &'static [Flag]) -> Grammar {
    Grammar { name, about, options, operands: &[], commands: &[] }
}

static GRAMMAR: Grammar = Grammar {
    name: "firstline-agent",
    about: "Collects this machine's health and streams it to the Firstline collector.",
    options: &[Flag {
        name: "--data",
        value: Some("DIR"),
        about: "The data folder: identity, spool, state of probes [else FIRSTLINE_DATA of the environment]",
    }],
    operands: &[],
    commands: &[
        Grammar {
            operands: &[Operand {
                name: "URL",
                is_required: true,
                about: "The address that `firstline-collector token create` printed; `-` reads it from standard input",
                among: any,
            }],
            ..command(
                "enroll",
                "Make this machine known to a collector",
                &[Flag {
                    name: "--replace",
                    value: None,
                    about: "Replace an identity that this machine already has",
                }],
            )
        },
        command(
            "run",
            "Collect and stream until stopped",
            &[
                Flag {
                    name: "--config",
                    value: Some("FILE"),
                    about: "The configuration file [default: agent.toml in the data folder, if it is there]",
                },
                ROOT,
            ],
        ),
        command(
            "check",
            "Tell this machine's health in plain words: exit code 0 healthy, 1 warnings, 2 problems",
            &[JSON, ROOT],
        ),
        Grammar {
            operands: &[Operand {
                name: "NAME",
                is_required: false,
                about: "The probe's name; without one, all probes run",
                among: probes,
            }],
            ..command("probe", "Print what probes see, once", &[LIST, JSON, ROOT])
        },
        Grammar {
            operands: &[
                Operand { name: "NAME", is_required: true, about: "The test's name", among: diagnostics },
                Operand {
                    name: "SUBJECT",
                    is_required: false,
                    about: "What it is about, for the tests that need it: a mount point, a print queue, a service, a disk",
                    among: any,
                },
            ],
            ..command(
                "diagnose",
                "Run one of the read-only tests that the collector may ask for",
                &[JSON, ROOT],
            )
        },
        command("doctor", "Find out why the agent does not work", &[JSON]),
        Grammar {
            commands: &[
                command(
                    "install",
                    "Let the agent start with the machine",
                    &[Flag {
                        name: "--print",
                        value: None,
                        about: "Print the unit instead of installing it",
                    }],
                ),
                command("uninstall", "Stop it and let it start no more; its data stay", &[]),
                command("start", "Start it now", &[]),
                command("stop", "Stop it until the next start", &[]),
                command("status", "Whether it runs: exit code 0 when it does, else 1", &[JSON]),
            ],
            ..command("service", "The agent as a service of this machine", &[])
        },
    ],
};

impl Cli {
    /// This process's command line; or the exit code, after the person was told what there is to be told.
    pub(crate) fn of_process() -> Result<Self, ExitCode> {
        let data = std::env::var_os(DATA).filter(|data| !data.is_empty());
        Self::of(std::env::args_os().skip(1), data).map_err(|instead| match instead {
            Instead::Asked(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Instead::Wrong(text) => {
                eprint!("{}", lines(&text));
                ExitCode::from(2)
            }
        })
    }

    fn of(words: impl IntoIterator<Item = OsString>, data: Option<OsString>) -> Result<Self, Instead> {
        let given = grammar::read(&GRAMMAR, words)?;
        let data = path(&given, "--data").or(data.map(PathBuf::from));
        // What the table lets through is one of these; anything else would be a command without its arm.
        let command = understood(&given)?;
        Ok(Self { data, command })
    }

    /// The data folder in force.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(firstline_agent_platform::dirs::data)
    }
}

fn understood(given: &Given) -> Result<Command, Instead> {
    let json = given.has(JSON.name);
    let read = || ReadArgs { json, root: path(given, ROOT.name) };
    let word = |at| given.operand(at).map(str::to_owned);
    Ok(match given.commands[..] {
        ["enroll"] => {
            Command::Enroll(EnrollArgs { url: word(0).unwrap_or_default(), replace: given.has("--replace") })
        }
        ["run"] => Command::Run(RunArgs { config: path(given, "--config"), root: path(given, ROOT.name) }),
        ["check"] => Command::Check(read()),
        ["probe"] => {
            let (name, list) = (word(0), given.has(LIST.name));
            if name.is_some() && list {
                let what = "a NAME and --list do not go together";
                return Err(Instead::Wrong(grammar::refusal(&[&GRAMMAR], what)));
            }
            Command::Probe(ProbeArgs { name, list, read: read() })
        }
        ["diagnose"] => Command::Diagnose(DiagnoseArgs {
            name: word(0).unwrap_or_default(),
            subject: word(1),
            read: read(),
        }),
        ["doctor"] => Command::Doctor(OutputArgs { json }),
        ["service", action] => Command::Service(ServiceArgs {
            action: match action {
                "install" => ServiceAction::Install { print: given.has("--print") },
                "uninstall" => ServiceAction::Uninstall,
                "start" => ServiceAction::Start,
                "stop" => ServiceAction::Stop,
                "status" => ServiceAction::Status { json },
                other => return Err(unknown(other)),
            },
        }),
        ref others => return Err(unknown(&others.join(" "))),
    })
}

fn unknown(command: &str) -> Instead {
    Instead::Wrong(grammar::refusal(&[&GRAMMAR], &format!("there is no command {command:?}")))
}

fn path(given: &Given, option: &str) -> Option<PathBuf> {
    given.value(option).map(PathBuf::from)
}

/// Says what went wrong, with every cause behind it.
pub(crate) fn complain(error: &anyhow::Error) {
    // Part of it may be what a collector or a file said.
    eprintln!("firstline-agent: {}", lines(&format!("{error:#}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Cli, Instead> {
        Cli::of(line.split_whitespace().map(OsString::from), None)
    }

    fn wrong(line: &str) -> String {
        match of(line) {
            Err(Instead::Wrong(text)) => text,
            other => panic!("{line} is {other:?}"),
        }
    }

    fn asked(line: &str) -> String {
        match of(line) {
            Err(Instead::Asked(text)) => text,
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn every_command_of_the_table_is_understood() {
        for command in GRAMMAR.commands {
            let word = command
                .operands
                .iter()
                .filter(|operand| operand.is_required)
                .map(|operand| (operand.among)().first().map_or("anything", |word| *word));
            let words = word.collect::<Vec<_>>().join(" ");
            let deeper: Vec<&str> = command.commands.iter().map(|deeper| deeper.name).collect();
            for rest in if deeper.is_empty() { vec![words.as_str()] } else { deeper } {
                assert!(of(&format!("{} {rest}", command.name)).is_ok(), "{} {rest}", command.name);
            }
        }
    }

    #[test]
    fn options_stand_anywhere_and_take_their_values_both_ways() {
        let expected = Cli {
            data: Some("/d".into()),
            command: Command::Probe(ProbeArgs {
                name: Some("memory".to_owned()),
                list: false,
                read: ReadArgs { json: true, root: Some("/r".into()) },
            }),
        };
        for line in [
            "--data /d probe memory --json --root /r",
            "probe --root=/r --data=/d --json memory",
            "--data=/d probe --json --root /r -- memory",
        ] {
            assert_eq!(of(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn the_environment_names_the_data_folder_where_the_command_line_does_not() {
        let with = |line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            Cli::of(words, Some("/environment".into())).unwrap().data_folder()
        };
        assert_eq!(with("doctor"), PathBuf::from("/environment"));
        assert_eq!(with("doctor --data /line"), PathBuf::from("/line"));
    }

    #[test]
    fn a_dash_is_a_word_and_an_address_with_an_equals_sign_too() {
        let url = |line: &str| {
            let Command::Enroll(args) = of(line).unwrap().command else { panic!("{line} does not enroll") };
            (args.url, args.replace)
        };
        assert_eq!(url("enroll - --replace"), ("-".to_owned(), true));
        let address = "firstline://h:1/?token=a&ca=sha256:b";
        assert_eq!(url(&format!("enroll {address}")), (address.to_owned(), false));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_and_how_it_would_be_right() {
        for (line, what) in [
            ("frobnicate", "no command \"frobnicate\""),
            ("run extra", "\"extra\" is one word too many"),
            ("run --jsn", "no option --jsn here"),
            ("--json doctor", "no option --json here"),
            ("run --root", "--root needs a value: DIR"),
            ("doctor --json=yes", "--json takes no value"),
            ("doctor --json --json", "--json stands twice"),
            ("enroll", "URL is missing"),
            ("probe nonsense", "one of cpu, memory"),
            ("probe --list cpu", "do not go together"),
            ("service restart", "no command \"restart\""),
            ("run -x", "no option -x here"),
        ] {
            let text = wrong(line);
            assert!(text.starts_with("error: ") && text.contains(what), "{line}: {text}");
            assert!(text.contains("\nUsage: firstline-agent"), "{line}: {text}");
        }
    }

    #[test]
    fn help_names_every_command_and_option_and_fits_a_terminal() {
        assert!(wrong("").contains("Commands:"));
        assert_eq!(asked("--version"), asked("-V"));
        assert!(asked("--version").starts_with("firstline-agent 0."));
        assert_eq!(asked("help probe"), asked("probe --help"));
        assert_eq!(asked("help service install"), asked("service install -h"));
        let (top, probe) = (asked("--help"), asked("probe --help"));
        for command in GRAMMAR.commands {
            assert!(top.contains(command.name) && top.contains("--data <DIR>"), "{}", command.name);
        }
        assert!(
            ["--json", "--root <DIR>", "--list", "--data <DIR>", "[NAME]"].iter().all(|o| probe.contains(o))
        );
        for text in [top, probe, asked("diagnose --help"), asked("help service")] {
            assert!(text.lines().all(|line| line.len() <= 100 && line.trim_end() == line), "{text}");
        }
    }
}
