//! The token: its exact wire shape (contract, section 1), its keys, and nothing about whether to believe it: that is `verify`.

mod algorithm;
mod claims;
mod id;
#[cfg(feature = "server")]
mod import;
mod keys;
mod reading;
mod signer;
mod spki;
mod wire;

pub use algorithm::Algorithm;
pub use claims::{Claimed, Claims, Confirmation};
pub use id::{Jti, TokenId};
#[cfg(feature = "pkcs11")]
pub(crate) use import::has_the_mark_of_roca;
#[cfg(feature = "server")]
pub use import::{ImportError, KeyKind, PrivateKey, read_private};
#[cfg(feature = "pkcs11")]
pub(crate) use keys::of_point;
pub use keys::{KeyError, SigningKey, VerificationKey};
pub use signer::Signer;
pub use wire::{FormError, Header, MAX_TOKEN_LENGTH, Parts, Payload, encode, encoded_length};

#[cfg(test)]
mod tests;
