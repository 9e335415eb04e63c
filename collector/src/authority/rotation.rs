//! Replacing the authority while everything runs: prepare, activate, retire.
//!
//! - **prepare** makes the new authority beside the old one; agents learn to trust both.
//! - **activate** lets device certificates come from the new one; agents renew. The collector's own certificate still
//!   comes from the old one, so an agent that was away all the time can come back.
//! - **retire** puts the new one into the old one's place, whose key is gone then.
//!
//! The folder is the state: each step is one atomic rename or one new file, and a step that was interrupted is finished
//! by whoever opens the folder next. A running collector looks at [`stamp`].

use super::{CERTIFICATE, FOLDER, KEY, Signer, is_key_of, read_key};
use crate::private;
use crate::seal::Seal;
use anyhow::{Context, Result, bail};
use firstline_model::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

/// The new authority's folder inside the old one's.
pub(super) const NEXT: &str = "next";
/// Its presence says that device certificates come from the new one.
pub(super) const ACTIVE: &str = "active";
/// When the new one was prepared, in milliseconds since 1970.
const PREPARED: &str = "prepared";

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is one authority.
    Settled,
    /// A new one is trusted and issues nothing yet.
    Prepared { since: Timestamp },
    /// The new one issues device certificates.
    Activated,
}

/// How far the rotation of this data folder is.
pub(crate) fn phase(data: &Path) -> Result<Phase> {
    let next = data.join(FOLDER).join(NEXT);
    if !next.join(CERTIFICATE).exists() {
        return Ok(Phase::Settled);
    }
    if next.join(ACTIVE).exists() {
        return Ok(Phase::Activated);
    }
    let path = next.join(PREPARED);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let since = text.trim().parse().with_context(|| format!("{} holds no time", path.display()))?;
    Ok(Phase::Prepared { since: Timestamp::from_millis(since) })
}

/// What changes whenever a step was made, for a collector that runs.
pub(crate) fn stamp(data: &Path) -> (Option<SystemTime>, bool, bool) {
    let folder = data.join(FOLDER);
    let changed = std::fs::metadata(folder.join(CERTIFICATE)).and_then(|metadata| metadata.modified()).ok();
    let next = folder.join(NEXT);
    (changed, next.join(CERTIFICATE).exists(), next.join(ACTIVE).exists())
}

