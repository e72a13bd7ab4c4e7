//! K5: whoever can only write to Redis can neither read a private key nor add a public one, nor pass an older document off as
//! a newer one: AES-256-GCM under the master key, with purpose, dataset and version as associated data.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::clock::random;

/// The key that seals the others: 32 bytes, 43 characters of base64url in its file.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It is not 43 characters of base64url.
    #[error("the master key is not 43 characters of base64url (32 bytes)")]
    Form,
    /// Its file can't be written.
    #[error("the master key can't be written to {0}: {1}")]
    Write(String, std::io::Error),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] crate::clock::NoRandomness),
}

/// The document can't be opened, or not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed keys don't open under this master key")]
pub struct SealError;

impl MasterKey {
    /// A new one.
    pub fn generate() -> Result<Self, MasterKeyError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// From its text.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim_end()).map_err(|_| MasterKeyError::Form)?);
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| MasterKeyError::Form)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// Writes it to a new file that only its owner can read; never over another. The file is there whole or not at all.
    pub fn write_new(&self, path: &Path) -> Result<(), MasterKeyError> {
        self.try_write_new(path).map_err(|error| MasterKeyError::Write(path.display().to_string(), error))
    }

    fn try_write_new(&self, path: &Path) -> std::io::Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            // What is there already is somebody's, with the mode that he gave it.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let beside = crate::durable::beside(path)?;
        let text = Zeroizing::new(format!("{}\n", Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice())).as_str()));
        // Unlike a renaming, linking replaces nothing.
        let written = create(&beside, &text).and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists && !path.exists() => create(path, &text),
            linked => linked,
        });
        // What failed is reported; a file that can't be removed either changes nothing about that.
        let _ = fs::remove_file(&beside);
        written?;
        // The key must be on disk before anything is sealed under it.
        fs::File::open(directory)?.sync_all()
    }

    fn key(&self) -> Result<RandomizedNonceKey, SealError> {
        RandomizedNonceKey::new(&AES_256_GCM, self.0.as_slice()).map_err(|_| SealError)
    }

    /// Seals the document of this version.
    pub fn seal(&self, dataset: &str, version: u64, document: &[u8]) -> Result<String, SealError> {
        let mut bytes = document.to_vec();
        let nonce = self
            .key()?
            .seal_in_place_append_tag(Aad::from(associated(dataset, version)), &mut bytes)
            .map_err(|_| SealError)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Ok(STANDARD.encode(sealed))
    }

    /// Opens the document of this version.
    pub fn open(&self, dataset: &str, version: u64, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut rest = Zeroizing::new(rest.to_vec());
        let key = self.key()?;
        let length =
            key.open_in_place(nonce, Aad::from(associated(dataset, version)), &mut rest).map_err(|_| SealError)?.len();
        rest.truncate(length);
        Ok(rest)
    }
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn associated(dataset: &str, version: u64) -> Vec<u8> {
    format!("countermark keyring 1\n{dataset}\n{version}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn k5_a_sealed_document_opens_only_as_what_it_is() {
        let key = MasterKey::generate().unwrap();
        let sealed = key.seal("dataset", 3, b"document").unwrap();
        assert_eq!(key.open("dataset", 3, &sealed).unwrap().as_slice(), b"document");
        assert!(key.open("dataset", 2, &sealed).is_err(), "an older version");
        assert!(key.open("dataset", 4, &sealed).is_err(), "a newer version");
        assert!(key.open("other", 3, &sealed).is_err(), "another dataset");
        assert!(MasterKey::generate().unwrap().open("dataset", 3, &sealed).is_err(), "another master key");
        let mut bytes = STANDARD.decode(&sealed).unwrap();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            assert!(key.open("dataset", 3, &STANDARD.encode(&bytes)).is_err(), "byte {place}");
            bytes[place] ^= 1;
        }
        assert!(key.open("dataset", 3, "").is_err());
        assert!(!sealed.contains("document"));
    }

    #[test]
    fn k7_a_master_key_does_not_show_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/master.key");
        let key = MasterKey::generate().unwrap();
        key.write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(MasterKey::generate().unwrap().write_new(&path).is_err());
        let again = MasterKey::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(again.0.as_slice(), key.0.as_slice());
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
        for bad in ["", "abc", &"A".repeat(44), &"*".repeat(43)] {
            assert!(MasterKey::parse(bad).is_err());
        }
    }

    #[test]
    fn k7_a_directory_that_is_there_keeps_its_mode_and_nothing_is_left_beside_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let key = MasterKey::generate().unwrap();
        key.write_new(&directory.path().join("master.key")).unwrap();
        assert!(key.write_new(&directory.path().join("master.key")).is_err());
        key.write_new(&directory.path().join("a/b/master.key")).unwrap();
        assert_eq!(mode(directory.path()), 0o755);
        assert_eq!((mode(&directory.path().join("a")), mode(&directory.path().join("a/b"))), (0o700, 0o700));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn k7_of_those_who_make_a_master_key_at_once_one_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| MasterKey::generate().unwrap().write_new(&path).is_ok())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|made| *made).count()
        });
        assert_eq!(made, 1);
        MasterKey::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    }
}
