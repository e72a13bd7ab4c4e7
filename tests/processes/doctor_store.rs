//! What `countermark doctor` finds in a store that somebody else runs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::doctor::{Said, doctor, store_config};
use crate::machine::Machine;
use crate::redis::Redis;
use crate::until::until;

fn run(redis: &Redis, words: &str) {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>()).exec(&mut redis.connection()).unwrap_or_else(|error| panic!("{error}"));
}

fn look(machine: &Machine) -> Said {
    doctor(machine, &["--config", "store.toml", "--data-dir", "data"])
}

/// A store with a user of its own, and the configuration for it in `store.toml`.
fn store(machine: &Machine) -> Redis {
    let redis = Redis::start(machine, &[]);
    machine.write("store.toml", &store_config(machine, &redis));
    redis
}

#[test]
fn settings_under_which_a_store_loses_what_it_acknowledged_are_found() {
    let machine = Machine::new();
    let redis = store(&machine);
    look(&machine).healthy();
    let table: [(&str, &str, &str, &[&str]); 14] = [
        ("CONFIG SET appendonly no", "CONFIG SET appendonly yes", "store.persistence", &["loses everything"]),
        ("CONFIG SET appendfsync everysec", "CONFIG SET appendfsync always", "store.sync", &["everysec"]),
        ("CONFIG SET appendfsync no", "CONFIG SET appendfsync always", "store.sync", &["is no"]),
        (
            "CONFIG SET maxmemory-policy allkeys-lru",
            "CONFIG SET maxmemory-policy noeviction",
            "store.eviction",
            &["allkeys-lru"],
        ),
        ("CONFIG SET maxmemory 1200000", "CONFIG SET maxmemory 0", "store.memory", &["maxmemory"]),
        ("CONFIG SET maxclients 1", "CONFIG SET maxclients 1000", "store.connections", &["maxclients"]),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "store.primary", &["NOREPLICAS"]),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "store.primary", &["it is a replica"]),
        (
            "ACL SETUSER countermark -xautoclaim",
            "ACL SETUSER countermark +xautoclaim",
            "store.rights",
            &["+xautoclaim"],
        ),
        (
            "ACL SETUSER countermark resetkeys ~{cm}:*",
            "ACL SETUSER countermark ~{cm:*}:*",
            "store.rights",
            &["~{cm:*}:*"],
        ),
        ("ACL SETUSER countermark -evalsha", "ACL SETUSER countermark +evalsha", "store.scripts", &["EVALSHA"]),
        ("ACL SETUSER countermark -eval", "ACL SETUSER countermark +eval", "store.primary", &["NOPERM"]),
        ("SET {cm}:other x", "DEL {cm}:other", "store.keys", &["{cm}:other"]),
        (
            "SET {cm}:p:0197f0a0-0000-7000-8000-0000deadbeef x",
            "DEL {cm}:p:0197f0a0-0000-7000-8000-0000deadbeef",
            "store.keys",
            &["deadbeef"],
        ),
    ];
    for (wrong, right, check, words) in table {
        run(&redis, wrong);
        look(&machine).finds(check, words);
        run(&redis, right);
    }
    run(&redis, "CONFIG SET maxclients 1");
    let one = redis.connection();
    assert!(TcpStream::connect(("127.0.0.1", redis.port)).unwrap().read(&mut [0; 64]).unwrap() > 0, "it is told why");
    drop(one);
    until(Duration::from_secs(10), "room for a connection", || {
        let client = redis::Client::open(redis.url()).unwrap();
        redis::cmd("CONFIG").arg(&["SET", "maxclients", "1000"]).exec(&mut client.get_connection().ok()?).ok()
    });
    assert_eq!(look(&machine).healthy().status("store.connections"), "notice");
    for words in ["SET thrown out", "CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory 1"] {
        run(&redis, words);
    }
    until(Duration::from_secs(10), "an eviction", || (redis.size() == 0).then_some(()));
    run(&redis, "CONFIG SET maxmemory 0");
    run(&redis, "CONFIG SET maxmemory-policy noeviction");
    look(&machine).finds("store.eviction", &["1 keys have been evicted", "CONFIG RESETSTAT"]);
    run(&redis, "CONFIG RESETSTAT");
    run(&redis, "ACL SETUSER countermark -acl -config");
    let said = look(&machine).healthy();
    assert_eq!((said.status("store.rights"), said.status("store.sync")), ("unchecked", "unchecked"));
    run(&redis, "ACL SETUSER countermark +acl|whoami +acl|dryrun +config|get");
    run(&redis, "ACL SETUSER countermark +flushall");
    assert_eq!(look(&machine).healthy().status("store.rights"), "notice");
    // Its directory is gone: it can't write a snapshot.
    std::fs::remove_dir_all(machine.path(&format!("redis-{}", redis.port))).unwrap();
    run(&redis, "BGSAVE");
    until(Duration::from_secs(10), "a failed snapshot", || {
        (look(&machine).status("store.writes") == "finding").then_some(())
    });
}

#[test]
fn a_store_that_is_away_refuses_or_is_of_another_kind_is_found() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let at = |url: &str| doctor(&machine, &["--store", url]);
    at(&redis.url()).finds("store.password", &["without a password", "store.password_file"]);
    at(&format!("redis://nobody:hunter2@127.0.0.1:{}", redis.port)).finds("store.reachable", &["user or the password"]);
    let away = at(&format!("redis://u:hunter2@127.0.0.1:{}", crate::redis::free_port()));
    away.finds("store.reachable", &["does not answer"]);
    assert!(!away.text.contains("hunter2"));
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = std::time::Instant::now();
    at(&format!("redis://{}", silent.local_addr().unwrap())).finds("store.reachable", &["does not answer"]);
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(redis);
    let cluster = Redis::start(&machine, &[("--cluster-enabled", "yes")]);
    at(&cluster.url()).finds("store.reachable", &["a server of a Redis Cluster", "redis+cluster://"]);
}

