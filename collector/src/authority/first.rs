//! The first authority of a data folder. A first start may be cut at any moment, so the pair is made in a folder of its
//! own that takes its name when it is whole; what a cut left behind is finished or swept away by the next start.

use super::{CERTIFICATE, FOLDER, KEY, Signer, read_key};
use crate::private;
use crate::seal::Seal;
use anyhow::{Context, Result, bail};
use firstline_collector_store::engines::sqlite;
use std::path::Path;

/// What folders are called in which a first authority is made, before a random part.
const DRAFT: &str = ".authority.new-";

/// Makes the authority, or finishes one whose making was cut. Of several that do it at once, one wins.
pub(super) fn make(data: &Path, seal: &Seal) -> Result<()> {
    let folder = data.join(FOLDER);
    if folder.join(KEY).exists() {
        return finish(data, &folder, seal);
    }
    let draft = private::beside(&folder)?;
    let made = Signer::create(&draft, seal)
        .and_then(|()| std::fs::rename(&draft, &folder).context("cannot put the authority in its place"));
    let outcome = match made {
        Ok(()) => private::sync_folder_of(&folder),
        // Somebody else was first; then theirs is the authority.
        Err(_) if folder.join(CERTIFICATE).exists() => Ok(()),
        Err(error) => Err(error),
    };
    sweep(data)?;
    outcome
}

/// An earlier version wrote the key in its place before the certificate. Nobody can know an authority that never had a
/// certificate; but where devices are known, the certificate was lost, and another one would lock all of them out.
fn finish(data: &Path, folder: &Path, seal: &Seal) -> Result<()> {
    let database = data.join(sqlite::FILE_NAME);
    if database.exists()
        && sqlite::has_devices(&database).context("it cannot be seen whether there are devices")?
    {
        bail!(
            "{} is gone, and devices trust it; put it back from a backup",
            folder.join(CERTIFICATE).display()
        );
    }
    let key = read_key(&folder.join(KEY), seal)?;
    match Signer::certify(folder, &key) {
        Err(_) if folder.join(CERTIFICATE).exists() => Ok(()),
        done => done,
    }
}

/// Removes what starts that were cut have left. A start that is under way right now loses its draft, and finds the
/// authority that the caller of this has made.
fn sweep(data: &Path) -> Result<()> {
    if !data.join(FOLDER).join(CERTIFICATE).exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(data).with_context(|| format!("cannot look into {}", data.display()))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            // It is closed to others and of no use to anybody; the next start tries again.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Authority;
    use super::*;

    /// Everything in the data folder after a first start that worked.
    fn names(data: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_first_start_that_was_cut_at_any_point_is_finished_by_the_next() {
        type Cut = fn(&Path, &Seal);
        let cuts: [(&str, Cut); 6] = [
            ("before anything", |_, _| {}),
            ("after the seal key", |data, seal| {
                seal.create(&data.join("x"), "x", b"x").unwrap();
                std::fs::remove_file(data.join("x")).unwrap();
            }),
            ("after the draft's folder", |data, _| {
                private::create_folder(&data.join(format!("{DRAFT}7"))).unwrap();
            }),
            ("after the draft's key", |data, seal| {
                let draft = data.join(format!("{DRAFT}7"));
                Signer::create(&draft, seal).unwrap();
                std::fs::remove_file(draft.join(CERTIFICATE)).unwrap();
            }),
            ("before the draft took its name", |data, seal| {
                Signer::create(&data.join(format!("{DRAFT}7")), seal).unwrap();
            }),
            ("between key and certificate, by an earlier version", |data, seal| {
                Signer::create(&data.join(FOLDER), seal).unwrap();
                std::fs::remove_file(data.join(FOLDER).join(CERTIFICATE)).unwrap();
            }),
        ];
        for (when, cut) in cuts {
            let folder = tempfile::tempdir().unwrap();
            let data = folder.path();
            cut(data, &Seal::of(data));
            let first =
                Authority::open(data).unwrap_or_else(|error| panic!("cut {when}: {error:#}")).fingerprint();
            assert_eq!(Authority::open(data).unwrap().fingerprint(), first, "cut {when}");
            assert_eq!(names(data), ["authority", "seal.key"], "cut {when}: something was left behind");
        }
    }

    #[test]
    fn a_certificate_that_was_lost_is_not_replaced_where_devices_trust_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        Authority::open(data).unwrap();
        std::fs::remove_file(data.join(FOLDER).join(CERTIFICATE)).unwrap();
        // Not a database: whether there are devices cannot be seen, so nothing is made.
        std::fs::write(data.join(sqlite::FILE_NAME), vec![7; 4096]).unwrap();
        assert!(Authority::open(data).is_err());
        assert!(!data.join(FOLDER).join(CERTIFICATE).exists());
    }
}
