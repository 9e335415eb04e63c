//! Running programs: what is run is printed, what fails says which command failed and how.
//!
//! cargo hands its own variables (`CARGO_PKG_NAME`, `CARGO_MANIFEST_DIR`, ...) to the program it runs, and some build
//! scripts, ring's among them, watch these. They are taken out here, otherwise the same crates compile again
//! whenever one changes between `cargo xtask test` and plain `cargo build`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// One program with its arguments, not yet started.
pub(crate) struct Process {
    command: Command,
    shown: String,
    quiet: bool,
}

/// What a program that was allowed to fail left behind.
pub(crate) struct Finished {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "the task runner's work is to run programs; they start here only"
    )]
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if is_cargos_own(&name) {
                command.env_remove(name);
            }
        }
        Self { command, shown: program.to_string_lossy().into_owned(), quiet: false }
    }

    /// The cargo that runs this task.
    pub(crate) fn cargo() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut process = Self::new(cargo);
        process.shown = "cargo".to_owned();
        process
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        for arg in args {
            self = self.arg(arg);
        }
        self
    }

    /// Arguments that are passed but not printed: long lists of files.
    pub(crate) fn unshown_args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Do not print the command line before it runs.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Run in a process group of its own: Ctrl-C at the terminal reaches this process only, which then decides.
    pub(crate) fn apart(mut self) -> Self {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut self.command, 0);
        self
    }

    fn announce(&self) {
        if !self.quiet {
            eprintln!("    $ {}", self.shown);
        }
    }

    /// Runs with the terminal's own input and output; fails when the program does.
    pub(crate) fn run(mut self) -> Result<()> {
        self.announce();
        let status = self.command.status().with_context(|| format!("cannot start `{}`", self.shown))?;
        if !status.success() {
            bail!("`{}` failed: {status}", self.shown);
        }
        Ok(())
    }

    /// Runs and returns what was printed, whether the program failed or not.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        self.announce();
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        Ok(Finished {
            succeeded: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it without input, both outputs into `log`, and does not wait.
    pub(crate) fn start(mut self, log: File) -> Result<Child> {
        self.announce();
        let again = log.try_clone().context("cannot share a log file between two outputs")?;
        self.command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown))
    }

    /// Starts it with a pipe on either side, and does not wait; what it complains about goes to the terminal.
    pub(crate) fn piped(mut self) -> Result<Child> {
        self.announce();
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown))
    }

    /// Gives it `text` as its input and returns its standard output; fails as [`Process::read`] does.
    pub(crate) fn read_with_input(mut self, text: &str) -> Result<String> {
        self.announce();
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A program that ends without reading says why by itself.
            let _ = pipe.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().with_context(|| format!("cannot wait for `{}`", self.shown))?;
        if !output.status.success() {
            bail!("`{}` failed: {}", self.shown, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs and returns its standard output; fails with its standard error when the program does.
    pub(crate) fn read(self) -> Result<String> {
        let shown = self.shown.clone();
        let finished = self.finish()?;
        if !finished.succeeded {
            bail!("`{shown}` failed: {}", finished.stderr.trim());
        }
        Ok(finished.stdout)
    }

    /// Whether the program can be started and succeeds; its output is dropped.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs with both outputs shown as they come, and returns every line together with success.
    pub(crate) fn watch(mut self) -> Result<(bool, Vec<String>)> {
        self.announce();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let lines = std::thread::scope(|scope| {
            let out = stdout.map(|pipe| scope.spawn(move || echo(pipe, &mut std::io::stdout())));
            let err = stderr.map(|pipe| scope.spawn(move || echo(pipe, &mut std::io::stderr())));
            [out, err].into_iter().flatten().flat_map(|reader| reader.join().unwrap_or_default()).collect()
        });
        let status = child.wait().with_context(|| format!("cannot wait for `{}`", self.shown))?;
        Ok((status.success(), lines))
    }
}

/// Copies lines to `shown` as they come and keeps them.
fn echo(pipe: impl std::io::Read, shown: &mut impl Write) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        // A closed terminal must not stop the run: the kept lines still decide the result.
        let _ = writeln!(shown, "{line}");
        lines.push(line);
    }
    lines
}

fn is_cargos_own(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_")
        || matches!(
            name,
            "CARGO_MANIFEST_DIR"
                | "CARGO_MANIFEST_PATH"
                | "CARGO_CRATE_NAME"
                | "CARGO_PRIMARY_PACKAGE"
                | "OUT_DIR"
        )
}

/// The full path of a program in `PATH` or in the system's own folders, which a normal user's `PATH` may leave out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_command_and_its_message() {
        let error = Process::new("sh").quiet().args(["-c", "echo broken >&2; exit 3"]).read();
        let text = error.map_err(|error| error.to_string()).unwrap_err();
        assert!(text.contains("sh -c") && text.contains("broken"), "{text}");
    }

    #[test]
    fn watched_program_returns_lines_of_both_outputs() {
        let (succeeded, lines) =
            Process::new("sh").quiet().args(["-c", "echo one; echo two >&2; exit 1"]).watch().unwrap();
        assert!(!succeeded);
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn variables_of_the_outer_cargo_are_not_passed_on() {
        for (name, own) in [
            ("CARGO_PKG_NAME", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_TARGET_DIR", false),
            ("CARGO_HOME", false),
        ] {
            assert_eq!(is_cargos_own(&OsString::from(name)), own, "{name}");
        }
    }

    #[test]
    fn absent_program_is_not_found() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }
}
