//! Clients that would like to be somebody else, or nobody.

use serde_json::json;

use super::Kind;
use super::scene::{Holder, Scene};

pub fn check(kind: &'static Kind) {
    let scene = Scene::new(kind);
    let writer = scene.writer();
    let reader = scene.account("reader", "reader", &json!({}));
    forged_identities(&scene, &writer);
    hop_by_hop(&scene, &writer);
    several_credentials(&scene, &writer, &reader);
    odd_paths(&scene, &writer, &reader);
    no_way_around(&scene, &writer);
    broken_framing(&scene, &writer);
    scene.passes(scene.call("GET", "/"), &writer);
}

/// Whatever the answer is, the backend saw nothing that isn't the writer's.
#[track_caller]
fn sent(scene: &Scene, writer: &Holder, request: &str) -> Option<u16> {
    let status = scene.raw(request);
    nothing_foreign_arrived(scene, writer, request);
    assert!(status.is_none_or(|status| status < 500 || status == 501), "{request}: {status:?}");
    status
}

#[track_caller]
fn nothing_foreign_arrived(scene: &Scene, writer: &Holder, request: &str) {
    let seen = scene.backend.take();
    scene.is_sound(&seen, &writer.id);
    assert!(seen.iter().all(|request| !request.target.contains("smuggled")), "{request}: {seen:?}");
}

fn forged_identities(scene: &Scene, writer: &Holder) {
    let names = [
        "X-Countermark-Account",
        "x-countermark-account",
        "X-COUNTERMARK-ACCOUNT",
        "X_Countermark_Account",
        "x_countermark_account",
        "X-Countermark_Account",
        "X_Countermark-Role",
        "X-Countermark-Role",
        "X-Countermark-Username",
        "X-Countermark-Teams",
        "X-Countermark-Generation",
        "X-Countermark-Token-Id",
        "X-Countermark_Token-Id",
        "X-Countermark-Expires",
        "X-Countermark-Account ",
        " X-Countermark-Account",
        "X-Countermark-Account\t",
        "X.Countermark.Account",
        "X Countermark Account",
    ];
    let token = &writer.token;
    for name in names {
        for value in ["evil", ""] {
            // Documented: Apache sees no header without a value, and takes away those with hyphens and underscores alone.
            if value.is_empty() && name.contains('.') && scene.kind.name == "apache" {
                continue;
            }
            for repeated in 1..=2 {
                let forged = format!("{name}: {value}\r\n").repeat(repeated);
                let good = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
                sent(scene, writer, &format!("GET / HTTP/1.1\r\n{forged}{good}\r\n"));
                sent(scene, writer, &format!("GET / HTTP/1.1\r\n{good}{forged}\r\n"));
            }
        }
    }
    // Folded onto a line of its own (RFC 9112, section 5.2).
    sent(
        scene,
        writer,
        &format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nX-A: b\r\n X-Countermark-Account: evil\r\n\r\n"
        ),
    );
    // And over HTTP/2, where names come in lower case.
    for name in names.into_iter().filter(|name| !name.contains([' ', '\t', '.'])) {
        let call = scene.call("GET", "/").flag("--http2").bearer(token).header(name, "evil").header(name, "twice");
        let _ = call.attempt();
        scene.is_sound(&scene.backend.take(), &writer.id);
    }
}

/// What `Connection` names is removed by a proxy (RFC 9110, section 7.6.1): our headers must not be among it.
fn hop_by_hop(scene: &Scene, writer: &Holder) {
    let names = "X-Countermark-Account, X-Countermark-Role, X-Countermark-Username, X-Countermark-Token-Id";
    for connection in
        [names, "close, X-Countermark-Account", "Authorization", "X-Forwarded-For, X-Original-URI, X-Forwarded-Uri"]
    {
        let mut request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n");
        request += &format!("Authorization: Bearer {}\r\n\r\n", writer.token);
        let status = sent(scene, writer, &request);
        assert!(matches!(status, Some(200 | 400 | 401 | 403)), "{connection}: {status:?}");
    }
}

fn several_credentials(scene: &Scene, writer: &Holder, reader: &Holder) {
    let good = format!("Bearer {}", writer.token);
    for other in
        ["Bearer garbage".to_owned(), "Basic Y2k6Y2k=".to_owned(), good.clone(), format!("Bearer {}", reader.token)]
    {
        for (first, second) in [(&good, &other), (&other, &good)] {
            let together = format!("{first}, {second}");
            let apart = format!("{first}\r\nAuthorization: {second}");
            for value in [together, apart] {
                let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {value}\r\n\r\n");
                let status = scene.raw(&request);
                let seen = scene.backend.take();
                assert!(seen.is_empty() && matches!(status, Some(400 | 401 | 403)), "{other} {status:?}");
            }
        }
    }
}

