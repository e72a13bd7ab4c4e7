//! What is possible while a part of a cluster is away that has no state: a shard of the audit, and the use of some accounts.

use std::time::Duration;

use super::cluster::{Cluster, Set};
use super::failovers::{LAG, SOON};
use crate::machine::Machine;
use crate::until::until;

#[test]
fn every_account_is_revoked_while_the_servers_that_have_the_use_of_some_are_away() {
    let machine = Machine::new();
    let mut all = Cluster::start(&machine, Set { node_timeout: Duration::from_secs(1), least: 1, lag: LAG });
    for member in &all.members {
        member.told::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let config = format!("[store]\nreplicas_required = 1\nreplica_max_lag = \"{LAG}s\"\n");
    let server = machine.serve().option("--store", all.url()).config(&config).ready();
    let admin = server.admin();
    let lost = (0..3).find(|place| all.serves(all.state_slot()) != Some(*place)).unwrap();
    let lies_there = |(id, _): &(String, String)| all.serves(all.slot(&format!("{{cm:{id}}}:use"))) == Some(lost);
    let mut accounts = Vec::new();
    while accounts.iter().filter(|account| lies_there(account)).count() < 2 {
        accounts.push(server.create(&format!("ci-{}", accounts.len()), "auditor"));
    }
    for place in all.replicas(lost).into_iter().chain([lost]) {
        all.members[place].end();
    }
    for (id, token) in &accounts {
        let path = format!("/api/v1/accounts/{id}");
        until(SOON, "a receipt", || {
            let reply = server.call("DELETE", &format!("{path}/token")).bearer(&admin).send();
            (reply.status == 200).then_some(())
        });
        assert_eq!(server.verify(token).expect(401).reason(), "revoked");
        server.call("GET", &path).bearer(&admin).send().expect(200);
    }
    until(SOON, "that it is told", || server.log().contains("when tokens were used last").then_some(()));
    server.stop();
}
