//! A full disk under the private Redis: changes are refused, verification goes on, revoking too.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::small_disk::SmallDisk;
use crate::call::Reply;
use crate::effort::rounds;
use crate::machine::Machine;
use crate::server::Server;
use crate::until::{signal, soon, until};

/// A server on a disk of its own.
struct Small {
    server: Server,
    disk: SmallDisk,
    machine: Machine,
}

impl Small {
    fn start() -> Option<Self> {
        let machine = Machine::new();
        let disk = SmallDisk::at(&machine.path("data"), 32)?;
        let server = Self::serve(&machine, &disk);
        Some(Self { server, disk, machine })
    }

    fn serve(machine: &Machine, disk: &SmallDisk) -> Server {
        machine.serve().by(disk.enter(), disk.view()).ready()
    }
}

fn account(server: &Server, method: &str, id: &str) -> Reply {
    server.call(method, &format!("/api/v1/accounts/{id}")).bearer(&server.admin()).send()
}

fn disable(server: &Server, id: &str) -> Reply {
    let call = server.call("PATCH", &format!("/api/v1/accounts/{id}")).bearer(&server.admin());
    call.json(&json!({ "status": "disabled" })).send()
}

fn locks(server: &Server) -> Vec<String> {
    let client = redis::Client::open(format!("unix://{}", server.socket().display())).unwrap();
    redis::cmd("KEYS").arg("*:lock").query(&mut client.get_connection().unwrap()).unwrap()
}

#[track_caller]
fn full(reply: Reply) {
    let reply = reply.expect(503);
    assert_eq!(reply.reason(), "store_full");
    assert!(reply.json()["detail"].as_str().unwrap().contains("the store's disk is full"), "{reply:?}");
    assert!(reply.header("Retry-After").is_some());
}

#[test]
fn on_a_full_disk_verification_goes_on_and_tokens_can_be_taken_away() {
    let Some(Small { server, disk, machine: _machine }) = Small::start() else { return };
    let admin = server.admin();
    let (id, dead) = server.create("ci", "auditor");
    let good = server.regenerate(&admin, &id).expect(201).json()["token"].as_str().unwrap().to_owned();
    let (revoked, revoked_token) = server.create("revoked", "auditor");
    let (disabled, disabled_token) = server.create("disabled", "auditor");
    let (deleted, deleted_token) = server.create("deleted", "auditor");
    let (_, own_token) = server.create("own", "auditor");
    let redis = server.redis_pid().unwrap();
    let reserve = server.data("redis/reserve");
    soon("the reserve, and the locks", || reserve.exists() && !locks(&server).is_empty());
    let mut decided = Vec::new();

    for round in 0..rounds(2, 10) {
        disk.fill();
        for _ in 0..3 {
            decided.push(server.verify(&good).expect(200));
            assert_eq!(server.verify(&dead).expect(401).reason(), "superseded");
            full(server.try_create("late", "auditor"));
            full(server.regenerate(&admin, &id));
        }
        let ready = server.operations("/readyz").send().expect(200).json();
        assert!(ready["warnings"][0].as_str().unwrap().contains("disk is full"), "{ready}");
        assert!(server.operations("/metrics").send().body.contains("countermark_store_full 1\n"));
        soon("a word for the operator", || server.log().matches("the store's disk is full").count() > round);
        if round == 0 {
            let path = format!("/api/v1/accounts/{revoked}/token");
            server.call("DELETE", &path).bearer(&admin).send().expect(200);
            disable(&server, &disabled).expect(200);
            account(&server, "DELETE", &deleted).expect(200);
            let form = format!("token={own_token}");
            server.call("POST", "/oauth2/revoke").option("--data", &form).send().expect(200);
        }
        for (token, reason) in [
            (&revoked_token, "revoked"),
            (&disabled_token, "disabled"),
            (&deleted_token, "unknown_account"),
            (&own_token, "revoked"),
        ] {
            assert_eq!(server.verify(token).expect(401).reason(), reason);
        }
        // A lock that ended by itself would be written about, and that would end Redis.
        until(Duration::from_secs(3), "no lock", || locks(&server).is_empty().then_some(()));
        assert_eq!(server.redis_pid(), Some(redis), "it ended: {}", server.log());
        disk.make_room();
        until(Duration::from_secs(3), "changes again", || {
            (server.regenerate(&admin, &revoked).status == 201).then_some(())
        });
        let path = format!("/api/v1/accounts/{revoked}/token");
        server.call("DELETE", &path).bearer(&admin).send().expect(200);
        soon("the reserve again, and the news", || {
            reserve.exists() && server.log().matches("room on the store's disk again").count() > round
        });
    }
    assert_eq!(server.operations("/readyz").send().expect(200).json()["warnings"], json!([]));
    soon("every call in the audit", || {
        let path = "/api/v1/audit?kind=call&limit=500";
        let list = server.call("GET", path).bearer(&admin).send().expect(200).json();
        let items = list["items"].as_array().unwrap();
        let is_there =
            |reply: &Reply| items.iter().any(|event| event["request_id"] == reply.header("X-Request-Id").unwrap());
        decided.iter().all(is_there)
    });
    account(&server, "GET", "late").expect(404);
    server.stop();
}

