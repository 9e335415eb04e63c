//! The channel to the guest: a script goes there, its exit code, the guest's uptime and what it printed come back. The other half
//! is `tests/vm/guest.sh`, which describes the lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Sourced before every script.
const PRELUDE: &str = ". /opt/vm/setup.sh; . /opt/vm/faults.sh\n";
/// How many times slower than its own time the guest may be.
const SLOWNESS: u32 = 40;
/// How long a start may take, in real time.
const START_LIMIT: Duration = Duration::from_secs(600);
/// More than this no script prints.
const MAX_OUTPUT: usize = 64 << 20;

pub(super) struct Guest {
    stream: BufReader<UnixStream>,
    /// Seconds since its start, when it last answered.
    pub uptime: f64,
}

/// A script's end.
struct Answer {
    /// The exit code, or `ready`.
    code: String,
    output: String,
}

impl Guest {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("cannot reach the guest's channel")?;
        Ok(Self { stream: BufReader::new(stream), uptime: 0.0 })
    }

    /// Waits until it has started.
    pub(super) fn started(&mut self) -> Result<()> {
        let answer = self.answer(START_LIMIT).context("the guest did not start")?;
        if answer.code != "ready" {
            bail!("the guest answered {} instead of starting", answer.code);
        }
        Ok(())
    }

    /// Runs a script for at most `seconds` of the guest's time; fails with what it printed when it fails.
    pub(super) fn run(&mut self, script: &str, seconds: u32) -> Result<String> {
        let script = format!("{PRELUDE}{script}\n");
        let head = format!("{seconds} {}\n", script.len());
        self.stream
            .get_mut()
            .write_all(&[head.as_bytes(), script.as_bytes()].concat())
            .context("the guest's channel is closed")?;
        let answer = self.answer(Duration::from_secs(seconds.into()) * SLOWNESS + Duration::from_secs(60))?;
        match answer.code.as_str() {
            "0" => Ok(answer.output),
            "ready" => bail!("the guest has restarted by itself"),
            "124" => bail!("not done within {seconds} s of the guest's time: {}", answer.output.trim()),
            code => bail!("exit code {code}: {}", answer.output.trim()),
        }
    }

    fn answer(&mut self, limit: Duration) -> Result<Answer> {
        self.stream.get_ref().set_read_timeout(Some(limit)).context("cannot limit the wait for the guest")?;
        let mut head = String::new();
        self.stream
            .read_line(&mut head)
            .with_context(|| format!("no answer of the guest within {} s", limit.as_secs()))?;
        let words: Vec<&str> = head.split_whitespace().collect();
        let [code, uptime, bytes] = words[..] else { bail!("the guest answered {head:?}") };
        self.uptime = uptime.parse().with_context(|| format!("the guest answered {head:?}"))?;
        let bytes: usize = bytes.parse().with_context(|| format!("the guest answered {head:?}"))?;
        if bytes > MAX_OUTPUT {
            bail!("the guest's script printed {bytes} bytes");
        }
        let code = code.to_owned();
        let mut output = vec![0; bytes];
        self.stream.read_exact(&mut output).context("the guest's answer broke off")?;
        Ok(Answer { code, output: String::from_utf8_lossy(&output).into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(says: &str) -> (Guest, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(says.as_bytes()).unwrap();
        (Guest { stream: BufReader::new(ours), uptime: 0.0 }, theirs)
    }

    #[test]
    fn a_script_goes_there_with_its_length_and_its_output_comes_back() {
        let (mut guest, mut theirs) = guest("0 12.5 3\nyes");
        assert_eq!(guest.run("echo yes", 7).unwrap(), "yes");
        assert!((guest.uptime - 12.5).abs() < 1e-9);
        drop(guest);
        let mut sent = String::new();
        theirs.read_to_string(&mut sent).unwrap();
        let (head, script) = sent.split_once('\n').unwrap();
        assert_eq!(head, format!("7 {}", script.len()));
        assert!(script.ends_with("echo yes\n"));
    }

    #[test]
    fn failures_and_restarts_are_told_apart() {
        let told = |says: &str| guest(says).0.run("x", 1).unwrap_err().to_string();
        assert_eq!(told("3 1.0 5\nwrong"), "exit code 3: wrong");
        assert_eq!(told("ready 1.0 0\n"), "the guest has restarted by itself");
        assert!(told("nonsense\n").contains("nonsense"));
        assert!(guest("ready 21.3 0\n").0.started().is_ok());
        assert!(guest("0 21.3 0\n").0.started().is_err());
    }
}
