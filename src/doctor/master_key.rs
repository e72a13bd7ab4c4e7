//! The master key: that it is there, for its owner alone, and the one that the signing keys are sealed under.

use std::os::unix::fs::MetadataExt;

use super::Entry;
use super::store::Seen;
use crate::config::{Config, SecretFileError, SecretSource};
use crate::keyring::MasterKey;

const CHECK: &str = "master_key.file";

pub(super) fn look(config: &Config, seen: &Seen) -> Vec<Entry> {
    let place = match &config.master_key {
        SecretSource::File(path) => path.display().to_string(),
        SecretSource::Value(_) => "the configuration".to_owned(),
    };
    let secret = match config.master_key.read() {
        Ok(secret) => secret,
        Err(error) => return vec![unreadable(&error, seen)],
    };
    let key = match MasterKey::parse(secret.expose()) {
        Ok(key) => key,
        Err(error) => {
            return vec![Entry::finding(
                CHECK,
                format!("{place}: {error}"),
                "without the master key the service does not start, and no token can be signed",
                "restore the file from your backup, or name the right one with --master-key-file",
            )];
        }
    };
    vec![owner(config, place), opens(&key, seen)]
}

/// Whoever owns the file can put another in its place.
fn owner(config: &Config, place: String) -> Entry {
    let SecretSource::File(path) = &config.master_key else {
        return Entry::ok(CHECK, format!("a master key is in {place}"));
    };
    let uid = |path: &std::path::Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
    let (owner, service) = (uid(path), uid(&config.data_dir));
    let trusted = [Some(0), Some(rustix::process::geteuid().as_raw()), service];
    if owner.is_none() || trusted.contains(&owner) {
        return Entry::ok(CHECK, format!("a master key is in {place}, for its owner alone"));
    }
    Entry::finding(
        CHECK,
        format!("{place} belongs to user {}", owner.unwrap_or_default()),
        "that user can read it, and put another in its place",
        format!("chown it to the user of the service: chown {} {place}", service.unwrap_or_default()),
    )
}

fn unreadable(error: &SecretFileError, seen: &Seen) -> Entry {
    let missing =
        matches!(error, SecretFileError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    match error {
        _ if missing && seen.sealed.is_some() => Entry::finding(
            CHECK,
            error.to_string(),
            "the signing keys in the store are sealed under it: without it the service does not start",
            "restore the file from your backup, or name it with --master-key-file; no new key can take its place",
        ),
        _ if missing && seen.reached => Entry::ok(CHECK, "there is none yet: the first start makes it"),
        _ if missing => Entry::notice(
            CHECK,
            error.to_string(),
            "the first start makes it; where the service has run before, restore it from your backup",
        ),
        SecretFileError::ReadableByOthers { path, .. } => Entry::finding(
            CHECK,
            error.to_string(),
            "whoever has read it, and can read the store, can sign tokens; the service refuses to start with it",
            format!("chmod 600 {}; if others may have read it, change it", path.display()),
        ),
        _ => Entry::finding(
            CHECK,
            error.to_string(),
            "without the master key the service does not start",
            "name a file that the user of the service can read, with --master-key-file",
        ),
    }
}

fn opens(key: &MasterKey, seen: &Seen) -> Entry {
    const CHECK: &str = "master_key.opens";
    match (&seen.sealed, &seen.dataset) {
        (Some((version, document)), Some((dataset, _))) => match key.open(dataset, *version, document) {
            Ok(_) => Entry::ok(CHECK, "it opens the signing keys in the store"),
            Err(_) => Entry::finding(
                CHECK,
                "the signing keys in the store don't open under this master key",
                "the service does not start with it, and no token can be signed",
                "name the master key that they were sealed under, with --master-key-file; if the store was restored or exchanged, \
                 give it its own",
            ),
        },
        _ if seen.reached => Entry::ok(CHECK, "nothing is sealed yet"),
        _ => Entry::unchecked(
            CHECK,
            "the store could not be asked for the sealed keys",
            "mend what is said about the store, then run doctor again",
        ),
    }
}