/// One administrator at a time.
pub(crate) fn lock(data: &Path) -> Result<File> {
    let path = data.join(FOLDER).join("rotation.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another `authority rotate` works on {} already", data.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Makes the new authority.
pub(crate) fn prepare(data: &Path, now: Timestamp) -> Result<()> {
    let folder = data.join(FOLDER);
    let draft = folder.join("next.new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
    }
    Signer::create(&draft, &Seal::of(data))?;
    private::create_file(&draft.join(PREPARED), &now.as_millis().to_string())?;
    std::fs::rename(&draft, folder.join(NEXT)).context("cannot put the new authority in its place")
}

/// Lets device certificates come from the new authority.
pub(crate) fn activate(data: &Path) -> Result<()> {
    private::create_file(&data.join(FOLDER).join(NEXT).join(ACTIVE), "")
}

/// Puts the new authority into the old one's place.
pub(crate) fn retire(data: &Path) -> Result<()> {
    let folder = data.join(FOLDER);
    let next = folder.join(NEXT);
    std::fs::rename(next.join(KEY), folder.join(KEY)).context("cannot put the new key in its place")?;
    finish_retirement(&folder, &Seal::of(data))
}

/// Finishes a retirement that was interrupted: the key moves first, and a key that fits the new certificate says that
/// the rest was meant to follow.
pub(super) fn finish_retirement(folder: &Path, seal: &Seal) -> Result<()> {
    let next = folder.join(NEXT);
    let (fresh, place) = (next.join(CERTIFICATE), folder.join(CERTIFICATE));
    if next.exists() && !next.join(KEY).exists() {
        if fresh.exists() {
            let key = read_key(&folder.join(KEY), seal)?;
            let pem = std::fs::read(&fresh).with_context(|| format!("cannot read {}", fresh.display()))?;
            let certificate = CertificateDer::from_pem_slice(&pem).context("the new authority is damaged")?;
            if !is_key_of(&certificate, &key)? {
                bail!("{} has lost its key; remove the folder to give the rotation up", next.display());
            }
            std::fs::rename(&fresh, &place).context("cannot put the new authority in its place")?;
        }
        std::fs::remove_dir_all(&next).with_context(|| format!("cannot remove {}", next.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;

    #[test]
    fn r6_each_step_survives_an_interruption_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let old = Authority::open(data).unwrap().fingerprint();
        assert_eq!(phase(data).unwrap(), Phase::Settled);
        // Killed while it made the new one.
        std::fs::create_dir(data.join(FOLDER).join("next.new")).unwrap();
        prepare(data, Timestamp::from_millis(7)).unwrap();
        assert_eq!(phase(data).unwrap(), Phase::Prepared { since: Timestamp::from_millis(7) });
        let prepared = Authority::open(data).unwrap();
        assert_eq!((prepared.fingerprint(), prepared.issuing_fingerprint()), (old.clone(), old.clone()));
        assert_eq!(prepared.trusted().len(), 2);
        let stamped = stamp(data);
        activate(data).unwrap();
        assert_ne!(stamp(data), stamped);
        let active = Authority::open(data).unwrap();
        let new = active.issuing_fingerprint();
        assert_eq!(active.fingerprint(), old, "the collector still shows what everybody knows");
        assert_ne!(new, old);
        // Killed between the two renames of the retirement.
        let (at, next) = (data.join(FOLDER), data.join(FOLDER).join(NEXT));
        std::fs::rename(next.join(KEY), at.join(KEY)).unwrap();
        let retired = Authority::open(data).unwrap();
        assert_eq!((retired.fingerprint(), retired.issuing_fingerprint()), (new.clone(), new));
        assert_eq!(retired.trusted().len(), 1);
        assert_eq!(phase(data).unwrap(), Phase::Settled);
        private::check_closed(&at.join(KEY)).unwrap();
    }

    /// The key as a version before sealing left it.
    fn put_in_clear(path: &Path, seal: &Seal) {
        let pem = read_key(path, seal).unwrap().serialize_pem();
        std::fs::remove_file(path).unwrap();
        private::create_file(path, &pem).unwrap();
    }

    #[test]
    fn r6_keys_that_lie_in_clear_are_sealed_at_every_step_of_a_rotation_and_stay_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let (at, next) = (data.join(FOLDER), data.join(FOLDER).join(NEXT));
        let is_sealed = |path: &Path| !std::fs::read_to_string(path).unwrap().contains("PRIVATE KEY");
        let seal = Seal::of(data);
        let old = Authority::open(data).unwrap().fingerprint();

        put_in_clear(&at.join(KEY), &seal);
        prepare(data, Timestamp::from_millis(7)).unwrap();
        put_in_clear(&next.join(KEY), &seal);
        assert!(!is_sealed(&at.join(KEY)) && !is_sealed(&next.join(KEY)), "the test leaves nothing in clear");
        let prepared = Authority::open(data).unwrap();
        assert_eq!((prepared.issuing_fingerprint(), prepared.trusted().len()), (old.clone(), 2));
        assert!(is_sealed(&at.join(KEY)) && is_sealed(&next.join(KEY)));

        put_in_clear(&next.join(KEY), &seal);
        activate(data).unwrap();
        let active = Authority::open(data).unwrap();
        let new = active.issuing_fingerprint();
        assert_eq!(active.fingerprint(), old);
        assert_ne!(new, old);
        assert!(is_sealed(&next.join(KEY)));

        // Killed between the two renames of the retirement, by the version that knew no seal.
        put_in_clear(&next.join(KEY), &seal);
        std::fs::rename(next.join(KEY), at.join(KEY)).unwrap();
        let retired = Authority::open(data).unwrap();
        assert_eq!((retired.fingerprint(), retired.issuing_fingerprint()), (new.clone(), new.clone()));
        assert_eq!(phase(data).unwrap(), Phase::Settled);
        assert!(is_sealed(&at.join(KEY)));
        assert_eq!(Authority::open(data).unwrap().fingerprint(), new, "what was sealed cannot be read again");
    }
}
