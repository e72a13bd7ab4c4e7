use super::KeyKind;
use crate::token::Algorithm;

/// Why a private key was not taken, and what to do instead. Says nothing of its bytes, nor of the passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A whole keystore, or no key at all.
    #[error("more than {} KiB: give the file of one private key", super::pem::MAX_LENGTH / 1024)]
    TooLong,
    /// DER, PKCS#12, JWK, a path instead of the text.
    #[error(
        "not PEM: it has to begin with a line like -----BEGIN PRIVATE KEY-----; \
         from DER, convert with `openssl pkey -inform DER -in OLD -out NEW`"
    )]
    NotPem,
    /// Cut off while copying, or its line ends got lost.
    #[error("the PEM is damaged, or not what its first line says: copy it anew, whole and with its line ends")]
    Damaged,
    /// The other half.
    #[error("{found}, and no private key: give the file whose first line says PRIVATE KEY")]
    NotPrivate {
        /// What it is instead.
        found: &'static str,
    },
    /// Files that were put together.
    #[error("more than one private key: give one at a time")]
    Several,
    /// OpenSSH, PGP.
    #[error("a private key in the form of {of}: convert a copy of it with `{with}`")]
    OtherForm {
        /// Whose form it is.
        of: &'static str,
        /// The command.
        with: &'static str,
    },
    /// Another curve, another kind of key.
    #[error(
        "{found} signs no token: it has to be an EC key on P-256 with the curve's name, an Ed25519 key, or an RSA key of two primes \
         and 2048 to 4096 bits; make one with `openssl genpkey -algorithm ed25519 -out NEW`"
    )]
    WrongKind {
        /// What it is.
        found: &'static str,
    },
    /// ES256 for an RSA key and the like.
    #[error("{asked} does not fit {kind}: {fits}")]
    UnfitAlgorithm {
        /// What was asked for.
        asked: Algorithm,
        /// What the key is.
        kind: KeyKind,
        /// What would fit.
        fits: &'static str,
    },
    /// RFC 7518, section 3.3, demands 2048.
    #[error(
        "an RSA key of {bits} bits: it has to have 2048 to 4096; make one with `openssl genrsa -out NEW 3072`, \
         or rather one for EdDSA with `openssl genpkey -algorithm ed25519 -out NEW`"
    )]
    RsaSize {
        /// The length of its modulus.
        bits: usize,
    },
    /// 1, an even number, or a very large one.
    #[error(
        "an RSA key whose public exponent is not odd, at least 3 and below 2^33: make another with `openssl genrsa -out NEW 3072`, \
         whose exponent is 65537"
    )]
    RsaExponent,
    /// Made by a chip of Infineon before 2017.
    #[error(
        "an RSA key that its public half gives away (ROCA, CVE-2017-15361): don't use it for anything, \
         and make another, with other hardware or with `openssl genrsa -out NEW 3072`"
    )]
    Roca,
    /// Edited, or put together of two keys.
    #[error("the parts of this key don't belong to each other: take it anew from where it was made")]
    Inconsistent,
    /// What it is encrypted with is old, or is not part of the one cryptography library in here.
    #[error(
        "encrypted with {with}, which is not read here: encrypt it anew with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
    )]
    UnreadEncryption {
        /// What it is encrypted with.
        with: &'static str,
    },
    /// A file that was made to keep us busy.
    #[error(
        "encrypted with more than {} rounds of PBKDF2: encrypt it anew with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 600000 -in OLD -out NEW`",
        super::pbes2::MAX_ROUNDS
    )]
    TooManyRounds,
    /// An encrypted key by itself.
    #[error("the key is encrypted: give its passphrase too")]
    PassphraseMissing,
    /// Or a damaged file: the two can't be told apart.
    #[error(
        "the passphrase doesn't open this key: look for typing errors and blanks at its ends, or copy the file anew"
    )]
    WrongPassphrase,
}
