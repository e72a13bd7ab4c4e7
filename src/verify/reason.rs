use std::fmt;

use super::{Holder, Verified};

/// Why a call is refused (contract, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No credential.
    MissingToken,
    /// Two credentials, a token in the query, an unusable header.
    InvalidRequest,
    /// Not of the form of a token.
    Malformed,
    /// Longer than a token may be.
    TooLarge,
    /// An algorithm that is not its key's, or none of ours.
    UnsupportedAlgorithm,
    /// No such key.
    UnknownKey,
    /// Not signed by the key that it names.
    BadSignature,
    /// Signed by a key that was revoked.
    RevokedKey,
    /// Issued by another issuer.
    WrongIssuer,
    /// Not for this API.
    WrongAudience,
    /// Past its `exp`.
    Expired,
    /// Its `iat` lies in the future.
    NotYetValid,
    /// The account is not there, or no longer.
    UnknownAccount,
    /// The account is disabled.
    Disabled,
    /// A newer token exists.
    Superseded,
    /// It was revoked, and no newer token exists.
    Revoked,
    /// Bound to a certificate or key that was not proven.
    BindingMismatch,
    /// Used from an address that the account doesn't allow.
    NetworkNotAllowed,
    /// A good token that lacks the permission.
    InsufficientPermission,
    /// Too many invalid signatures from this address.
    RateLimited,
    /// The session was ended, or ended by itself; he has to sign in again.
    SessionEnded,
    /// The state can't be known.
    StoreUnavailable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 22] = [
        Self::MissingToken,
        Self::InvalidRequest,
        Self::Malformed,
        Self::TooLarge,
        Self::UnsupportedAlgorithm,
        Self::UnknownKey,
        Self::BadSignature,
        Self::RevokedKey,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownAccount,
        Self::Disabled,
        Self::Superseded,
        Self::Revoked,
        Self::BindingMismatch,
        Self::NetworkNotAllowed,
        Self::InsufficientPermission,
        Self::RateLimited,
        Self::SessionEnded,
        Self::StoreUnavailable,
    ];

    /// As it is written in metrics and the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidRequest => "invalid_request",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::RevokedKey => "revoked_key",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownAccount => "unknown_account",
            Self::Disabled => "disabled",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
            Self::BindingMismatch => "binding_mismatch",
            Self::NetworkNotAllowed => "network_not_allowed",
            Self::InsufficientPermission => "insufficient_permission",
            Self::RateLimited => "rate_limited",
            Self::SessionEnded => "session_ended",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// Whether it is told before the signature is proven; such reasons are one and the same to a stranger.
    pub fn is_unproven(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::TooLarge | Self::UnsupportedAlgorithm | Self::UnknownKey | Self::BadSignature
        )
    }

    /// As it is told outside: what came before the signature is one and the same.
    pub fn outside(self) -> &'static str {
        if self.is_unproven() { "invalid_token" } else { self.as_str() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal, with whom it concerns where the signature was genuine.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Whose token it is. `None`: nobody's that we know.
    pub holder: Option<Holder>,
    /// Where only the permission was missing: the token was good.
    pub verified: Option<Box<Verified>>,
}

impl Refusal {
    /// Nothing was proven.
    pub fn unproven(reason: Reason) -> Self {
        Self { reason, holder: None, verified: None }
    }

    /// Whoever it is, he is known.
    pub(crate) fn proven(reason: Reason, holder: Holder) -> Self {
        Self { reason, holder: Some(holder), verified: None }
    }

    /// The token is good; what it may do does not suffice.
    pub fn insufficient(verified: Verified) -> Self {
        Self {
            reason: Reason::InsufficientPermission,
            holder: Some(verified.holder()),
            verified: Some(Box::new(verified)),
        }
    }
}
