//! Keys are made in the token, sign there, and stay there.

use countermark::keyring::{KeyringDocument, MasterKey};
use serde_json::{Value, json};

use super::soft_hsm::SoftHsm;
use super::{PIN, kid, prepare, signs_in_token};
use crate::clients::{client, outcomes};
use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;
use crate::until::soon;

/// The document of keys, unsealed.
fn unsealed(server: &Server) -> Vec<Value> {
    let client = redis::Client::open(format!("unix://{}", server.socket().display())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let dataset: String = redis::cmd("HGET").arg("{cm}:meta").arg("dataset").query(&mut connection).unwrap();
    let mut read = redis::cmd("HMGET");
    let (version, sealed): (u64, String) =
        read.arg("{cm}:keyring").arg("version").arg("document").query(&mut connection).unwrap();
    let master = MasterKey::parse(&std::fs::read_to_string(server.data("keys/master.key")).unwrap()).unwrap();
    let opened = master.open(&dataset, version, &sealed).unwrap();
    let document: KeyringDocument = serde_json::from_slice(&opened.text).unwrap();
    document.keys.iter().map(|key| serde_json::to_value(key).unwrap()).collect()
}

#[test]
fn keys_of_every_algorithm_are_made_in_the_token_sign_there_and_can_not_be_taken_out() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    let server = hsm.of(machine.serve()).ready();
    let issuer = server.issuer();
    let (id, _) = server.create("ci", "auditor");
    let mut keys = Vec::new();
    for algorithm in ["ES256", "EdDSA", "RS256", "PS256"] {
        let told =
            machine.run(&["key", "prepare", "--in-token", "--algorithm", algorithm, "--output", "json"]).expect(0);
        let key = told.json()["key"]["id"].as_str().unwrap().to_owned();
        machine.run(&["key", "activate", &key, "--force", "--yes"]).expect(0);
        let issued = server.regenerate(&server.admin(), &id).expect(201).json();
        let token = issued["token"].as_str().unwrap();
        assert_eq!(kid(token), key, "{algorithm}");
        server.verify(token).expect(200);
        for script in ["pyjwt_verify.py", "jose_verify.mjs"] {
            let case = json!({"token": token, "issuer": issuer, "audience": issuer, "algorithms": [algorithm]});
            let told = outcomes(&mut client(&machine, &server, script, &[&issuer]), &[case]);
            assert!(told[0]["ok"].is_object(), "{script} {algorithm}: {told:?}");
        }
        let shown = machine.run(&["key", "show", &key]).expect(0);
        assert!(
            shown.out.lines().any(|line| line.starts_with("in hardware token") && line.ends_with("yes")),
            "{shown:?}"
        );
        keys.push(key);
    }

    let objects = hsm.objects();
    assert_eq!(objects.len(), 8, "{objects:?}");
    for key in &keys {
        let label = json!(format!("countermark {key}"));
        let of = |class: &str| objects.iter().find(|object| object["label"] == label && object["class"] == class);
        assert!(of("public").is_some(), "{objects:?}");
        let private = of("private").unwrap_or_else(|| panic!("{objects:?}"));
        assert_eq!(private["flags"], "[Extractable(false), Sensitive(true), Token(true)]");
        assert_eq!(private["read"], 0, "{private}");
        for why in private["why"].as_array().unwrap() {
            assert!(why == "[Sensitive]" || why == "[TypeInvalid]", "{private}");
        }
        assert!(private["why"].as_array().unwrap().contains(&json!("[Sensitive]")), "{private}");
    }

    // Only the active one may sign, and so is named; of none there is a private half.
    let document = unsealed(&server);
    assert_eq!(document.len(), 5);
    for (entry, key) in document[1..].iter().zip(&keys) {
        assert_eq!((&entry["id"], &entry["private"]), (&json!(key), &Value::Null));
        let is_active = entry["state"] == "active";
        assert_eq!(entry.get("token").is_some_and(|token| token["label"] == "signing"), is_active, "{entry}");
    }
    assert_eq!(document[4]["state"], "active");

    // The PIN is nowhere: not in the store, not in the log, not in what was written down.
    let log = server.log();
    server.stop();
    assert!(!log.contains(PIN) && !log.contains("ERROR"), "{log}");
    let mut places = vec![machine.path("data")];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&place).unwrap();
            assert!(!bytes.windows(PIN.len()).any(|part| part == PIN.as_bytes()), "{}", place.display());
        }
    }
}

