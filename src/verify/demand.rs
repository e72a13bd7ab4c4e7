use std::net::IpAddr;

use crate::account::{Audience, Binding};
use crate::name::TeamName;
use crate::permission::Permission;

/// What is asked of a token.
#[derive(Debug, Clone)]
pub struct Demand {
    /// The API that asks. `None`: a token for any API will do.
    pub audience: Option<Audience>,
    /// What the holder wants to do. `None`: the token alone is asked about.
    pub permission: Option<Permission>,
    /// The team in which he wants to do it.
    pub team: Option<TeamName>,
    /// Who shows the token.
    pub presenter: Presenter,
}

/// Who shows a token.
#[derive(Debug, Clone)]
pub enum Presenter {
    /// Its holder, who makes the call.
    Holder {
        /// Where the call comes from; `None` where that can't be known (a Unix socket).
        address: Option<IpAddr>,
        /// What he has proven to possess, over TLS (RFC 8705) or by DPoP (RFC 9449).
        proof: Option<Proof>,
    },
    /// Somebody else who asks about it (RFC 7662), or who ends it (RFC 7009). Networks and bindings are the holder's
    /// affair and not evaluated.
    ThirdParty,
}

/// A possession that was proven in this call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof(pub Binding);
