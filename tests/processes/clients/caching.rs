//! How long libraries keep the published keys, and what an unknown one makes them do. `docs/clients.md` tells of it; here it is
//! counted at the server. The clients' clocks are moved, the server's is not.

use serde_json::{Value, json};

use super::verifying::of_an_unknown_key;
use super::{client, key_fetches};
use crate::machine::{Machine, finish};

/// How often the server was asked for its keys, step by step.
fn steps(script: &str) -> Value {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    let tokens = json!([token, of_an_unknown_key(&token)]).to_string();
    let operations = server.document()["operations"].as_str().unwrap();
    finish(&mut client(&machine, &server, script, &[&server.issuer(), operations]), &tokens).expect(0).json()
}

#[test]
fn pyjwt_keeps_keys_for_five_minutes_and_asks_for_an_unknown_one_twice_a_minute() {
    let expected = json!({
        "a hundred tokens": 1,
        "an unknown key at once": 0,
        "an unknown key after 31 s": 1,
        "another one": 0,
        "299 s after that": 0,
        "301 s after that": 1,
        "away, keys fresh": 0,
        "away, keys too old": 0,
        "back": 1,
    });
    assert_eq!(steps("pyjwt_caching.py"), expected);
}

#[test]
fn joserfc_and_authlib_keep_what_their_user_keeps() {
    let expected = json!({
        "a hundred tokens": 1,
        "unknown keys": 0,
        "299 s": 0,
        "301 s": 1,
        "Authlib, ten tokens, get_jwks without a memory": 10,
    });
    assert_eq!(steps("published_keys_caching.py"), expected);
}

#[test]
fn jose_keeps_keys_for_ten_minutes_and_asks_for_an_unknown_one_twice_a_minute() {
    let expected = json!({
        "a hundred tokens": 1,
        "an unknown key at once": 0,
        "an unknown key after 31 s": 1,
        "another one": 0,
        "599 s after that": 0,
        "601 s after that": 1,
        "ten at once, none kept": 1,
        "away, keys fresh": 0,
        "away, keys too old": 0,
        "back": 1,
    });
    assert_eq!(steps("jose_caching.mjs"), expected);
}

#[test]
fn oauth4webapi_keeps_keys_for_five_minutes_and_asks_for_an_unknown_one_once_a_minute() {
    let expected = json!({
        "a hundred tokens": 1,
        "an unknown key at once": 0,
        "an unknown key after 61 s": 1,
        "another one": 0,
        "299 s after that": 0,
        "301 s after that": 1,
        "after another discovery": 1,
        "away, keys fresh": 0,
        "away, keys too old": 0,
        "back": 1,
    });
    assert_eq!(steps("oauth4webapi_caching.mjs"), expected);
}

/// Whoever keeps the keys himself asks whether they are still the same, and gets no body when they are.
#[test]
fn keys_that_did_not_change_are_not_sent_again() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let told = finish(&mut client(&machine, &server, "requests_etag.py", &[&server.issuer()]), "").expect(0).json();
    let keys = "public, max-age=300, must-revalidate";
    assert_eq!(told["fresh"], json!([200, "application/jwk-set+json", keys, true]));
    assert_eq!(told["known"], json!([304, null, keys, false]));
    assert_eq!(told["other"], json!([200, "application/jwk-set+json", keys, true]));
    assert_eq!((key_fetches(&server, 200), key_fetches(&server, 304)), (2, 1));

    for version in ["--http1.1", "--http2"] {
        let (kept, tag) = (machine.path("jwks.json"), machine.path("jwks.etag"));
        let (kept, tag) = (kept.to_str().unwrap(), tag.to_str().unwrap());
        let fetch = || {
            let call = server.call("GET", "/.well-known/jwks.json").flag(version);
            call.option("--etag-compare", tag).option("--etag-save", tag).send()
        };
        std::fs::write(tag, "").unwrap();
        std::fs::write(kept, fetch().expect(200).body).unwrap();
        let unchanged = fetch().expect(304);
        assert_eq!((unchanged.body.as_str(), unchanged.header("Content-Length")), ("", None), "{unchanged:?}");
        assert_eq!(unchanged.header("Cache-Control"), Some(keys));
        assert!(unchanged.header("ETag").is_some());
    }
}