#[test]
fn two_issuers_sign_with_the_same_key_in_one_token() {
    let machine = Machine::new();
    let (hsm, redis) = (SoftHsm::new(&machine), Redis::start(&machine, &[]));
    let first = hsm.of(machine.serve_in("one").option("--store", redis.url())).ready();
    let master = first.data("keys/master.key");
    let second = machine.serve_in("two").option("--store", redis.url()).option("--master-key-file", &master);
    let second = hsm.of(second).ready();
    let third = machine.serve_in("three").option("--store", redis.url()).option("--master-key-file", &master).ready();
    let (id, _) = first.create("ci", "auditor");
    let key = signs_in_token(&first, "ES256");
    for server in [&second, &first, &second] {
        let issued = server.regenerate(&first.admin(), &id).expect(201).json();
        let token = issued["token"].as_str().unwrap();
        assert_eq!(kid(token), key);
        for any in [&first, &second, &third] {
            any.verify(token).expect(200);
        }
    }
    // One that has no token checks what the others sign, and is ready for that.
    assert_eq!(third.regenerate(&first.admin(), &id).expect(503).reason(), "hardware_token_away");
    assert!(third.log().contains("set signing.pkcs11.module, token_label and pin_file"), "{}", third.log());
    let ready = third.operations("/readyz").send().expect(200).json();
    assert!(ready["warnings"][0].as_str().unwrap().contains("lies in the hardware token signing"), "{ready}");
}

#[test]
fn a_key_that_is_not_published_after_all_is_destroyed_again() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    let redis = Redis::start(&machine, &[]);
    let server = hsm.of(machine.serve().option("--store", redis.url())).ready();
    let full = |bytes: u32| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes).exec(&mut redis.connection()).unwrap();
    };
    full(1);
    let refused = prepare(&server, "ES256").expect(503);
    assert_eq!(refused.reason(), "store_full", "{refused:?}");
    soon("both halves are destroyed", || hsm.objects().is_empty());
    full(0);
    let made = |body: Value| server.call("POST", "/api/v1/keys").bearer(&server.admin()).json(&body).send();
    for _ in 0..30 {
        made(json!({"algorithm": "EdDSA"})).expect(201);
    }
    prepare(&server, "ES256").expect(201);
    assert_eq!(hsm.objects().len(), 2);
    assert_eq!(prepare(&server, "ES256").expect(409).reason(), "too_many_keys");
    soon("both halves are destroyed", || hsm.objects().len() == 2);
    assert!(server.log().contains("a key that was not published was destroyed"), "{}", server.log());
}

#[test]
fn the_successor_of_a_key_in_the_token_is_made_in_the_token() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    let server = hsm.of(machine.serve()).ready();
    let (id, _) = server.create("ci", "auditor");
    let first = signs_in_token(&server, "ES256");
    let path = format!("/api/v1/keys/{first}/revoke");
    server.call("POST", &path).bearer(&server.admin()).json(&json!({"confirm": first})).send().expect(200);
    let issued = server.regenerate(&server.admin(), &id).expect(201).json();
    let second = kid(issued["token"].as_str().unwrap());
    assert_ne!(second, first);
    let document = unsealed(&server);
    let entry = document.iter().find(|entry| entry["id"] == second.as_str()).unwrap();
    assert_eq!((&entry["private"], &entry["token"]["label"]), (&Value::Null, &json!("signing")));
}
