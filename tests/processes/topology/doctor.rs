//! What `countermark doctor` finds in sentinels and clusters.

use std::time::Duration;

use super::failovers::SOON;
use super::member::Member;
use super::sentinels::{MASTER, Sentinels};
use super::{cluster, sentinels};
use crate::doctor::{Said, doctor};
use crate::machine::Machine;
use crate::until::until;

fn look(machine: &Machine) -> Said {
    doctor(machine, &["--config", "store.toml", "--data-dir", "data"])
}

fn run(member: &Member, words: &str) {
    member.told::<()>(&words.split(' ').collect::<Vec<_>>());
}

/// A user of the service's own on each server, and the configuration for it in `store.toml`.
fn configured(machine: &Machine, servers: &[Member], url: &str, more: &str) {
    for server in servers {
        run(server, "ACL SETUSER countermark on >secret ~{cm}:* ~{cm:*}:* +@all -@dangerous +info");
        run(server, "ACL SETUSER countermark +config|get +acl|whoami +acl|dryrun");
        run(server, "CONFIG SET repl-backlog-size 64mb");
    }
    let password = machine.write("password", "secret\n");
    let text = format!("[store]\nurl = {url:?}\nuser = \"countermark\"\npassword_file = {password:?}\n{more}");
    machine.write("store.toml", &text);
}

/// Whose setting, what is wrong with it, what is right, and the entry that says so: its check, its status, words of it.
type Wrong<'a> = (&'a Member, &'a str, &'a str, &'a str, &'a str, &'a [&'a str]);

