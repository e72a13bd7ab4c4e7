//! How a credential comes in: schemes, repeated and odd headers, queries, bodies.

use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark::listen::Transport;

use super::bench::{Bench, SOON, without_id};
use super::door::Door;
use crate::app::Answer;

/// The largest head that is read: more never gets this far.
const HEAD: usize = 16 * 1024;

type Headers = Vec<(&'static str, Vec<u8>)>;

/// A request that everybody makes with these headers, at the path with this query.
pub fn request(door: Door, query: &str, headers: &[(&str, Vec<u8>)], form: &str) -> Request<Body> {
    let (method, path) = door.method_and_path();
    let mut request = Request::builder().method(method).uri(format!("{path}{query}"));
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(Body::from(form.to_owned())).unwrap()
}

/// The answer, in time, and what was counted.
pub async fn show(bench: &Bench, what: &str, number: usize, make: impl Fn() -> Request<Body>) -> (Answer, Vec<String>) {
    let id = format!("{number:07}");
    let before = bench.decisions();
    let began = Instant::now();
    let answer = bench.ask(number, &id, Transport::Tls, make()).await;
    let mut took = began.elapsed();
    let counted = bench.counted(&before).into_keys().collect();
    for _ in 0..2 {
        if took > SOON {
            let began = Instant::now();
            bench.ask(number, &id, Transport::Tls, make()).await;
            took = took.min(began.elapsed());
        }
    }
    assert!(took <= SOON, "{what} took {took:?}");
    (answer, counted)
}

fn outside(reason: &str) -> &str {
    if matches!(reason, "malformed" | "too_large" | "unknown_key") { "invalid_token" } else { reason }
}

/// Each with the only reason that is counted, or `allowed`.
#[tokio::test]
async fn all_doors_read_the_authorization_header_alike() {
    let bench = Bench::new().await;
    let token = bench.victim.token.as_str();
    let id = bench.victim.claim("sub").as_str().unwrap().to_owned();
    let bearer = || format!("Bearer {token}").into_bytes();
    let basic = |id: &str, token: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{token}"))).into_bytes();
    let one = |text: String| vec![("authorization", text.into_bytes())];
    let rows: Vec<(&str, &str, Headers)> = vec![
        ("Bearer", "allowed", one(format!("Bearer {token}"))),
        ("bearer", "allowed", one(format!("bearer {token}"))),
        ("BEARER", "allowed", one(format!("BEARER {token}"))),
        ("bEaReR", "allowed", one(format!("bEaReR {token}"))),
        ("two spaces", "allowed", one(format!("Bearer  {token}"))),
        ("none", "missing_token", vec![]),
        ("empty", "missing_token", one(String::new())),
        ("a space", "invalid_request", one(" ".into())),
        ("no token", "invalid_request", one("Bearer".into())),
        ("no token but a space", "invalid_request", one("Bearer ".into())),
        ("no token but spaces", "invalid_request", one("Bearer      ".into())),
        ("a tab", "invalid_request", one(format!("Bearer\t{token}"))),
        ("a tab after a space", "invalid_request", one(format!("Bearer \t{token}"))),
        ("a space in front", "invalid_request", one(format!(" Bearer {token}"))),
        ("a space behind", "invalid_request", one(format!("Bearer {token} "))),
        ("no space", "invalid_request", one(format!("Bearer{token}"))),
        ("a colon", "invalid_request", one(format!("Bearer: {token}"))),
        ("an equals sign", "invalid_request", one(format!("Bearer={token}"))),
        ("no scheme", "invalid_request", one(token.to_owned())),
        ("the scheme twice", "invalid_request", one(format!("Bearer Bearer {token}"))),
        ("quotes", "malformed", one(format!("Bearer \"{token}\""))),
        ("angle brackets", "malformed", one(format!("Bearer <{token}>"))),
        ("as a parameter", "malformed", one(format!("Bearer token={token}"))),
        ("Token", "invalid_request", one(format!("Token {token}"))),
        ("JWT", "invalid_request", one(format!("JWT {token}"))),
        ("DPoP", "invalid_request", one(format!("DPoP {token}"))),
        ("Digest", "invalid_request", one("Digest username=\"admin\"".into())),
        ("Negotiate", "invalid_request", one("Negotiate YII=".into())),
        ("another script's letters", "invalid_request", one(format!("Веarer {token}"))),
        ("a comma", "invalid_request", one(format!("Bearer {token},"))),
        ("two, joined", "invalid_request", one(format!("Bearer {token}, Bearer {token}"))),
        ("two, joined without a space", "invalid_request", one(format!("Bearer {token},{token}"))),
        ("with a parameter behind", "invalid_request", one(format!("Bearer {token}, realm=\"x\""))),
        ("a byte that is no ASCII", "invalid_request", vec![("authorization", [&bearer()[..], &[0xff]].concat())]),
        ("UTF-8", "invalid_request", one(format!("Bearer {token}ä"))),
        ("a head full", "too_large", one(format!("Bearer {}", "a".repeat(HEAD)))),
        ("a head full of spaces", "invalid_request", one(format!("Bearer {}", " ".repeat(HEAD)))),
        ("a head full of commas", "invalid_request", one(format!("Bearer {}", ",".repeat(HEAD)))),
        ("a head full without a scheme", "invalid_request", one("a".repeat(HEAD))),
        ("a head full of Basic", "invalid_request", one(format!("Basic {}", "!".repeat(HEAD)))),
        ("twice the same", "invalid_request", vec![("authorization", bearer()), ("authorization", bearer())]),
        (
            "good, then bad",
            "invalid_request",
            vec![("authorization", bearer()), ("authorization", b"Bearer x".to_vec())],
        ),
        (
            "bad, then good",
            "invalid_request",
            vec![("authorization", b"Bearer x".to_vec()), ("authorization", bearer())],
        ),
        ("empty, then good", "invalid_request", vec![("authorization", vec![]), ("authorization", bearer())]),
        ("good, then empty", "invalid_request", vec![("authorization", bearer()), ("authorization", vec![])]),
        ("empty twice", "invalid_request", vec![("authorization", vec![]), ("authorization", vec![])]),
        (
            "Basic, then good",
            "invalid_request",
            vec![("authorization", basic(&id, token)), ("authorization", bearer())],
        ),
        ("a hundred", "invalid_request", (0..100).map(|_| ("authorization", bearer())).collect()),
        ("in Proxy-Authorization", "missing_token", vec![("proxy-authorization", bearer())]),
        ("in X-Authorization", "missing_token", vec![("x-authorization", bearer())]),
        ("in a cookie", "missing_token", vec![("cookie", format!("access_token={token}").into_bytes())]),
        ("in X-Countermark-Account", "missing_token", vec![("x-countermark-account", id.clone().into_bytes())]),
        ("in X-Original-Authorization", "missing_token", vec![("x-original-authorization", bearer())]),
    ];
    let form = format!("token={token}&access_token={token}");
    for (row, (name, reason, headers)) in rows.iter().enumerate() {
        for door in Door::HEADER {
            let what = format!("{name} at {door:?}");
            let number = row * 10 + door.number();
            let (answer, counted) = show(&bench, &what, number, || request(door, "", headers, &form)).await;
            assert_eq!(counted, [*reason], "{what}");
            let status = match (*reason, door) {
                ("allowed", _) => 200,
                // A client of OAuth that fails to authenticate so (RFC 6749, section 5.2).
                ("invalid_request", Door::Caller) if name.contains("of Basic") => 401,
                ("invalid_request", Door::Own | Door::Accounts | Door::Caller) => 400,
                _ => 401,
            };
            assert_eq!(answer.status, status, "{what}: {}", answer.text);
            assert!(!answer.text.contains(token), "{what}");
            if status == 200 {
                continue;
            }
            assert_eq!(answer.reason(), outside(reason), "{what}");
            let error = match *reason {
                "missing_token" => r#"Bearer realm="countermark""#.to_owned(),
                "invalid_request" if name.contains("of Basic") && door == Door::Caller => "Basic ".to_owned(),
                reason => {
                    let error = if reason == "invalid_request" { reason } else { "invalid_token" };
                    format!(r#"Bearer realm="countermark", error="{error}", "#)
                }
            };
            assert!(
                answer.header("www-authenticate").starts_with(&error),
                "{what}: {}",
                answer.header("www-authenticate")
            );
        }
    }
}

/// HTTP Basic is for OAuth clients, which introspection has, and nobody else.
#[tokio::test]
async fn basic_opens_the_door_of_introspection_alone() {
    let bench = Bench::new().await;
    let token = bench.victim.token.as_str();
    let id = bench.victim.claim("sub").as_str().unwrap().to_owned();
    let pair = |text: &str| vec![("authorization", format!("Basic {}", STANDARD.encode(text)).into_bytes())];
    let form = format!("token={token}");
    let mut same = None;
    for (number, (name, status, headers)) in [
        ("good", 200, pair(&format!("{id}:{token}"))),
        (
            "another's id",
            401,
            pair(&format!("{}:{token}", id.replace(&id[..1], if &id[..1] == "0" { "1" } else { "0" }))),
        ),
        ("by name", 401, pair(&format!("victim:{token}"))),
        ("no id", 401, pair(&format!(":{token}"))),
        ("id in capitals", 401, pair(&format!("{}:{token}", id.to_ascii_uppercase()))),
        ("no token", 401, pair(&format!("{id}:"))),
        ("token and id swapped", 401, pair(&format!("{token}:{id}"))),
        ("a colon behind", 401, pair(&format!("{id}:{token}:"))),
        ("garbage", 401, pair(&format!("{id}:garbage"))),
        ("a zero behind the id", 401, pair(&format!("{id}\0:{token}"))),
        ("an escaped zero", 401, pair(&format!("{id}:{token}%00"))),
        ("a field more", 401, pair(&format!("{id}:{token}&x=y"))),
    ]
    .into_iter()
    .enumerate()
    {
        for door in Door::HEADER {
            let what = format!("{name} at {door:?}");
            let asked = number * 10 + door.number();
            let (answer, _) = show(&bench, &what, asked, || request(door, "", &headers, &form)).await;
            if door != Door::Caller {
                let expected = if door == Door::Verify { 401 } else { 400 };
                assert_eq!((answer.status.as_u16(), answer.reason()), (expected, "invalid_request"), "{what}");
                continue;
            }
            assert_eq!(answer.status, status, "{what}: {}", answer.text);
            if status == 401 {
                let answer = without_id(&answer, &format!("{asked:07}"));
                assert_eq!(*same.get_or_insert_with(|| answer.clone()), answer, "{what}");
            }
        }
    }
    for (number, unusable) in [
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic !".to_owned(),
        "Basic OjpB=".to_owned(),
        format!("Basic {}", STANDARD.encode("no colon")),
        format!("Basic {}", STANDARD.encode(b"\xff:\xff")),
        format!("Basic {}", URL_SAFE_NO_PAD.encode("???>>>:???>>>x")),
    ]
    .into_iter()
    .enumerate()
    {
        let headers = [("authorization", unusable.clone().into_bytes())];
        let (answer, counted) =
            show(&bench, &unusable, 900 + number, || request(Door::Caller, "", &headers, &form)).await;
        assert_eq!((answer.reason(), counted), ("invalid_request", vec!["invalid_request".to_owned()]), "{unusable}");
    }
}
