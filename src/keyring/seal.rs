//! K5: whoever can only write to Redis can neither read a private key nor add a public one, nor pass an older document off as
//! a newer one: AES-256-GCM with purpose, dataset and version as associated data.
//!
//! What seals the document is a key of its own, which lies beside it, sealed under the master key; under two of them while the
//! master key is being changed, so that issuers may have either.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
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

    /// Names it without telling anything of it: it is random, and what is here is a hash.
    pub fn id(&self) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"countermark master key\n");
        hash.update(self.0.as_slice());
        let hash = hash.finish();
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A key of its own for what is sealed under this salt (RFC 5869).
    pub fn derived(&self, salt: &[u8], purpose: &str) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        let (secret, info) = (Salt::new(HKDF_SHA256, salt).extract(self.0.as_slice()), [purpose.as_bytes()]);
        let expanded = secret.expand(&info, HKDF_SHA256).map_err(|_| SealError)?;
        expanded.fill(key.as_mut_slice()).map_err(|_| SealError)?;
        Ok(key)
    }

    /// Opens the document of this version.
    pub fn open(&self, dataset: &str, version: u64, sealed: &str) -> Result<Opened, SealError> {
        let Sealed { keys, body } = serde_json::from_str(sealed).map_err(|_| SealError)?;
        let id = self.id();
        let wrap = keys.iter().find(|wrap| wrap.master == id).ok_or(SealError)?;
        let key = opened(self.0.as_slice(), &of_the_key(dataset, &id, &names(&keys)), &wrap.key)?;
        let key = Zeroizing::new(key.as_slice().try_into().map_err(|_| SealError)?);
        let envelope = Envelope { wraps: keys, key };
        let text = opened(envelope.key.as_slice(), &of_the_body(dataset, version), &body)?;
        Ok(Opened { text, envelope })
    }
}

/// A document that was opened, and what it was sealed in.
pub struct Opened {
    /// It.
    pub text: Zeroizing<Vec<u8>>,
    /// For its successor.
    pub envelope: Envelope,
}

/// What seals documents: a key, and that key sealed under each master key that opens it.
#[derive(Clone)]
pub struct Envelope {
    /// The newest comes last.
    wraps: Vec<Wrap>,
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} …)", self.master_keys().collect::<Vec<_>>().join(" "))
    }
}

impl Envelope {
    /// A new one that each of these master keys opens, the newest last. Which they are is sealed with it: none of them opens
    /// it in another company, so that what an older one has opened is of no use once that is gone.
    pub fn under(masters: &[&MasterKey], dataset: &str) -> Result<Self, SealError> {
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(random().map_err(|_| SealError)?);
        let ids: Vec<String> = masters.iter().map(|master| master.id()).collect();
        let names = ids.join(" ");
        let wraps = masters.iter().zip(&ids).map(|(master, id)| {
            let key = sealed(master.0.as_slice(), &of_the_key(dataset, id, &names), key.as_slice())?;
            Ok(Wrap { master: id.clone(), key })
        });
        Ok(Self { wraps: wraps.collect::<Result<_, SealError>>()?, key })
    }

    /// The names of the master keys that open it, the newest last.
    pub fn master_keys(&self) -> impl Iterator<Item = &str> {
        self.wraps.iter().map(|wrap| wrap.master.as_str())
    }

    /// Seals the document of this version.
    pub fn seal(&self, dataset: &str, version: u64, document: &[u8]) -> Result<String, SealError> {
        let body = sealed(self.key.as_slice(), &of_the_body(dataset, version), document)?;
        serde_json::to_string(&Sealed { keys: self.wraps.clone(), body }).map_err(|_| SealError)
    }
}

/// As it lies in the store.
#[derive(Serialize, Deserialize)]
struct Sealed {
    keys: Vec<Wrap>,
    body: String,
}

/// The document's key, sealed under a master key.
#[derive(Clone, Serialize, Deserialize)]
struct Wrap {
    master: String,
    key: String,
}

fn sealed(key: &[u8], associated: &str, text: &[u8]) -> Result<String, SealError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + TAG));
    bytes.extend_from_slice(text);
    let nonce = aead(key)?.seal_in_place_append_tag(Aad::from(associated), &mut *bytes).map_err(|_| SealError)?;
    Ok(STANDARD.encode([nonce.as_ref(), bytes.as_slice()].concat()))
}

fn opened(key: &[u8], associated: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let bytes = STANDARD.decode(text).map_err(|_| SealError)?;
    let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
    let mut rest = Zeroizing::new(rest.to_vec());
    let length = aead(key)?.open_in_place(nonce, Aad::from(associated), &mut rest).map_err(|_| SealError)?.len();
    rest.truncate(length);
    Ok(rest)
}

