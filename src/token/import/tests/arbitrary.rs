//! Whatever is given, there is an answer.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// One key in each form; the encrypted one is quickly derived.
static KEYS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let openssl = Openssl::new();
    let (ec, rsa, edwards) = (openssl.run(EC), openssl.run(RSA), openssl.run(ED25519));
    let encrypted = |key| openssl.rewritten(key, &format!("pkcs8 -topk8 -iter 1 -passout pass:{PASSPHRASE}"));
    vec![
        ("PRIVATE KEY", der(&ec)),
        ("PRIVATE KEY", der(&rsa)),
        ("PRIVATE KEY", der(&edwards)),
        ("PRIVATE KEY", der(&second_version(&edwards, &public_bytes(&openssl.public(&edwards))))),
        ("EC PRIVATE KEY", der(&openssl.rewritten(&ec, "ec"))),
        ("RSA PRIVATE KEY", der(&openssl.rewritten(&rsa, "rsa -traditional"))),
        ("ENCRYPTED PRIVATE KEY", der(&encrypted(&ec))),
        ("ENCRYPTED PRIVATE KEY", der(&encrypted(&edwards))),
    ]
});

fn answer(text: &str) {
    for passphrase in [None, Some(PASSPHRASE)] {
        if let Err(error) = read_private(text, passphrase).and_then(|key| key.signing_key(None)) {
            shows_nothing_of(text, passphrase, error);
        }
    }
}

fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"])
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in any::<String>(), label in label()) {
        answer(&text);
        answer(&format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----"));
    }

    #[test]
    fn any_bytes_in_a_frame_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300), label in label()) {
        answer(&pem(label, &bytes));
        answer(&pem(label, &element(0x30, &bytes)));
    }

    #[test]
    fn a_key_with_changed_bytes_gets_an_answer(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        near in any::<bool>(),
        relabelled in prop::option::weighted(0.1, label()),
    ) {
        let (label, mut der) = which.get(&KEYS).clone();
        // What is read is at the beginning; after it there is much that means nothing.
        let length = if near { der.len().min(60) } else { der.len() };
        for (place, byte) in changes {
            der[place.index(length)] = byte;
        }
        answer(&pem(relabelled.unwrap_or(label), &der));
    }

    #[test]
    fn a_key_with_changed_text_gets_an_answer(
        which in any::<prop::sample::Index>(),
        cut in any::<[prop::sample::Index; 2]>(),
        between in "[ \t\r\na-zA-Z:,=+/-]{0,12}|-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----",
    ) {
        let (label, der) = which.get(&KEYS);
        let text = pem(label, der);
        let [one, other] = cut.map(|cut| cut.index(text.len()));
        answer(&format!("{}{between}{}", &text[..one.min(other)], &text[one.max(other)..]));
        answer(&format!("{}{between}{}", &text[..one], &text[one..]));
    }
}
