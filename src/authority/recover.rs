//! The way back in for whoever holds the machine and the master key.

use super::call::By;
use super::{AccountRef, Authority, Error, Issued};
use crate::account::Status;
use crate::audit::kinds;
use crate::clock::rfc3339;
use crate::name::Username;
use crate::permission::ADMIN;
use crate::store::AccountChange;

/// Gives an admin whose token is lost or expired a new one; the older one dies. What would keep that token from being used for
/// administration (disabled, other audiences, networks) is lifted with it: whoever holds the master key wants to get in. Audited.
///
/// `keep` gets the token before anything is committed: one that could not be kept must not make the older one die.
pub async fn recover(
    authority: &Authority,
    username: &Username,
    valid_for_months: Option<u32>,
    keep: impl FnOnce(&str) -> std::io::Result<()>,
) -> Result<Issued, Error> {
    let before = authority.account(&AccountRef::Name(username.clone())).await?;
    let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
    if state.role.as_str() != ADMIN {
        return Err(Error::field("account", format!("{username} does not have the role {ADMIN}; name one that has")));
    }
    let months = valid_for_months.unwrap_or_else(|| authority.default_lifetime());
    authority.check_lifetime(months)?;
    state.status = Status::Active;
    state.allowed_networks.clear();
    if !state.audiences.is_empty() && !state.audiences.contains(authority.own_audience()) {
        state.audiences.clear();
    }
    let now = authority.clock.now();
    profile.updated_at = now;
    let signed = authority.sign_next(before.id, &mut state, &mut profile, months, 0).await?;
    keep(signed.token()).map_err(|error| Error::Internal(format!("the new token can't be kept: {error}")))?;
    let mut event = authority.act_event(By::Machine, kinds::RECOVER, before.id, &state, &profile);
    if let Some(token) = &profile.token {
        event = event.detail("expires_at", rfc3339::text(&token.expires_at));
    }
    let change = AccountChange {
        id: before.id,
        before: Some(&before),
        after: Some((&state, &profile)),
        admin: authority.admin(&state, &profile),
        author: None,
        setup: None,
        reuse: None,
        keys_version: Some(signed.keys_version),
        now,
        event: &event,
        raises: None,
    };
    let receipt = authority.commit_everywhere(By::Machine, &change, None).await?;
    Ok(authority.issued(before.id, state, profile, signed, receipt))
}
