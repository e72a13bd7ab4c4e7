//! `countermark node forget`: on a machine with the master key and access to the store.

use super::machine::OnTheMachine;
use super::{ServeError, load};
use crate::authority::Error;
use crate::config::Overrides;

/// Declares an issuer gone for good, by its name or its id. Returns its name, and those that the store still waits for.
pub async fn forget_issuer(overrides: &Overrides, name: &str) -> Result<(String, Vec<String>), ServeError> {
    let config = load(overrides).map_err(ServeError::of)?;
    let machine = OnTheMachine::open(&config, "forget", false).await?;
    let forgotten = machine.authority.forget_issuer(name).await;
    // Looked at anew.
    let still = match machine.authority.store().meet_again().await {
        Ok(()) => Vec::new(),
        Err(_) => machine.authority.store().waited_for(),
    };
    machine.close().await;
    match forgotten {
        Ok(issuer) => Ok((issuer.name, still)),
        Err(Error::NotFound(_)) => Err(ServeError(format!(
            "the store knows no issuer {name}; nothing was changed. /readyz of every server, and countermark doctor, say which it waits for"
        ))),
        Err(Error::Invalid(errors)) => {
            Err(ServeError(errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; ")))
        }
        Err(error) => Err(ServeError(format!("{error}: {}", error.cause()))),
    }
}
