//! Everything that is backed up comes back as it was.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::scene::{Scene, acts, delete, make_role_and_team, patch};
use crate::machine::Machine;
use crate::server::Server;
use crate::until::soon;

/// Accounts of each kind: with a token, an overlap, a team, disabled, revoked, deleted; people with a link and a password.
struct Accounts {
    good: String,
    overlapping: [String; 2],
    superseded: String,
    disabled: String,
    revoked: String,
    deleted: String,
}

impl Accounts {
    fn make(server: &Server) -> Self {
        let admin = server.admin();
        make_role_and_team(server);
        let (good, token) = server.create("good", "deployer");
        patch(server, &format!("/accounts/{good}"), &json!({"teams": {"web": "auditor"}, "description": "Fährt aus"}));
        let (id, superseded) = server.create("superseded", "auditor");
        server.regenerate(&admin, &id).expect(201);
        let (id, first) = server.create("overlapping", "auditor");
        let body = json!({"valid_for_months": 6, "overlap_seconds": 86_400});
        let path = format!("/api/v1/accounts/{id}/token");
        let second = server.call("POST", &path).bearer(&admin).json(&body).send().expect(201).json();
        let (id, disabled) = server.create("disabled", "auditor");
        patch(server, &format!("/accounts/{id}"), &json!({"status": "disabled", "allowed_networks": ["10.0.0.0/8"]}));
        let (id, revoked) = server.create("revoked", "auditor");
        delete(server, &format!("/accounts/{id}/token"));
        let (id, deleted) = server.create("deleted", "auditor");
        delete(server, &format!("/accounts/{id}"));
        let invited = json!({"username": "ada", "role": "admin"});
        server.call("POST", "/api/v1/users").bearer(&admin).json(&invited).send().expect(201);
        let second = second["token"].as_str().unwrap().to_owned();
        Self { good: token, overlapping: [first, second], superseded, disabled, revoked, deleted }
    }

    #[track_caller]
    fn are_as_they_were(&self, server: &Server) {
        server.verify(&self.good).expect(200);
        self.overlapping.iter().for_each(|token| _ = server.verify(token).expect(200));
        for (token, reason) in [
            (&self.superseded, "superseded"),
            (&self.disabled, "disabled"),
            (&self.revoked, "revoked"),
            (&self.deleted, "unknown_account"),
        ] {
            assert_eq!(server.verify(token).expect(401).reason(), reason);
        }
    }
}

#[test]
fn a_lost_store_is_restored_as_it_was_with_every_index_and_tokens_go_on() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let accounts = Accounts::make(&server);
    // Whatever a person's password is: it is part of the profile.
    let ada: String = scene.command(&["HGET", "{cm}:names", "ada"]);
    let profile = format!("{{cm}}:p:{ada}");
    let text: String = scene.command(&["GET", &profile]);
    let password =
        json!({"hash": "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaA", "set_at": "2027-05-23T14:00:00Z"});
    let with_password = text.replacen('{', &format!("{{\"password\":{password},"), 1);
    let () = scene.command(&["SET", &profile, &with_password]);
    // As whoever sets one makes it.
    let () = scene.command(&["ZADD", "{cm}:admins", "8210266876799", &ada]);
    let said = scene.backup("one.backup").expect(0);
    let listed = scene.machine.run(&["account", "list", "--output", "json"]).expect(0).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 7, "{listed}");
    assert!(said.out.contains("7 accounts, 3 roles, 1 teams"), "{said:?}");
    let mode = std::fs::metadata(scene.machine.path("one.backup")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(acts(&server, "dataset.backup").len(), 1);
    server.create("later", "auditor");
    server.stop();
    scene.backup("two.backup").expect(0);

    let before = scene.content();
    scene.lose();
    let shown = scene.run(&["restore", "two.backup", "--dry-run"]).expect(0);
    for told in ["The store is empty", "accounts  8 put back (1 of them people)", "role", "deployer", "web", "active"] {
        assert!(shown.out.contains(told), "{told}: {shown:?}");
    }
    assert_eq!(scene.redis.size(), 0, "a look changes nothing");
    let asked = scene.run(&["restore", "two.backup"]).expect(2);
    assert!(asked.err.contains("--yes") && scene.redis.size() == 0, "{asked:?}");
    let asked = scene.run(&["restore", "two.backup", "--output", "json"]).expect(2);
    assert!(asked.err.contains("The store is empty") && asked.out.is_empty(), "{asked:?}");
    scene.restore("two.backup").expect(0);
    assert_eq!(scene.content(), before);

    let server = scene.serve().ready();
    accounts.are_as_they_were(&server);
    // A name that was deleted stays taken, a role that is named can't go, and the next act finds everything in its place.
    assert_eq!(server.try_create("deleted", "auditor").status, 409);
    let role = server.call("DELETE", "/api/v1/roles/deployer").bearer(&server.admin()).send().expect(409);
    assert_eq!(role.reason(), "role_in_use");
    let (_, token) = server.create("new", "deployer");
    server.verify(&token).expect(200);
    let told = acts(&server, "dataset.restore");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["details"]["accounts"], 8);
    server.stop();
}

