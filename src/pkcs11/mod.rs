//! Signing keys that never leave a hardware token (PKCS#11, which calls it just "token"; here that word is taken).
//!
//! A module of PKCS#11 is somebody else's C code, which blocks for as long as it likes. One thread speaks to it, and nobody waits for
//! that thread longer than he said. Without the feature `pkcs11` there is no such token, and what lies in one is only named.

#[cfg(not(feature = "pkcs11"))]
mod absent;
#[cfg(feature = "pkcs11")]
mod connection;
mod error;
#[cfg(feature = "pkcs11")]
mod hardware;
#[cfg(feature = "pkcs11")]
mod key_pair;

use serde::{Deserialize, Serialize};

#[cfg(not(feature = "pkcs11"))]
pub use absent::{FreshKey, HardwareToken};
pub use error::TokenError;
#[cfg(feature = "pkcs11")]
pub use hardware::{FreshKey, HardwareToken};

/// Whether this build can speak to a hardware token.
pub const BUILT_IN: bool = cfg!(feature = "pkcs11");

/// Where a private key lies in a hardware token. No secret: it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InToken {
    /// The token's label.
    pub label: String,
    /// Its `CKA_ID`, in hex.
    pub object: String,
}
