//! Restoring into a store that lives on: what is missing comes back, and nothing that was ended.

use serde_json::json;

use super::scene::{Scene, acts, delete, make_role_and_team, patch, put};
use crate::redis::state_key;
use crate::server::Server;

#[test]
fn r2_nothing_that_was_ended_since_the_backup_comes_back_by_it() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    make_role_and_team(&server);
    let names = ["regenerated", "revoked", "disabled", "deleted", "renamed"];
    let made: Vec<(String, String)> = names.iter().map(|name| server.create(name, "deployer")).collect();
    put(&server, "/roles/unused", &json!({"description": "", "permissions": ["a:b"]})).expect(201);
    scene.backup("a.backup").expect(0);
    let token = server.regenerate(&server.admin(), &made[0].0).expect(201).json()["token"].as_str().unwrap().to_owned();
    delete(&server, &format!("/accounts/{}/token", made[1].0));
    patch(&server, &format!("/accounts/{}", made[2].0), &json!({"status": "disabled"}));
    delete(&server, &format!("/accounts/{}", made[3].0));
    put(&server, "/roles/deployer", &json!({"description": "less", "permissions": []})).expect(200);
    delete(&server, "/roles/unused");
    let before = scene.content();
    let shown = scene.run(&["restore", "a.backup", "--dry-run", "--output", "json"]).expect(0).json();
    assert_eq!((&shown["into"], &shown["accounts"]["put_back"]), (&json!("existing"), &json!(0)), "{shown}");
    assert_eq!((&shown["roles"]["differing"], &shown["roles"]["gone"]), (&json!(["deployer"]), &json!(["unused"])));
    assert_eq!(shown["accounts"]["differing"], json!({"count": 3, "names": ["disabled", "regenerated", "revoked"]}));
    assert_eq!(shown["accounts"]["deleted"], json!({"count": 1, "names": ["deleted"]}));
    let shown = scene.run(&["restore", "a.backup", "--dry-run"]).expect(0);
    for told in
        ["stay as they are: disabled regenerated revoked", "stay so: deleted", "audit     that of the store goes on"]
    {
        assert!(shown.out.contains(told), "{told}: {shown:?}");
    }
    let said = scene.restore("a.backup").expect(0);
    assert!(said.out.contains("Nothing is missing"), "{said:?}");
    assert_eq!(scene.content(), before);
    server.verify(&token).expect(200);
    for ((_, token), reason) in made.iter().zip(["superseded", "revoked", "disabled", "unknown_account"]) {
        assert_eq!(server.verify(token).expect(401).reason(), reason);
    }
    server.stop();
}

#[test]
fn r2_an_account_that_vanished_comes_back_without_anything_that_lets_it_in() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    make_role_and_team(&server);
    let (id, old) = server.create("ci", "deployer");
    let (other, good) = server.create("other", "auditor");
    scene.backup("a.backup").expect(0);
    // What became of it afterwards is lost with it.
    let newer = server.regenerate(&server.admin(), &id).expect(201).json()["token"].as_str().unwrap().to_owned();
    let () = scene.command(&["DEL", &state_key(&id), &format!("{{cm}}:p:{id}")]);
    let () = scene.command(&["HDEL", "{cm}:roles", "deployer"]);
    let shown = scene.run(&["restore", "a.backup", "--dry-run"]).expect(0);
    assert!(shown.out.contains("accounts  1 put back") && shown.out.contains("put back: deployer"), "{shown:?}");
    scene.restore("a.backup").expect(0);
    for token in [&old, &newer] {
        assert_eq!(server.verify(token).expect(401).reason(), "revoked");
    }
    server.verify(&good).expect(200);
    let account = server.call("GET", "/api/v1/accounts/ci").bearer(&server.admin()).send().expect(200).json();
    assert_eq!((&account["id"], &account["role"], &account["token"]), (&json!(id), &json!("deployer"), &json!(null)));
    let fresh = server.regenerate(&server.admin(), &id).expect(201).json();
    server.verify(fresh["token"].as_str().unwrap()).expect(200);
    let told = acts(&server, "dataset.restore");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|event| event["account_id"] == json!(id)), "{told:?}");
    assert!(scene.restore("a.backup").expect(0).out.contains("Nothing is missing"));

    // A record that alone is older than it was when the backup was made.
    let newest: String = scene.command(&["GET", &state_key(&other)]);
    patch(&server, &format!("/accounts/{other}"), &json!({"description": "x"}));
    scene.backup("b.backup").expect(0);
    let () = scene.command(&["SET", &state_key(&other), &newest]);
    let refused = scene.restore("b.backup").expect(2);
    assert!(
        refused.err.contains("other is older in the store") && refused.err.contains("Nothing was changed"),
        "{refused:?}"
    );
    server.stop();
}

/// Of an account: its record and its profile.
fn vanish(scene: &Scene, id: &str) {
    let () = scene.command(&["DEL", &state_key(id), &format!("{{cm}}:p:{id}")]);
}

fn account(server: &Server, name: &str) -> serde_json::Value {
    server.call("GET", &format!("/api/v1/accounts/{name}")).bearer(&server.admin()).send().json()
}

