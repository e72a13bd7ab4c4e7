//! What is not read, and what is said instead.

use super::*;

#[test]
fn what_is_no_private_key_is_refused_by_its_name() {
    let openssl = Openssl::new();
    let key = openssl.run(EC);
    openssl.write("key.pem", &key);
    let found = |text: &str| match refused(text, None) {
        ImportError::NotPrivate { found } => found,
        error => panic!("{error}: {text}"),
    };
    assert_eq!(found(&openssl.public(&key)), "a public key");
    assert_eq!(found(&openssl.run("req -new -x509 -key key.pem -subj /CN=a")), "a certificate");
    assert_eq!(found(&openssl.run("req -new -key key.pem -subj /CN=a")), "a request for a certificate");
    assert_eq!(found(&openssl.run("ecparam -name prime256v1")), "the parameters of a curve");
    assert_eq!(found(&pem("PKCS7", b"?")), "something else");
    for text in ["", "\n", "/etc/keys/key.pem", r#"{"kty":"EC","d":"AAAA"}"#, &STANDARD.encode(der(&key))] {
        assert_eq!(refused(text, None), ImportError::NotPem, "{text}");
    }
    assert_eq!(refused(&"-".repeat(65537), None), ImportError::TooLong);
    taken(&format!("{key}{}", "\n".repeat(64 * 1024 - key.len())), None);
}

