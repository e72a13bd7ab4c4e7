//! A backup that is taken while admins change things is the state of one epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use countermark::account::{AccountId, StateRecord, Status, Versioned};
use countermark::epoch::Epoch;
use serde_json::{Value, json};

use super::scene::Scene;
use crate::call::Reply;
use crate::effort::rounds;
use crate::redis::state_key;
use crate::server::Server;

/// What was acknowledged of an account: at which epoch it became what.
type History = BTreeMap<Epoch, (u64, &'static str)>;
type Model = Mutex<BTreeMap<String, History>>;

fn epoch(reply: &Value) -> Epoch {
    reply.as_str().unwrap().parse().unwrap()
}

/// Makes accounts, replaces tokens, disables and deletes, until it is told to stop. What was not acknowledged, on a machine that has much
/// to do, is nobody's: its account is left alone, and not looked for.
fn change(server: &Server, number: usize, model: &Model, unsure: &AtomicUsize, stop: &AtomicBool) {
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        let mut noted = BTreeMap::new();
        match one_account(server, &format!("w{number}-{turn}"), turn % 3 == 0, &mut noted) {
            Some(id) => _ = model.lock().unwrap().insert(id, noted),
            None => _ = unsure.fetch_add(1, Ordering::SeqCst),
        }
        turn += 1;
    }
}

fn one_account(server: &Server, name: &str, deletes: bool, noted: &mut History) -> Option<String> {
    let admin = server.admin();
    let done = |reply: Reply| (reply.status < 300).then(|| reply.json());
    let body = json!({"username": name, "role": "auditor", "valid_for_months": 6});
    let made = done(server.call("POST", "/api/v1/accounts").bearer(&admin).json(&body).send())?;
    let id = made["account"]["id"].as_str().unwrap().to_owned();
    noted.insert(epoch(&made["account"]["version"]), (1, "active"));
    let renewed = done(server.regenerate(&admin, &id))?;
    noted.insert(epoch(&renewed["receipt"]["epoch"]), (2, "active"));
    let path = format!("/api/v1/accounts/{id}");
    let body = json!({"status": "disabled"});
    let disabled = done(server.call("PATCH", &path).bearer(&admin).json(&body).send())?;
    noted.insert(epoch(&disabled["receipt"]["epoch"]), (2, "disabled"));
    if deletes {
        let gone = done(server.call("DELETE", &path).bearer(&admin).send())?;
        noted.insert(epoch(&gone["receipt"]["epoch"]), (2, "deleted"));
    }
    Some(id)
}

#[test]
fn a_backup_under_changes_is_what_was_acknowledged_up_to_one_epoch() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    super::large::fill(&scene, 5_000, "one of many");
    let (model, unsure, stop) = (Model::default(), AtomicUsize::new(0), AtomicBool::new(false));
    let backups: Vec<(String, Epoch)> = std::thread::scope(|scope| {
        for number in 0..3 {
            let (server, model, unsure, stop) = (&server, &model, &unsure, &stop);
            scope.spawn(move || change(server, number, model, unsure, stop));
        }
        let backups = (0..rounds(3, 20)).map(|number| {
            let file = format!("{number}.backup");
            let said = scene.run(&["backup", "--out", &file, "--output", "json"]).expect(0).json();
            (file, epoch(&said["epoch"]))
        });
        let backups = backups.collect();
        stop.store(true, Ordering::SeqCst);
        backups
    });
    server.stop();
    let model = model.into_inner().unwrap();
    let mut told = 0;
    for (file, at) in backups {
        scene.lose();
        scene.restore(&file).expect(0);
        let mut seen = BTreeSet::new();
        for (id, history) in &model {
            let expected = history.range(..=at).next_back();
            let text: Option<String> = scene.command(&["GET", &state_key(id)]);
            let Some((version, (generation, status))) = expected else {
                assert_eq!(text, None, "{id} was made after {at}");
                continue;
            };
            let found = Versioned::parse(&text.unwrap_or_else(|| panic!("{id} is missing at {at}"))).unwrap();
            let now = match &found.record {
                StateRecord::Live(state) => {
                    (state.generation, if state.status == Status::Active { "active" } else { "disabled" })
                }
                StateRecord::Deleted(tombstone) => (tombstone.generation, "deleted"),
            };
            assert_eq!((found.version, now), (*version, (*generation, *status)), "{id} at {at}");
            seen.insert(id.parse::<AccountId>().unwrap());
        }
        told += seen.len();
        let others = scene.keys("{cm}:s:*").len() - seen.len();
        let unsure = unsure.load(Ordering::SeqCst);
        assert!((5_001..=5_001 + unsure).contains(&others), "{others} others are there, and {unsure} unsure ones");
    }
    assert!(told > 10, "there were changes: {told}");
}
