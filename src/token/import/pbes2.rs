//! Encrypted PKCS#8 (RFC 5958, section 3) by PBES2 (RFC 8018, section 6.2): PBKDF2 and AES-CBC, as OpenSSL has written it since 1.1.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    self, AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Reader as _, Tag};
use zeroize::Zeroizing;

use super::{ImportError, form};

/// OpenSSL writes 2048, OWASP advises 600 000 for passwords of people.
pub(super) const MAX_ROUNDS: u32 = 10_000_000;

struct Recipe<'a> {
    hash: pbkdf2::Algorithm,
    salt: &'a [u8],
    rounds: NonZeroU32,
    cipher: &'static cipher::Algorithm,
    key_length: usize,
    iv: [u8; 16],
}

/// The PKCS#8 inside. What comes out under a wrong passphrase is an error, or by chance something that is no PKCS#8.
pub(super) fn decrypt(der: &[u8], passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let (recipe, encrypted) = form::whole(der, |reader| {
        let (scheme, parameters) = form::algorithm_identifier(reader)?;
        Ok((recipe(scheme, parameters)?, <&OctetStringRef>::decode(reader)?.as_bytes()))
    })?;
    let passphrase = passphrase.ok_or(ImportError::PassphraseMissing)?;
    let mut key = Zeroizing::new(vec![0; recipe.key_length]);
    pbkdf2::derive(recipe.hash, recipe.rounds, recipe.salt, passphrase.as_bytes(), &mut key);
    let mut plain = Zeroizing::new(encrypted.to_vec());
    let length = UnboundCipherKey::new(recipe.cipher, &key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|key| Ok(key.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(recipe.iv)))?.len()))
        .map_err(|_| ImportError::WrongPassphrase)?;
    plain.truncate(length);
    Ok(plain)
}

fn recipe(scheme: ObjectIdentifier, parameters: Option<AnyRef<'_>>) -> Result<Recipe<'_>, ImportError> {
    let scheme = scheme.to_string();
    if scheme != "1.2.840.113549.1.5.13" {
        // RFC 8018, appendix A.3; RFC 7292, appendix C.
        let old = scheme.starts_with("1.2.840.113549.1.5.") || scheme.starts_with("1.2.840.113549.1.12.1.");
        return Err(ImportError::UnreadEncryption { with: if old { "PBES1" } else { "an unknown scheme" } });
    }
    parameters.ok_or(ImportError::Damaged)?.sequence(|reader| {
        let (derivation, how) = form::algorithm_identifier(reader)?;
        let (cipher, iv) = form::algorithm_identifier(reader)?;
        match derivation.to_string().as_str() {
            "1.2.840.113549.1.5.12" => {}
            // RFC 7914, section 7. It is not in aws-lc-rs, and there is one cryptography library in here.
            "1.3.6.1.4.1.11591.4.11" => return Err(ImportError::UnreadEncryption { with: "scrypt" }),
            _ => return Err(ImportError::UnreadEncryption { with: "an unknown derivation" }),
        }
        let (cipher, key_length) = aes(cipher)?;
        let iv = <&OctetStringRef>::try_from(iv.ok_or(ImportError::Damaged)?)?.as_bytes();
        let iv = iv.try_into().map_err(|_| ImportError::Damaged)?;
        let (hash, salt, rounds) = derivation_of(how.ok_or(ImportError::Damaged)?, key_length)?;
        Ok(Recipe { hash, salt, rounds, cipher, key_length, iv })
    })
}

/// `PBKDF2-params` (RFC 8018, appendix A.2).
fn derivation_of(
    parameters: AnyRef<'_>,
    key_length: usize,
) -> Result<(pbkdf2::Algorithm, &[u8], NonZeroU32), ImportError> {
    parameters.sequence(|reader| {
        let salt = <&OctetStringRef>::decode(reader)?.as_bytes();
        let rounds = u64::decode(reader)?;
        if !reader.is_finished() && Tag::peek(reader)? == Tag::Integer && u64::decode(reader)? != key_length as u64 {
            return Err(ImportError::Damaged);
        }
        let hash = if reader.is_finished() { None } else { Some(form::algorithm_identifier(reader)?.0.to_string()) };
        let hash = match hash.as_deref() {
            None | Some("1.2.840.113549.2.7") => pbkdf2::PBKDF2_HMAC_SHA1,
            Some("1.2.840.113549.2.9") => pbkdf2::PBKDF2_HMAC_SHA256,
            Some("1.2.840.113549.2.10") => pbkdf2::PBKDF2_HMAC_SHA384,
            Some("1.2.840.113549.2.11") => pbkdf2::PBKDF2_HMAC_SHA512,
            Some(_) => {
                return Err(ImportError::UnreadEncryption { with: "PBKDF2 with a hash other than SHA-1 and SHA-2" });
            }
        };
        if rounds > u64::from(MAX_ROUNDS) {
            return Err(ImportError::TooManyRounds);
        }
        let rounds = u32::try_from(rounds).ok().and_then(NonZeroU32::new).ok_or(ImportError::Damaged)?;
        Ok((hash, salt, rounds))
    })
}

/// Of a cipher's name the length of its key too (NIST CSOR: aes).
fn aes(name: ObjectIdentifier) -> Result<(&'static cipher::Algorithm, usize), ImportError> {
    Ok(match name.to_string().as_str() {
        "2.16.840.1.101.3.4.1.2" => (&AES_128, 16),
        "2.16.840.1.101.3.4.1.22" => (&AES_192, 24),
        "2.16.840.1.101.3.4.1.42" => (&AES_256, 32),
        _ => return Err(ImportError::UnreadEncryption { with: "a cipher other than AES-CBC" }),
    })
}