#[test]
fn a_damaged_key_is_called_so() {
    let key = Openssl::new().run(EC);
    let lines: Vec<&str> = key.lines().collect();
    let without = |number: usize| {
        let kept = lines.iter().enumerate().filter(|(index, _)| *index != number);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let mut damaged: Vec<String> = (1..lines.len()).map(without).collect();
    damaged.push(key.replace('\n', " "));
    damaged.push(key.replace('\n', "\\n"));
    damaged.push(key.replacen("END PRIVATE", "END EC PRIVATE", 1));
    damaged.push(key.replacen("PRIVATE", "EC PRIVATE", 2));
    damaged.push(key.replacen("PRIVATE", "RSA PRIVATE", 2));
    damaged.push(key.replacen("PRIVATE", "ENCRYPTED PRIVATE", 2));
    damaged.push(pem("PRIVATE KEY", b""));
    damaged.push(pem("PRIVATE KEY", &[der(&key), vec![0]].concat()));
    for text in damaged {
        assert_eq!(refused(&text, Some(PASSPHRASE)), ImportError::Damaged, "{text}");
    }
}

#[test]
fn two_private_keys_are_one_too_many() {
    let openssl = Openssl::new();
    let (one, other) = (openssl.run(EC), openssl.run(ED25519));
    let encrypted = openssl.rewritten(&one, "pkcs8 -topk8 -passout pass:abcd");
    for text in [format!("{one}{other}"), format!("{one}{one}"), format!("{one}{encrypted}")] {
        assert_eq!(refused(&text, None), ImportError::Several);
    }
}

#[test]
fn a_key_of_another_kind_is_refused_by_its_name() {
    let openssl = Openssl::new();
    for (arguments, name) in [
        ("genpkey -algorithm ed448", "an Ed448 key"),
        ("genpkey -algorithm x25519", "an X25519 key"),
        ("genpkey -algorithm x448", "an X448 key"),
        ("genpkey -algorithm DH -pkeyopt group:ffdhe2048", "a Diffie-Hellman key"),
        ("genpkey -algorithm RSA-PSS", "an RSA key that is bound to PSS (RSASSA-PSS)"),
        ("genrsa -primes 3 2048", "an RSA key of more than two primes"),
        ("genrsa -traditional -primes 3 2048", "an RSA key of more than two primes"),
        ("dsaparam -genkey -noout 1024", "a DSA key"),
        ("ecparam -genkey -name secp384r1", "an EC key on P-384"),
        ("ecparam -genkey -name secp521r1", "an EC key on P-521"),
        ("ecparam -genkey -name secp256k1", "an EC key on secp256k1"),
        ("ecparam -genkey -name secp224r1", "an EC key on P-224"),
        ("ecparam -genkey -name prime192v1", "an EC key on P-192"),
        ("ecparam -genkey -name brainpoolP256r1", "an EC key on brainpoolP256r1"),
        ("ecparam -genkey -name brainpoolP384r1", "an EC key on brainpoolP384r1"),
        ("ecparam -genkey -name brainpoolP512r1", "an EC key on brainpoolP512r1"),
        ("ecparam -genkey -name secp256k1 -noout", "an EC key on secp256k1"),
        ("ecparam -genkey -name SM2", "an SM2 key"),
        ("ecparam -genkey -name sect283k1", "an EC key on an unknown curve"),
        (
            "ecparam -genkey -name prime256v1 -param_enc explicit",
            "an EC key with the equation of its curve instead of the name",
        ),
    ] {
        let made = openssl.run(arguments);
        let wrapped = openssl.rewritten(&made, "pkcs8 -topk8 -nocrypt");
        for text in [made, wrapped] {
            let error = refused(&text, None);
            assert_eq!(error, ImportError::WrongKind { found: name }, "{arguments}");
            assert!(error.to_string().starts_with(name));
        }
    }
    let bare = pem("EC PRIVATE KEY", &sequence(&[integer(&[1]), element(4, &[7; 32])]));
    assert_eq!(refused(&bare, None), ImportError::WrongKind { found: "an EC key without its curve" });
    let unknown = sequence(&[integer(&[0]), sequence(&[element(6, &[0x2a, 3])]), element(4, &[7; 32])]);
    assert_eq!(
        refused(&pem("PRIVATE KEY", &unknown), None),
        ImportError::WrongKind { found: "a key of an unknown kind" }
    );
    assert!(matches!(refused(&pem("NICE PRIVATE KEY", b"?"), None), ImportError::WrongKind { .. }));
    let openssh = refused(&pem("OPENSSH PRIVATE KEY", b"openssh-key-v1"), None);
    assert!(openssh.to_string().contains("ssh-keygen -p -m PKCS8"), "{openssh}");
}

#[test]
fn a_wrong_passphrase_is_told_from_none() {
    let openssl = Openssl::new();
    let encrypted = openssl.run(&format!("{EC} -aes256 -pass pass:{PASSPHRASE}"));
    assert_eq!(refused(&encrypted, None), ImportError::PassphraseMissing);
    // Of so many some end in what looks like padding.
    for number in 0..1024 {
        assert_eq!(refused(&encrypted, Some(&format!("{PASSPHRASE}{number}"))), ImportError::WrongPassphrase);
    }
}

#[test]
fn encryption_that_is_not_read_is_refused_with_the_way_out_and_that_way_works() {
    let openssl = Openssl::new();
    let (key, rsa) = (openssl.run(EC), openssl.run(RSA));
    let pass = format!("-passout pass:{PASSPHRASE}");
    for (key, arguments, name) in [
        (&key, "ec -aes256", "OpenSSL's old PEM encryption"),
        (&rsa, "rsa -traditional -aes128", "OpenSSL's old PEM encryption"),
        (&key, "pkcs8 -topk8 -v1 PBE-SHA1-3DES", "PBES1"),
        (&key, "pkcs8 -topk8 -scrypt", "scrypt"),
        (&key, "pkcs8 -topk8 -v2 des3", "a cipher other than AES-CBC"),
        (&key, "pkcs8 -topk8 -v2 aes-256-cfb", "a cipher other than AES-CBC"),
        (&key, "pkcs8 -topk8 -v2prf hmacWithSHA224", "PBKDF2 with a hash other than SHA-1 and SHA-2"),
    ] {
        let encrypted = openssl.rewritten(key, &format!("{arguments} {pass}"));
        for passphrase in [None, Some(PASSPHRASE)] {
            assert_eq!(refused(&encrypted, passphrase), ImportError::UnreadEncryption { with: name }, "{arguments}");
        }
        let advice = refused(&encrypted, None).to_string();
        let (_, command) = advice.split_once("`openssl ").unwrap();
        openssl.write("OLD", &encrypted);
        openssl.run(&format!("{} {pass} -passin pass:{PASSPHRASE}", command.trim_end_matches('`')));
        taken(&std::fs::read_to_string(openssl.path("NEW")).unwrap(), Some(PASSPHRASE));
    }
}

/// Encrypted with that many rounds; what is encrypted is nothing.
fn with_rounds(rounds: &[u8]) -> String {
    let name = |last: u8| element(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, last]);
    let derivation = sequence(&[name(12), sequence(&[element(4, &[1; 8]), integer(rounds)])]);
    let aes256 = element(6, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42]);
    let cipher = sequence(&[aes256, element(4, &[2; 16])]);
    let scheme = sequence(&[name(13), sequence(&[derivation, cipher])]);
    pem("ENCRYPTED PRIVATE KEY", &sequence(&[scheme, element(4, &[3; 48])]))
}

#[test]
fn a_file_cannot_ask_for_more_than_ten_million_rounds() {
    let most = 10_000_000_u32;
    for rounds in [u64::from(most) + 1, u64::from(u32::MAX), u64::from(u32::MAX) + 2, u64::MAX] {
        let error = refused(&with_rounds(&rounds.to_be_bytes()), Some(PASSPHRASE));
        assert_eq!(error, ImportError::TooManyRounds);
        assert!(error.to_string().contains("10000000"), "{error}");
    }
    assert_eq!(refused(&with_rounds(&[0]), Some(PASSPHRASE)), ImportError::Damaged);
    assert_eq!(refused(&with_rounds(&[0xff; 9]), Some(PASSPHRASE)), ImportError::Damaged);
    assert_eq!(refused(&with_rounds(&most.to_be_bytes()), None), ImportError::PassphraseMissing);
    assert_eq!(refused(&with_rounds(&[1]), Some(PASSPHRASE)), ImportError::WrongPassphrase);
}
