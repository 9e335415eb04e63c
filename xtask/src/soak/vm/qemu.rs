//! QEMU: finding it, and the machine that it emulates.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::image::Image;
use crate::install;
use crate::process::find_program;
use crate::service::{Command, Service};
use crate::workspace;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Folders of an unpacked package: libraries, and what QEMU loads into the machine.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const FIRMWARE: [&str; 3] = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];
const START_LIMIT: Duration = Duration::from_secs(60);
/// The megabyte that the kernel leaves alone, for what it keeps of a panic.
const KEPT: &str = "memmap=1M$0x50000000 ramoops.mem_address=0x50000000 ramoops.mem_size=0x100000 \
                    ramoops.record_size=0x20000 ramoops.console_size=0x20000";

pub(super) struct Qemu {
    program: PathBuf,
    /// Where it was unpacked, if the system does not have it.
    unpacked: Option<PathBuf>,
}

/// The system's QEMU, else Debian's: installed, or unpacked beside the system when it would drive other packages out.
pub(super) fn find() -> Result<Qemu> {
    if let Some(program) = find_program(PROGRAM) {
        return Ok(Qemu { program, unpacked: None });
    }
    let folder = workspace::cache_dir()?.join("qemu");
    let program = folder.join("usr/bin").join(PROGRAM);
    if !folder.join("complete").is_file() {
        match install::harmless(PACKAGE, "virtual machines")? {
            install::Way::Install => {
                let program = find_program(PROGRAM).context("apt has installed QEMU, but it is not found")?;
                return Ok(Qemu { program, unpacked: None });
            }
            install::Way::Unpack(packages) => install::unpack(&packages, &folder)?,
        }
    }
    if !program.is_file() {
        bail!("{} has no {PROGRAM}; remove the folder to unpack it again", folder.display());
    }
    Ok(Qemu { program, unpacked: Some(folder) })
}

impl Qemu {
    /// Starts the guest on a view of its disk that is thrown away. Its channel and the monitor are sockets in `sockets`.
    pub(super) fn start(&self, image: &Image, sockets: &Path, console: &Path) -> Result<Service> {
        let [control, monitor] = ["control", "monitor"].map(|name| sockets.join(name));
        let env = find_program("env").context("there is no env")?;
        let mut command = Command::new(&env);
        if let Some(folder) = &self.unpacked {
            let libraries = LIBRARIES.map(|part| folder.join(part).display().to_string()).join(":");
            command = command.arg(format!("LD_LIBRARY_PATH={libraries}"));
        }
        command = command.args(["nice", "-n", "10"]).arg(&self.program);
        if let Some(folder) = &self.unpacked {
            for part in FIRMWARE {
                command = command.arg("-L").arg(folder.join(part));
            }
        }
        // /dev/kvm may be there and not work, and counted instructions are what makes the guest's time its own.
        command = command
            .args(["-nodefaults", "-no-user-config", "-nographic", "-accel", "tcg", "-icount", "shift=1"])
            .args(["-cpu", "qemu64", "-smp", "1", "-m", "1536", "-rtc", "base=utc,clock=vm"])
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&image.initrd)
            .args([
                "-append",
                &format!("root=LABEL=vmroot rw console=ttyS0 panic=5 mce=1 net.ifnames=0 {KEPT}"),
            ]);
        let path = |path: &Path| path.display().to_string();
        let drive =
            |id: &str, file: &str, more: &str| format!("file={file},format=raw,if=none,id={id}{more}");
        for (id, file, more, device) in [
            ("root", path(&image.disk), ",snapshot=on,cache=unsafe", "virtio-blk-pci,drive=root"),
            ("payload", path(&image.payload), ",readonly=on", "virtio-blk-pci,drive=payload,serial=payload"),
            ("nvme", path(&image.nvme), "", "nvme,id=nvme0,drive=nvme,serial=VM-NVME-1"),
        ] {
            command = command.args(["-drive", &drive(id, &file, more), "-device", device]);
        }
        let failing = format!("blkdebug:{}:{}", path(&image.sata_rules), path(&image.sata));
        command = command
            .args(["-drive", &drive("sata", &failing, ",rerror=report"), "-device", "ahci,id=ahci"])
            .args(["-device", "ide-hd,drive=sata,bus=ahci.0,serial=VM-SATA-1"])
            // It reaches nobody: the collector is in the guest.
            .args(["-netdev", "user,id=net,restrict=on", "-device", "e1000,netdev=net,id=nic0"])
            .args(["-serial", &format!("file:{}", console.display()), "-monitor", "none"])
            .args(["-qmp", &format!("unix:{},server=on,wait=off", monitor.display())])
            .args(["-chardev", &format!("socket,id=control,path={},server=on,wait=off", control.display())])
            .args([
                "-device",
                "virtio-serial-pci",
                "-device",
                "virtserialport,chardev=control,name=vm.control",
            ]);
        let mut service = Service::start("virtual machine", command, &image.folder.join("qemu.log"))?;
        let begun = Instant::now();
        while !(control.exists() && monitor.exists()) {
            service.check_alive()?;
            if begun.elapsed() > START_LIMIT {
                bail!("QEMU did not start within {} s", START_LIMIT.as_secs());
            }
            std::thread::yield_now();
        }
        Ok(service)
    }
}
