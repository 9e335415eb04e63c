//! A real browser that watches itself: Chromium without a window, spoken to in the DevTools protocol over two pipes, so
//! that it needs no port and no further library. Whatever a page does that it should not is noted: scripts that run,
//! violations of the policy, messages in the console, dialogs, requests to anywhere else.

use crate::process;
use crate::wait::until;
use serde_json::{Value as Json, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long one step of the browser may take; its start is the longest.
const LIMIT: Duration = Duration::from_secs(60);
/// What this file evaluates in pages carries this name, to be told from scripts of the page.
const OURS: &str = "firstline-test";
/// Why a browser gives up what it loads when a network interface of this machine comes or goes.
const NETWORK_CHANGED: &str = "net::ERR_NETWORK_CHANGED";
/// The program, for `needs`.
pub const PROGRAM: &str = "chromium";

/// Reports violations of the policy from inside, before anything of the page runs.
const WATCH: &str = "addEventListener('securitypolicyviolation', event => \
    console.error('violation of ' + event.effectiveDirective + ' by ' + event.blockedURI + ' ' + event.sample), true)\n\
    //# sourceURL=firstline-test";

/// A browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Json>,
    waiting: VecDeque<Json>,
    session: String,
    last: u64,
    /// The only place from which pages may load anything.
    origin: String,
    misdeeds: Vec<String>,
    _folder: TempDir,
}

