//! The agent as a service with all rights, beside users who would like to have them.

use firstline_tests::effort::effort;
use firstline_tests::needs::{Need, met, program};
use firstline_tests::process::{self, Process};
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

/// Runs `firstline-agent run` where it is to refuse, and gives what it says.
fn refusal(binary: &Path, data: &Path) -> String {
    let mut command = process::command(binary);
    command.arg("run").arg("--data").arg(data);
    let begun = Instant::now();
    let output = process::run_with_input(command, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(begun.elapsed() < seconds(1), "it took {:?} to refuse", begun.elapsed());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn r8_whatever_is_loosened_the_agent_refuses_to_start_and_says_the_remedy() {
    let collector = Collector::started();
    let agent = Agent::enrolled(&collector).probing(&["memory"], "");
    let binary = process::binary("firstline-agent");
    let data = agent.data();
    for (path, loose, tight, remedy) in [
        (data.to_path_buf(), 0o750, 0o700, "chmod 700"),
        (data.join("identity.toml"), 0o640, 0o600, "chmod 600"),
        (data.join("agent.toml"), 0o666, 0o644, "chmod go-w"),
        (data.parent().expect("a parent").to_path_buf(), 0o777, 0o700, "chmod go-w"),
    ] {
        chmod(&path, loose);
        let said = refusal(&binary, data);
        assert!(said.contains(remedy) && said.contains(path.to_str().expect("a name")), "{said}");
        chmod(&path, tight);
    }
    // The program itself, and the folder that it lies in.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("firstline-agent");
    std::fs::copy(&binary, &copy).unwrap();
    chmod(&copy, 0o775);
    assert!(refusal(&copy, data).contains("chmod go-w"));
    chmod(&copy, 0o755);
    chmod(folder.path(), 0o757);
    assert!(refusal(&copy, data).contains("chmod go-w"));
}

/// What a program asked the kernel for, by strace.
fn traced(arguments: &[&str], hostile: &Path) -> String {
    let trace = hostile.join("trace");
    let mut command = process::command(program("strace").expect("strace"));
    command.args(["-f", "-v", "-s", "4096", "-e", "trace=execve,execveat,openat", "-o"]).arg(&trace);
    command.arg(process::binary("firstline-agent")).args(arguments);
    for name in ["PATH", "LD_LIBRARY_PATH", "HOME", "XDG_CONFIG_HOME", "CDPATH"] {
        command.env(name, hostile);
    }
    command.env("OPENSSL_CONF", hostile.join("openssl.cnf")).env("SHELL", hostile.join("sh"));
    command.current_dir(hostile);
    let output = process::run_with_input(command, "");
    assert!(
        output.status.code().is_some_and(|code| code <= 2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read_to_string(trace).expect("a trace")
}

#[test]
fn r9_no_probe_and_no_diagnostic_starts_or_opens_what_a_hostile_environment_offers() {
    if !met(&[Need::Root, Need::Program("strace")]) {
        return;
    }
    const ALLOWED: &[&str] = &[
        "/usr/sbin/smartctl",
        "/usr/bin/smartctl",
        "/usr/bin/systemctl",
        "/bin/systemctl",
        "/usr/sbin/nft",
        "/sbin/nft",
    ];
    let hostile = tempfile::tempdir().unwrap();
    for name in ["smartctl", "systemctl", "sh", "lpstat", "ip", "ping", "openssl.cnf", "libc.so"] {
        let file = hostile.path().join(name);
        std::fs::write(&file, "#!/bin/sh\ntouch /tmp/firstline-was-fooled\n").unwrap();
        chmod(&file, 0o755);
    }
    let mut runs: Vec<Vec<&str>> = vec![vec!["probe", "--json"], vec!["check", "--json"]];
    for (name, subject) in [
        ("largest_directories", "/"),
        ("printer", "finance"),
        ("link", ""),
        ("gateway", ""),
        ("dns_servers", ""),
        ("top_processes", ""),
        ("service", "cups"),
        ("physical_disk", "sda"),
        ("kernel_log", ""),
    ] {
        runs.push(
            ["diagnose", name, subject, "--json"].into_iter().filter(|word| !word.is_empty()).collect(),
        );
    }
    let mut opened = 0;
    for arguments in runs {
        let trace = traced(&arguments, hostile.path());
        let first = trace.lines().position(|line| line.contains("execve(")).expect("the agent itself");
        for line in trace.lines().skip(first + 1) {
            opened += usize::from(line.contains("openat("));
            let is_success = !line.contains("= -1");
            if line.contains("execve(") || line.contains("execveat(") {
                let allowed = ALLOWED.iter().any(|program| line.contains(&format!("execve(\"{program}\"")));
                assert!(allowed, "{arguments:?}: {line}");
                assert!(
                    line.contains(r#"["LC_ALL=C"]"#),
                    "{arguments:?}: the environment is passed on: {line}"
                );
            }
            // Measuring directories lists every folder there is; that opens no file in it.
            let is_success = is_success && !line.contains("O_DIRECTORY");
            let of_hostile = line.contains(hostile.path().to_str().expect("a name"));
            assert!(!(is_success && of_hostile && line.contains("openat(")), "{arguments:?}: {line}");
        }
    }
    // Which programs there are to start depends on the machine; that the agent was watched does not.
    assert!(opened > 100, "only {opened} files were opened, so the agent was not watched");
}

#[test]
fn r10_a_user_who_plants_links_and_pipes_where_the_agent_writes_gains_nothing() {
    if !met(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let victim = tempfile::tempdir().unwrap();
    std::fs::write(victim.path().join("kept"), "kept").unwrap();
    let before = std::fs::metadata(victim.path()).unwrap();
    chmod(place.path(), 0o1777);
    let data = place.path().join("agent");
    let mut vandal = process::command("setpriv");
    vandal.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh", "-c"]);
    vandal.arg(
        "while :; do ln -s \"$1\" \"$2\"; rm -f \"$2\"; mkfifo \"$2\"; rm -f \"$2\"; mkdir -m 777 \"$2\" && \
         ln -s \"$1/kept\" \"$2/spool.db\"; rm -rf \"$2\"; ln \"$1/kept\" \"$2\"; rm -f \"$2\"; done 2>/dev/null",
    );
    vandal.args(["vandal"]).arg(victim.path()).arg(&data);
    let _vandal = Process::start("the vandal", vandal, &[]);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..effort(500, 10_000) {
        let mut command = process::command(process::binary("firstline-agent"));
        command.args(["enroll", "not-an-address", "--data"]).arg(&data);
        let output = process::run_with_input(command, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("this is not an enrollment address") {
            made += 1;
            let metadata = std::fs::symlink_metadata(&data).unwrap();
            assert!(
                metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & 0o7777 == 0o700,
                "{metadata:?}"
            );
            std::fs::remove_dir_all(&data).unwrap();
        } else {
            refused += 1;
        }
    }
    assert!(made > 0 && refused > 0, "there was no race: {made} made, {refused} refused");
    let after = std::fs::metadata(victim.path()).unwrap();
    assert_eq!(
        (before.mode(), before.mtime_nsec()),
        (after.mode(), after.mtime_nsec()),
        "the victim was touched"
    );
    assert_eq!(std::fs::read_to_string(victim.path().join("kept")).unwrap(), "kept");
}

/// The listening and the unconnected network sockets of a process.
fn open_ports(process: u32) -> Vec<String> {
    let Ok(handles) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let sockets: Vec<String> = handles
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut open = Vec::new();
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(3) == Some(&state)
                && words.get(9).is_some_and(|inode| sockets.iter().any(|s| s == inode))
            {
                open.push(format!("{table} {line}"));
            }
        }
    }
    open
}

fn exchange(socket: &Path, said: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("the agent's socket");
    stream.set_read_timeout(Some(seconds(10))).expect("a limit");
    // A server that has enough may close before all is said.
    let _ = stream.write_all(said);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn r11_the_agent_has_no_port_and_its_local_socket_tells_its_status_and_nothing_else() {
    let mut collector = Collector::started();
    let mut agent = Agent::enrolled(&collector).probing(&["memory", "network", "printer"], "").started();
    collector.wait_for_device(agent.device());
    let socket = agent.data().join("status.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let status = until("the stream is open", seconds(20), || {
        let status: Value = serde_json::from_str(&exchange(&socket, b"status\n")).expect("one line of JSON");
        (status["connected"] == true && !status["last_ack_ms"].is_null()).then_some(status)
    });
    assert_eq!(status["device"], agent.device());
    for odd in [&b"stop\n"[..], b"status now\n", b"\n", &[b'x'; 100_000], b"\xff\xfe\n", b"STATUS\n"] {
        let answer = exchange(&socket, odd);
        assert!(answer.is_empty() || answer.contains("the only question is"), "{odd:?}: {answer}");
    }
    // Those who say nothing are cut off, and others are served meanwhile or soon after.
    let silent: Vec<_> = (0..12).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let begun = Instant::now();
    assert!(exchange(&socket, b"status\n").contains("connected"));
    assert!(begun.elapsed() < seconds(10), "{:?}", begun.elapsed());
    drop(silent);

    let watch = Instant::now();
    while watch.elapsed() < Duration::from_millis(500) {
        assert_eq!(open_ports(agent.process_id()), Vec::<String>::new());
    }

    let doctor = || {
        let mut command = process::command(process::binary("firstline-agent"));
        command.args(["doctor", "--json", "--data"]).arg(agent.data());
        let output = process::run_with_input(command, "");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON").to_string()
    };
    let said = doctor();
    assert!(said.contains("runs since") && said.contains("connected since"), "{said}");
    collector.kill();
    until("the loss of the stream is said", seconds(30), || doctor().contains("none since").then_some(()));
    let data = agent.data().to_path_buf();
    agent.kill();
    let mut command = process::command(process::binary("firstline-agent"));
    command.args(["doctor", "--data"]).arg(data);
    let said = String::from_utf8_lossy(&process::run_with_input(command, "").stdout).into_owned();
    assert!(said.contains("no agent runs"), "{said}");
}
