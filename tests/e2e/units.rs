//! The units that both programs run under as services: `systemd-analyze` reads them without complaint and scores how much
//! they could do to the machine.

use firstline_tests::needs::{Need, met};
use firstline_tests::process;
use std::path::Path;
use std::process::Output;

/// Most exposure, of ten. Root with disks, the kernel's log and others' processes cannot be near zero.
const AGENT: f64 = 4.5;
const COLLECTOR: f64 = 2.0;

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let mut command = process::command("systemd-analyze");
    command.args(arguments).arg(unit);
    process::run_with_input(command, "")
}

fn exposure(unit: &Path) -> f64 {
    let output = analyze(&["security", "--offline=true", "--no-pager"], unit);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("Overall exposure level"));
    let line = line.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let score = line.rsplit(": ").next().and_then(|rest| rest.split(' ').next());
    score.and_then(|score| score.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// What is wrong with a unit, apart from programs that are not installed here.
fn complaints(unit: &Path) -> Vec<String> {
    let output = analyze(&["verify", "--man=no"], unit);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = unit.file_name().and_then(|name| name.to_str()).expect("a name");
    let ours = said.lines().filter(|line| line.contains(name) && !line.contains("is not executable"));
    ours.map(str::to_owned).collect()
}

#[test]
fn r8_the_agents_service_may_do_little_more_than_its_probes_need() {
    if !met(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut print = process::command(process::binary("firstline-agent"));
    print.args(["service", "install", "--print", "--data"]).arg(folder.path().join("agent"));
    let output = process::run_with_input(print, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let unit = folder.path().join("firstline-agent.service");
    std::fs::write(&unit, &output.stdout).expect("a unit");
    assert_eq!(complaints(&unit), Vec::<String>::new());
    let score = exposure(&unit);
    assert!(score <= AGENT, "exposure {score}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "LimitCORE=1",
        "MemoryMax=",
    ] {
        assert!(text.lines().any(|there| there.starts_with(line)), "{line} is missing");
    }
    // Nothing was written for it.
    assert!(!folder.path().join("agent").exists());
}

#[test]
fn the_collectors_service_has_no_rights_of_its_own() {
    if !met(&[Need::Program("systemd-analyze")]) {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../collector/firstline-collector.service");
    assert_eq!(complaints(&unit), Vec::<String>::new());
    let score = exposure(&unit);
    assert!(score <= COLLECTOR, "exposure {score}");
}

#[test]
fn where_systemd_does_not_run_the_service_command_says_so_and_does_nothing() {
    if Path::new("/run/systemd/system").is_dir() {
        return;
    }
    for action in ["install", "uninstall", "start", "stop", "status"] {
        let mut command = process::command(process::binary("firstline-agent"));
        command.args(["service", action]);
        let output = process::run_with_input(command, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{action}: {said}");
        assert!(
            said.contains("systemd does not run this machine") && said.contains("firstline-agent run"),
            "{said}"
        );
    }
}
