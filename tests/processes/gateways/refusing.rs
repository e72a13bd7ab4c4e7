//! What is refused, and how that is told.

use serde_json::json;

use super::Kind;
use super::scene::Scene;
use crate::call::Call;

pub fn check(kind: &'static Kind) {
    let scene = Scene::new(kind);
    let server = scene.server();
    let admin = server.admin();
    let writer = scene.writer();
    let reader = scene.account("reader", "reader", &json!({}));
    let elsewhere = scene.account("elsewhere", "writer", &json!({ "audiences": ["billing"] }));
    let [old, revoked, disabled] = ["old", "revoked", "disabled"].map(|name| scene.account(name, "writer", &json!({})));
    let path = |id: &str| format!("/api/v1/accounts/{id}");
    let get = || scene.call("GET", "/orders");

    // They were good until now, also for a gateway that remembers.
    for holder in [&old, &revoked, &disabled] {
        scene.passes(get(), holder);
    }
    server.regenerate(&admin, &old.id).expect(201);
    server.call("DELETE", &format!("{}/token", path(&revoked.id))).bearer(&admin).send().expect(200);
    let body = json!({ "status": "disabled" });
    server.call("PATCH", &path(&disabled.id)).bearer(&admin).json(&body).send().expect(200);
    for holder in [&old, &revoked, &disabled] {
        if kind.asks {
            challenged(&scene, get().bearer(&holder.token), "invalid_token");
        } else {
            // It asks nobody: this is what its documentation warns of.
            scene.passes(get(), holder);
        }
    }

    if kind.foreign_audience == 401 {
        challenged(&scene, get().bearer(&elsewhere.token), "");
    } else {
        scene.refuses(get().bearer(&elsewhere.token), kind.foreign_audience);
    }
    if kind.asks {
        let refused = get().bearer(&reader.token).send();
        assert!(scene.backend.take().is_empty());
        assert!(matches!(refused.status, 401 | 403), "{refused:?}");
        assert!(refused.header("www-authenticate").unwrap().contains("insufficient_scope"), "{refused:?}");
        if kind.forwards {
            assert_eq!(refused.status, 403);
        }
    } else {
        scene.passes(get(), &reader);
    }

    for token in bad_tokens(&writer.token) {
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            challenged(&scene, scene.call(method, "/orders").bearer(&token), "");
        }
    }
    let no_token = scene.refuses(get(), 401);
    let challenge = no_token.header("www-authenticate").unwrap();
    // Who sent nothing is told of no error (RFC 6750, section 3.1); Apache has words of its own.
    let silent = !challenge.contains("error") || kind.name == "apache";
    assert!(challenge.starts_with("Bearer") && silent, "{no_token:?}");
    for value in
        ["", "Bearer", "Bearer ", "Basic Y2k6Y2k=", "Digest x", &writer.token, &format!("Token {}", writer.token)]
    {
        // curl leaves a header without a value out unless it ends in a semicolon.
        let header = if value.is_empty() { "Authorization;".to_owned() } else { format!("Authorization: {value}") };
        scene.refuses(get().option("--header", &header), 401);
    }
    // A token anywhere but in its header is none.
    scene.refuses(scene.call("GET", &format!("/orders?access_token={}", writer.token)), 401);
    let form = format!("access_token={}", writer.token);
    // Over HTTP/2 some refuse before the body has come, and curl takes the end of the stream for an error.
    scene.refuses(scene.call("POST", "/orders").flag("--http1.1").option("--data", &form), 401);
    scene.refuses(get().header("Cookie", &format!("access_token={0}; Authorization={0}", writer.token)), 401);
    scene.refuses(get().header("Proxy-Authorization", &format!("Bearer {}", writer.token)), 401);
    // Through all that the good one stays good.
    scene.passes(get(), &writer);
}

#[track_caller]
fn challenged(scene: &Scene, call: Call, error: &str) {
    let reply = scene.refuses(call, 401);
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer") && challenge.contains(error), "{reply:?}");
}

/// A good token, spoiled in one place each.
fn bad_tokens(good: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let decoded =
        |part: &str| -> serde_json::Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |part: &str, name: &str, value: serde_json::Value| {
        let mut all = decoded(part);
        all[name] = value;
        encoded(&all)
    };
    let none = with(header, "alg", json!("none"));
    vec![
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{}.{claims}.{signature}", with(header, "alg", json!("HS256"))),
        format!("{}.{claims}.{signature}", with(header, "kid", json!("../../../dev/null"))),
        format!("{header}.{}.{signature}", with(claims, "sub", json!("01a20a8e-dd16-712f-8361-9b976a6f0eb8"))),
        format!("{header}.{}.{signature}", with(claims, "exp", json!(4_000_000_000_u64))),
        format!("{header}.{claims}.{}", "A".repeat(signature.len())),
    ]
}
