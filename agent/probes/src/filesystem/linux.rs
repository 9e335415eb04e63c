//! File systems on Linux: `/proc/self/mountinfo`, statvfs(3), `/sys/fs/ext4`, the kernel's log.

use super::parse::{self, Mount, Sizes};
use super::table::Table;
use crate::kernel_log::KernelLog;
use crate::kernel_log::classify::{Message, classify};
use crate::{Context, ProbeError, Root, Sink};
use firstline_model::semconv::{self, attribute};
use firstline_model::{Attributes, Component, ComponentKind, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// More file systems than this are not reported by one run.
const MAX_FILESYSTEMS: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Source {
    log: KernelLog,
    fstab: BTreeMap<Vec<u8>, bool>,
    seen: BTreeMap<u64, Seen>,
    stopped: BTreeSet<String>,
    table: Table,
    /// `/proc/partitions`, which names devices by their numbers. Read in steady looks.
    partitions: String,
}

/// What is known of a mount from earlier runs.
#[derive(Debug, Default)]
struct Seen {
    writable_at_first: bool,
    errors_at_first: Option<u64>,
    write_refused: bool,
    /// What showed last that it cannot be written to.
    evidence: Option<&'static str>,
}

/// What is the same for all file systems of one run.
struct Round<'a> {
    context: &'a Context,
    captured: Result<BTreeMap<String, Sizes>, ProbeError>,
    /// The mount that holds the agent's folder, when a write is to be tried.
    own: Option<u64>,
    /// Whether what changes rarely is read too.
    slow: bool,
}

impl Source {
    pub(super) fn collect(&mut self, context: &Context, sink: &mut Sink) {
        let os = Component::only(ComponentKind::Os);
        let mut table = std::mem::take(&mut self.table);
        match table.read(&context.root) {
            Ok(mounts) => self.look(context, mounts, sink),
            Err(error) => sink.failed(&os, semconv::FILESYSTEM_UTILIZATION, &error),
        }
        self.table = table;
    }

    fn look(&mut self, context: &Context, mounts: &[Mount], sink: &mut Sink) {
        let slow = context.steady;
        if slow {
            self.partitions = context.root.read_text("/proc/partitions").unwrap_or_default();
            self.fstab =
                context.root.read_text("/etc/fstab").map(|text| parse::fstab(&text)).unwrap_or_default();
        }
        self.read_log(&context.root);
        let own = if slow { own_mount(context, mounts) } else { None };
        let round = Round { context, captured: captured_sizes(&context.root), own, slow };
        self.seen.retain(|id, _| mounts.iter().any(|mount| mount.id == *id));
        for mount in mounts.iter().take(MAX_FILESYSTEMS) {
            let Ok(component) = Component::new(ComponentKind::Filesystem, mount.name()) else { continue };
            self.report(&round, mount, &component, sink);
        }
    }

    fn read_log(&mut self, root: &Root) {
        let stopped = &mut self.stopped;
        // A log that cannot be read is reported by the operating system's probe; here it is one signal of several.
        let _ = self.log.read(root, |line| {
            if let Some(Message::FilesystemStopped { device }) = classify(line) {
                stopped.insert(device);
            } else if let Some(Message::FilesystemWritable { device }) = classify(line) {
                stopped.remove(&device);
            }
        });
    }

    fn report(&mut self, round: &Round<'_>, mount: &Mount, component: &Component, sink: &mut Sink) {
        let context = round.context;
        let device = device_name(&self.partitions, mount);
        let errors = context.root.read_number(&format!("/sys/fs/ext4/{device}/errors_count"));
        let is_readonly = mount.has_option("ro");
        let seen = self.seen.entry(mount.id).or_insert_with(|| Seen {
            writable_at_first: !is_readonly,
            errors_at_first: errors,
            write_refused: false,
            evidence: None,
        });
        let meant_writable = self.fstab.get(&mount.mount_point).copied().unwrap_or(seen.writable_at_first);
        if is_readonly && !meant_writable {
            // Read-only on purpose: it cannot fill up and need not accept writes.
            return;
        }
        let own = round.own.is_some_and(|own| own == mount.id);
        if let Some(dir) = context.state_dir.as_deref().filter(|_| own) {
            seen.write_refused = write_is_refused(dir);
            if !seen.write_refused {
                self.stopped.remove(&device);
            }
        }
        let grown = errors.zip(seen.errors_at_first).is_some_and(|(now, first)| now > first);
        let evidence = if is_readonly {
            Some("mounted read-only")
        } else if mount.has_option("emergency_ro") || mount.has_option("shutdown") {
            Some("the file system stopped itself")
        } else if self.stopped.contains(&device) {
            Some("the kernel's log says so")
        } else if seen.write_refused {
            Some("a write into the agent's folder was refused")
        } else if grown && mount.has_option("errors=remount-ro") {
            Some("errors were counted, and errors make it read-only")
        } else {
            None
        };
        let typed = || Attributes::none().with(attribute::FILESYSTEM_TYPE, mount.kind.as_str());
        let refused = if evidence.is_some() { 1.0 } else { 0.0 };
        sink.sample(component, semconv::FILESYSTEM_READONLY_UNEXPECTED, typed(), refused);
        if let Some(errors) = errors {
            sink.sample(component, semconv::FILESYSTEM_ERRORS, typed(), errors as f64);
        }
        report_sizes(component, sizes(&context.root, mount, &round.captured), typed, sink);
        // In between, a document is news: one that says the same every few seconds would be sent every few seconds.
        let is_news = std::mem::replace(&mut seen.evidence, evidence) != evidence;
        if round.slow || is_news {
            sink.state(component, "filesystem", document(&context.root, mount, &device, evidence));
        }
    }
}

