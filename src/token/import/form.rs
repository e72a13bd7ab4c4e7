//! PKCS#8: what every kind of private key may be wrapped in, and how the names in it read.

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Reader, SliceReader, Tag, TagNumber};

use super::{ImportError, PrivateKey, elliptic, rsa};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"); // RFC 5480, section 2.1.1
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112"); // RFC 8410, section 3
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"); // RFC 8017, appendix A.1

/// `OneAsymmetricKey`, version 1 or 2 (RFC 5958, section 2).
struct Wrapped<'a> {
    algorithm: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
    key: &'a [u8],
    public: Option<&'a [u8]>,
}

pub(super) fn pkcs8(der: &[u8]) -> Result<PrivateKey, ImportError> {
    let wrapped = whole(der, |reader| {
        version(reader, 0..=1)?;
        let (algorithm, parameters) = algorithm_identifier(reader)?;
        let key = <&OctetStringRef>::decode(reader)?.as_bytes();
        let _attributes = tagged(reader, 0)?;
        // IMPLICIT: the content of a BIT STRING without its tag; the first byte says how many bits to leave out.
        let public = tagged(reader, 1)?.map(|bits| bits.strip_prefix(&[0]).ok_or(ImportError::Damaged)).transpose()?;
        Ok(Wrapped { algorithm, parameters, key, public })
    })?;
    match wrapped.algorithm {
        EC => elliptic::sec1(wrapped.key, wrapped.parameters, wrapped.public),
        ED25519 => elliptic::edwards(wrapped.key, wrapped.public),
        RSA => rsa::pkcs1(wrapped.key, wrapped.public),
        other => Err(ImportError::WrongKind { found: kind(other) }),
    }
}

fn kind(algorithm: ObjectIdentifier) -> &'static str {
    // RFC 8410, section 3; RFC 8017, appendix A.2.3; RFC 3279, section 2.3; RFC 9881, section 2.
    match algorithm.to_string().as_str() {
        "1.3.101.110" => "an X25519 key",
        "1.3.101.111" => "an X448 key",
        "1.3.101.113" => "an Ed448 key",
        "1.2.840.113549.1.1.10" => "an RSA key that is bound to PSS (RSASSA-PSS)",
        "1.2.840.10040.4.1" => "a DSA key",
        "1.2.840.113549.1.3.1" | "1.2.840.10046.2.1" => "a Diffie-Hellman key",
        "2.16.840.1.101.3.4.3.17" | "2.16.840.1.101.3.4.3.18" | "2.16.840.1.101.3.4.3.19" => "an ML-DSA key",
        _ => "a key of an unknown kind",
    }
}

/// What a curve is called (RFC 5480, section 2.1.1.1; SEC 2; RFC 5639, section 4.1). `None` for P-256.
pub(super) fn other_curve(curve: AnyRef<'_>) -> Result<Option<&'static str>, ImportError> {
    if curve.header().tag() == Tag::Sequence {
        // CVE-2020-0601 was about those.
        return Ok(Some("an EC key with the equation of its curve instead of the name"));
    }
    let name: ObjectIdentifier = curve.decode_as()?;
    Ok(match name.to_string().as_str() {
        "1.2.840.10045.3.1.7" => None,
        "1.2.840.10045.3.1.1" => Some("an EC key on P-192"),
        "1.3.132.0.33" => Some("an EC key on P-224"),
        "1.3.132.0.34" => Some("an EC key on P-384"),
        "1.3.132.0.35" => Some("an EC key on P-521"),
        "1.3.132.0.10" => Some("an EC key on secp256k1"),
        "1.3.36.3.3.2.8.1.1.7" => Some("an EC key on brainpoolP256r1"),
        "1.3.36.3.3.2.8.1.1.11" => Some("an EC key on brainpoolP384r1"),
        "1.3.36.3.3.2.8.1.1.13" => Some("an EC key on brainpoolP512r1"),
        "1.2.156.10197.1.301" => Some("an SM2 key"),
        _ => Some("an EC key on an unknown curve"),
    })
}

impl From<der::Error> for ImportError {
    fn from(_: der::Error) -> Self {
        Self::Damaged
    }
}

/// A SEQUENCE, and nothing after it.
pub(super) fn whole<'a, T>(
    der: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> Result<T, ImportError>,
) -> Result<T, ImportError> {
    let mut reader = SliceReader::new(der)?;
    let value = reader.sequence(read)?;
    reader.finish()?;
    Ok(value)
}

pub(super) fn version(reader: &mut SliceReader<'_>, known: std::ops::RangeInclusive<u8>) -> Result<u8, ImportError> {
    let version = u8::decode(reader)?;
    if known.contains(&version) { Ok(version) } else { Err(ImportError::Damaged) }
}

/// `AlgorithmIdentifier` (RFC 5280, section 4.1.1.2).
pub(super) fn algorithm_identifier<'a>(
    reader: &mut SliceReader<'a>,
) -> Result<(ObjectIdentifier, Option<AnyRef<'a>>), ImportError> {
    reader.sequence(|reader| {
        let algorithm = ObjectIdentifier::decode(reader)?;
        let parameters = if reader.is_finished() { None } else { Some(AnyRef::decode(reader)?) };
        Ok((algorithm, parameters))
    })
}

/// The content of the optional field with this number.
pub(super) fn tagged<'a>(reader: &mut SliceReader<'a>, number: u32) -> Result<Option<&'a [u8]>, ImportError> {
    if reader.is_finished() {
        return Ok(None);
    }
    let tag = Tag::peek(reader)?;
    let asked = matches!(tag, Tag::ContextSpecific { number: found, .. } if found == TagNumber(number));
    Ok(if asked { Some(AnyRef::decode(reader)?.value()) } else { None })
}

pub(super) fn bits(der: &[u8]) -> Result<&[u8], ImportError> {
    BitStringRef::from_der(der)?.as_bytes().ok_or(ImportError::Damaged)
}
