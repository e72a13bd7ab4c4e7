//! `key import`: a private key out of its file, decrypted here.

use std::path::Path;

use zeroize::Zeroizing;

use super::answer::Failure;
use crate::config::{SecretSource, read_private as read_private_file};
use crate::token::{ImportError, PrivateKey, read_private};

/// Reads a private key; asks for its passphrase where there is somebody to ask, and it is encrypted.
pub fn read(file: &Path, passphrase_file: Option<&Path>, interactive: bool) -> Result<PrivateKey, Failure> {
    let bytes = Zeroizing::new(read_private_file(file).map_err(|error| Failure::new(error.to_string()))?);
    // What is no text is no PEM.
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let given = match passphrase_file {
        Some(file) => {
            let secret = SecretSource::File(file.to_owned()).read();
            Some(secret.map_err(|error| Failure::new(error.to_string()))?)
        }
        None => None,
    };
    match read_private(text, given.as_ref().map(|secret| secret.expose())) {
        Err(ImportError::PassphraseMissing) if interactive => {
            let asked = rpassword::prompt_password("Passphrase of the key (not shown): ").map(Zeroizing::new);
            let passphrase = asked.map_err(|error| {
                Failure::new(format!("the passphrase can't be read: {error}"))
                    .next("name its file with --passphrase-file")
            })?;
            read_private(text, Some(&passphrase)).map_err(|error| failed(file, error))
        }
        read => read.map_err(|error| failed(file, error)),
    }
}

/// What is wrong with the key in this file.
pub fn failed(file: &Path, error: ImportError) -> Failure {
    let failure = Failure::new(format!("{}: {error}", file.display()));
    match error {
        ImportError::PassphraseMissing => failure.next("name its file with --passphrase-file"),
        _ => failure,
    }
}
