//! RSA keys.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::RsaKeyPair;
use der::Decode as _;
use der::asn1::UintRef;
use zeroize::Zeroizing;

use super::{ImportError, KeyKind, PrivateKey, form, roca};

/// Those that `SigningKey` takes.
const BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The largest exponent that aws-lc takes.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// `RSAPrivateKey` (RFC 8017, appendix A.1.2), and the `RSAPublicKey` that PKCS#8 put beside it.
pub(super) fn pkcs1(der: &[u8], public: Option<&[u8]>) -> Result<PrivateKey, ImportError> {
    let (modulus, exponent, rest) = form::whole(der, |reader| {
        if form::version(reader, 0..=1)? == 1 {
            return Err(ImportError::WrongKind { found: "an RSA key of more than two primes" });
        }
        let (modulus, exponent) = (UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes());
        // d, p, q and what follows from them.
        let mut rest = [[].as_slice(); 6];
        for number in &mut rest {
            *number = UintRef::decode(reader)?.as_bytes();
        }
        Ok((modulus, exponent, rest))
    })?;
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if !BITS.contains(&bits) {
        return Err(ImportError::RsaSize { bits });
    }
    if !exponent_is_sound(exponent) {
        return Err(ImportError::RsaExponent);
    }
    if roca::has_the_mark(modulus) {
        return Err(ImportError::Roca);
    }
    // Nothing is computed with numbers of any length that a file likes.
    let longer = rest.iter().any(|number| number.len() > modulus.len());
    if longer || public.is_some_and(|public| !says_the_same(public, modulus, exponent)) {
        return Err(ImportError::Inconsistent);
    }
    let pair = RsaKeyPair::from_der(der).map_err(|_| ImportError::Inconsistent)?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| ImportError::Inconsistent)?;
    Ok(PrivateKey { kind: KeyKind::Rsa, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
}

/// As `VerificationKey` wants it.
fn exponent_is_sound(exponent: &[u8]) -> bool {
    let value = exponent.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    exponent.len() <= 8 && value % 2 == 1 && (3..=MAX_EXPONENT).contains(&value)
}

fn says_the_same(public: &[u8], modulus: &[u8], exponent: &[u8]) -> bool {
    let read =
        form::whole(public, |reader| Ok([UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes()]));
    read == Ok([modulus, exponent])
}
