//! One type for each permission of Countermark's own API: it stands in the signature of the handler that demands it.

use crate::permission::Permission;

/// What is demanded of a caller.
pub trait Demanded: Send + Sync + 'static {
    /// The permission; `None`: a good token is enough.
    fn permission() -> Option<Permission>;
    /// Whether the token must be for Countermark's own API.
    const OWN_AUDIENCE: bool = true;
    /// Whether HTTP Basic will do as well.
    const BASIC: bool = false;
    /// Whether the caller may be let in from memory, as one that only verifies tokens is. Whoever reads or changes what lies in
    /// the store is let in by the store.
    const FROM_MEMORY: bool = false;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $type:ident = $text:literal),* $(,)?) => {
        $(
            $(#[$doc])*
            pub struct $type;

            impl Demanded for $type {
                fn permission() -> Option<Permission> {
                    Some(Permission::known($text))
                }
            }
        )*

        #[cfg(test)]
        const KNOWN: &[&str] = &[$($text),*];
    };
}

permissions! {
    /// Read accounts.
    AccountsRead = "accounts:read",
    /// Create, change, delete accounts.
    AccountsWrite = "accounts:write",
    /// Regenerate tokens of accounts.
    TokensIssue = "tokens:issue",
    /// Revoke tokens of accounts.
    TokensRevoke = "tokens:revoke",
    /// Renew one's own token.
    TokensRenew = "tokens:renew",
    /// Read roles and teams.
    RolesRead = "roles:read",
    /// Write roles and teams.
    RolesWrite = "roles:write",
    /// Read what is told of the signing keys.
    KeysRead = "keys:read",
    /// Let signing keys come and go.
    KeysRotate = "keys:rotate",
    /// Read the audit.
    AuditRead = "audit:read",
    /// Read the table of nodes.
    NodesRead = "nodes:read",
}

/// Ask about tokens of others (RFC 7662): any audience, and HTTP Basic too.
pub struct TokensIntrospect;

impl Demanded for TokensIntrospect {
    const OWN_AUDIENCE: bool = false;
    const BASIC: bool = true;
    const FROM_MEMORY: bool = true;

    fn permission() -> Option<Permission> {
        Some(Permission::known("tokens:introspect"))
    }
}

/// Any good token for Countermark's own API.
pub struct OwnToken;

impl Demanded for OwnToken {
    fn permission() -> Option<Permission> {
        None
    }
}

/// Any good token, of any audience.
pub struct AnyToken;

impl Demanded for AnyToken {
    const OWN_AUDIENCE: bool = false;

    fn permission() -> Option<Permission> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded_is_well_formed() {
        for text in KNOWN.iter().copied().chain(["tokens:introspect"]) {
            assert_eq!(Permission::known(text), text.parse().unwrap());
        }
    }
}
