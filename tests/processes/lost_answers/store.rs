//! Answers that a server loses while it waits for a replica, and at its first start.

use rustix::process::Signal;
use serde_json::json;

use super::{BREAKS, is_told_that_it_is_unknown};
use crate::between::{Between, Break};
use crate::call::Reply;
use crate::machine::Machine;
use crate::redis::Redis;
use crate::until::{soon, stand_still};

#[test]
fn a_lost_confirmation_of_a_replica_is_asked_for_again_and_not_taken_for_granted() {
    let machine = Machine::new();
    let primary = Redis::start(&machine, &[("--repl-diskless-sync-delay", "0")]);
    let replica = Redis::start(&machine, &[("--replicaof", &format!("127.0.0.1 {}", primary.port))]);
    let info = || redis::cmd("INFO").arg("replication").query::<String>(&mut primary.connection()).unwrap();
    soon("a replica that follows", || info().contains("state=online"));
    let way = Between::to(primary.port);
    let config = "[store]\nreplicas_required = 1\nreplica_timeout = \"500ms\"\n";
    let server = machine.serve().option("--store", &way.url).config(config).ready();
    let admin = server.admin();
    let (id, _) = server.create("ci", "auditor");
    let read = || server.call("GET", "/api/v1/accounts/ci").bearer(&admin).send().expect(200).json();

    for at in [Break::BeforeTheCommand, Break::BeforeTheReply] {
        let before = read()["generation"].as_u64().unwrap();
        way.break_at("\r\nWAIT\r\n", at, false);
        let issued = server.regenerate(&admin, &id).expect(201).json();
        assert_eq!((&issued["receipt"]["replicas"], &issued["account"]["generation"]), (&json!(1), &json!(before + 1)));
    }

    // The replica has all that was before, and stops: a confirmation on another connection must not be one of that.
    soon("a replica that has everything", || {
        let info = info();
        let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap();
        info.contains(&format!(",offset={},", offset.trim()))
    });
    replica.signal(Signal::STOP);
    let before = read()["generation"].as_u64().unwrap();
    way.break_at("\r\nWAIT\r\n", Break::BeforeTheCommand, false);
    is_told_that_it_is_unknown(server.regenerate(&admin, &id));
    assert_eq!(read()["generation"], before + 1, "on the primary it is made, and it may be lost with it");
    replica.signal(Signal::CONT);
    soon("changes again", || server.regenerate(&admin, &id).status == 201);
    assert_eq!(way.broken(), 3);
    server.stop();
}

#[test]
fn a_change_that_was_made_before_its_store_began_anew_is_not_said_not_to_be_made() {
    let machine = Machine::new();
    let mut redis = Redis::start(&machine, &[]);
    let first = machine.serve_in("one").option("--store", redis.url()).ready();
    let master = first.data("keys/master.key");
    let second = machine.serve_in("two").option("--store", redis.url()).option("--master-key-file", &master).ready();
    let admin = first.admin();
    let (id, _) = first.create("ci", "auditor");
    let generation = || {
        let account = first.call("GET", "/api/v1/accounts/ci").bearer(&admin).send();
        (account.status == 200).then(|| account.json()["generation"].as_u64().unwrap())
    };
    let feed = |redis: &Redis| redis::cmd("XLEN").arg("{cm}:feed").query::<u64>(&mut redis.connection()).unwrap();
    let changes: [(&str, &(dyn Fn() -> Reply + Sync)); 2] = [
        ("token", &|| first.regenerate(&admin, &id)),
        ("team", &|| first.call("PUT", "/api/v1/teams/any").bearer(&admin).json(&json!({})).send()),
    ];
    for (what, change) in changes {
        // It holds a lease, so that a change is not receipted at once.
        soon("a lease of the second", || {
            let nodes = first.call("GET", "/api/v1/nodes").bearer(&admin).send().expect(200).json();
            let nodes = nodes["items"].as_array().unwrap().iter();
            nodes.filter(|node| node["lease_ms"] != 0 && node["applied_epoch"] != "0-0").count() == 2
        });
        let before = feed(&redis);
        stand_still(second.pid());
        let reply = std::thread::scope(|scope| {
            let asking = scope.spawn(change);
            soon("the change", || feed(&redis) > before);
            redis.end();
            // It has the change, and takes no other.
            redis.again(&[("--maxmemory", "1")]);
            asking.join().unwrap()
        });
        second.signal(Signal::CONT);
        is_told_that_it_is_unknown(reply);
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).exec(&mut redis.connection()).unwrap();
        assert!(feed(&redis) > before, "{what}");
        soon("changes again", || change().status < 300);
    }
    // Once unknown, and once when it was repeated.
    soon("the account", || generation() == Some(3));
    first.stop();
    second.stop();
}

/// What the first start changes: the keys, and the first admin.
const FIRST_CHANGES: [&str; 2] = ["{cm}:feed\r\n$12\r\n{cm}:keyring", "dataset.create"];

#[test]
fn a_first_start_whose_answers_are_lost_makes_one_admin_and_one_set_of_keys() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    // So that Redis knows the scripts.
    machine.serve_in("before").option("--store", redis.url()).ready().stop();
    for (number, text) in FIRST_CHANGES.iter().enumerate() {
        for (at, stays) in BREAKS.into_iter().flat_map(|at| [(at, false), (at, true)]) {
            redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
            let way = Between::to(redis.port);
            way.break_at(text, at, stays);
            let config = "[store]\ncommand_timeout = \"400ms\"\n";
            let data = format!("data-{number}-{at:?}-{stays}");
            let server = machine.serve_in(&data).option("--store", &way.url).config(config).listening();
            soon("a break", || way.broken() == 1);
            // It has met the silence, or been told of the break, and looks for the store.
            soon("that it looks", || !stays || server.log().contains("no connection to the store"));
            way.open();
            server.becomes_ready();
            server.verify(&server.admin()).expect(200);
            assert!(!server.data("admin.token.new").exists(), "{data}");
            let mut redis = redis.connection();
            let mut ask = |words: &[&str]| -> u64 { redis::cmd(words[0]).arg(&words[1..]).query(&mut redis).unwrap() };
            assert_eq!((ask(&["ZCARD", "{cm}:admins"]), ask(&["XLEN", "{cm}:acts"])), (1, 1), "{data}");
            assert_eq!(ask(&["HGET", "{cm}:keyring", "version"]), 1, "{data}");
            server.stop();
        }
    }
}