fn report_sizes(
    component: &Component,
    sizes: Result<Sizes, ProbeError>,
    typed: impl Fn() -> Attributes,
    sink: &mut Sink,
) {
    let sizes = match sizes {
        Ok(sizes) => sizes,
        Err(error) => return sink.failed(component, semconv::FILESYSTEM_UTILIZATION, &error),
    };
    let Some(space) = sizes.space() else {
        let error =
            ProbeError::Malformed(format!("the file system's sizes contradict each other: {sizes:?}"));
        return sink.failed(component, semconv::FILESYSTEM_UTILIZATION, &error);
    };
    sink.sample(component, semconv::FILESYSTEM_UTILIZATION, typed(), space.utilization);
    for (state, bytes) in [("used", space.used), ("free", space.free)] {
        sink.sample(
            component,
            semconv::FILESYSTEM_USAGE,
            typed().with(attribute::FILESYSTEM_STATE, state),
            bytes,
        );
    }
    sink.sample(component, semconv::FILESYSTEM_LIMIT, typed(), space.limit);
    if let Some(share) = sizes.inodes_utilization() {
        sink.sample(component, semconv::FILESYSTEM_INODES_UTILIZATION, typed(), share);
    }
}

fn document(root: &Root, mount: &Mount, device: &str, evidence: Option<&str>) -> Value {
    let mut entries = vec![
        ("type", Value::from(mount.kind.as_str())),
        ("device", Value::from(mount.source.as_str())),
        ("options", Value::from(mount.options.join(","))),
    ];
    if let Some(evidence) = evidence {
        entries.push(("readonly_evidence", Value::from(evidence)));
    }
    for (name, file) in [("last_error_function", "last_error_func"), ("last_error_time", "last_error_time")] {
        if let Some(value) =
            root.read_value(&format!("/sys/fs/ext4/{device}/{file}")).filter(|value| value != "0")
        {
            entries.push((name, Value::from(value)));
        }
    }
    Value::map(entries)
}

/// The kernel's name of the device below a mount: `sda1`, `dm-0`.
fn device_name(partitions: &str, mount: &Mount) -> String {
    let name = parse::partition(partitions, &mount.device)
        .unwrap_or_else(|| mount.source.rsplit('/').next().unwrap_or_default());
    // Neither text is trusted as a path: a name with a slash would lead elsewhere.
    if matches!(name, "" | "." | "..") || name.contains('/') { "unnamed".to_owned() } else { name.to_owned() }
}

fn sizes(
    root: &Root,
    mount: &Mount,
    captured: &Result<BTreeMap<String, Sizes>, ProbeError>,
) -> Result<Sizes, ProbeError> {
    if !root.is_system() {
        let sizes = captured.as_ref().map_err(Clone::clone)?;
        return sizes.get(&mount.name()).copied().ok_or_else(|| {
            ProbeError::Unsupported("the captured machine has no sizes of this file system".to_owned())
        });
    }
    let path = Path::new(OsStr::from_bytes(&mount.mount_point));
    let sizes = rustix::fs::statvfs(path).map_err(|error| ProbeError::from_io(path, &error.into()))?;
    Ok(Sizes {
        f_frsize: sizes.f_frsize,
        f_blocks: sizes.f_blocks,
        f_bfree: sizes.f_bfree,
        f_bavail: sizes.f_bavail,
        f_files: sizes.f_files,
        f_ffree: sizes.f_ffree,
        f_favail: sizes.f_favail,
    })
}

fn captured_sizes(root: &Root) -> Result<BTreeMap<String, Sizes>, ProbeError> {
    if root.is_system() {
        return Ok(BTreeMap::new());
    }
    let text = root
        .read_text("/statvfs.json")
        .map_err(|error| ProbeError::Unsupported(error.detail().to_owned()))?;
    parse::captured_sizes(&text).map_err(ProbeError::Malformed)
}

