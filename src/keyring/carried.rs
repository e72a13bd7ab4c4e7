//! A document that comes from a backup: sealed anew under the present master key, as a version above all that were seen.

use std::path::PathBuf;

use super::high_water::HighWater;
use super::seal::Envelope;
use super::{KeyringDocument, KeyringError, MasterKey};

/// See the module.
pub struct CarriedOver {
    /// Its version.
    pub version: u64,
    /// It, sealed.
    pub sealed: String,
    /// It, opened.
    pub document: KeyringDocument,
}

/// Where the document was, and what opens it.
pub struct Carrying<'a> {
    /// The dataset.
    pub dataset: &'a str,
    /// Its version.
    pub version: u64,
    /// It, as it was sealed.
    pub sealed: &'a str,
    /// A master key that opens it.
    pub former: &'a MasterKey,
    /// The one that is to open it.
    pub present: &'a MasterKey,
    /// Where it is written down which version was seen here.
    pub mark: Option<PathBuf>,
    /// Other issuers may have seen later ones: the next version is not below this number.
    pub least: u64,
}

impl Carrying<'_> {
    /// Opens it, and seals it anew.
    pub fn over(self) -> Result<CarriedOver, KeyringError> {
        let Self { dataset, version, sealed, former, present, mark, least } = self;
        let shown = mark.as_ref().map(|mark| mark.display().to_string()).unwrap_or_default();
        let (seen, _) = HighWater::of(mark, dataset).map_err(|error| KeyringError::Mark(shown, error))?.seen();
        let opened = former.open(dataset, version, sealed).map_err(|_| KeyringError::Sealed)?;
        let document: KeyringDocument = serde_json::from_slice(&opened.text)
            .map_err(|error| KeyringError::Unreadable(format!("{:?} error", error.classify())))?;
        // As strictly as whoever works with it.
        document.key_set(version)?;
        let version = version.max(seen).saturating_add(1).max(least);
        let envelope = Envelope::under(&[present], dataset).map_err(|_| KeyringError::Sealed)?;
        let sealed = envelope.seal(dataset, version, &opened.text).map_err(|_| KeyringError::Sealed)?;
        Ok(CarriedOver { version, sealed, document })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::KeyEntry;
    use super::*;
    use crate::token::{Algorithm, SigningKey};

    #[test]
    fn what_is_carried_over_opens_under_the_present_master_key_above_what_was_seen() {
        let (former, present) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let keys = vec![KeyEntry::active(&key, DateTime::UNIX_EPOCH)];
        let text = serde_json::to_vec(&KeyringDocument { keys, ..Default::default() }).unwrap();
        let sealed = Envelope::under(&[&former], "d").unwrap().seal("d", 3, &text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("keys-seen");
        std::fs::write(&mark, "d 7 00 x\n").unwrap();
        let carrying = |former, dataset, least| Carrying {
            dataset,
            version: 3,
            sealed: &sealed,
            former,
            present: &present,
            mark: Some(mark.clone()),
            least,
        };
        let over = carrying(&former, "d", 0).over().unwrap();
        assert_eq!(over.version, 8);
        assert_eq!(over.document.keys[0].id, key.public().key_id());
        assert_eq!(present.open("d", 8, &over.sealed).unwrap().text.as_slice(), text);
        assert!(former.open("d", 8, &over.sealed).is_err());
        assert_eq!(carrying(&former, "d", 100).over().unwrap().version, 100);
        assert!(carrying(&present, "d", 0).over().is_err() && carrying(&former, "other", 0).over().is_err());
    }
}