#[test]
fn r2_what_anybody_ended_since_the_backup_stays_ended_where_the_account_alone_was_lost() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    make_role_and_team(&server);
    let made = ["disabled", "deleted", "narrowed", "left", "role"].map(|name| server.create(name, "deployer").0);
    let [disabled, deleted, narrowed, left, role] = made.each_ref().map(String::as_str);
    patch(&server, &format!("/accounts/{role}"), &json!({"role": "admin"}));
    scene.backup("a.backup").expect(0);
    // By another issuer, whose journal is not here.
    let key = scene.machine.path("data/keys/master.key");
    let other = scene.machine.serve_in("other").option("--store", scene.redis.url());
    let other = other.option("--master-key-file", key).ready();
    let changed = |method: &str, path: String, body: serde_json::Value| {
        other.call(method, &format!("/api/v1{path}")).bearer(&server.admin()).json(&body).send().expect(200);
    };
    changed("PATCH", format!("/accounts/{disabled}"), json!({"status": "disabled"}));
    changed("DELETE", format!("/accounts/{deleted}"), json!({}));
    changed("PATCH", format!("/accounts/{narrowed}"), json!({"allowed_networks": ["10.0.0.0/8"]}));
    changed("PATCH", format!("/accounts/{role}"), json!({"role": "auditor"}));
    changed("PUT", "/roles/deployer".to_owned(), json!({"description": "less", "permissions": []}));
    other.stop();
    made.iter().for_each(|id| vanish(&scene, id));
    let () = scene.command(&["HDEL", "{cm}:roles", "deployer"]);

    let shown = scene.run(&["restore", "a.backup", "--dry-run"]).expect(0);
    for told in [
        "accounts  4 put back",
        "1 come back disabled, to be looked at (they changed since): disabled",
        "2 come back as less than they were (they changed since): narrowed role",
        "1 were deleted, and stay so: deleted",
        "put back: deployer; of them grant less than then, as far as is known of changes since: deployer",
    ] {
        assert!(shown.out.contains(told), "{told}: {shown:?}");
    }
    scene.restore("a.backup").expect(0);
    assert_eq!(account(&server, "disabled")["status"], "disabled");
    assert_eq!(account(&server, "narrowed")["allowed_networks"], json!(["10.0.0.0/8"]));
    assert_eq!(account(&server, "role")["role"], "auditor");
    assert_eq!(
        (&account(&server, "left")["status"], &account(&server, "left")["id"]),
        (&json!("active"), &json!(left))
    );
    server.call("GET", "/api/v1/accounts/deleted").bearer(&server.admin()).send().expect(404);
    let role = server.call("GET", "/api/v1/roles/deployer").bearer(&server.admin()).send().expect(200).json();
    assert_eq!(role["permissions"], json!([]));
    let told = acts(&server, "dataset.restore");
    let of = |id: &str| {
        told.iter().find(|event| event["account_id"] == json!(id)).unwrap()["details"]["made_up_for"].clone()
    };
    assert_eq!((of(disabled), of(left)), (json!(["status"]), json!(null)));
    let shown = scene.machine.run(&["audit", "tail", "--kind", "dataset.restore"]).expect(0);
    assert!(shown.out.contains("dataset.restore: allowed_networks"), "{shown:?}");
    server.stop();
}

#[test]
fn r2_where_the_store_does_not_know_what_changed_since_only_the_journal_here_does_and_all_comes_back_disabled() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    make_role_and_team(&server);
    let [deleted, left] = ["deleted", "left"].map(|name| server.create(name, "deployer").0);
    scene.backup("a.backup").expect(0);
    delete(&server, &format!("/accounts/{deleted}"));
    vanish(&scene, &deleted);
    vanish(&scene, &left);
    let () = scene.command(&["HDEL", "{cm}:roles", "deployer"]);
    let () = scene.command(&["XTRIM", "{cm}:feed", "MAXLEN", "0"]);
    let shown = scene.run(&["restore", "a.backup", "--dry-run"]).expect(0);
    for told in [
        "1 come back disabled, to be looked at (the store does not know any more what changed since): left",
        "1 were deleted, and stay so: deleted",
        "of them grant less than then, as far as is known of changes since: deployer",
    ] {
        assert!(shown.out.contains(told), "{told}: {shown:?}");
    }
    scene.restore("a.backup").expect(0);
    assert_eq!(account(&server, "left")["status"], "disabled");
    server.call("GET", "/api/v1/accounts/deleted").bearer(&server.admin()).send().expect(404);
    let role = server.call("GET", "/api/v1/roles/deployer").bearer(&server.admin()).send().expect(200).json();
    assert_eq!(role["permissions"], json!([]));
    server.stop();
}

#[test]
fn a_store_that_was_put_back_and_another_dataset_are_no_place_for_a_backup() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let counter: String = scene.command(&["HGET", "{cm}:meta", "counter"]);
    server.create("ci", "auditor");
    scene.backup("a.backup").expect(0);
    server.stop();
    let () = scene.command(&["HSET", "{cm}:meta", "counter", &counter]);
    let refused = scene.restore("a.backup").expect(2);
    assert!(refused.err.contains("put back to an earlier state") && refused.err.contains("Empty it"), "{refused:?}");
    assert!(refused.err.contains("Nothing was changed"), "{refused:?}");

    scene.lose();
    scene.machine.serve_in("theirs").option("--store", scene.redis.url()).ready().stop();
    let key = scene.machine.path("data/keys/master.key");
    std::fs::create_dir_all(scene.machine.path("third/keys")).unwrap();
    std::fs::copy(key, scene.machine.path("third/keys/master.key")).unwrap();
    let store = scene.redis.url();
    let refused =
        scene.machine.run(&["restore", "a.backup", "--yes", "--data-dir", "third", "--store", &store]).expect(2);
    assert!(refused.err.contains("the store holds the dataset"), "{refused:?}");
    assert!(refused.err.contains("Nothing was changed"), "{refused:?}");
}
