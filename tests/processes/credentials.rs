//! Credentials over real HTTPS: HTTP/1.1 and HTTP/2 repeat, join and cut headers in ways of their own, and neither opens a door
//! that the other keeps shut.

use crate::call::{Call, Reply};
use crate::machine::Machine;

const DOORS: [(&str, &str); 3] = [("GET", "/verify"), ("GET", "/api/v1/self"), ("GET", "/api/v1/accounts")];

/// All of an answer but what is different each time.
fn told(reply: &Reply) -> String {
    let mut head: Vec<String> = reply.head.lines().skip(1).map(str::to_ascii_lowercase).collect();
    head.retain(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
    head.sort();
    let mut body = reply.body.clone();
    if let Some(id) = reply.header("x-request-id") {
        body = body.replace(id, "(id)");
    }
    format!("{} {head:?} {body}", reply.status)
}

#[test]
fn both_versions_of_http_read_a_credential_alike() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let admin = server.admin();
    let (_, token) = server.create("ci", "admin");
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let (_, other) = server.create("other", "admin");
    let other_signature = other.rsplit('.').next().unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    let garbage = "Authorization: Bearer a.b.c".to_owned();
    let none = "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.AA".to_owned();
    let one = |text: &str| vec![format!("Authorization: {text}")];
    let rows: Vec<(&str, &str, Vec<String>)> = vec![
        ("good", "", one(&format!("Bearer {token}"))),
        ("bearer", "", one(&format!("bearer {token}"))),
        ("two spaces", "", one(&format!("Bearer  {token}"))),
        ("the name in capitals", "", vec![format!("AUTHORIZATION: Bearer {token}")]),
        ("none", "missing_token", vec![]),
        ("empty", "missing_token", vec!["Authorization;".into()]),
        ("no token", "invalid_request", one("Bearer")),
        ("a tab", "invalid_request", one(&format!("Bearer\t{token}"))),
        ("UTF-8", "invalid_request", one(&format!("Bearer {token}ä"))),
        ("twice", "invalid_request", vec![bearer.clone(), bearer.clone()]),
        ("twice, in other letters", "invalid_request", vec![bearer.clone(), format!("authorization: Bearer {token}")]),
        ("good, then bad", "invalid_request", vec![bearer.clone(), garbage.clone()]),
        ("bad, then good", "invalid_request", vec![garbage.clone(), bearer.clone()]),
        ("empty, then good", "invalid_request", vec!["Authorization;".into(), bearer.clone()]),
        ("joined", "invalid_request", one(&format!("Bearer {token}, Bearer {token}"))),
        ("Digest", "invalid_request", one("Digest username=\"admin\"")),
        ("Basic", "invalid_request", one("Basic YTpi")),
        ("in a cookie", "missing_token", vec![format!("Cookie: access_token={token}")]),
        ("garbage", "invalid_token", vec![garbage]),
        ("alg none", "invalid_token", vec![none]),
        ("another's signature", "invalid_token", one(&format!("Bearer {header}.{payload}.{other_signature}"))),
        ("no signature", "invalid_token", one(&format!("Bearer {header}.{payload}."))),
        ("a trailing dot", "invalid_token", one(&format!("Bearer {token}."))),
        ("the header twice", "invalid_token", one(&format!("Bearer {header}.{header}.{signature}"))),
        ("too long", "invalid_token", one(&format!("Bearer {}", "a".repeat(5000)))),
    ];
    let mut unproven: Vec<Option<String>> = vec![None; DOORS.len()];
    for (name, reason, headers) in &rows {
        for (number, (method, path)) in DOORS.into_iter().enumerate() {
            let ask = |version: &str| {
                let call = server.call(method, path).flag(version);
                headers.iter().fold(call, |call: Call, header| call.option("--header", header)).send()
            };
            let (one, two) = (ask("--http1.1"), ask("--http2"));
            assert_eq!((one.version.as_str(), two.version.as_str()), ("1.1", "2"));
            let what = format!("{name} at {path}");
            assert_eq!(one.status == 200, reason.is_empty(), "{what}: {one:?}");
            if reason.is_empty() {
                assert_eq!(two.status, 200, "{what}: {two:?}");
                continue;
            }
            assert_eq!(one.reason(), *reason, "{what}");
            assert_eq!(told(&one), told(&two), "{what}");
            assert!(!told(&one).contains(payload), "{what}");
            if *reason == "invalid_token" {
                let same = unproven[number].get_or_insert_with(|| told(&one));
                assert_eq!(*same, told(&one), "{what} is told apart");
            }
        }
    }
    // What is too large for a head is refused before it is read, and no connection or service dies of it.
    for version in ["--http1.1", "--http2"] {
        let huge = format!("Bearer {}", "a".repeat(100_000));
        let answer = server.call("GET", "/verify").flag(version).header("Authorization", &huge).attempt();
        assert!(answer.is_err() || answer.is_ok_and(|reply| reply.status == 431), "{version}");
        let megabyte = machine.write("form", &format!("token={}", "a".repeat(1 << 20)));
        for path in ["/oauth2/introspect", "/oauth2/revoke"] {
            let form = format!("@{}", megabyte.display());
            let reply = server.call("POST", path).flag(version).bearer(&admin).option("--data-binary", &form).send();
            assert_eq!((reply.status, reply.reason().as_str()), (413, "payload_too_large"), "{version} {path}");
        }
        for form in [format!("token={token}&token={token}"), format!("access_token={token}")] {
            let reply = server.call("POST", "/oauth2/revoke").flag(version).option("--data", &form).send();
            assert_eq!((reply.status, reply.reason().as_str()), (400, "invalid_request"), "{version}");
        }
    }
    assert_eq!(server.verify(&token).status, 200);
    assert!(!server.log().contains(payload) && !server.log().contains(signature));
}
