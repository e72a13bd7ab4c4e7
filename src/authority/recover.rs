//! The way back in for whoever holds the machine and the master key.

use super::call::By;
use super::{AccountRef, Authority, Error, Issued};
use crate::account::Status;
use crate::audit::kinds;
use crate::name::Username;
use crate::permission::ADMIN;

/// Gives an admin whose token is lost or expired a new one; the older one dies. What would keep that token from being used for
/// administration (disabled, other audiences, networks) is lifted with it: whoever holds the master key wants to get in. Audited.
pub async fn recover(
    authority: &Authority,
    username: &Username,
    valid_for_months: Option<u32>,
) -> Result<Issued, Error> {
    let mut account = authority.account(&AccountRef::Name(username.clone())).await?;
    if account.state.role.as_str() != ADMIN {
        return Err(Error::field("account", format!("{username} does not have the role {ADMIN}; name one that has")));
    }
    account.state.status = Status::Active;
    account.state.allowed_networks.clear();
    if !account.state.audiences.is_empty() && !account.state.audiences.contains(authority.own_audience()) {
        account.state.audiences.clear();
    }
    let months = valid_for_months.unwrap_or_else(|| authority.default_lifetime());
    authority.next_generation(By::Machine, kinds::RECOVER, account, months, 0).await
}
