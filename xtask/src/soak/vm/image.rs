//! The guest's disk, made of Debian's packages once and kept under `target`, and what each run puts beside it: both programs and
//! the scripts of `tests/vm`, as a tar archive that is a second disk.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::install::{self, Package};
use crate::instance::Binaries;
use crate::process::{Process, find_program};

const NEEDED: &[Package] = &[
    Package::program("debootstrap", "debootstrap", "the guest's image"),
    Package::program("e2fsprogs", "mkfs.ext4", "the guest's image"),
];
const SCRIPTS: &str = "tests/vm";
/// Size of the drives that break.
const DRIVE_BYTES: u64 = 64 << 20;
/// Every read of this sector fails. Nothing looks there by itself.
const BAD_SECTOR: u32 = 60_000;

pub(super) struct Image {
    /// Where everything lies.
    pub folder: PathBuf,
    pub disk: PathBuf,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub payload: PathBuf,
    /// A sound drive, and one with the rules by which it fails.
    pub nvme: PathBuf,
    pub sata: PathBuf,
    pub sata_rules: PathBuf,
}

/// Builds what is missing.
pub(super) fn ready(root: &Path, binaries: &Binaries) -> Result<Image> {
    let target = binaries.agent.ancestors().nth(2).context("the programs lie in no target folder")?;
    let scripts = root.join(SCRIPTS);
    let base = base(&target.join("vm"), &scripts.join("build-image.sh"))?;
    let folder = target.join("vm").join("run");
    fresh(&folder)?;
    let [nvme, sata] = ["nvme.img", "sata.img"].map(|name| folder.join(name));
    for drive in [&nvme, &sata] {
        let file =
            std::fs::File::create(drive).with_context(|| format!("cannot write {}", drive.display()))?;
        file.set_len(DRIVE_BYTES).with_context(|| format!("cannot write {}", drive.display()))?;
    }
    let sata_rules = folder.join("sata.rules");
    let rules = format!(
        "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"{BAD_SECTOR}\"\nonce = \"off\"\n"
    );
    std::fs::write(&sata_rules, rules).with_context(|| format!("cannot write {}", sata_rules.display()))?;
    Ok(Image {
        payload: payload(&folder, &scripts, binaries)?,
        disk: base.join("guest.img"),
        kernel: base.join("vmlinuz"),
        initrd: base.join("initrd"),
        folder,
        nvme,
        sata,
        sata_rules,
    })
}

/// The folder with disk, kernel and initial file system, by what its script says.
fn base(folder: &Path, script: &Path) -> Result<PathBuf> {
    let text = std::fs::read(script).with_context(|| format!("cannot read {}", script.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let base = folder.join(format!("image-{:016x}", hasher.finish()));
    if base.join("guest.img").is_file() {
        return Ok(base);
    }
    if let Some(missing) = install::packages(NEEDED).first() {
        bail!("{missing}");
    }
    println!(
        "building the guest's image with debootstrap; it is kept in {} (3 GB, 3 to 6 minutes)",
        base.display()
    );
    fresh(&base)?;
    let log = base.join("build.log");
    let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Process::new("nice").args(["-n", "10", "bash"]).arg(script).arg(&base).start(file)?;
    let status = child.wait().context("cannot wait for the image's script")?;
    if !status.success() {
        bail!("the guest's image was not built ({status}); see {}", log.display());
    }
    Ok(base)
}

fn payload(folder: &Path, scripts: &Path, binaries: &Binaries) -> Result<PathBuf> {
    let inside = folder.join("payload");
    std::fs::create_dir(&inside).with_context(|| format!("cannot create {}", inside.display()))?;
    for program in [&binaries.agent, &binaries.collector] {
        let name = program.file_name().context("a program without a name")?;
        // What only a debugger reads is most of a program, and the guest reads slowly.
        if find_program("strip").is_some() {
            Process::new("strip").quiet().arg("-o").arg(inside.join(name)).arg(program).run()?;
        } else {
            std::fs::copy(program, inside.join(name))
                .with_context(|| format!("cannot copy {}", program.display()))?;
        }
    }
    Process::new("cp").quiet().arg("-r").arg(scripts.join(".")).arg(&inside).run()?;
    let payload = folder.join("payload.tar");
    Process::new("tar").quiet().arg("-cf").arg(&payload).arg("-C").arg(&inside).arg(".").run()?;
    Ok(payload)
}

/// An empty folder in the place of whatever is there.
fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}
