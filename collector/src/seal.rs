//! Secrets at rest: what must be kept but not read by whoever gets hold of a copy of the data folder is sealed
//! (AES-256-GCM) under a key in a file of its own. The key may live elsewhere (`FIRSTLINE_SEAL_KEY`), so that a copy of the data
//! folder or of a backup alone is worth nothing. It does not protect from whoever reads both, such as root here.

use crate::{private, secret};
use anyhow::{Context, Result, bail};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The key's name inside a data folder.
pub(crate) const FILE_NAME: &str = "seal.key";
/// The label of what is sealed.
const SEALED: &str = "FIRSTLINE SEALED SECRET";
/// The label of the key.
const KEY: &str = "FIRSTLINE SEAL KEY";

/// Where the seal key of a data folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    path: PathBuf,
}

impl Seal {
    /// The key of this data folder: in it, unless `FIRSTLINE_SEAL_KEY` names another file.
    pub(crate) fn of(data: &Path) -> Self {
        Self::at(std::env::var_os("FIRSTLINE_SEAL_KEY").map_or_else(|| data.join(FILE_NAME), PathBuf::from))
    }

    /// The key in this file.
    fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where the key is, or will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The key's file as it is, for a backup that is to hold it.
    pub(crate) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.key()?;
        let bytes =
            std::fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(Zeroizing::new(bytes))
    }

    /// Reads a sealed secret. One that an earlier version left in clear is sealed first: whenever this stops, either the
    /// clear or the sealed form is there, whole.
    pub(crate) fn read(&self, path: &Path, purpose: &str) -> Result<Zeroizing<Vec<u8>>> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let armored = pem::parse(&text).with_context(|| format!("{} is damaged", path.display()))?;
        if armored.tag() == SEALED {
            return self.unsealed(armored.contents(), purpose).with_context(|| {
                format!("{} cannot be unsealed with {}", path.display(), self.path.display())
            });
        }
        let text = Zeroizing::new(text.into_bytes());
        private::replace_file(path, self.sealed(&text, purpose)?.as_bytes())?;
        tracing::info!(file = %path.display(), "a secret that lay here in clear is sealed now");
        Ok(text)
    }

    /// Writes a secret, sealed, to a new file.
    pub(crate) fn create(&self, path: &Path, purpose: &str, secret: &[u8]) -> Result<()> {
        private::create_file(path, &self.sealed(secret, purpose)?)
    }

    fn sealed(&self, secret: &[u8], purpose: &str) -> Result<String> {
        let key = self.key_or_new()?;
        let mut nonce = [0; NONCE_LEN];
        secret::fill(&mut nonce)?;
        let mut bytes = secret.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut bytes,
        )
        .map_err(|_| anyhow::anyhow!("the secret cannot be sealed"))?;
        Ok(pem::encode(&pem::Pem::new(SEALED, [nonce.as_slice(), &bytes].concat())))
    }

    fn unsealed(&self, sealed: &[u8], purpose: &str) -> Result<Zeroizing<Vec<u8>>> {
        let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE_LEN>() else {
            bail!("it is too short");
        };
        let key = self.key().context(
            "the seal key is needed: put it back from where it is kept, or name the file with FIRSTLINE_SEAL_KEY",
        )?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut bytes)
            .map_err(|_| anyhow::anyhow!("it was changed, or sealed with another key"))?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    fn key(&self) -> Result<LessSafeKey> {
        private::check_closed(&self.path)?;
        let text = Zeroizing::new(
            std::fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?,
        );
        let armored = pem::parse(&*text).with_context(|| format!("{} is damaged", self.path.display()))?;
        if armored.tag() != KEY {
            bail!("{} is not a seal key", self.path.display());
        }
        let bytes = Zeroizing::new(armored.into_contents());
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| anyhow::anyhow!("{} is not a seal key", self.path.display()))?;
        Ok(LessSafeKey::new(key))
    }

    fn key_or_new(&self) -> Result<LessSafeKey> {
        if !self.path.exists() {
            let mut bytes = Zeroizing::new(vec![0; 32]);
            secret::fill(&mut bytes)?;
            let text = Zeroizing::new(pem::encode(&pem::Pem::new(KEY, bytes.to_vec())));
            // Somebody else may have been first; then theirs is the key.
            if let Err(error) = private::create_file(&self.path, &text)
                && !self.path.exists()
            {
                return Err(error);
            }
        }
        self.key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r30_a_secret_at_rest_cannot_be_read_without_its_key_or_for_another_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let (seal, path) = (Seal::at(folder.path().join(FILE_NAME)), folder.path().join("secret"));
        seal.create(&path, "a test", b"canary").unwrap();
        let kept = std::fs::read(&path).unwrap();
        assert!(!kept.windows(6).any(|part| part == b"canary"));
        assert_eq!(**seal.read(&path, "a test").unwrap(), *b"canary");
        assert!(seal.read(&path, "another").is_err());

        for at in 0..kept.len() {
            let mut changed = kept.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            // Line ends and the like do not matter; what is read is never anything else.
            if let Ok(text) = seal.read(&path, "a test") {
                assert_eq!(**text, *b"canary", "byte {at}");
            }
        }
        std::fs::write(&path, &kept).unwrap();
        std::fs::rename(&seal.path, folder.path().join("elsewhere")).unwrap();
        let missing = format!("{:#}", seal.read(&path, "a test").unwrap_err());
        assert!(missing.contains("FIRSTLINE_SEAL_KEY"), "{missing}");
        assert!(!seal.path.exists(), "a key that fits nothing was made");
        let moved = Seal::at(folder.path().join("elsewhere"));
        assert_eq!(**moved.read(&path, "a test").unwrap(), *b"canary");
    }

    #[test]
    fn r30_a_secret_that_an_earlier_version_left_in_clear_is_sealed_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (seal, path) = (Seal::at(folder.path().join(FILE_NAME)), folder.path().join("secret"));
        let clear = pem::encode(&pem::Pem::new("PRIVATE KEY", b"canary".to_vec()));
        private::create_file(&path, &clear).unwrap();
        assert_eq!(**seal.read(&path, "a test").unwrap(), *clear.as_bytes());
        assert!(std::fs::read_to_string(&path).unwrap().contains(SEALED));
        assert_eq!(**seal.read(&path, "a test").unwrap(), *clear.as_bytes());
        private::check_closed(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left behind");
    }

    #[test]
    fn r30_a_seal_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (seal, path) = (Seal::at(folder.path().join(FILE_NAME)), folder.path().join("secret"));
        seal.create(&path, "a test", b"canary").unwrap();
        std::fs::set_permissions(&seal.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = format!("{:#}", seal.read(&path, "a test").unwrap_err());
        assert!(refused.contains("chmod go="), "{refused}");
    }
}