/// The client's path is the client's: it reaches the backend, or nothing does, and it never says what is demanded.
fn odd_paths(scene: &Scene, writer: &Holder, reader: &Holder) {
    let paths = [
        "/",
        "//",
        "//a//b",
        "/..;/admin",
        "/a/..;/b",
        "/..",
        "/../verify/~open",
        "/a/../../~open",
        "/%2e%2e/~open",
        "/a/%2e%2e/%2E%2E/~open",
        "/%2fverify/%7eopen",
        "/~open",
        "/~open/x",
        "//~open",
        "/verify",
        "/verify/~open",
        "/_countermark",
        "/.well-known/jwks.json",
        "/healthz",
        "/x?access_token=abc",
        "/x?permission=orders:read",
        "/x?team=a&token=b",
        "/?",
        "/*",
        "/a%00b",
        "/a%0d%0aX-Countermark-Account:%20evil",
        "/a\\..\\b",
        "/a;b=c/./d",
        "*",
        "?x",
        "https://localhost/absolute",
        "https://localhost",
        "https://other.example/~open?x",
    ];
    let request =
        |method: &str, path: &str, more: &str| format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    for path in paths {
        for method in ["GET", "OPTIONS"] {
            let good = format!("Authorization: Bearer {}\r\n", writer.token);
            let status = sent(scene, writer, &request(method, path, &good));
            // What stands for `..` may be taken for that by the backend too, but then nobody asked for more than the policy.
            assert!(status.is_some_and(|status| status < 500), "{path}: {status:?}");
            if path.starts_with("/x?") {
                assert_eq!(status, Some(200), "{path}");
            }
            if scene.kind.asks {
                let more = format!("Authorization: Bearer {}\r\n", reader.token);
                let status = scene.raw(&request(method, path, &more));
                let seen = scene.backend.take();
                let of_the_gateway = method == "OPTIONS" && ["*", "?x", "https://localhost"].contains(&path);
                let refused = of_the_gateway || status.is_some_and(|status| (400..500).contains(&status));
                assert!(seen.is_empty() && refused, "{method} {path}: {status:?} {seen:?}");
            }
            let status = scene.raw(&request(method, path, ""));
            let seen = scene.backend.take();
            // `OPTIONS *` is about the server itself, and some answer it; Apache also what has no path at all.
            let of_the_gateway = method == "OPTIONS" && ["*", "?x", "https://localhost"].contains(&path);
            let refused = of_the_gateway || status.is_some_and(|status| (400..500).contains(&status));
            assert!(seen.is_empty() && refused, "{method} {path}: {status:?} {seen:?}");
        }
    }
}

/// What the gateway asks Countermark is its own affair: no path leads a client there.
fn no_way_around(scene: &Scene, writer: &Holder) {
    for path in ["/_countermark", "/_countermark?permission=orders:read", "/verify/~open", "/oauth2/introspect"] {
        let reply = scene.call("GET", path).bearer(&writer.token).send();
        let passed = scene.backend.take().len();
        assert_eq!((reply.status, passed == 1), if passed == 1 { (200, true) } else { (404, false) }, "{reply:?}");
        assert!(!reply.head.to_ascii_lowercase().contains("x-countermark"), "{reply:?}");
    }
}

/// Two ideas of where a request ends must not let the second one in unasked.
fn broken_framing(scene: &Scene, writer: &Holder) {
    let token = &writer.token;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Countermark-Account: evil\r\n\r\n";
    let chunked = format!("0\r\n\r\n{smuggled}");
    let framings = [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", chunked.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}", chunked.len()),
        "Content-Length: 5\r\nTransfer-Encoding: chunked".to_owned(),
        "Transfer-Encoding: xchunked\r\nContent-Length: 5".to_owned(),
        "Transfer-Encoding: chunked, identity\r\nContent-Length: 5".to_owned(),
        "Transfer-Encoding: identity, chunked\r\nContent-Length: 5".to_owned(),
        "Transfer-Encoding : chunked\r\nContent-Length: 5".to_owned(),
        "Transfer-Encoding:\tchunked\r\nContent-Length: 5".to_owned(),
        "Transfer_Encoding: chunked\r\nContent-Length: 5".to_owned(),
        "Content-Length: 5\r\nContent-Length: 0".to_owned(),
        "Content-Length: 0\r\nContent-Length: 5".to_owned(),
        "Content-Length: 5, 5".to_owned(),
        "Content-Length: +5".to_owned(),
        "Content-Length: 0x5".to_owned(),
        "Content-Length: 5\r\nConnection: Content-Length".to_owned(),
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding".to_owned(),
        "Expect: 100-continue\r\nContent-Length: 5".to_owned(),
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings".to_owned(),
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x".to_owned(),
    ];
    for framing in framings {
        for method in ["POST", "GET"] {
            let head =
                format!("{method} / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n");
            let request = head + &chunked;
            // Whatever a gateway calls it: Apache has a 500 for some.
            scene.raw_briefly(&request);
            nothing_foreign_arrived(scene, writer, &request);
        }
    }
    // Without a token in front, nothing gets in at all.
    for (line, body) in [("\n", smuggled), ("\r\n", smuggled)] {
        let head = format!("GET / HTTP/1.1{line}Host: localhost{line}Content-Length: 0{line}{line}");
        scene.raw_briefly(&(head + body));
        assert!(scene.backend.take().is_empty());
    }
}
