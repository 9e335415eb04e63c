//! QEMU's monitor (QMP): changes of the emulated hardware while the guest runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("cannot reach QEMU's monitor")?;
        stream.set_read_timeout(Some(LIMIT)).context("cannot limit the wait for QEMU")?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        monitor.line()?;
        monitor.call("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    pub(super) fn call(&mut self, command: &str, arguments: &Value) -> Result<()> {
        let text = json!({"execute": command, "arguments": arguments}).to_string() + "\n";
        self.stream.get_mut().write_all(text.as_bytes()).context("QEMU's monitor is closed")?;
        loop {
            let answer = self.line()?;
            if answer.get("error").is_some() {
                bail!("QEMU refused {command}: {}", answer["error"]);
            }
            if let Some(said) = answer.get("return") {
                // A command of the monitor for people answers in words, and only when it fails.
                if let Some(words) = said.as_str().filter(|words| !words.trim().is_empty()) {
                    bail!("QEMU answered {command}: {}", words.trim());
                }
                return Ok(());
            }
        }
    }

    /// The next line; events come between answers.
    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("QEMU's monitor does not answer")?;
        serde_json::from_str(&line).with_context(|| format!("QEMU's monitor said {line:?}"))
    }
}