/// Each wrong thing is found, and nothing is left when it is put right.
fn found(machine: &Machine, table: &[Wrong<'_>]) {
    for (member, wrong, right, check, status, words) in table {
        run(member, wrong);
        let said = look(machine);
        let entry = said.entries.iter().find(|entry| entry["check"] == *check && entry["status"] == *status);
        let text = entry.unwrap_or_else(|| panic!("{wrong}: {check}: {}", said.text)).to_string();
        for word in *words {
            assert!(text.contains(word), "{wrong}: {word}: {text}");
        }
        run(member, right);
    }
    look(machine).healthy();
}

#[test]
fn sentinels_and_servers_that_weaken_a_claim_are_found_each_by_its_setting() {
    let machine = Machine::new();
    let all = Sentinels::start(&machine, sentinels::Set { down_after: Duration::from_secs(30), least: 2, lag: 10 });
    let settings = "replicas_required = 2\n";
    configured(&machine, &all.servers, &all.url(), settings);
    let said = look(&machine).healthy();
    for check in [
        "sentinels.reachable",
        "sentinels.agree",
        "sentinels.quorum",
        "sentinels.settings",
        "servers.reachable",
        "servers.keep",
        "servers.version",
        "servers.replicas_required",
        "servers.fence",
        "servers.max_lag",
        "servers.failover",
        "servers.resync",
    ] {
        assert_eq!(said.status(check), "ok", "{check}: {}", said.text);
    }
    let (replica, sentinel) = (&all.servers[1], &all.sentinels[1]);
    let door = replica.door.to_string();
    found(
        &machine,
        &[
            (
                replica,
                "CONFIG SET min-replicas-to-write 0",
                "CONFIG SET min-replicas-to-write 2",
                "servers.fence",
                "finding",
                &[&door, "min-replicas-to-write is 0", "goes on answering", "CONFIG SET min-replicas-to-write 2"],
            ),
            (
                replica,
                "CONFIG SET min-replicas-max-lag 11",
                "CONFIG SET min-replicas-max-lag 10",
                "servers.max_lag",
                "finding",
                &["11 s", "store.replica_max_lag"],
            ),
            (
                replica,
                "CONFIG SET appendonly no",
                "CONFIG SET appendonly yes",
                "servers.keep",
                "finding",
                &[&door, "appendonly is off"],
            ),
            (
                replica,
                "CONFIG SET appendfsync everysec",
                "CONFIG SET appendfsync always",
                "servers.keep",
                "notice",
                &[&door, "appendfsync is everysec"],
            ),
            (
                replica,
                "CONFIG SET repl-diskless-sync-delay 5",
                "CONFIG SET repl-diskless-sync-delay 0",
                "servers.resync",
                "notice",
                &[&door, "repl-diskless-sync-delay is 5 s", "NOREPLICAS"],
            ),
            (
                replica,
                "CONFIG SET repl-backlog-size 1mb",
                "CONFIG SET repl-backlog-size 64mb",
                "servers.resync",
                "notice",
                &[&door, "1024 KiB"],
            ),
            (
                replica,
                "CONFIG SET repl-timeout 60",
                "CONFIG SET repl-timeout 10",
                "servers.resync",
                "notice",
                &[&door, "repl-timeout is 60 s", "CONFIG SET repl-timeout 10"],
            ),
            (
                replica,
                "CONFIG SET repl-ping-replica-period 10",
                "CONFIG SET repl-ping-replica-period 1",
                "servers.resync",
                "notice",
                &[&door, "repl-ping-replica-period is 10 s, and repl-timeout 10 s"],
            ),
            (
                replica,
                "CONFIG SET maxmemory-policy allkeys-lru",
                "CONFIG SET maxmemory-policy noeviction",
                "servers.keep",
                "finding",
                &["allkeys-lru"],
            ),
            (
                sentinel,
                &format!("SENTINEL SET {MASTER} down-after-milliseconds 12000"),
                &format!("SENTINEL SET {MASTER} down-after-milliseconds 30000"),
                "servers.failover",
                "finding",
                &["12000 ms", "12500 ms"],
            ),
            (
                sentinel,
                &format!("SENTINEL SET {MASTER} down-after-milliseconds 29000"),
                &format!("SENTINEL SET {MASTER} down-after-milliseconds 30000"),
                "sentinels.settings",
                "finding",
                &["29000 or 30000"],
            ),
            (
                sentinel,
                &format!("SENTINEL SET {MASTER} quorum 1"),
                &format!("SENTINEL SET {MASTER} quorum 2"),
                "sentinels.quorum",
                "finding",
                &["1 or 2", "quorum 2"],
            ),
            (
                replica,
                "ACL SETUSER countermark -config",
                "ACL SETUSER countermark +config|get",
                "servers.fence",
                "unchecked",
                &["min-replicas-to-write should be 2"],
            ),
            (
                replica,
                "ACL SETUSER countermark -evalsha",
                "ACL SETUSER countermark +evalsha",
                "servers.rights",
                "finding",
                &[&door, "EVALSHA", "the same rights on every server"],
            ),
            (
                replica,
                "ACL SETUSER countermark off",
                "ACL SETUSER countermark on",
                "servers.reachable",
                "finding",
                &[&door, "password"],
            ),
        ],
    );
    let more = |required: u32| {
        configured(&machine, &all.servers, &all.url(), &format!("replicas_required = {required}\n"));
        look(&machine)
    };
    assert_eq!(more(1).healthy().status("servers.replicas_required"), "notice");
    more(3).finds("servers.replicas_required", &["2 replicas may be promoted", "replicas_required is 3"]);
    more(2).healthy();
    // One that may not be promoted is none.
    run(replica, "CONFIG SET replica-priority 0");
    until(SOON, "sentinels that know of it", || {
        (look(&machine).status("servers.replicas_required") == "finding").then_some(())
    });
    run(replica, "CONFIG SET replica-priority 100");
    all.sentinels[2].signal(rustix::process::Signal::STOP);
    look(&machine).finds("sentinels.reachable", &[&all.sentinels[2].door.to_string()]);
}

/// An entry's words.
fn words(said: &Said, check: &str, status: &str) -> String {
    let entry = said.entries.iter().find(|entry| entry["check"] == check && entry["status"] == status);
    entry.unwrap_or_else(|| panic!("{check}: {}", said.text)).to_string()
}

#[test]
fn it_is_said_whether_the_service_goes_on_without_one_of_its_servers() {
    let machine = Machine::new();
    let all = Sentinels::start(&machine, sentinels::Set { down_after: Duration::from_secs(30), least: 2, lag: 10 });
    let loss = |least: u32, settings: &str, status: &str| {
        for server in &all.servers {
            run(server, &format!("CONFIG SET min-replicas-to-write {least}"));
        }
        configured(&machine, &all.servers, &all.url(), settings);
        words(&look(&machine), "servers.loss", status)
    };
    let text = loss(2, "replicas_required = 2\n", "notice");
    assert!(text.contains("1 replicas are left") && text.contains("nothing is served until it is back"), "{text}");
    let text = loss(2, "replicas_required = 1\n", "notice");
    assert!(text.contains("nothing is served until it is back"), "{text}");
    let text = loss(1, "replicas_required = 2\n", "notice");
    assert!(text.contains("nothing is changed until it is back"), "{text}");
    let text = loss(1, "replicas_required = 2\nrenewals_wait = true\n", "notice");
    assert!(text.contains("nothing is served until it is back"), "{text}");
    loss(1, "replicas_required = 1\n", "ok");
    for replica in &all.servers[1..] {
        run(replica, "CONFIG SET replica-priority 0");
    }
    until(SOON, "sentinels that know of it", || (look(&machine).status("servers.loss") == "finding").then_some(()));
    look(&machine).finds("servers.loss", &["no replica may take the place of the primary"]);
}

#[test]
fn the_advice_about_the_fence_names_the_lag_that_is_configured() {
    let machine = Machine::new();
    let all = Sentinels::start(&machine, sentinels::Set { down_after: Duration::from_secs(30), least: 0, lag: 3 });
    configured(&machine, &all.servers, &all.url(), "replicas_required = 1\nreplica_max_lag = \"3s\"\n");
    look(&machine).finds("servers.fence", &["CONFIG SET min-replicas-max-lag 3;"]);
}

#[test]
fn of_servers_that_nobody_names_nothing_is_said_to_be_well() {
    let machine = Machine::new();
    let all = Sentinels::start(&machine, sentinels::Set { down_after: Duration::from_secs(30), least: 2, lag: 10 });
    for sentinel in &all.sentinels {
        run(
            sentinel,
            "ACL SETUSER watcher on >sesame +auth +hello +ping +sentinel|get-master-addr-by-name +sentinel|master",
        );
    }
    let sesame = machine.write("sesame", "sesame\n");
    let settings =
        |user: &str| format!("replicas_required = 2\nsentinel_user = {user:?}\nsentinel_password_file = {sesame:?}\n");
    configured(&machine, &all.servers, &all.url(), &settings("watcher"));
    let said = look(&machine);
    assert_eq!(said.findings(), ["sentinels.reachable"], "{}", said.text);
    for check in [
        "servers.reachable",
        "servers.rights",
        "servers.keep",
        "servers.version",
        "servers.replicas_required",
        "servers.loss",
        "servers.fence",
        "servers.resync",
    ] {
        assert_eq!(said.status(check), "unchecked", "{check}: {}", said.text);
    }
    configured(&machine, &all.servers, &all.url(), &settings("nobody"));
    look(&machine).finds("store.reachable", &["the sentinel 127.0.0.1:", "store.sentinel_user"]);
}

#[test]
fn an_address_of_another_kind_than_its_scheme_says_is_told_with_the_scheme_to_write() {
    let machine = Machine::new();
    let all = Sentinels::start(&machine, sentinels::Set { down_after: Duration::from_secs(30), least: 0, lag: 10 });
    let (server, sentinel) = (all.servers[0].door, all.sentinels[0].door);
    run(&all.sentinels[0], "ACL SETUSER watcher on >sesame +auth +hello +ping +sentinel|get-master-addr-by-name");
    for (url, written) in [
        (format!("redis+sentinel://127.0.0.1:{server}/cm"), "write redis://"),
        (format!("redis+cluster://127.0.0.1:{server}"), "write redis://"),
        (format!("redis://127.0.0.1:{sentinel}"), "write redis+sentinel://"),
        (format!("redis://watcher:sesame@127.0.0.1:{sentinel}"), "write redis+sentinel://"),
    ] {
        doctor(&machine, &["--store", &url]).finds("store.reachable", &[written]);
        let refused = machine.serve().option("--store", &url).ends().expect(2);
        assert!(refused.err.contains(written), "{url}: {refused:?}");
    }
}

#[test]
fn servers_of_a_cluster_that_weaken_a_claim_are_found_each_by_its_setting() {
    let machine = Machine::new();
    let set = cluster::Set { node_timeout: Duration::from_secs(15), least: 1, lag: 10 };
    let all = cluster::Cluster::start(&machine, set);
    configured(&machine, &all.members, &all.url(), "replicas_required = 1\n");
    until(SOON, "replicas", || all.lists_all_replicas().then_some(()));
    let said = look(&machine).healthy();
    for check in ["cluster.slots", "cluster.replicas", "servers.reachable", "servers.fence", "servers.failover"] {
        assert_eq!(said.status(check), "ok", "{check}: {}", said.text);
    }
    assert_eq!(said.status("cluster.coverage"), "notice");
    // The state has two, and would give one away.
    assert_eq!(said.status("servers.replicas_required"), "notice");
    assert_eq!(said.status("cluster.migration"), "notice");
    let keep = |setting: &str| all.members.iter().for_each(|member| run(member, &format!("CONFIG SET {setting}")));
    keep("cluster-allow-replica-migration no");
    assert_eq!(look(&machine).status("cluster.migration"), "ok");
    keep("cluster-allow-replica-migration yes");
    keep("cluster-migration-barrier 2");
    assert_eq!(look(&machine).status("cluster.migration"), "ok");
    let primary = all.serves(all.state_slot()).unwrap();
    let other = (0..3).find(|place| *place != primary).unwrap();
    let its_replica = all.replicas(other)[0];
    let door = all.members[other].door.to_string();
    found(
        &machine,
        &[
            (
                &all.members[other],
                "CONFIG SET min-replicas-to-write 0",
                "CONFIG SET min-replicas-to-write 1",
                "servers.fence",
                "notice",
                &[&door, "cluster-node-timeout"],
            ),
            (
                &all.members[other],
                "CONFIG SET cluster-node-timeout 12000",
                "CONFIG SET cluster-node-timeout 15000",
                "servers.failover",
                "finding",
                &["12000 ms", "cluster-node-timeout"],
            ),
            (
                &all.members[other],
                "CONFIG SET cluster-migration-barrier 1",
                "CONFIG SET cluster-migration-barrier 2",
                "cluster.migration",
                "notice",
                &[&door, "cluster-migration-barrier is 1", "CONFIG SET cluster-migration-barrier 2"],
            ),
            (
                &all.members[its_replica],
                "CONFIG SET cluster-replica-no-failover yes",
                "CONFIG SET cluster-replica-no-failover no",
                "cluster.replicas",
                "finding",
                &[&door, "no replica"],
            ),
        ],
    );
    for member in &all.members {
        run(member, "CONFIG SET cluster-announce-hostname localhost");
        run(member, "CONFIG SET cluster-preferred-endpoint-type hostname");
    }
    let is_named = |server: &redis::Value| {
        let redis::Value::Array(parts) = server else { return false };
        parts.first().is_some_and(|host| redis::from_redis_value_ref(host).ok() == Some("localhost".to_owned()))
    };
    let by_name = |member: &Member| {
        let ranges: Vec<Vec<redis::Value>> = member.told(&["CLUSTER", "SLOTS"]);
        ranges.iter().all(|range| range[2..].iter().all(is_named)) && all.lists_all_replicas()
    };
    until(SOON, "servers that are called by their names", || all.members.iter().all(by_name).then_some(()));
    let said = look(&machine).healthy();
    assert_eq!((said.status("cluster.replicas"), said.status("servers.loss")), ("ok", "ok"), "{}", said.text);
    for member in &all.members {
        run(member, "CONFIG SET cluster-require-full-coverage no");
    }
    assert_eq!(look(&machine).healthy().status("cluster.coverage"), "ok");
    let slot = all.slot("{cm:a0}:log");
    let owner = all.serves(slot).unwrap();
    run(&all.members[owner], &format!("CLUSTER DELSLOTS {slot}"));
    until(SOON, "a slot that nobody has", || (look(&machine).status("cluster.slots") == "finding").then_some(()));
    look(&machine).finds("cluster.slots", &["of 16384"]);
}
