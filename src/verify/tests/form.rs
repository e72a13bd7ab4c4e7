//! Size and form: three segments of strict base64url that hold JSON objects.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::scene::text;
use super::*;
use crate::token::{Algorithm, MAX_TOKEN_LENGTH, SigningKey};

#[test]
fn a_good_token_passes_under_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let scene = Scene::signed_by(Arc::new(SigningKey::generate(algorithm).unwrap()));
        let verified = scene.decide(&scene.token()).unwrap();
        assert_eq!(verified.account(), scene.claims.account, "{algorithm}");
        assert_eq!(verified.key_id(), scene.key.public().key_id());
        assert_eq!(verified.username().as_str(), "ci-deploy");
        assert_eq!((verified.issued_at(), verified.expires_at()), (scene.claims.issued_at, scene.claims.expires_at));
        assert!(verified.is_current());
    }
}

#[test]
fn no_single_character_of_a_token_can_be_changed() {
    let scene = Scene::new();
    let token = scene.token();
    for (at, old) in token.char_indices() {
        for new in ['A', 'w', '.'].into_iter().filter(|new| *new != old) {
            let changed = format!("{}{new}{}", &token[..at], &token[at + 1..]);
            let refusal = scene.decide(&changed).unwrap_err();
            assert!(refusal.reason.is_unproven() && refusal.holder.is_none(), "{new} at {at}: {}", refusal.reason);
        }
        let removed = format!("{}{}", &token[..at], &token[at + 1..]);
        assert!(scene.decide(&removed).is_err(), "without the character at {at}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_function(text in "(\\PC{0,40}|[a-zA-Z0-9_=-]{0,30}\\.[a-zA-Z0-9_-]{0,30}\\.[a-zA-Z0-9_-]{0,30})") {
        let refusal = Scene::new().decide(&text).unwrap_err();
        prop_assert!(refusal.reason.is_unproven());
    }

    #[test]
    fn no_signed_json_breaks_the_function(header in json(), payload in json()) {
        let scene = Scene::new();
        prop_assert!(scene.decide(&scene.sign(&header, &payload)).unwrap_err().reason.is_unproven());
        let good = text(&scene.header(), "", None);
        prop_assert!(scene.decide(&scene.sign(&good, &payload)).unwrap_err().reason.is_unproven());
    }
}

/// Something like JSON, with the names that matter.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e999".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        "\"[a-z]{0,4}\"",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name =
            proptest::sample::select(vec!["alg", "typ", "kid", "iss", "sub", "aud", "gen", "cnf", "teams", "jti"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec((name, inner), 0..4).prop_map(|all| {
                let members: Vec<_> = all.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

#[test]
fn what_has_not_three_segments_is_malformed() {
    let scene = Scene::new();
    let token = scene.token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{token}"),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
    ];
    for text in texts {
        assert_eq!(scene.reason_for(&text), Some(Reason::Malformed), "{text:?}");
    }
}

#[test]
fn an_unsigned_token_is_malformed_whatever_its_header_says() {
    let scene = Scene::new();
    let unsigned = scene.with_header("alg", Some(r#""none""#));
    let (signed, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(scene.reason_for(&format!("{signed}.")), Some(Reason::Malformed));
}

#[test]
fn a_foreign_character_anywhere_is_malformed() {
    let scene = Scene::new();
    let token = scene.token();
    let dots: Vec<_> = token.match_indices('.').map(|(at, _)| at).collect();
    for foreign in [" ", "\t", "\n", "\r\n", "\0", "=", "==", "+", "/", "%2e", "ä", "\u{200b}", "\u{ff0e}", ","] {
        for at in [0, 1, dots[0], dots[0] + 1, dots[1], dots[1] + 1, token.len() - 1, token.len()] {
            let mut spoilt = token.clone();
            spoilt.insert_str(at, foreign);
            assert_eq!(scene.reason_for(&spoilt), Some(Reason::Malformed), "{foreign:?} at {at}");
        }
    }
}

/// Whoever finds two spellings of one token has two entries in a list of tokens that are refused.
#[test]
fn loose_trailing_bits_are_malformed_in_every_segment() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let loosened = |segment: &str| {
        assert_ne!(segment.len() % 4, 0, "no bits to loosen");
        let last = segment.bytes().last().unwrap();
        let at = ALPHABET.iter().position(|b| *b == last).unwrap();
        format!("{}{}", &segment[..segment.len() - 1], char::from(ALPHABET[at + 1]))
    };
    let scene = Scene::new();
    // Spaces at the end, so that the last character has bits to spare.
    let with_spare_bits = |mut text: String| {
        while text.len().is_multiple_of(3) {
            text.push(' ');
        }
        URL_SAFE_NO_PAD.encode(text)
    };
    let header = with_spare_bits(text(&scene.header(), "", None));
    let payload = with_spare_bits(text(&scene.payload(), "", None));
    let token = scene.sign_segments(&header, &payload);
    assert_eq!(scene.reason_for(&token), None);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(scene.reason_for(&format!("{signed}.{}", loosened(signature))), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign_segments(&loosened(&header), &payload)), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign_segments(&header, &loosened(&payload))), Some(Reason::Malformed));
}

#[test]
fn padding_and_the_other_alphabet_are_malformed_even_when_signed() {
    let scene = Scene::new();
    let header = URL_SAFE_NO_PAD.encode(text(&scene.header(), "", None));
    // "????>>>>" has both characters in which the alphabets differ.
    let payload = text(&scene.payload(), "note", Some(r#""????>>>>????>>>> ""#));
    let other_alphabet = STANDARD_NO_PAD.encode(&payload);
    assert!(other_alphabet.contains(['+', '/']));
    assert_eq!(scene.reason_for(&scene.sign_segments(&header, &other_alphabet)), Some(Reason::Malformed));
    let padded = (0..3).map(|spaces| URL_SAFE.encode(format!("{payload}{}", " ".repeat(spaces))));
    let padded: Vec<_> = padded.filter(|segment| segment.ends_with('=')).collect();
    assert_eq!(padded.len(), 2);
    for segment in padded {
        assert_eq!(scene.reason_for(&scene.sign_segments(&header, &segment)), Some(Reason::Malformed));
        let bare = segment.trim_end_matches('=');
        assert_eq!(scene.reason_for(&scene.sign_segments(&header, bare)), None);
    }
}

#[test]
fn a_token_of_4096_characters_is_read_and_one_of_4097_is_not() {
    let scene = Scene::new();
    let token_of = |length: usize| {
        (0..4).find_map(|spaces| {
            let header = format!("{}{}", text(&scene.header(), "", None), " ".repeat(spaces));
            (2000..3000).find_map(|filler| {
                let payload = text(&scene.payload(), "filler", Some(&format!("{:?}", "x".repeat(filler))));
                let characters = (header.len() * 4).div_ceil(3) + (payload.len() * 4).div_ceil(3) + 86 + 2;
                (characters == length).then(|| scene.sign(&header, &payload))
            })
        })
    };
    let longest = token_of(MAX_TOKEN_LENGTH).unwrap();
    assert_eq!((longest.len(), scene.reason_for(&longest)), (4096, None));
    let too_long = token_of(MAX_TOKEN_LENGTH + 1).unwrap();
    assert_eq!((too_long.len(), scene.reason_for(&too_long)), (4097, Some(Reason::TooLarge)));
    assert_eq!(scene.reason_for(&"a".repeat(10_000_000)), Some(Reason::TooLarge));
    assert_eq!(scene.reason_for(&"a".repeat(4096)), Some(Reason::Malformed));
}

#[test]
fn what_holds_no_json_object_is_malformed() {
    let scene = Scene::new();
    let header = text(&scene.header(), "", None);
    let payload = text(&scene.payload(), "", None);
    let (cut_header, cut_payload) = (&header[..header.len() - 1], &payload[..payload.len() - 1]);
    for other in ["", "{}", "null", "1", "[]", "\"text\"", "{", "\u{feff}{}", "{'a':1}", "{\"a\":1,}"] {
        assert_eq!(scene.reason_for(&scene.sign(other, &payload)), Some(Reason::Malformed), "{other:?}");
        assert_eq!(scene.reason_for(&scene.sign(&header, other)), Some(Reason::Malformed), "{other:?}");
    }
    assert_eq!(scene.reason_for(&scene.sign(cut_header, &payload)), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign(&header, cut_payload)), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign(&format!("[{header}]"), &payload)), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign(&header, &format!("[{payload}]"))), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign(&header, &format!("{payload}{payload}"))), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign(&header, &format!("{payload}\0"))), Some(Reason::Malformed));
    let not_utf8 = [&payload.as_bytes()[..payload.len() - 1], b",\"note\":\"\xff\"}"].concat();
    let not_utf8 = scene.sign_segments(&URL_SAFE_NO_PAD.encode(&header), &URL_SAFE_NO_PAD.encode(not_utf8));
    assert_eq!(scene.reason_for(&not_utf8), Some(Reason::Malformed));
}

#[test]
fn a_member_that_appears_twice_is_malformed_even_with_the_same_value() {
    let scene = Scene::new();
    let header = text(&scene.header(), "", None);
    let payload = text(&scene.payload(), "", None);
    let twice =
        |text: &str, name: &str, value: &serde_json::Value| text.replacen('{', &format!("{{{name:?}:{value},"), 1);
    for (name, value) in scene.header() {
        let token = scene.sign(&twice(&header, &name, &value), &payload);
        assert_eq!(scene.reason_for(&token), Some(Reason::Malformed), "{name}");
    }
    for (name, value) in scene.payload() {
        let token = scene.sign(&header, &twice(&payload, &name, &value));
        assert_eq!(scene.reason_for(&token), Some(Reason::Malformed), "{name}");
    }
    // Also written another way, deeper down, and where nobody would look.
    let generation = twice(&payload, "g\\u0065n", &1.into()).replace("\\\\", "\\");
    assert_eq!(scene.reason_for(&scene.sign(&header, &generation)), Some(Reason::Malformed));
    let nested = scene.with_claim("teams", Some(r#"{"payments":"releaser","payments":"admin"}"#));
    assert_eq!(scene.reason_for(&nested), Some(Reason::Malformed));
    let unread = scene.with_claim("note", Some(r#"[{"a":1,"a":1}]"#));
    assert_eq!(scene.reason_for(&unread), Some(Reason::Malformed));
}

#[test]
fn deep_nesting_is_malformed_and_breaks_no_stack() {
    let scene = Scene::new();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(scene.reason_for(&scene.with_claim("note", Some(&nested(50)))), None);
        assert_eq!(scene.reason_for(&scene.with_claim("note", Some(&nested(300)))), Some(Reason::Malformed));
        let unclosed = scene.with_claim("note", Some(&open.repeat(2000 / open.len())));
        assert_eq!(scene.reason_for(&unclosed), Some(Reason::Malformed));
    }
}
