//! A replica is promoted that did not confirm what was receipted: `store.replicas_required` was less than the number of replicas.

use std::time::Duration;

use super::failovers::SOON;
use super::net::Side;
use super::sentinels::{Sentinels, Set};
use crate::machine::Machine;
use crate::until::until;

#[test]
fn r2_a_receipted_change_that_only_lost_servers_had_is_made_up_for_before_anybody_is_served() {
    let machine = Machine::new();
    let mut all = Sentinels::start(&machine, Set { down_after: Duration::from_secs(1), least: 1, lag: 2 });
    let start = machine
        .serve()
        .listen("http://127.0.0.1:0")
        .option("--issuer", "https://issuer.test")
        .option("--store", all.url());
    let node = start.config("[store]\nreplicas_required = 1\nreplica_max_lag = \"2s\"\n").ready();
    let (id, token) = node.create("ci", "auditor");
    let primary = all.is_whole(SOON);
    let (confirms, lags) = ((primary + 1) % 3, (primary + 2) % 3);
    all.net.cut(all.servers[lags].joins(Side::default()));
    let made = node.regenerate(&node.admin(), &id).expect(201).json();
    assert_eq!(made["receipt"]["replicas"], 1);
    // Whoever has it is gone.
    all.servers[primary].end();
    all.servers[confirms].end();
    all.net.heal();
    until(SOON, "the last one is the primary", || (all.named() == Some(lags)).then_some(()));
    let follows = |server: &mut super::member::Member, of: u16| {
        server.begin();
        server.has_begun();
        server.told::<()>(&["REPLICAOF", "127.0.0.1", &of.to_string()]);
    };
    let door = all.servers[lags].door;
    follows(&mut all.servers[confirms], door);
    let refused = until(SOON, "the store serves again", || {
        let reply = node.verify(&token);
        assert_ne!(reply.status, 200, "it is back");
        (reply.status == 401).then_some(reply)
    });
    assert_eq!(refused.reason(), "superseded");
    node.verify(made["token"].as_str().unwrap()).expect(200);
}
