//! What signs tokens, wherever its private half lies.

use std::fmt;

use super::{KeyError, SigningKey, VerificationKey};

/// A key that signs. [`SigningKey`] has its private half in memory; other kinds only know where it lies.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public half.
    fn public(&self) -> &VerificationKey;

    /// The signature over the message, as JWS has it (RFC 7518, section 3; RFC 8037, section 3.1).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Whether signing waits for another machine, so that it is nothing for a thread that others wait for.
    fn waits(&self) -> bool {
        false
    }

    /// Why it can't sign, as far as that is known.
    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Signer for SigningKey {
    fn public(&self) -> &VerificationKey {
        self.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign(message)
    }
}
