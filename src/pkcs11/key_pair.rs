//! Key pairs in the token: made, found, used, destroyed.

use std::cell::Cell;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::SessionState;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, OctetKeyPairParameters, RSAKeyParameters,
};

use super::TokenError;
use super::connection::{Fault, Open, is_loss, told};
use crate::clock::random;
use crate::token::{Algorithm, VerificationKey, has_the_mark_of_roca, of_point};

/// The object identifier of P-256 (RFC 5480, section 2.1.1.1), in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Ed25519 by name (PKCS#11 3.0, section 2.3.10), and by its object identifier (RFC 8410): tokens take one or the other.
const ED25519: [&[u8]; 2] = [b"\x13\x0cedwards25519", &[0x06, 0x03, 0x2b, 0x65, 0x70]];
const RSA_BITS: u64 = 2048;
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// RFC 7518, section 3.5: as long as the hash.
const PSS_SALT: u64 = 32;

/// A name that no other object has.
pub(super) fn new_id() -> Result<String, TokenError> {
    let id: [u8; 16] = random().map_err(|error| TokenError::Away(error.to_string()))?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes a key pair whose private half can't be taken out, and checks that it is so. What an attempt before this one left under the
/// same id goes first; what this one leaves where it fails is for the caller to [`destroy`].
/// `is_begun` says whether there may be any.
pub(super) fn make(
    open: &mut Open,
    algorithm: Algorithm,
    object: &str,
    is_begun: &Cell<bool>,
) -> Result<VerificationKey, Fault> {
    is_able(open, algorithm)?;
    if is_begun.get() {
        destroy(open, object)?;
    }
    is_begun.set(true);
    // So that it is known whose it is, if this process does not live to tell.
    tracing::info!(object, token = open.label, "a key is being made in the hardware token");
    let (public, private) = generated(open, algorithm, object)?;
    is_kept(open, private)?;
    let key = public_half(open, algorithm, public)?;
    for half in [private, public] {
        let label = Attribute::Label(format!("countermark {}", key.key_id()).into_bytes());
        match open.session.update_attributes(half, &[label]) {
            Err(error) if is_loss(&error) => return Err(error.into()),
            // For people only, and some modules change nothing that is made.
            Err(error) => {
                let (why, kid) = (told(&error), key.key_id());
                tracing::warn!(why, object, kid, "the hardware token does not take another label for this object");
            }
            Ok(()) => {}
        }
    }
    Ok(key)
}

/// Signs as JWS has it. What lies there under this id may be another key by now: no signature goes out that nobody takes.
pub(super) fn sign(open: &mut Open, public: &VerificationKey, object: &str, message: &[u8]) -> Result<Vec<u8>, Fault> {
    let key = match open.found.get(object) {
        Some(key) => *key,
        None => {
            let key = private_of(open, object)?;
            open.found.insert(object.to_owned(), key);
            key
        }
    };
    let signature = signed(open, public.algorithm(), key, message)?;
    if !public.verifies(message, &signature) {
        return Err(Fault::Plain(format!("its object {object} does not sign as the key {}", public.key_id())));
    }
    Ok(signature)
}

fn signed(open: &Open, algorithm: Algorithm, key: ObjectHandle, message: &[u8]) -> Result<Vec<u8>, Fault> {
    let signature = match algorithm {
        Algorithm::ES256 => {
            // r and s one after the other, as JWS wants them (RFC 7518, section 3.4); not every token hashes for it.
            open.session.sign(&Mechanism::Ecdsa, key, digest::digest(&digest::SHA256, message).as_ref())
        }
        Algorithm::RS256 => open.session.sign(&Mechanism::Sha256RsaPkcs, key, message),
        Algorithm::PS256 => {
            let padding = PkcsPssParams {
                hash_alg: MechanismType::SHA256,
                mgf: PkcsMgfType::MGF1_SHA256,
                s_len: PSS_SALT.into(),
            };
            open.session.sign(&Mechanism::Sha256RsaPkcsPss(padding), key, message)
        }
        Algorithm::EdDSA => {
            open.session.sign(&Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), key, message)
        }
    };
    Ok(signature?)
}

