//! Every form that is read, of every kind of key.

use super::*;
use crate::token::Algorithm;
use crate::token::import::KeyKind;

/// A JWS has two numbers of 32 bytes.
fn as_openssl_wants_it(algorithm: Algorithm, signature: Vec<u8>) -> Vec<u8> {
    match algorithm {
        Algorithm::ES256 => sequence(&[integer(&signature[..32]), integer(&signature[32..])]),
        _ => signature,
    }
}

/// The key signs, and openssl verifies with the public half that it finds in the very same text.
fn signs(openssl: &Openssl, text: &str, passphrase: Option<&str>, public: &str, algorithm: Algorithm) {
    let key = taken(text, passphrase).signing_key(Some(algorithm)).unwrap();
    assert_eq!(key.public().algorithm(), algorithm);
    assert_eq!(key.public().to_pem().unwrap(), public, "{text}");
    let pkcs8 = pem("PRIVATE KEY", key.expose_pkcs8());
    assert_eq!(openssl.public(&pkcs8), public, "the normalised form is openssl's too");
    openssl.write("public.pem", public);
    openssl.write("signed", "message");
    openssl.write("signature", as_openssl_wants_it(algorithm, key.sign(b"message").unwrap()));
    let options = match algorithm {
        Algorithm::EdDSA => "",
        Algorithm::PS256 => "-digest sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32",
        Algorithm::ES256 | Algorithm::RS256 => "-digest sha256",
    };
    openssl.run(&format!("pkeyutl -verify -pubin -rawin -in signed -sigfile signature -inkey public.pem {options}"));
}

const MADE: [(&str, KeyKind); 3] = [(EC, KeyKind::P256), (RSA, KeyKind::Rsa), (ED25519, KeyKind::Ed25519)];

#[test]
fn openssl_verifies_what_a_key_signs_in_whichever_form_it_came() {
    let openssl = Openssl::new();
    for (made, kind) in MADE {
        let key = openssl.run(made);
        let public = openssl.public(&key);
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(taken(&key, None).kind(), kind);
        let mut forms = vec![key.clone(), key.replace('\n', "\r\n"), format!("\u{feff}A key:\n\n  {key}\n that was.")];
        if kind != KeyKind::Ed25519 {
            forms.push(openssl.rewritten(&key, "pkey -traditional"));
            assert!(forms.last().unwrap().contains(" RSA ") || forms.last().unwrap().contains(" EC "));
        }
        if kind == KeyKind::P256 {
            forms.push(openssl.rewritten(&key, "ec -conv_form compressed"));
            forms.push(openssl.rewritten(&key, "ec -no_public"));
            forms.push(openssl.rewritten(&key, "pkey -ec_conv_form compressed"));
        }
        // With what belongs to it in one file.
        forms.push(format!("{public}{key}"));
        for form in forms {
            for algorithm in kind.algorithms() {
                signs(&openssl, &form, None, &public, *algorithm);
            }
            assert!(read_private(&form, Some("needless")).is_ok(), "{form}");
        }
        for encryption in [
            "-v2 aes256",
            "-v2 aes-128-cbc -v2prf hmacWithSHA1",
            "-v2 aes-192-cbc -v2prf hmacWithSHA384 -iter 1",
            "-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 100000",
        ] {
            let form = openssl.rewritten(&key, &format!("pkcs8 -topk8 {encryption} -passout pass:{PASSPHRASE}"));
            assert!(form.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
            signs(&openssl, &form, Some(PASSPHRASE), &public, kind.default_algorithm());
        }
    }
}

#[test]
fn keys_are_taken_as_openssl_makes_them_at_once() {
    let openssl = Openssl::new();
    let with_parameters = openssl.run("ecparam -name prime256v1 -genkey");
    assert!(with_parameters.starts_with("-----BEGIN EC PARAMETERS-----"));
    signs(&openssl, &with_parameters, None, &openssl.public(&with_parameters), Algorithm::ES256);
    for (made, kind) in MADE {
        let encrypted = openssl.run(&format!("{made} -aes256 -pass pass:{PASSPHRASE}"));
        openssl.write("encrypted.pem", &encrypted);
        let public = openssl.run(&format!("pkey -pubout -in encrypted.pem -passin pass:{PASSPHRASE}"));
        signs(&openssl, &encrypted, Some(PASSPHRASE), &public, kind.default_algorithm());
    }
    for small in ["genrsa -traditional -3 2048", "genrsa -traditional 4096"] {
        let key = openssl.run(small);
        signs(&openssl, &key, None, &openssl.public(&key), Algorithm::PS256);
    }
}

#[test]
fn the_second_version_of_pkcs8_is_read_with_its_public_key() {
    let openssl = Openssl::new();
    for (made, kind) in MADE {
        let key = openssl.run(made);
        let public = openssl.public(&key);
        let second = second_version(&key, &public_bytes(&public));
        signs(&openssl, &second, None, &public, kind.default_algorithm());
    }
}

#[test]
fn a_private_number_without_its_zeros_in_front_is_the_same_number() {
    let openssl = Openssl::new();
    let short = |number: &[u8]| {
        let curve = element(0xa0, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]));
        pem("EC PRIVATE KEY", &sequence(&[integer(&[1]), element(4, number), curve]))
    };
    let key = taken(&short(&[7; 30]), None).signing_key(None).unwrap();
    let full = short(&[&[0, 0][..], &[7; 30]].concat());
    signs(&openssl, &full, None, &key.public().to_pem().unwrap(), Algorithm::ES256);
    assert_eq!(refused(&short(&[7; 33]), None), ImportError::Damaged);
    for beyond in [[0; 32], [0xff; 32]] {
        assert_eq!(refused(&short(&beyond), None), ImportError::Inconsistent);
    }
}

#[test]
fn an_empty_passphrase_is_one() {
    let openssl = Openssl::new();
    let encrypted = openssl.rewritten(&openssl.run(ED25519), "pkcs8 -topk8 -v2 aes256 -passout pass:");
    assert!(read_private(&encrypted, Some("")).is_ok());
    assert_eq!(refused(&encrypted, None), ImportError::PassphraseMissing);
    assert_eq!(refused(&encrypted, Some(" ")), ImportError::WrongPassphrase);
}

#[test]
fn an_algorithm_that_does_not_fit_is_refused_with_what_would() {
    let openssl = Openssl::new();
    for (made, kind) in MADE {
        let key = taken(&openssl.run(made), None);
        let default = key.signing_key(None).unwrap().public().algorithm();
        assert_eq!((default, Some(&default)), (kind.default_algorithm(), kind.algorithms().first()));
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !kind.algorithms().contains(algorithm)) {
            let error = key.signing_key(Some(algorithm)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{algorithm} does not fit {kind}: ")), "{error}");
            let advice = error.split_once(": ").unwrap().1;
            for other in Algorithm::ALL {
                assert_eq!(advice.contains(other.as_str()), kind.algorithms().contains(&other), "{error}");
            }
        }
    }
}

#[test]
fn a_key_shows_no_private_byte() {
    let key = taken(&Openssl::new().run(ED25519), None);
    assert_eq!(format!("{key:?}"), "PrivateKey(an Ed25519 key …)");
}
