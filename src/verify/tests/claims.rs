//! The claims' types: a genuine signature does not make up for them.

use super::*;

#[test]
fn every_claim_is_needed() {
    let scene = Scene::new();
    for name in ["iss", "sub", "client_id", "aud", "iat", "exp", "jti", "role", "gen"] {
        for raw in [None, Some("null")] {
            assert_eq!(scene.reason_for(&scene.with_claim(name, raw)), Some(Reason::Malformed), "{name}: {raw:?}");
        }
    }
}

#[test]
fn a_claim_of_another_type_is_malformed() {
    let scene = Scene::new();
    let id = scene.claims.account.to_string();
    let (upper, plain, braced) = (id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"));
    let quoted = |text: &str| format!("{text:?}");
    let wrong: [(&str, Vec<String>); 11] = [
        ("iss", vec!["1".into(), "[]".into(), "{}".into(), format!("[{:?}]", scene.claims.issuer)]),
        ("sub", vec!["1".into(), quoted(""), quoted(&upper), quoted(&plain), quoted(&braced), quoted("ci-deploy")]),
        ("client_id", vec!["1".into(), quoted(""), quoted(&upper), quoted(&plain), quoted(&braced)]),
        (
            "aud",
            ["\"billing\"", "[]", "[1]", "[\"\"]", "[\"a b\"]", "[null]", "{}", "[[\"billing\"]]"]
                .map(Into::into)
                .into(),
        ),
        ("iat", times()),
        ("exp", times()),
        (
            "jti",
            vec!["1".into(), quoted(""), quoted(&"a".repeat(21)), quoted(&"a".repeat(23)), quoted(&"a".repeat(1000))],
        ),
        ("role", vec!["1".into(), quoted(""), quoted("Admin"), quoted("a b"), "[\"admin\"]".into()]),
        (
            "teams",
            ["null", "[]", "1", "\"payments\"", "{\"A\":\"r\"}", "{\"a\":1}", "{\"a\":null}", "{\"\":\"r\"}"]
                .map(Into::into)
                .into(),
        ),
        (
            "gen",
            ["0", "-1", "-0", "1.0", "3.0", "3e0", "\"3\"", "true", "18446744073709551616", "1e400", "[3]"]
                .map(Into::into)
                .into(),
        ),
        (
            "cnf",
            [
                "{}",
                "null",
                "[]",
                "\"x\"",
                "{\"jkt\":1}",
                "{\"jkt\":null}",
                "{\"x5t#S256\":[]}",
                "{\"jkt\":\"a\",\"x5t#S256\":\"b\"}",
                "{\"jkt\":\"a\",\"note\":\"b\"}",
                "{\"jwk\":{}}",
                "{\"JKT\":\"a\"}",
            ]
            .map(Into::into)
            .into(),
        ),
    ];
    for (name, raws) in wrong {
        for raw in raws {
            assert_eq!(scene.reason_for(&scene.with_claim(name, Some(&raw))), Some(Reason::Malformed), "{name}: {raw}");
        }
    }
}

fn times() -> Vec<String> {
    let integer = scene::NOW + 500;
    [
        format!("{integer:?}.0"),
        format!("{integer}.5"),
        format!("\"{integer}\""),
        "-1".into(),
        "1.8e9".into(),
        "1e400".into(),
        "1e18".into(),
        "-1e400".into(),
        "9223372036854775807".into(),
        "9223372036854775808".into(),
        "18446744073709551616".into(),
        "253402300800".into(), // the year 10000
        "true".into(),
        "[]".into(),
        "NaN".into(),
        "Infinity".into(),
        "0x10".into(),
    ]
    .into()
}

#[test]
fn the_last_second_of_the_year_9999_is_a_time() {
    let scene = Scene::new();
    assert_eq!(scene.reason_for(&scene.with_claim("exp", Some("253402300799"))), None);
    assert_eq!(scene.reason_for(&scene.with_claim("iat", Some("0"))), None);
    assert_eq!(scene.reason_for(&scene.with_claim("exp", Some("0"))), Some(Reason::Expired));
}

#[test]
fn subject_and_client_are_the_same_account() {
    let scene = Scene::new();
    let other = format!("{:?}", "01890a5d-ac96-774b-bcce-b302099a8057");
    assert_eq!(scene.reason_for(&scene.with_claim("sub", Some(&other))), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.with_claim("client_id", Some(&other))), Some(Reason::Malformed));
}

#[test]
fn a_claim_that_nobody_knows_yet_does_no_harm() {
    let scene = Scene::new();
    for raw in ["null", "1.5", "\"text\"", "[1,{}]", "{\"a\":{\"b\":[]}}"] {
        assert_eq!(scene.reason_for(&scene.with_claim("org", Some(raw))), None, "{raw}");
    }
    // Issued without teams, there is no such claim; an empty one says the same.
    assert_eq!(scene.reason_for(&scene.with_claim("teams", Some("{}"))), None);
}

#[test]
fn a_token_for_several_apis_is_good_for_each_and_for_no_other() {
    let mut scene = Scene::new();
    for (audience, expected) in [
        (Some("billing"), None),
        (Some("search"), None),
        (None, None),
        (Some("bill"), Some(Reason::WrongAudience)),
        (Some("billings"), Some(Reason::WrongAudience)),
        (Some("Billing"), Some(Reason::WrongAudience)),
    ] {
        scene.demand.audience = audience.map(|text| text.parse().unwrap());
        assert_eq!(scene.reason(), expected, "{audience:?}");
    }
}

#[test]
fn the_issuer_is_compared_to_the_letter() {
    let mut scene = Scene::new();
    for other in [
        "https://id.example.com/",
        "HTTPS://id.example.com",
        "https://id.example.com.evil",
        "",
        "http://id.example.com",
    ] {
        scene.claims.issuer = other.to_owned();
        assert_eq!(scene.reason(), Some(Reason::WrongIssuer), "{other}");
    }
    scene.claims.issuer = "https://old.example.com".to_owned();
    assert_eq!(scene.reason(), Some(Reason::WrongIssuer));
    scene.issuers.push("https://old.example.com".to_owned());
    assert_eq!(scene.decide(&scene.token()).unwrap().issuer(), "https://old.example.com");
    scene.issuers.clear();
    assert_eq!(scene.reason(), Some(Reason::WrongIssuer), "a verifier without issuers believes none");
}
