//! R2: several issuers on one Redis that is restarted, and whom it waits for then.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;
use crate::until::until;

/// Two issuers on one Redis.
fn two(machine: &Machine, redis: &Redis) -> (Server, Server) {
    let one = machine.serve().option("--store", redis.url()).option("--node-name", "one").ready();
    let master_key = one.data("keys/master.key");
    let two = machine.serve_in("other").option("--store", redis.url()).option("--node-name", "two");
    (one, two.option("--master-key-file", master_key).ready())
}

fn is_back(server: &Server, token: &str) {
    until(Duration::from_secs(10), "an answer that lets it through", || {
        (server.verify(token).status == 200).then_some(())
    });
}

#[test]
fn r2_issuers_that_go_on_have_the_store_back_at_once_and_one_that_has_ended_is_not_waited_for() {
    let machine = Machine::new();
    let mut redis = Redis::start(&machine, &[]);
    let (one, two) = two(&machine, &redis);
    let admin = one.admin();
    redis.end();
    redis.again(&[]);
    is_back(&one, &admin);
    is_back(&two, &admin);
    two.stop();
    redis.end();
    redis.again(&[]);
    is_back(&one, &admin);
    one.stop();
}

#[test]
fn r2_an_issuer_that_was_killed_is_waited_for_until_it_is_started_again_or_declared_gone() {
    let machine = Machine::new();
    let mut redis = Redis::start(&machine, &[]);
    let (one, mut killed) = two(&machine, &redis);
    let admin = one.admin();
    killed.signal(Signal::KILL);
    killed.end();
    redis.end();
    redis.again(&[]);
    let said = until(Duration::from_secs(10), "word of whom it waits for", || {
        let ready = one.operations("/readyz").send();
        let said = ready.json()["checks"]["store"].as_str()?.to_owned();
        said.contains("two").then_some(said)
    });
    assert!(said.contains("countermark node forget"), "{said}");
    assert_eq!(one.verify(&admin).status, 503);
    // It needs no answer of a server.
    let place = ["--data-dir", "data", "--store", &redis.url()];
    let unknown = machine.run(&[&["node", "forget", "three"][..], &place].concat()).expect(2);
    assert!(unknown.err.contains("knows no issuer three"), "{unknown:?}");
    let refused = machine.run(&[&["recover"][..], &place].concat()).expect(2);
    assert!(refused.err.contains("two") && refused.err.contains("nothing was changed"), "{refused:?}");
    let doctor = machine.run(&[&["doctor"][..], &place].concat());
    assert!(doctor.out.contains("waits for two"), "{doctor:?}");
    let done = machine.run(&[&["node", "forget", "two"][..], &place].concat()).expect(0);
    assert!(done.out.contains("two is waited for no more"), "{done:?}");
    is_back(&one, &admin);

    // Once more, and it comes back instead.
    let begin = |redis: &Redis| {
        let two = machine.serve_in("other").option("--store", redis.url()).option("--node-name", "two");
        two.option("--master-key-file", one.data("keys/master.key")).listening()
    };
    let mut two = begin(&redis);
    is_back(&two, &admin);
    two.signal(Signal::KILL);
    two.end();
    redis.end();
    redis.again(&[]);
    until(Duration::from_secs(10), "that it waits again", || (one.verify(&admin).status == 503).then_some(()));
    let two = begin(&redis);
    is_back(&two, &admin);
    is_back(&one, &admin);
    two.stop();
    one.stop();
}

/// Each takes the other's place in the list of issuers: the one that came first finds that out.
#[test]
fn r2_a_server_whose_data_directory_was_copied_and_started_elsewhere_says_so() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let one = machine.serve().option("--store", redis.url()).option("--node-name", "one").ready();
    let warned = || one.operations("/readyz").send().json()["warnings"].to_string();
    let copied = Command::new("cp").arg("-a").arg(machine.path("data")).arg(machine.path("copy")).status().unwrap();
    assert!(copied.success());
    let copy = machine.serve_in("copy").option("--store", redis.url()).option("--node-name", "two").ready();
    until(Duration::from_secs(10), "a warning", || {
        warned().contains("another server acts as this issuer").then_some(())
    });
    assert!(one.log().contains("remove journal and node-name"), "{}", one.log());
    copy.stop();
    // As it says.
    std::fs::remove_dir_all(machine.path("copy/journal")).unwrap();
    let copy = machine.serve_in("copy").option("--store", redis.url()).option("--node-name", "two").ready();
    until(Duration::from_secs(10), "no warning", || (!warned().contains("acts as this issuer")).then_some(()));
    copy.stop();
    one.stop();
}
