//! Restoring into a store that lives on: what is missing comes back, and nothing that was ended.

use serde_json::json;

use super::scene::{Scene, acts, delete, make_role_and_team, patch, put};
use crate::redis::state_key;

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
    assert!(refused.err.contains("other is older in the store"), "{refused:?}");
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

    scene.lose();
    scene.machine.serve_in("theirs").option("--store", scene.redis.url()).ready().stop();
    let key = scene.machine.path("data/keys/master.key");
    std::fs::create_dir_all(scene.machine.path("third/keys")).unwrap();
    std::fs::copy(key, scene.machine.path("third/keys/master.key")).unwrap();
    let store = scene.redis.url();
    let refused =
        scene.machine.run(&["restore", "a.backup", "--yes", "--data-dir", "third", "--store", &store]).expect(2);
    assert!(refused.err.contains("the store holds the dataset"), "{refused:?}");
}
