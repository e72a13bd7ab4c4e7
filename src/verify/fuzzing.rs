//! Any text as a token, and any header and payload as one that we signed ourselves.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::scene::{ISSUER, NOW, Scene};
use super::{LEEWAY, Reason, Refusal, Verified};
use crate::fuzzing::repeats;
use crate::token::{Algorithm, MAX_TOKEN_LENGTH, SigningKey, TokenId};

/// Ed25519: the fastest, because everything is signed anew.
static KEY: LazyLock<Option<Arc<SigningKey>>> =
    LazyLock::new(|| SigningKey::generate(Algorithm::EdDSA).ok().map(Arc::new));

/// The first byte says what the rest is: `t` a token, `s` two segments to be signed as they are, `j` a header and a payload
/// (a line each) to be encoded and signed. `$token`, `$kid`, `$sub` and `$jti` stand for those of a good token.
pub fn token(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let (Ok(text), Some(key)) = (std::str::from_utf8(rest), KEY.as_ref()) else { return };
    let scene = Scene::signed_by(Arc::clone(key));
    let text = filled(text, &scene);
    let signed = match kind {
        b't' => text.clone(),
        b's' => text.split_once('.').map_or_else(String::new, |(header, payload)| scene.sign_segments(header, payload)),
        b'j' => text.split_once('\n').map_or_else(String::new, |(header, payload)| scene.sign(header, payload)),
        _ => return,
    };
    match scene.decide(&signed) {
        Ok(verified) => accepted(&signed, &verified, &scene),
        Err(refusal) => refused(&signed, &refusal, &scene, *kind != b't' || text.contains(&scene.token())),
    }
}

fn filled(text: &str, scene: &Scene) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    text.replace("$token", &scene.token())
        .replace("$kid", scene.key.public().key_id())
        .replace("$sub", &scene.claims.account.to_string())
        .replace("$jti", &jti(scene))
}

fn jti(scene: &Scene) -> String {
    scene.payload().get("jti").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What was accepted is what contract section 1 says, read once more by other means.
fn accepted(token: &str, verified: &Verified, scene: &Scene) {
    assert!(token.len() <= MAX_TOKEN_LENGTH);
    let segments: Vec<Vec<u8>> = token
        .split('.')
        .map(|segment| {
            let bytes = URL_SAFE_NO_PAD.decode(segment).unwrap_or_default();
            assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), segment, "another spelling was accepted");
            bytes
        })
        .collect();
    let [header, payload, signature] = segments.as_slice() else { unreachable!("not three segments") };
    assert_eq!(signature.len(), 64);

    let header = members(header);
    assert_eq!(header.len(), 3, "{header:?}");
    let says = |name: &str| header.get(name).and_then(Value::as_str);
    assert_eq!(
        (says("alg"), says("typ"), says("kid")),
        (Some("EdDSA"), Some("at+jwt"), Some(scene.key.public().key_id()))
    );

    let claims = members(payload);
    let says = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or(-1);
    assert_eq!(says("iss"), ISSUER);
    assert_eq!(says("sub"), verified.account().to_string());
    assert_eq!(says("sub"), says("client_id"));
    assert_eq!(says("jti"), jti(scene));
    assert_eq!(TokenId::of_jti(says("jti")), verified.token_id());
    assert!(claims.get("aud").and_then(Value::as_array).is_some_and(|named| named.contains(&"billing".into())));
    assert!(number("exp") + LEEWAY > NOW && number("exp") == verified.expires_at());
    assert!((0..=NOW + LEEWAY).contains(&number("iat")));
    assert_eq!(number("gen"), 3);
    assert!(claims.get("cnf").is_none(), "a binding that nobody proved");
    // The roles of the claims are hints: the state decides.
    assert_eq!(verified.role().as_str(), "deployer");
}

fn refused(token: &str, refusal: &Refusal, scene: &Scene, ours: bool) {
    let proven = !refusal.reason.is_unproven() && refusal.reason != Reason::StoreUnavailable;
    assert_eq!(proven, refusal.holder.is_some(), "{refusal:?}");
    assert!(ours || !proven, "nobody signed this: {refusal:?}");
    if token.len() > MAX_TOKEN_LENGTH {
        assert_eq!(refusal.reason, Reason::TooLarge);
    }
    let shown = format!("{refusal:?}");
    assert!(!shown.contains(&jti(scene)), "the jti is shown");
    let encoded = |segment: &str| segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let long = token.split('.').find(|part| part.len() > 43 && encoded(part) && shown.contains(part));
    assert_eq!(long, None, "a segment is shown");
}

/// The members of an object of which none appears twice.
fn members(text: &[u8]) -> Map<String, Value> {
    assert!(!repeats(text), "a member twice");
    serde_json::from_slice(text).unwrap_or_default()
}