#[test]
fn on_a_full_disk_the_server_and_its_redis_can_be_started_again() {
    let Some(Small { mut server, disk, machine }) = Small::start() else { return };
    let (_, token) = server.create("ci", "auditor");
    let (other, other_token) = server.create("other", "auditor");
    soon("the reserve", || server.data("redis/reserve").exists());
    disk.fill();
    // By the operator, and by nobody.
    server.stop();
    server = Small::serve(&machine, &disk);
    server.verify(&token).expect(200);
    full(server.try_create("late", "auditor"));
    let redis = server.redis_pid().unwrap();
    signal(redis, Signal::KILL);
    soon("another Redis", || server.redis_pid().is_some_and(|now| now != redis));
    soon("good again", || server.verify(&token).status == 200);
    // The first may still meet the connection to the one that ended.
    soon("a change", || disable(&server, &other).status == 200);
    assert_eq!(server.verify(&other_token).expect(401).reason(), "disabled");
    disk.make_room();
    until(Duration::from_secs(3), "changes again", || {
        (server.try_create("late", "auditor").status == 201).then_some(())
    });
    server.stop();
}

/// A quota does not show in what is free: there Redis ends at the write that fails. What the reserve took is free then.
#[test]
fn where_a_write_fails_after_all_nothing_acknowledged_is_lost_and_verification_goes_on() {
    let machine = Machine::new();
    let script = machine.path("small-redis");
    let reserve = machine.path("data/redis/reserve");
    // In units of 512 bytes.
    let body = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec redis-server --version\ntrap '' XFSZ\n\
         if [ -e \"$0.ran\" ] && ! [ -e {reserve:?} ]; then ulimit -f 8312; else ulimit -f 120; fi\n\
         touch \"$0.ran\"\nexec redis-server \"$@\"\n"
    );
    // Made by another process: one that is forked beside us may still have our file open.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(&script).arg(body);
    assert!(shell.status().unwrap().success());
    let mut server = machine.serve().config(&format!("[store]\nredis_server = {script:?}\n")).ready();
    let (_, token) = server.create("ci", "auditor");
    soon("the reserve", || reserve.exists());
    let mut made = Vec::new();
    let refused = until(Duration::from_secs(30), "a refusal", || {
        let name = format!("n{}", made.len());
        let reply = server.try_create(&name, "auditor");
        if reply.status == 201 {
            made.push((name, reply.json()["token"].as_str().unwrap().to_owned()));
            return None;
        }
        Some(reply)
    });
    refused.expect(503);
    soon("a clear text", || server.try_create("late", "auditor").reason() == "store_full");
    soon("verification", || server.verify(&token).status == 200);
    for _ in 0..5 {
        server.verify(&token).expect(200);
        full(server.try_create("late", "auditor"));
    }
    server.signal(Signal::KILL);
    server.end();

    std::fs::remove_file(machine.path("data.toml")).unwrap();
    let server = machine.serve().ready();
    for (name, token) in made {
        account(&server, "GET", &name).expect(200);
        server.verify(&token).expect(200);
    }
    server.try_create("late", "auditor").expect(201);
    server.stop();
}
