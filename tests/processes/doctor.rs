//! `countermark doctor`: nothing to say of a healthy service; a finding, with what to do, for each thing that is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::machine::Machine;
use crate::redis::Redis;
use crate::until::soon;

/// What doctor said.
#[derive(Debug)]
pub struct Said {
    pub entries: Vec<Value>,
    pub text: String,
}

/// Runs it, and holds every entry to its form.
#[track_caller]
pub fn doctor(machine: &Machine, arguments: &[&str]) -> Said {
    let ended = machine.run(&[&["doctor", "--output", "json"], arguments].concat());
    let entries = ended.json().as_array().unwrap().clone();
    for entry in &entries {
        let has = |member: &str| entry[member].as_str().is_some_and(|text| !text.is_empty());
        assert!(has("check") && has("seen"), "{entry}");
        match entry["status"].as_str().unwrap() {
            "ok" => {}
            "notice" | "unchecked" => assert!(has("action"), "{entry}"),
            "finding" => assert!(has("why") && has("action"), "{entry}"),
            other => panic!("{other}"),
        }
    }
    let said = Said { entries, text: ended.out };
    assert_eq!(ended.code, i32::from(!said.findings().is_empty()), "{said:?}");
    assert_eq!(ended.err, "");
    said
}

impl Said {
    pub fn findings(&self) -> Vec<&str> {
        let found = self.entries.iter().filter(|entry| entry["status"] == "finding");
        found.map(|entry| entry["check"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub fn healthy(self) -> Self {
        assert_eq!(self.findings(), Vec::<&str>::new(), "{}", self.text);
        self
    }

    pub fn status(&self, check: &str) -> &str {
        let entry = self.entries.iter().find(|entry| entry["check"] == check);
        entry.map_or("", |entry| entry["status"].as_str().unwrap())
    }

    /// There is this finding, and its texts hold these words.
    #[track_caller]
    pub fn finds(&self, check: &str, words: &[&str]) {
        let found: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| entry["check"] == check && entry["status"] == "finding")
            .map(Value::to_string)
            .collect();
        assert!(!found.is_empty(), "{check}: {}", self.text);
        for word in words {
            assert!(found.iter().any(|found| found.contains(word)), "{word}: {found:?}");
        }
    }
}

/// Names and contents of everything but the running Redis' own files.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("redis") {
                directories.push(path);
            } else if path.is_file() {
                found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_healthy_private_service_has_nothing_found_nothing_changed_and_nothing_told() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    server.create("ci", "auditor");
    let before = files(&server.data(""));
    let said = doctor(&machine, &["--data-dir", "data"]).healthy();
    assert_eq!(files(&server.data("")), before);
    for check in ["server.ready", "store.rights", "store.scripts", "store.dataset", "master_key.opens", "clock.sane"] {
        assert_eq!(said.status(check), "ok", "{check}: {}", said.text);
    }
    for check in ["certificate.names", "certificate.expiry", "certificate.chain", "certificate.served", "store.sync"] {
        assert_eq!(said.status(check), "ok", "{check}: {}", said.text);
    }
    assert_eq!(said.status("data_directory.admin_token"), "notice");
    let secret = |name: &str| std::fs::read_to_string(server.data(name)).unwrap().trim().to_owned();
    for secret in [secret("admin.token"), secret("keys/master.key")] {
        assert!(!said.text.contains(&secret));
    }
    let text = machine.run(&["doctor"]).expect(0).out;
    assert!(text.contains("Nothing was found.") && text.contains("move it to where secrets are kept"), "{text}");
    server.stop();

    let said = doctor(&machine, &["--data-dir", "data"]).healthy();
    assert_eq!((said.status("store.reachable"), said.status("server.health")), ("unchecked", "unchecked"));
    let said = doctor(&machine, &["--data-dir", "elsewhere"]).healthy();
    assert_eq!(said.status("data_directory.rights"), "notice");
    assert!(!machine.path("elsewhere").exists());
}

/// The configuration of a service with a store of its own user.
pub fn store_config(machine: &Machine, redis: &Redis) -> String {
    let password = machine.write("password", "secret\n");
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", "countermark", "on", ">secret", "~{cm}:*", "~{cm:*}:*", "+@all", "-@dangerous", "+info"]);
    user.arg(&["+config|get", "+acl|whoami", "+acl|dryrun"]).exec(&mut redis.connection()).unwrap();
    format!("[store]\nurl = {:?}\nuser = \"countermark\"\npassword_file = {password:?}\n", redis.url())
}

#[test]
fn a_service_with_a_well_kept_store_of_its_own_user_has_nothing_found() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let config = store_config(&machine, &redis);
    let server = machine.serve().config(&config).ready();
    server.create("ci", "auditor");
    // What is noted of an act goes when a block links it.
    soon("the act is linked", || {
        redis::cmd("EXISTS").arg("{cm}:unlinked").query::<u64>(&mut redis.connection()).unwrap() == 0
    });
    let keys = redis.size();
    let said = doctor(&machine, &["--config", "data.toml", "--data-dir", "data"]).healthy();
    assert_eq!(redis.size(), keys);
    for check in
        ["store.reachable", "store.rights", "store.password", "store.sync", "store.keys", "store.activity_logs"]
    {
        assert_eq!(said.status(check), "ok", "{check}: {}", said.text);
    }
    assert!(!said.text.contains("secret\""), "{}", said.text);
    server.stop();
    // Without a server the store can still be looked at.
    let said = doctor(&machine, &["--config", "data.toml", "--data-dir", "data"]).healthy();
    assert_eq!(said.status("master_key.opens"), "ok");
}

#[test]
fn a_configuration_that_cant_be_read_is_no_finding_but_the_end() {
    let machine = Machine::new();
    let ended = machine.run(&["doctor", "--config", "none.toml"]).expect(2);
    assert!(ended.err.contains("none.toml") && ended.out.is_empty(), "{ended:?}");
    machine.run(&["doctor", "--no-such-flag"]).expect(2);
}

#[test]
fn settings_that_are_wrong_or_better_otherwise_are_found() {
    let table: [(&str, &str, &[&str]); 7] = [
        ("lisen = \"127.0.0.1:1\"\n", "configuration.settings", &["lisen", "no such setting"]),
        ("max_staleness = \"2h\"\n", "configuration.settings", &["max_staleness"]),
        (
            "listen = [\"http://0.0.0.0:80\"]\nissuer = \"https://a.example\"\n",
            "configuration.settings",
            &["plain text"],
        ),
        ("[policies.x]\nteam = \"web\"\n", "configuration.settings", &["permission"]),
        ("trusted_proxies = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n", "configuration.proxies", &["0.0.0.0/0"]),
        ("[log]\nlevel = \"debug\"\n", "configuration.log", &["debug", "info"]),
        ("listen = [\"0.0.0.0:8443\"]\n", "configuration.issuer", &["0.0.0.0:8443", "also_accept_issuers"]),
    ];
    for (config, check, words) in table {
        let machine = Machine::new();
        machine.write("countermark.toml", config);
        doctor(&machine, &[]).finds(check, words);
    }
    let machine = Machine::new();
    let said = doctor(&machine, &["--max-staleness", "5s"]).healthy();
    assert_eq!(said.status("configuration.staleness"), "notice");
}
