//! Tokens that the stolen key signed, of a living `jti`, with one claim that is not as it should be.

use serde_json::{Value, json};

use super::bench::{Bench, Row};
use crate::app::ISSUER;

/// Seconds of the service's clock.
fn now(bench: &Bench) -> i64 {
    countermark::clock::Clock::now(bench.app.clock.as_ref()).timestamp()
}

#[tokio::test]
async fn a_claim_that_is_missing_or_of_another_type_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let mut rows = Vec::new();
    let (texts, numbers) = (["iss", "sub", "client_id", "jti", "role"], ["iat", "exp", "gen"]);
    for name in texts.into_iter().chain(numbers).chain(["aud"]) {
        rows.push(Row::refused(format!("{name} missing"), "malformed", victim.with_claim(name, None)));
        for raw in ["null", "true", "{}", "[]", "[[]]", "1.5"] {
            rows.push(Row::refused(format!("{name}: {raw}"), "malformed", victim.with_claim(name, Some(raw))));
        }
    }
    for name in texts {
        for raw in ["1".to_owned(), "\"\"".to_owned(), "\"\\u0000\"".to_owned(), format!("[{}]", victim.claim(name))] {
            let reason = if name == "iss" && raw.starts_with('"') { "wrong_issuer" } else { "malformed" };
            rows.push(Row::refused(format!("{name}: {raw}"), reason, victim.with_claim(name, Some(&raw))));
        }
    }
    for name in numbers {
        for raw in [
            "1e300",
            "1e3",
            "1E9",
            "-1",
            "0.0",
            "1.0",
            "-0",
            "-0.0",
            "1e-7",
            "18446744073709551616",
            "-9223372036854775809",
            "99999999999999999999999999999999999999",
            "\"123\"",
            "\"\"",
            "[1]",
            "0x10",
            "1_000",
            "NaN",
            "Infinity",
            "01",
            "253402300800e0",
        ] {
            rows.push(Row::refused(format!("{name}: {raw}"), "malformed", victim.with_claim(name, Some(raw))));
        }
    }
    for name in ["iat", "exp"] {
        // Later than what RFC 3339 has a form for.
        for raw in ["253402300800", "9223372036854775807", "9223372036854775808", "18446744073709551615"] {
            rows.push(Row::refused(format!("{name}: {raw}"), "malformed", victim.with_claim(name, Some(raw))));
        }
    }
    for (name, raw) in [
        ("teams", "null"),
        ("teams", "[]"),
        ("teams", "\"payments\""),
        ("teams", r#"{"payments":null}"#),
        ("teams", r#"{"payments":["admin"]}"#),
        ("teams", r#"{"Payments":"admin"}"#),
        ("teams", r#"{"":"admin"}"#),
        ("role", r#""Admin""#),
        ("role", r#""../admin""#),
        ("role", r#"["admin"]"#),
        ("cnf", "null"),
        ("cnf", "{}"),
        ("cnf", "[]"),
        ("cnf", "\"x\""),
        ("cnf", r#"{"jkt":1}"#),
        ("cnf", r#"{"jwk":{"kty":"EC"}}"#),
        ("cnf", r#"{"jkt":"x","x5t#S256":"y"}"#),
        ("gen", "0"),
    ] {
        rows.push(Row::refused(format!("{name}: {raw}"), "malformed", victim.with_claim(name, Some(raw))));
    }
    bench.stand(rows).await;
}

#[tokio::test]
async fn a_claim_of_another_value_opens_no_door() {
    let bench = Bench::new().await;
    let (victim, now) = (&bench.victim, now(&bench));
    let id = victim.claim("sub").as_str().unwrap().to_owned();
    let jti = victim.claim("jti").as_str().unwrap().to_owned();
    let other = crate::app::claims_of(&bench.other);
    let older = crate::app::claims_of(&bench.older);
    let mut rows = Vec::new();
    let mut row = |name: &str, reason: &'static str, value: Value| {
        let token = victim.with_claim(name, Some(&value.to_string()));
        rows.push(Row::refused(format!("{name}: {value}"), reason, token));
    };
    for issuer in [
        format!("{ISSUER}/"),
        format!("{ISSUER}:443"),
        format!("{ISSUER}#"),
        format!(" {ISSUER}"),
        format!("{ISSUER}\0"),
        ISSUER.to_ascii_uppercase(),
        ISSUER.replace("https", "http"),
        ISSUER[..ISSUER.len() - 1].to_owned(),
        "https://attacker.example".to_owned(),
        "*".to_owned(),
    ] {
        row("iss", "wrong_issuer", json!(issuer));
    }
    for account in [
        id.to_ascii_uppercase(),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        id.replace('-', ""),
        format!("{id} "),
        "victim".to_owned(),
        "*".to_owned(),
        "../admin".to_owned(),
        other["sub"].as_str().unwrap().to_owned(),
    ] {
        row("sub", "malformed", json!(account));
        row("client_id", "malformed", json!(account));
    }
    for audiences in [
        json!(ISSUER),
        json!([]),
        json!([ISSUER, 1]),
        json!([""]),
        json!([" "]),
        json!([null]),
        json!({ ISSUER: true }),
    ] {
        row("aud", "malformed", audiences);
    }
    for (expiry, reason) in [(0, "expired"), (1, "expired"), (now - 5, "expired"), (now - 86_400, "expired")] {
        row("exp", reason, json!(expiry));
    }
    for issued in [now + 6, now + 86_400, 253_402_300_799] {
        row("iat", "not_yet_valid", json!(issued));
    }
    for (generation, reason) in [(json!(1), "superseded"), (json!(3), "revoked"), (json!(u64::MAX), "revoked")] {
        row("gen", reason, generation);
    }
    for other in [
        &other["jti"],
        &older["jti"],
        &json!("A".repeat(22)),
        &json!("é".repeat(11)),
        &json!(jti.chars().rev().collect::<String>()),
    ] {
        row("jti", "superseded", other.clone());
    }
    for jti in [json!(jti[..21]), json!(format!("{jti}A")), json!(format!("{jti}=")), json!(format!("{jti}\0"))] {
        row("jti", "malformed", jti);
    }
    for confirmation in [json!({ "jkt": "x" }), json!({ "x5t#S256": "A".repeat(43) }), json!({ "jkt": "" })] {
        row("cnf", "binding_mismatch", confirmation);
    }
    // Several at once, as an attacker would who knows what he is doing.
    let quoted = |value: &Value| value.to_string();
    let unknown = json!("01890a5d-ac96-774b-bcce-b302099a8057").to_string();
    let nil = json!("00000000-0000-0000-0000-000000000000").to_string();
    for (name, reason, changes) in [
        (
            "another account",
            "superseded",
            vec![("sub", quoted(&other["sub"])), ("client_id", quoted(&other["sub"])), ("gen", "1".into())],
        ),
        ("an unknown account", "unknown_account", vec![("sub", unknown.clone()), ("client_id", unknown)]),
        ("the nil account", "unknown_account", vec![("sub", nil.clone()), ("client_id", nil)]),
        (
            "the older token's life prolonged",
            "superseded",
            vec![("jti", quoted(&older["jti"])), ("gen", "1".into()), ("exp", (now + 86_400).to_string())],
        ),
        ("the older token as the newer", "superseded", vec![("jti", quoted(&older["jti"]))]),
        ("ends before it begins", "expired", vec![("iat", (now - 10).to_string()), ("exp", (now - 20).to_string())]),
        (
            "begins after now and ends before",
            "expired",
            vec![("iat", (now + 86_400).to_string()), ("exp", (now - 20).to_string())],
        ),
    ] {
        let changes: Vec<_> = changes.iter().map(|(name, raw)| (*name, Some(raw.as_str()))).collect();
        rows.push(Row::refused(name, reason, victim.with_claims(&changes)));
    }
    bench.stand(rows).await;
}

/// The thief has the key and a living token: he can write what he likes into it, and gains nothing. What counts is the state.
#[tokio::test]
async fn what_a_token_says_of_authority_is_a_hint_and_nothing_more() {
    let bench = Bench::new().await;
    let now = now(&bench);
    let mut rows = Vec::new();
    for (name, raw) in [
        ("role", json!("admin")),
        ("teams", json!({})),
        ("teams", json!({ "payments": "admin", "nowhere": "admin" })),
        ("scope", json!("*:*")),
        ("admin", json!(true)),
        ("permissions", json!(["*:*"])),
        ("username", json!("admin")),
        ("act", json!({ "sub": "admin" })),
        ("aud", json!([ISSUER, ISSUER, "billing", "*"])),
        ("iat", json!(0)),
        ("iat", json!(now + 5)),
        ("exp", json!(now - 4)),
        ("exp", json!(253_402_300_799_i64)),
    ] {
        let token = bench.spare().await.with_claim(name, Some(&raw.to_string()));
        rows.push(Row::allowed(format!("{name}: {raw}"), token));
    }
    for audience in
        [json!(["billing"]), json!([format!("{ISSUER}/")]), json!(["*"]), json!([ISSUER.to_ascii_uppercase()])]
    {
        let token = bench.spare().await.with_claim("aud", Some(&audience.to_string()));
        rows.push(Row::other_audience(format!("aud: {audience}"), token));
    }
    // The order of the members and the space between them are the signer's affair.
    let spare = bench.spare().await;
    let payload: Value = serde_json::from_str(&spare.payload()).unwrap();
    let mut members: Vec<_> =
        payload.as_object().unwrap().iter().map(|(name, value)| format!("{name:?}\n:\t{value}")).collect();
    members.reverse();
    rows.push(Row::allowed(
        "written otherwise",
        spare.sign(spare.header(), format!("\r\n{{ {} }} ", members.join(" , "))),
    ));
    bench.stand(rows).await;
}

#[tokio::test]
async fn a_lie_about_authority_opens_no_further_door() {
    let bench = Bench::new().await;
    let app = &bench.app;
    let low = app.account("low", &["x:read"]).await;
    let forge = super::forge::Forge { key: std::sync::Arc::clone(&bench.key), token: low.token().to_owned() };
    let lie = forge.with_claims(&[
        ("role", Some("\"admin\"")),
        ("teams", Some(r#"{"payments":"admin"}"#)),
        ("scope", Some("\"*:*\"")),
    ]);
    let liar = app.bearer(&lie);
    let answer = liar.door("GET", "/verify", 200).await;
    assert_eq!((answer.header("x-countermark-role"), answer.header("x-countermark-teams")), ("low-role", ""));
    assert_eq!(liar.get("/self", 200).await["permissions"], json!(["x:read"]));
    assert_eq!(liar.get("/accounts", 403).await.reason(), "insufficient_permission");
    assert_eq!(liar.form("/oauth2/introspect", "token=x", 403).await.reason(), "insufficient_permission");
    for demand in ["permission=x:write", "permission=x:write&team=payments", "permission=accounts:read"] {
        assert_eq!(liar.door("GET", &format!("/verify?{demand}"), 403).await.reason(), "insufficient_permission");
    }
    let told = app.admin().form("/oauth2/introspect", &format!("token={lie}"), 200).await;
    assert_eq!((&told["role"], &told["scope"], &told["teams"]), (&json!("low-role"), &json!("x:read"), &json!({})));
    // Nor an API that the account was not made for.
    let lie = forge.with_claim("aud", Some(&json!([ISSUER, "billing"]).to_string()));
    assert_eq!(app.bearer(&lie).door("GET", "/verify?audience=billing", 401).await.reason(), "wrong_audience");
    app.bearer(&lie).door("GET", "/verify", 200).await;
}
