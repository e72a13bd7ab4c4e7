//! What an operator is told while sentinels or replicas are missing.

use std::time::Duration;

use super::failovers::SOON;
use super::sentinels::{Sentinels, Set};
use crate::machine::Machine;
use crate::server::Server;
use crate::until::until;

const SET: Set = Set { down_after: Duration::from_secs(30), least: 1, lag: 2 };
const SETTINGS: &str = "[store]\nreplicas_required = 1\nreplica_max_lag = \"2s\"\n";

fn readiness(server: &Server) -> String {
    server.operations("/readyz").attempt().map(|reply| reply.body).unwrap_or_default()
}

#[test]
fn sentinels_that_are_all_gone_are_told_of_although_tokens_are_verified() {
    let machine = Machine::new();
    let mut all = Sentinels::start(&machine, SET);
    let server = machine.serve().option("--store", all.url()).config(SETTINGS).ready();
    let (_, token) = server.create("ci", "auditor");
    assert!(!readiness(&server).contains("sentinel"));
    for sentinel in &mut all.sentinels {
        sentinel.end();
    }
    until(SOON, "a warning", || readiness(&server).contains("no sentinel says which server").then_some(()));
    server.verify(&token).expect(200);
    assert!(server.is_ready());
    until(SOON, "a line of the log", || server.log().contains("no sentinel says which server").then_some(()));
    for sentinel in &mut all.sentinels {
        sentinel.begin();
    }
    until(SOON, "no warning", || (!readiness(&server).contains("no sentinel says")).then_some(()));
    until(SOON, "that it is over", || server.log().contains("sentinels say again").then_some(()));
    server.stop();
}

#[test]
fn an_outage_is_told_with_its_cause_and_not_with_each_request() {
    let machine = Machine::new();
    let mut all = Sentinels::start(&machine, SET);
    let server = machine.serve().option("--store", all.url()).config(SETTINGS).ready();
    let (_, token) = server.create("ci", "auditor");
    for replica in &mut all.servers[1..] {
        replica.end();
    }
    // The fence first, then the server itself: the cause changes, and that is told.
    until(SOON, "the cause", || readiness(&server).contains("NOREPLICAS").then_some(()));
    until(SOON, "a line of the log", || server.log().contains("too few replicas follow it (NOREPLICAS)").then_some(()));
    until(SOON, "a refusal", || (server.verify(&token).status == 503).then_some(()));
    for _ in 0..50 {
        server.verify(&token).expect(503);
    }
    let lines = |words: &str| server.log().lines().filter(|line| line.contains(words)).count();
    assert!((1..=10).contains(&lines("no look-up")), "{}", server.log());
    let before = lines("no connection to the store");
    all.servers[0].end();
    until(SOON, "another cause", || {
        let seen = readiness(&server);
        (seen.contains("no connection: ") && !seen.contains("NOREPLICAS")).then_some(())
    });
    until(SOON, "that it is told", || (lines("no connection to the store") > before).then_some(()));
    server.stop();
}
