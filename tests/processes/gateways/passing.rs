//! What passes, and how it arrives.

use serde_json::json;

use super::Kind;
use super::scene::{Holder, Scene};
use super::wire::Wire;

pub fn check(kind: &'static Kind) {
    let mut scene = Scene::new(kind);
    let writer = scene.writer();
    arrives_with_its_identity(&scene, &writer);
    arrives_intact(&scene, &writer);
    tells_where_it_came_from(&scene, &writer);
    if kind.forwards {
        is_recorded_as_it_was(&scene, &writer);
        has_one_name_everywhere(&scene, &writer);
        counts_from_where_it_came(&scene);
    }
    asks_briefly(&mut scene, &writer);
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
    // As the client wrote it: a slash in a name is none between names.
    let (_, seen) = scene.passes(scene.call("GET", "/a%2Fb%20c/d?e=%2F"), writer);
    assert_eq!(seen.target, "/a%2Fb%20c/d?e=%2F");
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
    let large = "x".repeat(6_000);
    let call = scene.call("GET", "/").header("Cookie", &format!("a={large}")).header("X-Large", &large);
    let (_, seen) = scene.passes(call, writer);
    assert_eq!(seen.header("x-large"), large);
    assert!(seen.header("cookie").ends_with(&large));
}

/// To the API, too. (Envoy adds to what the client said.)
fn tells_where_it_came_from(scene: &Scene, writer: &Holder) {
    for version in ["--http1.1", "--http2"] {
        let call = scene.call("GET", "/").flag(version).option("--interface", "127.0.0.7");
        let call = call.header("X-Forwarded-For", "192.0.2.1").header("X-Forwarded-Proto", "http");
        let (_, seen) = scene.passes(call, writer);
        let address = seen.header("x-forwarded-for");
        let address = if scene.kind.name.starts_with("envoy") { address.rsplit(',').next().unwrap() } else { address };
        assert_eq!((address.trim(), seen.header("x-forwarded-proto")), ("127.0.0.7", "https"), "{seen:?}");
        // Apache calls the API by its own name, others by the client's.
        assert!(scene.kind.name == "apache" || seen.header("host").starts_with("localhost"), "{seen:?}");
    }
}

/// Whoever gives a request no id gets it from Countermark, and the API the same.
fn has_one_name_everywhere(scene: &Scene, writer: &Holder) {
    let (reply, seen) = scene.passes(scene.call("GET", "/"), writer);
    let id = seen.header("x-request-id");
    assert_eq!(scene.activity(writer, id)["outcome"], "allowed");
    // Caddy leaves the reply to the API.
    assert!(scene.kind.name == "caddy" || reply.header("x-request-id") == Some(id), "{reply:?}");
}

/// Countermark gets neither bodies nor cookies, and not a new connection for each question. (Apache makes one each time.)
fn asks_briefly(scene: &mut Scene, writer: &Holder) {
    const CALLS: u64 = 10;
    let wire = Wire::to(scene.server_port());
    scene.gateway_again(&[("AUTH_PORT", &wire.port.to_string())]);
    let (body, cookie) = ("x".repeat(100_000), format!("a={}", "x".repeat(6_000)));
    for _ in 0..CALLS {
        let call = scene.call("POST", "/orders").option("--data", &body).header("Cookie", &cookie);
        let (_, seen) = scene.passes(call, writer);
        assert_eq!(seen.body.len(), body.len());
    }
    let (bytes, connections) = wire.carried();
    assert!(bytes < 45_000, "{bytes} bytes");
    match (scene.kind.asks, scene.kind.forwards) {
        (true, true) => assert!((1..=2).contains(&connections), "{connections} connections"),
        (true, false) => assert!(connections >= CALLS, "{connections} connections"),
        // For its keys, at most.
        (false, _) => assert!(connections <= 1, "{connections} connections"),
    }
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