/// Destroys both halves, if they are there: how many objects that were.
pub(super) fn destroy(open: &mut Open, object: &str) -> Result<usize, Fault> {
    open.found.remove(object);
    destroy_all(open, object)
}

fn destroy_all(open: &Open, object: &str) -> Result<usize, Fault> {
    // Whoever is not logged in sees no private half.
    if !matches!(open.session.get_session_info()?.session_state(), SessionState::RwUser) {
        return Err(Fault::Lost("the session is not logged in any more".into()));
    }
    let found = open.session.find_objects(&[Attribute::Token(true), Attribute::Id(bytes(object)?)])?;
    for object in &found {
        open.session.destroy_object(*object)?;
    }
    Ok(found.len())
}

/// Whether the token has what the algorithm takes.
fn is_able(open: &Open, algorithm: Algorithm) -> Result<(), Fault> {
    let needed = match algorithm {
        Algorithm::ES256 => {
            [(MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"), (MechanismType::ECDSA, "CKM_ECDSA")]
        }
        Algorithm::EdDSA => [
            (MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, "CKM_EC_EDWARDS_KEY_PAIR_GEN"),
            (MechanismType::EDDSA, "CKM_EDDSA"),
        ],
        Algorithm::RS256 => [
            (MechanismType::RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN"),
            (MechanismType::SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS"),
        ],
        Algorithm::PS256 => [
            (MechanismType::RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN"),
            (MechanismType::SHA256_RSA_PKCS_PSS, "CKM_SHA256_RSA_PKCS_PSS"),
        ],
    };
    let has = open.module.get_mechanism_list(open.slot)?;
    match needed.into_iter().find(|(needed, _)| !has.contains(needed)) {
        Some((_, mechanism)) => Err(Fault::Lacks(TokenError::Lacks { algorithm, mechanism })),
        None => Ok(()),
    }
}

fn generated(open: &Open, algorithm: Algorithm, object: &str) -> Result<(ObjectHandle, ObjectHandle), Fault> {
    let (id, label) = (bytes(object)?, format!("countermark {object}").into_bytes());
    let common = || vec![Attribute::Token(true), Attribute::Id(id.clone()), Attribute::Label(label.clone())];
    let mut private = common();
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        // It signs, and nothing else: some tokens allow the rest where they are not told.
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    let make = |how: Mechanism<'_>, own: Vec<Attribute>| {
        let mut public = common();
        public.extend([Attribute::Private(false), Attribute::Verify(true)]);
        public.extend(own);
        open.session.generate_key_pair(&how, &public, &private)
    };
    let made = match algorithm {
        Algorithm::ES256 => make(Mechanism::EccKeyPairGen, vec![Attribute::EcParams(P256.to_vec())]),
        Algorithm::EdDSA => {
            let [name, identifier] = ED25519;
            let make = |curve: &[u8]| make(Mechanism::EccEdwardsKeyPairGen, vec![Attribute::EcParams(curve.to_vec())]);
            match make(name) {
                // Modules say this and that of a name that they don't know. It may have been made all the same.
                Err(_) => {
                    destroy_all(open, object)?;
                    make(identifier)
                }
                made => made,
            }
        }
        Algorithm::RS256 | Algorithm::PS256 => make(
            Mechanism::RsaPkcsKeyPairGen,
            vec![Attribute::ModulusBits(RSA_BITS.into()), Attribute::PublicExponent(RSA_EXPONENT.to_vec())],
        ),
    };
    Ok(made?)
}

/// A token that lets its keys out, takes them in, or uses them for more than it was told, is none.
fn is_kept(open: &Open, private: ObjectHandle) -> Result<(), Fault> {
    let wanted = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
    ];
    let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    let has = open.session.get_attributes(private, &types)?;
    match wanted.into_iter().find(|wanted| !has.contains(wanted)) {
        Some(missing) => {
            let why = format!("it does not keep private keys to itself, {missing:?} is not so");
            Err(Fault::Lacks(TokenError::Unfit(why)))
        }
        None => Ok(()),
    }
}

fn public_half(open: &Open, algorithm: Algorithm, public: ObjectHandle) -> Result<VerificationKey, Fault> {
    let types = match algorithm {
        Algorithm::ES256 | Algorithm::EdDSA => vec![AttributeType::EcPoint],
        Algorithm::RS256 | Algorithm::PS256 => vec![AttributeType::Modulus, AttributeType::PublicExponent],
    };
    let has = open.session.get_attributes(public, &types)?;
    let key = match (algorithm, has.as_slice()) {
        (Algorithm::ES256, [Attribute::EcPoint(point)]) => of_point(unwrapped(point, 65)),
        (Algorithm::EdDSA, [Attribute::EcPoint(point)]) => {
            Some(AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                curve: EllipticCurve::Ed25519,
                x: URL_SAFE_NO_PAD.encode(unwrapped(point, 32)),
                ..Default::default()
            }))
        }
        (Algorithm::RS256 | Algorithm::PS256, [Attribute::Modulus(n), Attribute::PublicExponent(e)]) => {
            Some(AlgorithmParameters::RSA(RSAKeyParameters {
                n: URL_SAFE_NO_PAD.encode(without_zeros(n)),
                e: URL_SAFE_NO_PAD.encode(without_zeros(e)),
                ..Default::default()
            }))
        }
        _ => None,
    };
    if matches!(has.as_slice(), [Attribute::Modulus(modulus), ..] if has_the_mark_of_roca(modulus)) {
        let why = "whoever has the public half can find the private one (ROCA, CVE-2017-15361)";
        return Err(Fault::Lacks(TokenError::Unfit(why.into())));
    }
    let jwk = key.map(|algorithm| Jwk { common: CommonParameters::default(), algorithm });
    jwk.and_then(|jwk| VerificationKey::from_jwk(algorithm, jwk).ok())
        .ok_or_else(|| Fault::Plain("it made a public key that is none of its algorithm".into()))
}

/// A point of this length. PKCS#11 has it in an OCTET STRING; some tokens have it bare.
fn unwrapped(point: &[u8], length: u8) -> &[u8] {
    point.strip_prefix(&[4, length]).filter(|bare| bare.len() == usize::from(length)).unwrap_or(point)
}

/// Tokens may write integers with zeros in front; JWK does not (RFC 7518, section 2).
fn without_zeros(mut integer: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = integer {
        integer = rest;
    }
    integer
}

fn private_of(open: &Open, object: &str) -> Result<ObjectHandle, Fault> {
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true), Attribute::Id(bytes(object)?)];
    match open.session.find_objects(&wanted)?.as_slice() {
        [one] => Ok(*one),
        // Nor does a session that has lost its login, or an old look at the token, see any.
        [] => {
            Err(Fault::Lost(format!("it has no private key of the id {object}: restore it, or activate another key")))
        }
        several => Err(Fault::Plain(format!("{} private keys have the id {object}", several.len()))),
    }
}

/// Hex, as it stands in the document of keys.
fn bytes(object: &str) -> Result<Vec<u8>, Fault> {
    let pairs = object.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs
        .collect::<Option<Vec<u8>>>()
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Fault::Plain("no id of an object".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_points_are_read_in_every_spelling() {
        assert_eq!(without_zeros(&[0, 0, 1, 0]), [1, 0]);
        let point = [vec![4], vec![7; 64]].concat();
        assert_eq!(unwrapped(&[&[4, 65][..], &point].concat(), 65), point);
        assert_eq!(unwrapped(&point, 65), point);
        // A bare key that begins as an OCTET STRING would.
        let bare = [vec![4, 32], vec![7; 30]].concat();
        assert_eq!(unwrapped(&bare, 32), bare);
    }

    #[test]
    fn an_id_is_hex_and_nothing_else() {
        assert_eq!(bytes("00ff").ok(), Some(vec![0, 255]));
        for bad in ["", "0", "0g", "0ff", "é"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
