//! Keys on P-256 and Ed25519.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use der::Decode as _;
use der::asn1::{AnyRef, OctetStringRef};
use zeroize::Zeroizing;

use super::{ImportError, KeyKind, PrivateKey, form};

/// The bytes of a private key of either kind.
const LENGTH: usize = 32;

/// `ECPrivateKey` (RFC 5915, section 3), and what PKCS#8 said of its curve and its public key.
pub(super) fn sec1(der: &[u8], named: Option<AnyRef<'_>>, public: Option<&[u8]>) -> Result<PrivateKey, ImportError> {
    let (number, own_curve, own_public) = form::whole(der, |reader| {
        form::version(reader, 1..=1)?;
        let number = <&OctetStringRef>::decode(reader)?.as_bytes();
        let curve = form::tagged(reader, 0)?.map(AnyRef::from_der).transpose()?;
        let public = form::tagged(reader, 1)?.map(form::bits).transpose()?;
        Ok((number, curve, public))
    })?;
    let Some(curve) = named.or(own_curve) else {
        return Err(ImportError::WrongKind { found: "an EC key without its curve" });
    };
    if let Some(found) = form::other_curve(curve)? {
        return Err(ImportError::WrongKind { found });
    }
    if own_curve.is_some_and(|own| own != curve) {
        return Err(ImportError::Inconsistent);
    }
    on_p256(number, [public, own_public].into_iter().flatten())
}

fn on_p256<'a>(number: &[u8], stated: impl Iterator<Item = &'a [u8]>) -> Result<PrivateKey, ImportError> {
    /// `ECPrivateKey` with the number alone and the name of the curve after it.
    const BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    const AFTER: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    // Some writers leave zeros in front out, against RFC 5915, section 3.
    let missing = LENGTH.checked_sub(number.len()).ok_or(ImportError::Damaged)?;
    let number = Zeroizing::new([[0; LENGTH].split_at(missing).0, number].concat());
    let bare = Zeroizing::new([&BEFORE[..], &number, &AFTER].concat());
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let belongs = |public: &[u8]| {
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number, public).map_err(|_| ImportError::Inconsistent)
    };
    // Zero and what is beyond the order of the curve end here.
    let alone = EcdsaKeyPair::from_private_key_der(algorithm, &bare).map_err(|_| ImportError::Inconsistent)?;
    for public in stated {
        belongs(public)?;
    }
    let pkcs8 = belongs(alone.public_key().as_ref())?.to_pkcs8v1().map_err(|_| ImportError::Inconsistent)?;
    Ok(PrivateKey { kind: KeyKind::P256, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
}

/// `CurvePrivateKey` (RFC 8410, section 7), and the public key beside it.
pub(super) fn edwards(der: &[u8], public: Option<&[u8]>) -> Result<PrivateKey, ImportError> {
    let seed = <&OctetStringRef>::from_der(der)?.as_bytes();
    if seed.len() != LENGTH {
        return Err(ImportError::Damaged);
    }
    let pair = match public {
        Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        None => Ed25519KeyPair::from_seed_unchecked(seed),
    };
    let pkcs8 = pair.map_err(|_| ImportError::Inconsistent)?.to_pkcs8v1().map_err(|_| ImportError::Inconsistent)?;
    Ok(PrivateKey { kind: KeyKind::Ed25519, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
}
