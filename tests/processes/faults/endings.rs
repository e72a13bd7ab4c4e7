//! Stopping while the store does not answer.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::scene::Scene;
use crate::machine::Machine;
use crate::server::Server;
use crate::until::{leases_end, lives, stand_still};

/// What is left of the audit is tried for eight seconds, and a Redis of ours may take three.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

#[track_caller]
fn stops(server: &mut Server) {
    let began = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ends_within(STOPS_WITHIN);
    assert_eq!(status.code(), Some(0), "{}", server.log());
    println!("stopped after {:?}", began.elapsed());
}

#[test]
fn a_private_redis_that_hangs_does_not_keep_the_server_from_stopping() {
    let machine = Machine::new();
    let mut server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    let redis = server.redis_pid().unwrap();
    server.verify(&token).expect(200);
    stand_still(redis);
    leases_end(Instant::now());
    server.verify(&token).expect(503);
    stops(&mut server);
    assert!(!lives(redis), "its private Redis is left");
    let server = machine.serve().ready();
    server.verify(&token).expect(200);
    server.stop();
}

#[test]
fn a_store_that_hangs_does_not_keep_the_server_from_stopping() {
    let mut scene = Scene::on_redis(&[]);
    scene.server.verify(&scene.good).expect(200);
    scene.redis.stands_still();
    leases_end(Instant::now());
    scene.server.verify(&scene.good).expect(503);
    stops(&mut scene.server);
}