fn aead(key: &[u8]) -> Result<RandomizedNonceKey, SealError> {
    RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError)
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn of_the_body(dataset: &str, version: u64) -> String {
    format!("countermark keyring 1\n{dataset}\n{version}")
}

fn of_the_key(dataset: &str, master: &str, all: &str) -> String {
    format!("countermark keyring key 1\n{dataset}\n{master}\n{all}")
}

fn names(wraps: &[Wrap]) -> String {
    wraps.iter().map(|wrap| wrap.master.as_str()).collect::<Vec<_>>().join(" ")
}

/// In bytes: so that what is sealed in place need not be moved, which would leave a copy behind.
const TAG: usize = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn k5_a_sealed_document_opens_only_as_what_it_is() {
        let key = MasterKey::generate().unwrap();
        let sealed = Envelope::under(&[&key], "dataset").unwrap().seal("dataset", 3, b"document").unwrap();
        assert_eq!(key.open("dataset", 3, &sealed).unwrap().text.as_slice(), b"document");
        assert!(key.open("dataset", 2, &sealed).is_err(), "an older version");
        assert!(key.open("dataset", 4, &sealed).is_err(), "a newer version");
        assert!(key.open("other", 3, &sealed).is_err(), "another dataset");
        assert!(MasterKey::generate().unwrap().open("dataset", 3, &sealed).is_err(), "another master key");
        let flip = |text: &str| {
            let mut bytes = STANDARD.decode(text).unwrap();
            (0..bytes.len())
                .map(|place| {
                    bytes[place] ^= 1;
                    let flipped = STANDARD.encode(&bytes);
                    bytes[place] ^= 1;
                    flipped
                })
                .collect::<Vec<_>>()
        };
        let Sealed { keys, body } = serde_json::from_str(&sealed).unwrap();
        for flipped in flip(&body) {
            let sealed = serde_json::to_string(&Sealed { keys: keys.clone(), body: flipped }).unwrap();
            assert!(key.open("dataset", 3, &sealed).is_err());
        }
        for flipped in flip(&keys[0].key) {
            let keys = vec![Wrap { master: key.id(), key: flipped }];
            let sealed = serde_json::to_string(&Sealed { keys, body: body.clone() }).unwrap();
            assert!(key.open("dataset", 3, &sealed).is_err());
        }
        assert!(key.open("dataset", 3, "").is_err());
        assert!(!sealed.contains("document"));
    }

    #[test]
    fn while_the_master_key_is_changed_either_opens_the_document_and_then_only_the_new_one() {
        let (old, new) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        assert_ne!(old.id(), new.id());
        let envelope = Envelope::under(&[&old, &new], "dataset").unwrap();
        let both = envelope.seal("dataset", 1, b"one").unwrap();
        // Whoever has only the old one seals the next for both.
        let opened = old.open("dataset", 1, &both).unwrap();
        let next = opened.envelope.seal("dataset", 2, b"two").unwrap();
        let opened = new.open("dataset", 2, &next).unwrap();
        assert_eq!(opened.text.as_slice(), b"two");
        assert_eq!(opened.envelope.master_keys().collect::<Vec<_>>(), [old.id(), new.id()]);
        let last = Envelope::under(&[&new], "dataset").unwrap().seal("dataset", 3, b"three").unwrap();
        assert!(old.open("dataset", 3, &last).is_err() && new.open("dataset", 3, &last).is_ok());
        // The old one's own seal of the document's key, put back, opens nothing: that key is another one.
        let Sealed { body, .. } = serde_json::from_str(&last).unwrap();
        let Sealed { keys: together, .. } = serde_json::from_str(&both).unwrap();
        assert!(old.open("dataset", 3, &serde_json::to_string(&Sealed { keys: together, body }).unwrap()).is_err());
        // And whoever has got that key by the old one seals nothing that the new one alone would open, nor in another order.
        let forged = envelope.seal("dataset", 4, b"forged").unwrap();
        let Sealed { mut keys, body } = serde_json::from_str(&forged).unwrap();
        keys.reverse();
        let turned = serde_json::to_string(&Sealed { keys: keys.clone(), body: body.clone() }).unwrap();
        keys.truncate(1);
        assert_eq!(keys[0].master, new.id());
        let alone = serde_json::to_string(&Sealed { keys, body }).unwrap();
        assert!(new.open("dataset", 4, &turned).is_err() && new.open("dataset", 4, &alone).is_err());
        assert!(!format!("{envelope:?}").contains(&STANDARD.encode(envelope.key.as_slice())));
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
