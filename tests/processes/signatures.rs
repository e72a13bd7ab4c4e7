//! The memory of genuine signatures, as operators see and set it.

use crate::machine::Machine;
use crate::server::Server;

/// Hits, misses, entries, bytes.
fn counts(server: &Server) -> [u64; 4] {
    let text = server.operations("/metrics").send().expect(200).body;
    ["hits_total", "misses_total", "entries", "bytes"].map(|name| {
        let name = format!("countermark_signature_cache_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&name))
            .unwrap_or_else(|| panic!("{name}: {text}"))
            .parse()
            .unwrap()
    })
}

#[test]
fn a_token_that_comes_again_is_known_and_refused_all_the_same_once_it_is_dead() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (id, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    let [hits, misses, entries, bytes] = counts(&server);
    assert!(misses >= 2 && entries >= 2 && bytes > 0, "the admin's and the account's");
    for _ in 0..3 {
        server.verify(&token).expect(200);
    }
    let (signed, _) = token.rsplit_once('.').unwrap();
    server.verify(&format!("{signed}.{}", "A".repeat(86))).expect(401);
    server.verify("garbage").expect(401);
    let now = counts(&server);
    assert_eq!(now, [hits + 3, misses + 1, entries, bytes], "the forged signature alone was checked");
    server
        .call("POST", &format!("/api/v1/accounts/{id}/token"))
        .bearer(&server.admin())
        .json(&serde_json::json!({ "valid_for_months": 6 }))
        .send()
        .expect(201);
    assert_eq!(server.verify(&token).expect(401).reason(), "superseded");
    let [_, misses, entries, _] = now;
    assert_eq!(counts(&server)[1..3], [misses, entries], "nothing was checked anew");
}

#[test]
fn without_the_memory_every_signature_is_checked() {
    let machine = Machine::new();
    let server = machine.serve().config("[cache]\nsignature_bytes = 0\n").ready();
    let (_, token) = server.create("ci", "auditor");
    let [_, before, ..] = counts(&server);
    for _ in 0..3 {
        server.verify(&token).expect(200);
    }
    assert_eq!(counts(&server), [0, before + 3, 0, 0]);
}
