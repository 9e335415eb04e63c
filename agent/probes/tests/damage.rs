//! No parser panics on damaged input: every file of the captured machines is given to every parser, cut off at many
//! places and with bytes changed. What they answer does not matter here; that they answer does.

use firstline_agent_probes::kernel_log::classify;
use firstline_agent_probes::{
    account, connectivity, cpu, disk_io, filesystem, lvm, memory, on_macos, on_windows, os, physical_disk,
    power, pressure, raid, security, sensor, software,
};
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Each file is cut at about this many places.
const CUTS: usize = 40;

#[test]
fn damaged_inputs_never_make_a_parser_panic() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"), &mut files);
    assert!(files.len() > 40, "{} files were found", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let step = (bytes.len() / CUTS).max(1);
        for cut in (0..=bytes.len()).step_by(if bytes.len() > 8192 { step * 8 } else { step }) {
            parse_all(&bytes[..cut]);
            let mut changed = bytes.clone();
            if let Some(byte) = changed.get_mut(cut) {
                // The position makes the change, so that a failure comes back at the next run.
                *byte ^= (cut % 255) as u8 + 1;
                parse_all(&changed);
            }
        }
    }
}

fn parse_all(bytes: &[u8]) {
    black_box(cpu::parse::ticks(bytes));
    black_box(memory::parse::meminfo(bytes).is_ok());
    black_box(memory::parse::oom_kills(bytes).is_ok());
    let mounts = filesystem::parse::mountinfo(bytes);
    black_box(filesystem::select::local(mounts).len());
    black_box(software::parse::dpkg_status(bytes).is_ok());
    black_box((account::faillock::tally(bytes).len(), account::session::of_utmp(bytes).len()));
    black_box(lvm::pool::targets(bytes).len());
    let journal = account::journal::Journal::open(std::io::Cursor::new(bytes));
    black_box(journal.and_then(|mut journal| journal.started("graphical-session.target", 1000, 0, 0)));
    black_box(connectivity::gvdb::Database::of(bytes).and_then(|found| found.text("/system/proxy/mode")));
    black_box(os::apt::Installed::read(bytes).is_ok_and(|mut installed| installed.compare(bytes).is_ok()));
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        black_box(classify::message(line).and_then(classify::classify));
        black_box(classify::classify(line));
        black_box(physical_disk::names::serial(line));
        black_box(physical_disk::names::is_drive(line));
    }
    black_box(pressure::share(&text, "some", "avg10"));
    black_box(filesystem::parse::fstab(&text).len());
    black_box(filesystem::parse::partition(&text, "259:2"));
    if let Ok(captured) = filesystem::parse::captured_sizes(&text) {
        for sizes in captured.values() {
            black_box((sizes.space(), sizes.inodes_utilization()));
        }
    }
    black_box(os::parse::os_release(&text).len());
    black_box(disk_io::parse::diskstats(bytes).len());
    black_box(power::supply::Supply::of(&text).health());
    black_box((raid::verdict(&text, 0), raid::progress(&text)));
    black_box(sensor::hwmon::celsius(&text));
    black_box(security::firewall::turns_away(&text).is_ok());
    black_box((security::antivirus::made_at(&text), security::support::last_day(&text)));
    black_box(on_windows::event::Event::parse(&text).map(|event| on_windows::event::meaning(&event)).is_ok());
    black_box(on_macos::plist::parse(&text).is_ok());
    black_box((os::on_macos::Report::parse(&text), os::on_macos::began(&text)));
    black_box((memory::on_macos::usage(&text, &text), memory::on_macos::swap(&text)));
    black_box((security::on_macos::file_vault(&text).is_ok(), security::on_macos::firewall(&text).is_ok()));
    black_box(os::parse::uptime(&text));
    black_box((account::session::of_login_manager(&text), account::faillock::arguments(&text)));
    black_box(lvm::pool::listed(&text).iter().filter_map(|target| lvm::pool::read(&target.status)).count());
    let mut policy = account::faillock::Policy::default();
    policy.take_file(&text);
    black_box(policy);
    black_box(os::parse::crash_line(&text));
    black_box(os::services::listed(&text).is_ok());
    black_box(os::services::shown(&text).len());
    black_box(physical_disk::smartctl::read(&text).is_ok());
    // The answers of smartctl stand inside scripts.
    if let (Some(begin), Some(end)) = (text.find('{'), text.rfind('}'))
        && begin < end
    {
        black_box(physical_disk::smartctl::read(&text[begin..=end]).is_ok());
    }
    let mut page = [0; physical_disk::nvme::LOG_BYTES];
    let length = bytes.len().min(page.len());
    page[..length].copy_from_slice(&bytes[..length]);
    black_box(physical_disk::nvme::health_log(&page));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.file_name().is_some_and(|name| name != "expected.json") {
            files.push(path);
        }
    }
}