#[test]
fn a_store_into_which_a_backup_is_only_half_restored_is_not_called_empty() {
    let machine = Machine::new();
    let redis = store(&machine);
    run(&redis, "HSET {cm}:meta restoring 2026-11-30");
    let said = look(&machine);
    said.finds("store.dataset", &["2026-11-30 is being restored", "run it again with the same file"]);
    assert!(!said.text.contains("fresh --data-dir"), "{}", said.text);
}

#[test]
fn replicas_that_are_too_few_unfenced_or_behind_are_found() {
    let machine = Machine::new();
    let redis = store(&machine);
    let config = std::fs::read_to_string(machine.path("store.toml")).unwrap();
    assert_eq!(look(&machine).healthy().status("store.fence"), "", "nothing to fence");
    machine.write("store.toml", &format!("{config}replicas_required = 1\n"));
    let said = look(&machine);
    said.finds("store.replicas", &["0 replicas are online", "replicas_required is 1"]);
    said.finds("store.fence", &["min-replicas-to-write is 0"]);

    let replica = Redis::start(&machine, &[("--replicaof", &format!("127.0.0.1 {}", redis.port))]);
    until(Duration::from_secs(20), "a replica that is online", || {
        (look(&machine).status("store.replicas") == "ok").then_some(())
    });
    look(&machine).finds("store.fence", &["CONFIG SET min-replicas-to-write 1"]);
    run(&redis, "CONFIG SET min-replicas-to-write 1");
    look(&machine).healthy();
    run(&redis, "CONFIG SET min-replicas-max-lag 60");
    look(&machine).finds("store.fence", &["min-replicas-max-lag 60"]);
    run(&redis, "CONFIG SET min-replicas-max-lag 10");
    machine.write("store.toml", &config);
    assert_eq!(look(&machine).healthy().status("store.replicas"), "notice");

    replica.signal(Signal::STOP);
    until(Duration::from_secs(20), "a replica that is behind", || {
        (look(&machine).status("store.lag") == "finding").then_some(())
    });
}

#[test]
fn a_dataset_that_is_lost_of_the_future_or_of_other_versions_is_found() {
    let machine = Machine::new();
    let redis = store(&machine);
    let text = std::fs::read_to_string(machine.path("store.toml")).unwrap();
    machine.serve().config(&text).ready().stop();
    look(&machine).healthy();
    let node = json!({"name": "old", "version": "0.0.1", "address": ""});
    let mut old = redis::cmd("HSET");
    old.arg("{cm}:nodes").arg("n").arg(node.to_string()).exec(&mut redis.connection()).unwrap();
    let mut lease = redis::cmd("HSET");
    lease.arg("{cm}:leases").arg("n").arg("1 500 1-1 1 0").exec(&mut redis.connection()).unwrap();
    look(&machine).finds("server.version", &["old runs 0.0.1"]);
    run(&redis, "DEL {cm}:nodes {cm}:leases");
    run(&redis, "XADD {cm}:acts 9999999999999-0 e x");
    look(&machine).finds("clock.sane", &["2286"]);
    run(&redis, "FLUSHALL");
    look(&machine).finds("store.dataset", &["the store is empty"]);
}

/// A way to the store that takes its time, and where the clock is an hour ahead.
fn detour(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut store) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
            let (mut answers, mut back) = (store.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let mut bytes = [0; 65_536];
                while let Ok(length @ 1..) = client.read(&mut bytes) {
                    std::thread::sleep(delay);
                    let asked = &bytes[..length];
                    if asked.ends_with(b"$4\r\nTIME\r\n") {
                        let ahead = time::OffsetDateTime::now_utc().unix_timestamp() + 3_600;
                        client.write_all(format!("*2\r\n$10\r\n{ahead}\r\n$1\r\n0\r\n").as_bytes()).unwrap();
                    } else if store.write_all(asked).is_err() {
                        break;
                    }
                }
                let _ = store.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

#[test]
fn a_store_that_is_far_away_or_has_another_time_is_found() {
    let machine = Machine::new();
    let redis = store(&machine);
    let config = std::fs::read_to_string(machine.path("store.toml")).unwrap();
    let port = detour(redis.port, Duration::from_millis(30));
    let config = config.replace(&redis.port.to_string(), &port.to_string());
    machine.write("store.toml", &format!("{config}command_timeout = \"250ms\"\n"));
    let said = look(&machine);
    said.finds("store.latency", &["command_timeout is 250 ms"]);
    said.finds("store.clock", &["apart"]);
}

#[test]
fn a_server_whose_store_went_away_is_found_not_ready() {
    let machine = Machine::new();
    let redis = store(&machine);
    let text = std::fs::read_to_string(machine.path("store.toml")).unwrap();
    let server = machine.serve().config(&text).ready();
    drop(redis);
    until(Duration::from_secs(10), "not ready", || (!server.is_ready()).then_some(()));
    let said = look(&machine);
    said.finds("server.ready", &["store"]);
    said.finds("store.reachable", &["503"]);
    assert_eq!(said.status("master_key.opens"), "unchecked");
}
