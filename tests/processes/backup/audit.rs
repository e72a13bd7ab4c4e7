//! The audit, where it is backed up as well.

use serde_json::Value;

use super::scene::{Scene, acts};
use crate::machine::Machine;
use crate::until::soon;

/// `audit verify`, until nothing is wrong and all but the latest is proven.
#[track_caller]
pub fn is_whole(machine: &Machine) -> Value {
    let mut told = Value::Null;
    soon("an audit that is whole", || {
        let ended = machine.run(&["audit", "verify", "--output", "json"]);
        told = ended.json();
        assert!(ended.code == 0 || told["findings"].to_string().contains("no checkpoint"), "{ended:?}");
        ended.code == 0 && told["unproven"].as_u64().unwrap() <= 2
    });
    told
}

#[test]
fn a3_the_audit_of_a_restored_store_is_whole_and_goes_on() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let (id, token) = server.create("ci", "auditor");
    for _ in 0..50 {
        server.verify(&token).expect(200);
    }
    is_whole(&scene.machine);
    // While blocks, acts and checkpoints are written.
    let said = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for _ in 0..10 {
                server.verify(&server.admin()).expect(200);
                server.regenerate(&server.admin(), &id).expect(201);
            }
        });
        let said = scene.run(&["backup", "--out", "a.backup", "--with-audit", "--output", "json"]).expect(0).json();
        busy.join().unwrap();
        said
    });
    assert!(said["audit_entries"].as_u64().unwrap() > 10, "{said}");
    server.stop();
    scene.backup("bare.backup").expect(0);
    scene.lose();
    scene.restore("a.backup").expect(0);
    let server = scene.serve().ready();
    let before = is_whole(&scene.machine);
    assert!(before["acts"].as_u64().unwrap() >= 3, "{before}");
    let kinds: Vec<String> = acts(&server, "account.create")
        .iter()
        .map(|event| event["username"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(kinds.contains(&"ci".to_owned()), "{kinds:?}");
    assert_eq!(acts(&server, "dataset.restore").len(), 1);
    let path = format!("/api/v1/accounts/{id}/activity?limit=500");
    soon("the account's own log", || {
        let activity = server.call("GET", &path).bearer(&server.admin()).send().expect(200).json();
        let items = activity["items"].as_array().unwrap();
        let of = |kind: &str| items.iter().filter(|event| event["kind"] == kind).count();
        of("account.create") == 1 && of("call") >= 50
    });
    server.create("after", "auditor");
    let after = is_whole(&scene.machine);
    assert!(after["acts"].as_u64() > before["acts"].as_u64(), "{before} {after}");
    // Into a store that lives on none of it is put.
    let shown = scene.run(&["restore", "a.backup", "--dry-run"]).expect(0);
    assert!(shown.out.contains("that of the store goes on"), "{shown:?}");
    server.stop();

    scene.lose();
    scene.restore("bare.backup").expect(0);
    let server = scene.serve().ready();
    is_whole(&scene.machine);
    server.stop();
}