/// The mount that holds the agent's own folder, on the running system only.
fn own_mount(context: &Context, mounts: &[Mount]) -> Option<u64> {
    let dir = context.state_dir.as_deref().filter(|_| context.root.is_system())?;
    let dir = std::fs::canonicalize(dir).ok()?;
    mounts
        .iter()
        .filter(|mount| dir.starts_with(OsStr::from_bytes(&mount.mount_point)))
        .max_by_key(|mount| mount.mount_point.len())
        .map(|mount| mount.id)
}

/// Whether a new file in the agent's folder is refused as on a read-only or dead file system. A full one is not that.
fn write_is_refused(dir: &Path) -> bool {
    let file = dir.join("write-probe");
    // What an earlier run that was cut off left behind would look like a refusal.
    let _ = std::fs::remove_file(&file);
    match std::fs::OpenOptions::new().write(true).create_new(true).open(&file) {
        Ok(_) => {
            let _ = std::fs::remove_file(&file);
            false
        }
        Err(error) => {
            let number = error.raw_os_error();
            error.kind() == io::ErrorKind::ReadOnlyFilesystem
                || number == Some(rustix::io::Errno::IO.raw_os_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Probe, filesystem::Filesystem};
    use firstline_model::{Body, Timestamp};
    use rustix::mount::{MountFlags, UnmountFlags};

    fn samples(probe: &mut Filesystem, context: &Context, component: &str, metric: &str) -> Vec<f64> {
        let mut sink = Sink::new(context.now);
        probe.collect(context, &mut sink);
        let sample = |body: &Body| {
            if let Body::Sample { metric: name, value, .. } = body {
                (name == metric).then_some(*value)
            } else {
                None
            }
        };
        let of_component = sink.into_parts().0.into_iter().filter(|o| o.component.to_string() == component);
        of_component.filter_map(|o| sample(&o.body)).collect()
    }

    #[test]
    fn a_full_memory_file_system_is_seen_and_so_is_its_fall_to_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let options = c"size=1m,nr_inodes=20";
        if let Err(error) = rustix::mount::mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options) {
            return eprintln!("skipped: a memory file system cannot be mounted here: {error}");
        }
        let _ = std::fs::write(dir.path().join("big"), vec![0; 2 << 20]);
        let component = format!("filesystem/{}", dir.path().display());
        let context = Context::new(Root::system(), Timestamp::from_millis(0));
        let mut probe = Filesystem::default();
        let full = samples(&mut probe, &context, &component, semconv::FILESYSTEM_UTILIZATION);
        let before = samples(&mut probe, &context, &component, semconv::FILESYSTEM_READONLY_UNEXPECTED);
        rustix::mount::mount_remount(dir.path(), MountFlags::RDONLY, options).unwrap();
        let after = samples(&mut probe, &context, &component, semconv::FILESYSTEM_READONLY_UNEXPECTED);
        rustix::mount::unmount(dir.path(), UnmountFlags::DETACH).unwrap();
        assert_eq!((full, before), (vec![1.0], vec![0.0]));
        assert_eq!(after, vec![1.0]);
    }

    #[test]
    fn what_stays_read_only_is_news_once_and_not_at_every_look() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        let mounted = |options: &str| {
            let line = format!("30 1 254:1 / /home rw,relatime shared:1 - ext4 /dev/vdb1 {options}\n");
            std::fs::write(dir.path().join("proc/self/mountinfo"), line).unwrap();
        };
        let mut context = Context::new(Root::at(dir.path()), Timestamp::from_millis(0));
        let mut probe = Filesystem::default();
        let mut documents = |steady: bool| {
            context.steady = steady;
            let mut sink = Sink::new(context.now);
            probe.collect(&context, &mut sink);
            sink.into_parts().0.iter().filter(|o| matches!(o.body, Body::State { .. })).count()
        };
        mounted("rw");
        assert_eq!((documents(true), documents(false)), (1, 0));
        mounted("rw,emergency_ro");
        assert_eq!((documents(false), documents(false), documents(true)), (1, 0, 1));
        mounted("rw");
        assert_eq!((documents(false), documents(false)), (1, 0), "and so is its end");
    }

    #[test]
    fn the_root_of_this_machine_has_a_size() {
        let context = Context::new(Root::system(), Timestamp::from_millis(0));
        let full =
            samples(&mut Filesystem::default(), &context, "filesystem//", semconv::FILESYSTEM_UTILIZATION);
        assert!(full.len() == 1 && (0.0..=1.0).contains(&full[0]), "{full:?}");
    }

    #[test]
    fn a_write_into_the_agents_folder_is_tried_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!write_is_refused(dir.path()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
