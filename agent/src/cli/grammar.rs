//! How a command line is read by a table of commands, and what is said of the table to a person who asks.
//!
//! Our own because the program has seven commands and a dozen options, and the usual library is a twenty-fifth of its size.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

/// A command with what may follow it.
#[derive(Debug)]
pub(super) struct Grammar {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) options: &'static [Flag],
    pub(super) operands: &'static [Operand],
    pub(super) commands: &'static [Grammar],
}

/// An option, by its long name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    /// What its value is called in the help; without, it has none.
    pub(super) value: Option<&'static str>,
    pub(super) about: &'static str,
}

/// A word that is no option.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) name: &'static str,
    pub(super) is_required: bool,
    pub(super) about: &'static str,
    /// The words that it may be; empty when it may be any.
    pub(super) among: fn() -> Vec<&'static str>,
}

/// What a command line held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// The names of the commands, outermost first.
    pub(super) commands: Vec<&'static str>,
    options: Vec<(&'static str, OsString)>,
    operands: Vec<String>,
}

impl Given {
    /// Whether an option without a value is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// An option's value.
    pub(super) fn value(&self, name: &str) -> Option<&OsStr> {
        self.options.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_os_str())
    }

    /// The word at a place.
    pub(super) fn operand(&self, at: usize) -> Option<&str> {
        self.operands.get(at).map(String::as_str)
    }
}

/// Why there is nothing to do, with the text for the person.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// It was asked for: help, or the version.
    Asked(String),
    /// The command line is not understood.
    Wrong(String),
}

/// Reads what follows the program's name.
pub(super) fn read(
    top: &'static Grammar,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Given, Instead> {
    let mut words = words.into_iter();
    let mut given = Given::default();
    let mut path = vec![top];
    let mut is_over = false;
    let mut asks_for_help = false;
    while let Some(word) = words.next() {
        let here = path.last().copied().unwrap_or(top);
        let wrong = |what: String| Err(Instead::Wrong(refusal(&path, &what)));
        let text = word.to_str();
        match text {
            Some("--") if !is_over => is_over = true,
            Some("-h" | "--help") if !is_over => return Err(Instead::Asked(help(&path))),
            Some("-V" | "--version") if !is_over && path.len() == 1 => {
                return Err(Instead::Asked(format!("{} {}\n", top.name, env!("CARGO_PKG_VERSION"))));
            }
            Some(option) if !is_over && option.len() > 1 && option.starts_with('-') => {
                let (name, inline) = option.split_once('=').map_or((option, None), |(n, v)| (n, Some(v)));
                let Some(flag) =
                    path.iter().flat_map(|grammar| grammar.options).find(|flag| flag.name == name)
                else {
                    return wrong(format!("there is no option {name} here"));
                };
                if given.has(flag.name) {
                    return wrong(format!("{name} stands twice"));
                }
                let value = match (flag.value, inline) {
                    (None, Some(_)) => return wrong(format!("{name} takes no value")),
                    (None, None) => OsString::new(),
                    (Some(_), Some(value)) => OsString::from(value),
                    (Some(what), None) => match words.next() {
                        Some(value) => value,
                        None => return wrong(format!("{name} needs a value: {what}")),
                    },
                };
                given.options.push((flag.name, value));
            }
            Some("help") if path.len() == 1 && !is_over => asks_for_help = true,
            Some(name) if !here.commands.is_empty() => {
                match here.commands.iter().find(|command| command.name == name) {
                    Some(command) => {
                        given.commands.push(command.name);
                        path.push(command);
                    }
                    None => return wrong(format!("there is no command {name:?}")),
                }
            }
            Some(operand) => {
                let Some(wanted) = here.operands.get(given.operands.len()) else {
                    return wrong(format!("{operand:?} is one word too many"));
                };
                let among = (wanted.among)();
                if !among.is_empty() && !among.contains(&operand) {
                    let all = among.join(", ");
                    return wrong(format!("{operand:?} is no {}; it is one of {all}", wanted.name));
                }
                given.operands.push(operand.to_owned());
            }
            // Only an option's value of its own may be bytes that are no text.
            None => return wrong(format!("{} is no text", word.to_string_lossy())),
        }
    }
    let here = path.last().copied().unwrap_or(top);
    if asks_for_help {
        return Err(Instead::Asked(help(&path)));
    }
    if !here.commands.is_empty() {
        return Err(Instead::Wrong(help(&path)));
    }
    match here.operands.get(given.operands.len()) {
        Some(missing) if missing.is_required => {
            Err(Instead::Wrong(refusal(&path, &format!("{} is missing", missing.name))))
        }
        _ => Ok(given),
    }
}

/// What is wrong, how it would be right, and where more is said.
pub(super) fn refusal(path: &[&Grammar], what: &str) -> String {
    format!("error: {what}\n\n{}\n\nFor more, see --help\n", usage(path))
}

fn usage(path: &[&Grammar]) -> String {
    let mut text = "Usage:".to_owned();
    for grammar in path {
        let _ = write!(text, " {}", grammar.name);
    }
    text.push_str(" [OPTIONS]");
    if let Some(here) = path.last() {
        if !here.commands.is_empty() {
            text.push_str(" <COMMAND>");
        }
        for operand in here.operands {
            let (open, close) = if operand.is_required { ('<', '>') } else { ('[', ']') };
            let _ = write!(text, " {open}{}{close}", operand.name);
        }
    }
    text
}

/// All that may follow a command.
fn help(path: &[&Grammar]) -> String {
    let mut text = String::new();
    let Some(here) = path.last() else { return text };
    let _ = write!(text, "{}\n\n{}\n", here.about, usage(path));
    let commands = here.commands.iter().map(|command| (command.name.to_owned(), command.about.to_owned()));
    section(&mut text, "Commands", &commands.collect::<Vec<_>>());
    let operands = here.operands.iter().map(|operand| {
        let among = (operand.among)();
        let values =
            if among.is_empty() { String::new() } else { format!(" [one of: {}]", among.join(", ")) };
        (operand.name.to_owned(), format!("{}{values}", operand.about))
    });
    section(&mut text, "Arguments", &operands.collect::<Vec<_>>());
    let mut options: Vec<(String, String)> = Vec::new();
    for flag in path.iter().rev().flat_map(|grammar| grammar.options) {
        let value = flag.value.map_or_else(String::new, |value| format!(" <{value}>"));
        options.push((format!("{}{value}", flag.name), flag.about.to_owned()));
    }
    options.push(("-h, --help".to_owned(), "Print this".to_owned()));
    if path.len() == 1 {
        options.push(("-V, --version".to_owned(), "Print the version".to_owned()));
    }
    section(&mut text, "Options", &options);
    text
}

fn section(text: &mut String, title: &str, lines: &[(String, String)]) {
    const WIDTH: usize = 100;
    let Some(widest) = lines.iter().map(|(name, _)| name.len()).max() else { return };
    let _ = writeln!(text, "\n{title}:");
    for (name, about) in lines {
        let mut line = format!("  {name:<widest$} ");
        let indent = line.len();
        for word in about.split(' ') {
            if line.len() + 1 + word.len() > WIDTH && line.len() > indent {
                let _ = writeln!(text, "{line}");
                line = " ".repeat(indent);
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(text, "{line}");
    }
}