/// What the issuers of before know of later changes is lost with their journals.
#[track_caller]
fn declare_gone(restored: &serde_json::Value, forget: impl Fn(&str) -> crate::machine::Ended) {
    let issuers = restored["issuers"].as_array().unwrap();
    assert!(!issuers.is_empty(), "whoever has made a backup is known");
    for name in issuers {
        forget(name.as_str().unwrap()).expect(0);
    }
}

#[test]
fn what_was_issued_after_the_backup_is_unknown_and_what_was_there_is_good() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let (id, old) = server.create("ci", "auditor");
    server.stop();
    scene.backup("a.backup").expect(0);
    let server = scene.serve().ready();
    let newer = server.regenerate(&server.admin(), &id).expect(201).json()["token"].as_str().unwrap().to_owned();
    let (_, later) = server.create("later", "auditor");
    server.stop();
    scene.lose();
    // Another machine has no memory of what came after the backup.
    std::fs::rename(scene.machine.path("data"), scene.machine.path("lost")).unwrap();
    let key = scene.machine.path("lost/keys/master.key");
    let key = key.to_str().unwrap();
    let restored = scene.run(&["restore", "a.backup", "--yes", "--master-key-file", key, "--output", "json"]).expect(0);
    let ready = |server: &Server| server.log().lines().filter(|line| line.contains(": ready ")).count();
    let server = scene.serve().option("--master-key-file", key).listening();
    soon("a server that waits", || server.log().contains("started, and not ready"));
    assert!(!server.is_ready());
    // Those of the two runs before.
    assert_eq!(ready(&server), 2, "{}", server.log());
    declare_gone(&restored.json(), |name| scene.run(&["node", "forget", name, "--master-key-file", key]));
    server.becomes_ready();
    server.verify(&old).expect(200);
    assert_eq!(server.verify(&later).expect(401).reason(), "unknown_account");
    server.verify(&newer).expect(401);
    assert!(!server.data("admin.token").exists(), "the admin is there, and none is made");
    server.stop();
}

#[test]
fn r2_what_was_ended_after_the_backup_is_ended_again_by_the_journal() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let made = ["revoked", "disabled", "deleted", "regenerated"].map(|name| server.create(name, "auditor"));
    scene.backup("a.backup").expect(0);
    let [revoked, disabled, deleted, regenerated] = made.each_ref().map(|(id, _)| id.as_str());
    delete(&server, &format!("/accounts/{revoked}/token"));
    patch(&server, &format!("/accounts/{disabled}"), &json!({"status": "disabled"}));
    delete(&server, &format!("/accounts/{deleted}"));
    server.regenerate(&server.admin(), regenerated).expect(201);
    server.stop();
    scene.lose();
    scene.restore("a.backup").expect(0);
    // The data directory is there, and with it the journal.
    let server = scene.serve().ready();
    for (number, reason) in ["revoked", "disabled", "unknown_account", "superseded"].into_iter().enumerate() {
        assert_eq!(server.verify(&made[number].1).expect(401).reason(), reason);
    }
    assert_eq!(acts(&server, "store.raise").len(), 4);
    assert!(server.log().contains("what they ended is ended again"), "{}", server.log());
    let shown = scene.machine.run(&["audit", "tail", "--kind", "store.raise"]).expect(0);
    for told in ["store.raise: token", "store.raise: status", "store.raise: deleted", "store.raise: generation"] {
        assert!(shown.out.contains(told), "{told}: {shown:?}");
    }
    server.stop();
}

#[test]
fn a_private_store_is_backed_up_and_restored_into_a_data_directory_without_one() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    machine.run(&["backup", "--out", "beside.backup"]).expect(0);
    server.stop();
    // Without a server its Redis is started, and stopped.
    machine.run(&["backup", "--out", "alone.backup"]).expect(0);
    let again = machine.run(&["backup", "--out", "alone.backup"]).expect(2);
    assert!(again.err.contains("no backup is written over"), "{again:?}");
    for (name, backup) in [("beside", "beside.backup"), ("alone", "alone.backup")] {
        std::fs::remove_dir_all(machine.path("data/redis")).unwrap();
        let shown = machine.run(&["restore", backup, "--dry-run", "--output", "json"]).expect(0).json();
        assert_eq!((&shown["into"], &shown["done"]), (&json!("empty"), &json!(false)));
        assert!(!machine.path("data/redis").exists(), "a look starts nothing");
        machine.run(&["restore", backup, "--yes"]).expect(0);
        let server = machine.serve().ready();
        server.verify(&token).expect(200);
        server.verify(&server.admin()).expect(200);
        assert!(!acts(&server, "dataset.restore").is_empty(), "{name}");
        server.stop();
    }
    // And with nothing but the file and the master key.
    std::fs::rename(machine.path("data"), machine.path("old")).unwrap();
    let key = machine.path("old/keys/master.key");
    let key = key.to_str().unwrap();
    let restored = machine.run(&["restore", "alone.backup", "--yes", "--master-key-file", key, "--output", "json"]);
    declare_gone(&restored.expect(0).json(), |name| machine.run(&["node", "forget", name, "--master-key-file", key]));
    std::fs::create_dir_all(machine.path("data/keys")).unwrap();
    std::fs::copy(key, machine.path("data/keys/master.key")).unwrap();
    let server = machine.serve().ready();
    server.verify(&token).expect(200);
    server.stop();
}
