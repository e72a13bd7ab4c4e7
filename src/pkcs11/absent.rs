//! What stands in for a hardware token where none is built in: nothing, and there is none of it.

use std::sync::Arc;

use super::{InToken, TokenError};
use crate::config::Pkcs11;
use crate::token::{Algorithm, Signer, VerificationKey};

/// A hardware token: there is none.
#[derive(Debug)]
pub enum HardwareToken {}

/// A key in a hardware token: there is none.
#[derive(Debug)]
pub enum FreshKey {}

impl HardwareToken {
    /// There is none.
    pub fn connect(_settings: &Pkcs11) -> Option<Arc<Self>> {
        None
    }

    /// Its label.
    pub fn label(&self) -> &str {
        match *self {}
    }

    /// Makes a key.
    #[allow(clippy::unused_async, reason = "as the other one")]
    pub async fn make(self: &Arc<Self>, _algorithm: Algorithm) -> Result<FreshKey, TokenError> {
        match **self {}
    }

    /// What signs with a key in it.
    pub fn signer(self: &Arc<Self>, _public: VerificationKey, _place: &InToken) -> Arc<dyn Signer> {
        match **self {}
    }
}

impl FreshKey {
    /// Its public half.
    pub fn public(&self) -> &VerificationKey {
        match *self {}
    }

    /// Where it lies.
    pub fn place(&self) -> &InToken {
        match *self {}
    }

    /// Whether it may be published by now.
    pub fn set_published(&self, _may_be: bool) {
        match *self {}
    }
}