impl Browser {
    /// Starts one for the pages of this origin, such as `https://127.0.0.1:8443`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(origin: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The protocol is spoken over the handles 3 and 4; a shell is what gives a child handles of these numbers.
        let mut command = process::command("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", PROGRAM]);
        command.args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]);
        command.args(["--no-first-run", "--disable-extensions", "--disable-background-networking"]);
        command.args([
            "--disable-dev-shm-usage",
            "--ignore-certificate-errors",
            "--disable-component-update",
            "--disable-auto-reload",
        ]);
        // Nothing that is not this machine has an address: a test sends nothing to strangers, whatever a page asks for.
        command.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost");
        command.arg(format!("--user-data-dir={}", folder.path().display()));
        command.env("HOME", folder.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium can be started");
        let (commands, answers) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut answers = BufReader::new(answers);
            let mut bytes = Vec::new();
            while matches!(answers.read_until(0, &mut bytes), Ok(1..)) {
                bytes.pop();
                if serde_json::from_slice(&bytes).is_ok_and(|message: Json| sender.send(message).is_err()) {
                    break;
                }
                bytes.clear();
            }
        });
        let mut browser = Self {
            process: child,
            commands,
            messages,
            waiting: VecDeque::new(),
            session: String::new(),
            last: 0,
            origin: origin.to_owned(),
            misdeeds: Vec::new(),
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Debugger", "Network", "Audits"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH}));
        browser
    }

    /// Goes to an address and waits until the page is loaded.
    ///
    /// Loading is given up when this machine's network interfaces change, whatever the page; then it is loaded again.
    pub fn open(&mut self, address: &str) {
        let before = self.misdeeds.len();
        for _ in 0..3 {
            self.misdeeds.truncate(before);
            self.open_once(address);
            // What was reported before this answer has arrived with it.
            let _ = self.evaluate("0");
            if !self.misdeeds[before..].iter().any(|said| said.contains(NETWORK_CHANGED)) {
                return;
            }
        }
    }

    fn open_once(&mut self, address: &str) {
        let went = self.call("Page.navigate", json!({"url": address}));
        if let Some(error) = went["errorText"].as_str() {
            self.misdeeds.push(format!("{address} cannot be loaded: {error}"));
            return;
        }
        // Events of the page before this one may still be on their way.
        let loader = went["loaderId"].clone();
        let is_broken = |event: &Json| {
            event["method"] == "Network.loadingFailed"
                && event["params"]["type"] == "Document"
                && event["params"]["errorText"] == NETWORK_CHANGED
        };
        let told = self.wait_for(address, |event| {
            is_broken(event) || (is_loaded(event) && event["params"]["loaderId"] == loader)
        });
        if is_broken(&told) {
            self.misdeeds.push(format!("{address} cannot be loaded: {NETWORK_CHANGED}"));
            return;
        }
        self.arrive();
    }

    /// What is evaluated sees the new page. On a busy machine a page is told to be loaded while the one that scripts see has
    /// no element yet.
    fn arrive(&mut self) {
        until("scripts see the page that was loaded", LIMIT, || {
            let is_there =
                self.evaluate("document.documentElement !== null && document.readyState === 'complete'");
            (is_there == true).then_some(())
        });
    }

    /// Makes the first administrator by this one-time link, which signs them in.
    pub fn sign_in(&mut self, link: &str) {
        self.open(link);
        self.follow(
            "document.getElementById('name').value = 'ada'; \
             document.getElementById('password').value = 'correct horse battery'; \
             document.querySelector('form.stack').requestSubmit()",
        );
    }

    /// Does something on the page that leads to another one, and waits until that is loaded.
    pub fn follow(&mut self, script: &str) {
        self.waiting.clear();
        let before = self.evaluate("performance.timeOrigin");
        let _ = self.evaluate(script);
        loop {
            self.wait_for("the next page", is_loaded);
            if self.evaluate("performance.timeOrigin") != before {
                self.arrive();
                return;
            }
        }
    }

    /// What a script of the test's finds in the page.
    ///
    /// # Panics
    /// When it throws.
    pub fn evaluate(&mut self, script: &str) -> Json {
        let expression = format!("{script}\n//# sourceURL={OURS}");
        let parameters = json!({"expression": expression, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Keeps a picture of the page, for a person who wants to see it: in the folder that `FIRSTLINE_PICTURES` names, as
    /// base64 of a PNG; without it nothing is kept.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn keep_picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("FIRSTLINE_PICTURES") else { return };
        let picture = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let file = std::path::Path::new(&folder).join(format!("{name}.png.base64"));
        std::fs::write(file, picture["data"].as_str().unwrap_or_default()).expect("a picture can be kept");
    }

    /// The cookies of the page, as the browser keeps them.
    pub fn cookies(&mut self) -> Vec<Json> {
        let found = self.call("Network.getCookies", json!({}));
        found["cookies"].as_array().cloned().unwrap_or_default()
    }

    /// What pages did that they should not, since this was asked last.
    pub fn misdeeds(&mut self) -> Vec<String> {
        // What was reported before this answer has arrived with it.
        let _ = self.evaluate("0");
        std::mem::take(&mut self.misdeeds)
    }

    fn call(&mut self, method: &str, parameters: Json) -> Json {
        self.last += 1;
        let id = self.last;
        self.send(id, method, &parameters);
        let answer = self.receive_until(method, |message| message["id"] == id);
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    fn send(&mut self, id: u64, method: &str, parameters: &Json) {
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("the browser runs");
    }

    fn wait_for(&mut self, what: &str, is_it: impl Fn(&Json) -> bool) -> Json {
        if let Some(at) = self.waiting.iter().position(&is_it) {
            return self.waiting.drain(..=at).next_back().unwrap_or_default();
        }
        let found = self.receive_until(what, is_it);
        self.waiting.clear();
        found
    }

    fn receive_until(&mut self, what: &str, is_it: impl Fn(&Json) -> bool) -> Json {
        let begun = Instant::now();
        loop {
            let message = match self.messages.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("the browser: waited in vain for {what}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the browser ended before {what}"),
            };
            self.judge(&message);
            if is_it(&message) {
                return message;
            }
            if message.get("id").is_none() {
                self.waiting.push_back(message);
            }
        }
    }

    /// Notes what should not have happened.
    fn judge(&mut self, message: &Json) {
        let parameters = &message["params"];
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let misdeed = match message["method"].as_str().unwrap_or_default() {
            "Debugger.scriptParsed" => {
                let url = text(&parameters["url"]);
                let is_asset = url.starts_with(&format!("{}/assets/", self.origin));
                // The browser's own page in place of one that could not be loaded; that it could not be, is noted.
                let is_browsers = url.starts_with("chrome-error://");
                (url != OURS && !is_asset && !is_browsers).then(|| format!("a script ran: {url:?}"))
            }
            "Debugger.paused" => {
                self.last += 1;
                self.send(self.last, "Debugger.resume", &json!({}));
                Some("a script stopped for a debugger".to_owned())
            }
            "Runtime.consoleAPICalled" => Some(format!("console: {}", parameters["args"])),
            "Runtime.exceptionThrown" => Some(format!("exception: {}", parameters["exceptionDetails"])),
            "Log.entryAdded" => Some(format!("log: {}", parameters["entry"]["text"])),
            "Audits.issueAdded" => issue(&parameters["issue"]),
            "Page.javascriptDialogOpening" => {
                self.last += 1;
                self.send(self.last, "Page.handleJavaScriptDialog", &json!({"accept": true}));
                Some(format!("a dialog: {}", parameters["message"]))
            }
            "Page.windowOpen" | "Page.downloadWillBegin" => Some(message.to_string()),
            "Network.requestWillBeSent" => {
                let url = text(&parameters["request"]["url"]);
                let is_here = url.starts_with(&format!("{}/", self.origin)) || url.starts_with("data:");
                (!is_here).then(|| format!("a request went elsewhere: {url}"))
            }
            _ => None,
        };
        self.misdeeds.extend(misdeed);
    }
}

fn is_loaded(event: &Json) -> bool {
    event["method"] == "Page.lifecycleEvent" && event["params"]["name"] == "load"
}

/// An issue that concerns safety. Others (such as a field without autocomplete) are advice.
fn issue(issue: &Json) -> Option<String> {
    let code = issue["code"].as_str().unwrap_or_default();
    let concerns = ["ContentSecurityPolicy", "MixedContent", "BlockedByResponse", "TrustedTypes"];
    concerns.iter().any(|part| code.contains(part)).then(|| format!("issue: {issue}"))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
