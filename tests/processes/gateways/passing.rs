//! What passes, and how it arrives.

use serde_json::json;

use super::Kind;
use super::scene::{Holder, Scene};

pub fn check(kind: &'static Kind) {
    let scene = Scene::new(kind);
    let writer = scene.writer();
    arrives_with_its_identity(&scene, &writer);
    arrives_intact(&scene, &writer);
    if kind.forwards {
        is_recorded_as_it_was(&scene, &writer);
        counts_from_where_it_came(&scene);
    }
}

fn arrives_with_its_identity(scene: &Scene, writer: &Holder) {
    for version in ["--http1.1", "--http2"] {
        let (reply, seen) = scene.passes(scene.call("GET", "/orders?x=1").flag(version), writer);
        // Apache as it is documented speaks HTTP/1.1 alone.
        let second = version == "--http2" && scene.kind.name != "apache";
        assert_eq!(reply.version, if second { "2" } else { "1.1" });
        assert_eq!((&*seen.method, &*seen.target), ("GET", "/orders?x=1"));
        assert_eq!(seen.header("x-countermark-generation"), "1");
        let server = scene.server();
        let path = format!("/api/v1/accounts/{}", writer.id);
        let account = server.call("GET", &path).bearer(&server.admin()).send().expect(200).json();
        for (name, value) in [
            ("x-countermark-username", json!("ci")),
            ("x-countermark-role", json!("writer")),
            ("x-countermark-token-id", account["token"]["id"].clone()),
        ] {
            if scene.kind.identity.contains(&name) {
                assert_eq!(seen.header(name), value.as_str().unwrap(), "{seen:?}");
            }
        }
        let expires: i64 = seen.header("x-countermark-expires").parse().unwrap();
        let expected = chrono::DateTime::parse_from_rfc3339(account["token"]["expires_at"].as_str().unwrap()).unwrap();
        assert_eq!(expires, expected.timestamp());
    }
}

/// Any method, any body, large headers.
fn arrives_intact(scene: &Scene, writer: &Holder) {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let (_, seen) = scene.passes(scene.call(method, "/orders/1"), writer);
        assert_eq!(seen.method, method);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let body: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    std::fs::write(file.path(), &body).unwrap();
    let data = format!("@{}", file.path().display());
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for chunked in [false, true] {
            for version in ["--http1.1", "--http2"] {
                let mut call = scene.call(method, "/orders").flag(version).option("--data-binary", &data);
                call = call.header("Content-Type", "application/octet-stream");
                if chunked && version == "--http1.1" {
                    call = call.header("Transfer-Encoding", "chunked");
                }
                let (_, seen) = scene.passes(call, writer);
                assert!(seen.body == body, "{method} {chunked} {version}: {} bytes", seen.body.len());
            }
        }
    }
    // Not sent to Countermark, which would have told of a body that it had to read.
    assert_eq!(scene.server().log().matches("request failed").count(), 0);

    let large = "x".repeat(6_000);
    let call = scene.call("GET", "/").header("Cookie", &format!("a={large}")).header("X-Large", &large);
    let (_, seen) = scene.passes(call, writer);
    assert_eq!(seen.header("x-large"), large);
    assert!(seen.header("cookie").ends_with(&large));
}

/// Method, path and address are the client's, and its own words about them are not.
fn is_recorded_as_it_was(scene: &Scene, writer: &Holder) {
    for (number, version) in ["--http1.1", "--http2"].into_iter().enumerate() {
        let id = format!("seen-{number}");
        let call = scene.call("PUT", "/orders/7?secret=1").flag(version).option("--data", "body");
        let call = call.option("--interface", "127.0.0.7").header("X-Request-Id", &id).header("User-Agent", "probe/1");
        let call = ["X-Original-URI", "X-Forwarded-Uri"].iter().fold(call, |call, name| call.header(name, "/forged"));
        let call =
            ["X-Original-Method", "X-Forwarded-Method"].iter().fold(call, |call, name| call.header(name, "FORGED"));
        let call = call.header("X-Forwarded-For", "192.0.2.1").header("X-Forwarded-Proto", "http");
        let call = call.header("X-Real-IP", "192.0.2.1").header("Forwarded", "for=192.0.2.1");
        let (_, seen) = scene.passes(call, writer);
        assert_eq!(seen.header("x-request-id"), id);
        let event = scene.activity(writer, &id);
        assert_eq!((&event["method"], &event["path"]), (&json!("PUT"), &json!("/orders/7")), "{event}");
        assert_eq!((&event["client_address"], &event["outcome"]), (&json!("127.0.0.7"), &json!("allowed")), "{event}");
        assert_eq!(
            (&event["permission"], &event["user_agent"]),
            (&json!("orders:write"), &json!("probe/1")),
            "{event}"
        );
        assert!(!event.to_string().contains("original_disagrees"), "{event}");
    }
}

/// The networks of an account hold for the client of the gateway, and nothing that it says lets it in.
fn counts_from_where_it_came(scene: &Scene) {
    let bound = scene.account("bound", "writer", &json!({ "allowed_networks": ["127.0.0.7/32"] }));
    let from = |address: &str| scene.call("GET", "/").option("--interface", address);
    scene.passes(from("127.0.0.7"), &bound);
    for claimed in
        ["127.0.0.7", "127.0.0.7, 127.0.0.1", "127.0.0.7, 127.0.0.7", "[::1]:1, 127.0.0.7:80", "x, 127.0.0.7"]
    {
        for address in ["127.0.0.1", "127.0.0.8"] {
            let call = from(address).bearer(&bound.token).header("X-Forwarded-For", claimed);
            scene.refuses(call, 401);
        }
        let call = from("127.0.0.8").bearer(&bound.token).header("X-Forwarded-For", claimed);
        scene.refuses(call.header("X-Forwarded-For", "127.0.0.7").header("X-Real-IP", "127.0.0.7"), 401);
    }
}
