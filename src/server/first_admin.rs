//! The first admin: made once for a dataset, with a token and a link that lie in the data directory before anything rests on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Running, ServeError, TELL_AGAIN, TELL_NEWS};
use crate::authority::{Authority, Error, Fate};
use crate::told::Told;

/// The link by which the first person is made.
const SETUP_FILE: &str = "setup.url";

impl Running {
    /// `true`: this process made him, and `admin.token` holds his token. `None`: it retired before the store came back.
    pub(super) async fn first_admin(&self, authority: &Authority) -> Result<Option<bool>, ServeError> {
        let mut told = Told::every(TELL_AGAIN, TELL_NEWS);
        loop {
            match self.try_first_admin(authority).await? {
                Ok(created) => return Ok(Some(created)),
                Err(error) => told.is(&error.to_string(), |more| {
                    tracing::warn!(%error, more, "the first admin waits for the store");
                }),
            }
            tokio::select! {
                () = self.retire.cancelled() => return Ok(None),
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// `Ok(Err(…))`: the store was away; what was done meanwhile is found again by the next try.
    async fn try_first_admin(&self, authority: &Authority) -> Result<Result<bool, Error>, ServeError> {
        let token = Fresh::of(self.data_dir.path(), "admin.token");
        let setup = Fresh::of(self.data_dir.path(), SETUP_FILE);
        let created = authority.create_first_admin(|made, link| {
            setup.write(link)?;
            token.write(made)
        });
        let created = match created.await {
            Ok(created) => created,
            Err(error @ (Error::Unavailable(_) | Error::Full(_) | Error::Uncertain { .. } | Error::Conflict)) => {
                return Ok(Err(error));
            }
            Err(error) => return Err(ServeError::of(error)),
        };
        if created {
            setup.keep()?;
            token.keep()?;
        } else if token.fresh.exists() {
            // Another process was faster, or this one died in between: then it is nobody's token, or it is his.
            match authority.fate_of(token_in(&token.fresh)?.as_str()).await {
                Fate::Good => {
                    setup.keep()?;
                    token.keep()?;
                    return Ok(Ok(true));
                }
                Fate::Dead => {
                    drop(std::fs::remove_file(&token.fresh));
                    drop(std::fs::remove_file(&setup.fresh));
                }
                Fate::Unknown => return Ok(Err(Error::Unavailable("a token could not be looked up".into()))),
                Fate::Dormant(reason) => tracing::warn!(
                    file = %token.fresh.display(),
                    reason = reason.as_str(),
                    "the token in this file is not good now; it may be the only copy of the first admin's, and is kept"
                ),
            }
        } else {
            // Of a process that died before it wrote the token, and of which nothing came.
            drop(std::fs::remove_file(&setup.fresh));
        }
        Ok(Ok(created))
    }

    /// The link of the first start, if it was never used; what is left of one that was goes.
    pub(super) async fn setup_link(&self, authority: &Authority) -> Option<String> {
        let path = self.data_dir.path().join(SETUP_FILE);
        let link = std::fs::read_to_string(&path).ok()?;
        match authority.setup_is_offered().await {
            Ok(false) => {
                drop(std::fs::remove_file(&path));
                None
            }
            Ok(true) | Err(_) => Some(link.trim_end().to_owned()),
        }
    }
}

/// A secret that is written down before anything rests on it, and gets its name once something does.
struct Fresh {
    fresh: PathBuf,
    path: PathBuf,
}

impl Fresh {
    fn of(directory: &Path, name: &str) -> Self {
        Self { fresh: directory.join(format!("{name}.new")), path: directory.join(name) }
    }

    fn write(&self, secret: &str) -> std::io::Result<()> {
        crate::durable::write(&self.fresh, format!("{secret}\n").as_bytes(), 0o600)
    }

    /// It may have its name already, where a process died after that.
    fn keep(&self) -> Result<(), ServeError> {
        match crate::durable::rename(&self.fresh, &self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.path.exists() => Ok(()),
            renamed => renamed.map_err(|error| ServeError(format!("{}: {error}", self.path.display()))),
        }
    }
}

fn token_in(path: &Path) -> Result<Zeroizing<String>, ServeError> {
    let text = Zeroizing::new(
        std::fs::read_to_string(path).map_err(|error| ServeError(format!("{}: {error}", path.display())))?,
    );
    Ok(Zeroizing::new(text.trim_end().to_owned()))
}
