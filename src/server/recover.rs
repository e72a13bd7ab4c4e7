//! `countermark recover`: on a machine with the master key and access to the store.

use std::path::{Path, PathBuf};

use super::machine::OnTheMachine;
use super::{ServeError, load};
use crate::authority::Authority;
use crate::config::Overrides;
use crate::name::Username;

/// Gives an admin a new token and writes it to `out`, mode 0600.
pub async fn recover(
    overrides: &Overrides,
    account: &str,
    months: Option<u32>,
    out: Option<PathBuf>,
) -> Result<PathBuf, ServeError> {
    let config = load(overrides).map_err(ServeError::of)?;
    let username: Username = account.parse().map_err(ServeError::of)?;
    // Only the file that was made for it is written over.
    if let Some(taken) = out.as_ref().filter(|out| out.symlink_metadata().is_ok()) {
        return Err(ServeError(format!(
            "{} exists; nothing was changed. Name a new file with --out, or leave it out for admin.token in the data directory",
            taken.display()
        )));
    }
    let out = out.unwrap_or_else(|| config.data_dir.join("admin.token"));
    let machine = OnTheMachine::open(&config, "recover", true).await?;
    let issued = match machine.serves() {
        Ok(()) => issue(&machine.authority, &username, months, &out).await,
        waits => waits,
    };
    machine.close().await;
    issued.map(|()| out)
}

async fn issue(authority: &Authority, username: &Username, months: Option<u32>, out: &Path) -> Result<(), ServeError> {
    let fresh = beside(out);
    let mut unwritten = None;
    let issued = crate::authority::recover(authority, username, months, |token| {
        crate::durable::write(&fresh, format!("{token}\n").as_bytes(), 0o600).inspect_err(|error| {
            unwritten = Some(ServeError(format!("{}: {error}; nothing was changed", fresh.display())));
        })
    })
    .await;
    match issued {
        Ok(_) => crate::durable::rename(&fresh, out).map_err(|error| {
            ServeError(format!(
                "the new token lies in {}; it could not be moved to {}: {error}",
                fresh.display(),
                out.display()
            ))
        }),
        Err(error) => Err(match (unwritten, error) {
            (Some(unwritten), _) => unwritten,
            (None, error @ crate::authority::Error::Uncertain { .. }) => {
                ServeError(format!("{error}. If it was made, the new token is the one in {}", fresh.display()))
            }
            (None, error) => {
                // Nobody's token, and it may not even have been written.
                let _ = std::fs::remove_file(&fresh);
                match error {
                    crate::authority::Error::Invalid(errors) => {
                        ServeError(errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; "))
                    }
                    other => ServeError::of(other),
                }
            }
        }),
    }
}

/// `NAME.new`, whatever the name: another ending of it may be somebody else's file.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
