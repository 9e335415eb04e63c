//! Faults that the kernel of this machine has for real: file systems that stop themselves, inodes that run out, a program
//! that is ended for lack of memory, and lines in the kernel's log.

use super::{is_resolved, is_worked};
use firstline_tests::disk::SmallDisk;
use firstline_tests::needs::{self, Need};
use firstline_tests::process;
use firstline_tests::volume::{FileSystem, Volume};
use firstline_tests::wait::{seconds, until};
use firstline_tests::{Agent, Collector};
use serde_json::Value as Json;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

const DISKS: &[Need] =
    &[Need::Root, Need::Program("mkfs.ext4"), Need::Program("mkfs.xfs"), Need::Program("xfs_io")];
const QUICK: &str = "clear = { for = \"3s\" }";

/// A collector and an agent that looks with one probe.
fn watching(probe: &str, rule: &str, overrides: &str) -> (Collector, Agent) {
    let mut collector = Collector::prepared().overriding(rule, overrides);
    collector.start();
    let agent = Agent::enrolled(&collector).probing(&[probe], "").started();
    collector.wait_for_device(agent.device());
    (collector, agent)
}

/// The first ticket of a rule, if there is one.
fn first_ticket(collector: &mut Collector, rule: &str) -> Option<Json> {
    let all = collector.rest().get_json(&format!("/api/v1/tickets?rule={rule}"));
    all["items"].as_array()?.first().cloned()
}

#[test]
fn a_file_system_that_stops_itself_after_an_error_becomes_a_ticket_and_a_repaired_one_resolves_it() {
    if !needs::met(DISKS) {
        return;
    }
    let mut volume = Volume::formatted(FileSystem::Ext4);
    volume.remount("rw,errors=remount-ro");
    let place = volume.path().to_str().unwrap().to_owned();
    let (mut collector, _agent) = watching("filesystem", "fs.readonly", QUICK);
    volume.damage();

    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let ticket = collector.ticket_where("fs.readonly", is_ours, "is worked", seconds(40), is_worked);
    assert_eq!(ticket["component"]["kind"], "filesystem");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let options = mounts.lines().find(|line| line.contains(&place)).unwrap_or_default();
    assert!(
        options.contains(" rw,"),
        "the mount looks writable, which is what makes this fault hard: {options}"
    );

    volume.restore_power();
    let resolved = collector.ticket_where("fs.readonly", is_ours, "is resolved", seconds(40), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}

#[test]
fn an_xfs_that_shut_down_becomes_a_ticket_although_its_mount_still_looks_writable() {
    if !needs::met(DISKS) {
        return;
    }
    let volume = Volume::formatted(FileSystem::Xfs);
    let place = volume.path().to_str().unwrap().to_owned();
    let (mut collector, _agent) = watching("filesystem", "fs.readonly", QUICK);
    volume.cut_power();

    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let ticket = collector.ticket_where("fs.readonly", is_ours, "is worked", seconds(40), is_worked);
    assert_eq!(ticket["component"]["kind"], "filesystem");
}

#[test]
fn inodes_that_run_out_become_a_ticket_although_space_is_free() {
    if !needs::met(&[Need::Root]) {
        return;
    }
    let disk = SmallDisk::with_inodes(8, 200);
    let place = disk.path().to_str().unwrap().to_owned();
    let quick = "for = \"3s\"\nclear = { below = 0.8, for = \"3s\" }";
    let (mut collector, _agent) = watching("filesystem", "fs.inodes", quick);
    disk.fill_with_files();

    let is_ours = |ticket: &Json| ticket["component"]["id"] == place;
    let ticket = collector.ticket_where("fs.inodes", is_ours, "is worked", seconds(40), is_worked);
    assert!(first_ticket(&mut collector, "fs.space").is_none(), "there is space: {ticket:#}");
    disk.empty();
    let resolved = collector.ticket_where("fs.inodes", is_ours, "is resolved", seconds(40), is_resolved);
    assert_eq!(resolved["id"], ticket["id"]);
}

#[test]
fn failed_reads_in_the_kernels_log_become_a_ticket_of_that_drive() {
    if !needs::met(&[Need::Root]) || !is_writable("/dev/kmsg") {
        return;
    }
    let (mut collector, _agent) = watching("physical_disk", "disk.io_errors", "");
    let mut last: Option<Instant> = None;
    // The agent reads what is written after it began to look, so the drive goes on failing until it is noticed.
    let ticket = until("the failing drive is noticed", seconds(40), || {
        if last.is_none_or(|at| at.elapsed() > seconds(2)) {
            let mut log = fs::OpenOptions::new().write(true).open("/dev/kmsg").unwrap();
            let line = "<3>critical medium error, dev sdzz, sector 4096 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0";
            log.write_all(line.as_bytes()).unwrap();
            last = Some(Instant::now());
        }
        first_ticket(&mut collector, "disk.io_errors")
    });
    assert_eq!(ticket["component"]["id"], "sdzz", "{ticket:#}");
}

#[test]
fn a_program_that_the_kernel_ends_for_lack_of_memory_becomes_a_ticket() {
    if !needs::met(&[Need::Root]) {
        return;
    }
    let Some(group) = Group::of_little_memory() else { return };
    let (mut collector, _agent) = watching("memory", "mem.oom", "");
    let mut last: Option<Instant> = None;
    let ticket = until("the end of the program is noticed", seconds(40), || {
        if last.is_none_or(|at| at.elapsed() > seconds(2)) {
            group.exhaust();
            last = Some(Instant::now());
        }
        first_ticket(&mut collector, "mem.oom")
    });
    assert_eq!(ticket["component"]["kind"], "memory", "{ticket:#}");
}

fn is_writable(path: &str) -> bool {
    fs::OpenOptions::new().write(true).open(path).is_ok()
}

/// A control group whose programs together get 30 MB; removed with this value.
struct Group {
    folder: PathBuf,
}

impl Group {
    /// In version 1 of control groups or in version 2; `None` where neither limits memory.
    fn of_little_memory() -> Option<Self> {
        let name = format!("firstline-{}", std::process::id());
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .find_map(|(parent, limit)| {
                let folder = PathBuf::from(parent).join(&name);
                fs::create_dir(&folder).ok()?;
                let group = Self { folder };
                fs::write(group.folder.join(limit), "30000000").ok()?;
                Some(group)
            })
    }

    /// Runs a program in it that wants all memory there is.
    fn exhaust(&self) {
        let script = "echo $$ > \"$0\" && exec tail /dev/zero";
        let mut hungry = process::command("sh");
        hungry.arg("-c").arg(script).arg(self.folder.join("cgroup.procs"));
        let status = hungry.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("a shell");
        assert!(!status.success(), "nothing ended it");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
