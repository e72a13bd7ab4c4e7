//! Heads that are too large: refused with a reason, and by `/verify` with a status that gateways understand.

use crate::call::{Call, Reply};
use crate::machine::Machine;
use crate::server::Server;

const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];

/// With a header of this length, or with so many headers.
fn long(call: Call, length: usize) -> Result<Reply, String> {
    call.header("X-Long", &"x".repeat(length)).attempt()
}

fn many(call: Call, count: usize) -> Result<Reply, String> {
    (0..count).fold(call, |call, number| call.header(&format!("X-{number}"), "x")).attempt()
}

fn is_the_refusal(reply: &Reply, status: u16, reason: &str) {
    assert_eq!((reply.status, reply.reason().as_str()), (status, reason), "{reply:?}");
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"));
    assert_eq!(reply.header("X-Request-Id"), reply.json()["request_id"].as_str());
    assert!(reply.json()["detail"].as_str().unwrap().contains("at most 32768 bytes"), "{reply:?}");
}

#[test]
fn a_head_that_is_too_large_is_refused_with_a_reason() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let admin = server.admin();
    for version in VERSIONS {
        let call = |method: &str, path: &str| server.call(method, path).flag(version).bearer(&admin);
        long(call("GET", "/api/v1/self"), 30_000).unwrap().expect(200);
        many(call("GET", "/api/v1/self"), 90).unwrap().expect(200);
        for (method, path, status, reason) in [
            ("GET", "/api/v1/self", 431, "head_too_large"),
            ("GET", "/.well-known/jwks.json", 431, "head_too_large"),
            ("DELETE", "/api/v1/accounts/admin", 431, "head_too_large"),
            ("GET", "/nowhere", 431, "head_too_large"),
            ("GET", "/verify", 401, "invalid_request"),
            ("POST", "/verify/deep/path", 401, "invalid_request"),
        ] {
            // However it is cut into pieces on its way.
            for length in [32_768, 40_000, 47_000] {
                is_the_refusal(&long(call(method, path), length).unwrap(), status, reason);
            }
            is_the_refusal(&many(call(method, path), 110).unwrap(), status, reason);
        }
        let refused = many(call("GET", "/verify"), 110).unwrap();
        assert!(refused.header("WWW-Authenticate").unwrap().contains(r#"error="invalid_request""#), "{refused:?}");
    }
    let at_operations = many(server.operations("/metrics"), 110).unwrap();
    is_the_refusal(&at_operations, 431, "head_too_large");
    let document = server.call("GET", "/api/v1/openapi.json").send().expect(200).json();
    assert!(document["paths"]["/api/v1/self"]["get"]["responses"]["431"].is_object(), "it is not told of");
    server.verify(&admin).expect(200);
}

#[test]
fn a_head_that_is_far_too_large_is_not_read_to_its_end() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    for version in VERSIONS {
        let call = || server.call("GET", "/verify").flag(version).bearer(&server.admin());
        let answers = [60_000, 80_000, 120_000].map(|length| long(call(), length));
        for answer in answers.into_iter().chain([many(call(), 1_500)]) {
            // Or the connection was closed while curl was still writing.
            assert!(answer.as_ref().is_err() || answer.as_ref().is_ok_and(|reply| reply.status == 431), "{answer:?}");
        }
    }
    is_well(&server);
}

fn is_well(server: &Server) {
    server.verify(&server.admin()).expect(200);
    assert!(server.is_ready());
}
