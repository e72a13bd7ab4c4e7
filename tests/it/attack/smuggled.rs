//! Tokens where they have no business: in queries and bodies, and in disguise.

use serde_json::json;

use super::bench::Bench;
use super::door::Door;
use super::transport::{request, show};

/// RFC 6750, sections 2.2 and 2.3: a body and a query are no places for a token, and a second one beside a good one is refused.
#[tokio::test]
async fn a_token_in_the_query_is_refused_beside_a_good_one_too() {
    let bench = Bench::new().await;
    let token = bench.victim.token.as_str();
    let bearer = [("authorization", format!("Bearer {token}").into_bytes())];
    for (row, query) in [
        format!("?access_token={token}"),
        format!("?token={token}"),
        "?access_token=".to_owned(),
        "?access_token".to_owned(),
        format!("?access%5Ftoken={token}"),
        format!("?%61ccess_token={token}"),
        format!("?limit=1&access_token={token}"),
        format!("?access_token={token}&access_token={token}"),
    ]
    .into_iter()
    .enumerate()
    {
        for door in Door::HEADER {
            for (beside, headers) in [(false, &bearer[..0]), (true, &bearer[..])] {
                let what = format!("{query} at {door:?}, {beside}");
                let number = row * 100 + door.number() * 10 + usize::from(beside);
                let (answer, _) = show(&bench, &what, number, || request(door, &query, headers, "token=x")).await;
                let status = if door == Door::Verify { 401 } else { 400 };
                assert_eq!((answer.status.as_u16(), answer.reason()), (status, "invalid_request"), "{what}");
                assert!(!answer.text.contains(token), "{what}");
            }
        }
        for door in [Door::Introspect, Door::Revoke] {
            let headers = if door == Door::Introspect { &bearer[..] } else { &bearer[..0] };
            let form = format!("token={token}");
            let (answer, _) = show(&bench, &query, 5000 + row, || request(door, &query, headers, &form)).await;
            assert_eq!((answer.status.as_u16(), answer.reason()), (400, "invalid_request"), "{query}");
        }
    }
    // In the client's own query, below `/verify`, it is the client's; it is not looked at, and not recorded.
    let path = format!("/verify/x?access_token={token}");
    let answer = bench.app.nobody().door("GET", &path, 401).await;
    assert_eq!(answer.reason(), "missing_token");
    bench.app.bearer(token).door("GET", &path, 200).await;
    bench.app.settled().await;
    let events = bench.app.admin().all("/audit?limit=500").await;
    assert!(events.iter().any(|event| event["path"] == "/x"));
    assert!(!json!(events).to_string().contains(token));
    assert_eq!(bench.app.bearer(token).verdict().await, "allowed");
}

#[tokio::test]
async fn forms_carry_one_token_and_nothing_in_disguise() {
    let bench = Bench::new().await;
    let token = bench.victim.token.as_str();
    let good = format!("Bearer {}", bench.app.admin().token()).into_bytes();
    let bearer = |door| if door == Door::Introspect { vec![("authorization", good.clone())] } else { vec![] };
    let megabyte = "a".repeat(1 << 20);
    for (row, (form, status, reason)) in [
        (String::new(), 400, "invalid_request"),
        ("token".to_owned(), 400, "invalid_request"),
        ("token=".to_owned(), 400, "invalid_request"),
        ("&&&=&".to_owned(), 400, "invalid_request"),
        (format!("Token={token}"), 400, "invalid_request"),
        (format!("token[]={token}"), 400, "invalid_request"),
        (format!("access_token={token}"), 400, "invalid_request"),
        (format!("token=&token={token}"), 400, "invalid_request"),
        (format!("token={token}&token={token}"), 400, "invalid_request"),
        (format!("token={token}&%74oken=x"), 400, "invalid_request"),
        (format!("token={token}&hint=1&hint=2"), 400, "invalid_request"),
        (token.to_owned(), 400, "invalid_request"),
        (format!("{{\"token\":\"{token}\"}}"), 400, "invalid_request"),
        (format!("token={megabyte}"), 413, "payload_too_large"),
        (megabyte.clone(), 413, "payload_too_large"),
        ("&".repeat(1 << 20), 413, "payload_too_large"),
        ("token=%ff%fe".to_owned(), 200, "malformed"),
        ("token=%00".to_owned(), 200, "malformed"),
        ("token=%zz".to_owned(), 200, "malformed"),
        (format!("token=%20{token}"), 200, "malformed"),
        (format!("token={token}+"), 200, "malformed"),
        (format!("token=Bearer+{token}"), 200, "malformed"),
        (format!("token={token}%0d%0a"), 200, "malformed"),
        (format!("token={}", "%2e".repeat(20_000)), 200, "too_large"),
    ]
    .into_iter()
    .enumerate()
    {
        for door in [Door::Introspect, Door::Revoke] {
            let what = format!("{} at {door:?}", &form[..form.len().min(60)]);
            let headers = bearer(door);
            let number = row * 10 + door.number();
            let (answer, mut counted) = show(&bench, &what, number, || request(door, "", &headers, &form)).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text);
            counted.retain(|reason| reason != "allowed");
            if status == 200 {
                assert_eq!(counted, [reason], "{what}");
                let nothing = if door == Door::Revoke { "" } else { r#"{"active":false}"# };
                assert_eq!(answer.text, nothing, "{what}");
            } else {
                assert_eq!(answer.reason(), reason, "{what}");
            }
            assert!(!answer.text.contains(token), "{what}");
        }
    }
    // A body is no credential (RFC 6750, section 2.2, is for those who can't set a header).
    let form = format!("access_token={token}&token={token}");
    for (number, door) in Door::HEADER.into_iter().enumerate() {
        let (answer, counted) = show(&bench, "a body", 9000 + number, || request(door, "", &[], &form)).await;
        assert_eq!((answer.reason(), counted), ("missing_token", vec!["missing_token".to_owned()]), "{door:?}");
    }
    assert_eq!(bench.app.bearer(token).verdict().await, "allowed");
}
