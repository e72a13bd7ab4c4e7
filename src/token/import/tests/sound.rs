//! Keys that read well and are not sound.

use super::*;

#[test]
fn an_rsa_key_has_2048_to_4096_bits() {
    let openssl = Openssl::new();
    let key = numbers(&openssl.run("genrsa -traditional 4096"));
    // With bits taken away and put in front.
    let of_bits = |bits: usize| {
        let mut key = key.clone();
        key[1] = [&[1; 8][..], &key[1]].concat().split_off(8 + 512 - bits.div_ceil(8));
        let first = (bits - 1) % 8;
        key[1][0] = key[1][0] & ((1 << first) - 1) | 1 << first;
        of_numbers(&key)
    };
    let made = |bits: usize| openssl.run(&format!("genrsa {bits}"));
    for (bits, text) in [(512, made(512)), (1024, made(1024)), (2047, of_bits(2047)), (4097, of_bits(4097))] {
        let error = refused(&text, None);
        assert_eq!(error, ImportError::RsaSize { bits });
        assert!(error.to_string().contains(&format!("{bits} bits")));
    }
    for bits in [2048, 4095, 4096] {
        assert!(!matches!(read_private(&of_bits(bits), None), Err(ImportError::RsaSize { .. })), "{bits}");
    }
    let zeros = vec![Vec::new(); 9];
    assert_eq!(refused(&of_numbers(&zeros), None), ImportError::RsaSize { bits: 0 });
}

#[test]
fn an_rsa_exponent_is_odd_and_neither_one_nor_huge() {
    let key = numbers(&Openssl::new().run("genrsa -traditional 2048"));
    let huge = (1_u64 << 33) + 1;
    for exponent in [0, 1, 2, 4, 65536, huge, u64::MAX] {
        let mut spoilt = key.clone();
        spoilt[2] = exponent.to_be_bytes().to_vec();
        assert_eq!(refused(&of_numbers(&spoilt), None), ImportError::RsaExponent, "{exponent}");
    }
    let mut spoilt = key.clone();
    spoilt[2] = [&[1; 8][..], &[1]].concat();
    assert_eq!(refused(&of_numbers(&spoilt), None), ImportError::RsaExponent);
    // Sound, and another than the key's.
    spoilt[2] = vec![3];
    assert_eq!(refused(&of_numbers(&spoilt), None), ImportError::Inconsistent);
}

#[test]
fn a_key_with_the_mark_of_roca_is_refused() {
    // A whole key that openssl finds in order, of 2048 bits; both primes made as the paper says, with its M for this length.
    let marked = include_str!("../weak/roca.pem");
    let openssl = Openssl::new();
    assert!(openssl.rewritten(marked, "rsa -check -noout").contains("RSA key ok"));
    assert_eq!(refused(marked, None), ImportError::Roca);
    assert_eq!(refused(&openssl.rewritten(marked, "pkey"), None), ImportError::Roca);
    for _ in 0..5 {
        taken(&openssl.run(RSA), None);
    }
}

#[test]
fn the_numbers_of_an_rsa_key_belong_to_each_other() {
    let openssl = Openssl::new();
    let make = || numbers(&openssl.run("genrsa -traditional 2048"));
    let (key, other) = (make(), make());
    taken(&of_numbers(&key), None);
    for place in [1, 3, 4, 5, 6, 7, 8] {
        let mut mixed = key.clone();
        mixed[place] = other[place].clone();
        assert_eq!(refused(&of_numbers(&mixed), None), ImportError::Inconsistent, "number {place}");
        mixed[place] = vec![0xff; 30_000];
        let error = if place == 1 { ImportError::RsaSize { bits: 240_000 } } else { ImportError::Inconsistent };
        assert_eq!(refused(&of_numbers(&mixed), None), error, "number {place}");
        mixed[place] = Vec::new();
        let error = if place == 1 { ImportError::RsaSize { bits: 0 } } else { ImportError::Inconsistent };
        assert_eq!(refused(&of_numbers(&mixed), None), error, "number {place}");
    }
}

#[test]
fn an_rsa_key_whose_factor_is_no_prime_is_found_by_signing() {
    // Its p has two factors; the other numbers follow from it as if it had none.
    let composite = include_str!("../weak/composite.pem");
    assert_eq!(refused(composite, None), ImportError::Inconsistent);
}

#[test]
fn a_public_key_beside_a_private_one_belongs_to_it() {
    let openssl = Openssl::new();
    for made in [EC, RSA, ED25519] {
        let (key, other) = (openssl.run(made), openssl.run(made));
        let foreign = public_bytes(&openssl.public(&other));
        assert_eq!(refused(&second_version(&key, &foreign), None), ImportError::Inconsistent, "{made}");
        assert_eq!(refused(&second_version(&key, &foreign[1..]), None), ImportError::Inconsistent, "{made}");
    }
}

#[test]
fn what_an_ec_key_says_of_itself_is_true() {
    let openssl = Openssl::new();
    let (key, other) = (openssl.run(EC), openssl.run(EC));
    let foreign = public_bytes(&openssl.public(&other));
    let name = |last: u8| element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, last]);
    let of = |public: &[u8], curve: Vec<u8>| {
        let number = form::whole(&der(&openssl.rewritten(&key, "ec")), |reader| {
            form::version(reader, 1..=1)?;
            let number = <&der::asn1::OctetStringRef>::decode(reader)?.as_bytes().to_vec();
            form::tagged(reader, 0)?;
            form::tagged(reader, 1)?;
            Ok(number)
        });
        let public = element(0xa1, &element(3, &[&[0], public].concat()));
        sequence(&[integer(&[1]), element(4, &number.unwrap()), element(0xa0, &curve), public])
    };
    let own = public_bytes(&openssl.public(&key));
    taken(&pem("EC PRIVATE KEY", &of(&own, name(7))), None);
    for public in [&foreign[..], &own[..64], &[], &[0]] {
        assert_eq!(refused(&pem("EC PRIVATE KEY", &of(public, name(7))), None), ImportError::Inconsistent);
    }
    // P-256 outside, P-192 inside.
    let algorithm = sequence(&[element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), name(7)]);
    let wrapped =
        |inner: Vec<u8>| pem("PRIVATE KEY", &sequence(&[integer(&[0]), algorithm.clone(), element(4, &inner)]));
    taken(&wrapped(of(&own, name(7))), None);
    assert_eq!(refused(&wrapped(of(&own, name(1))), None), ImportError::Inconsistent);
}
