//! What a sudden loss of power, or a bad disk, leaves: files that end too early, or in zeros.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::crash::keys::Keys;
use crate::crash::{dice, redis_of};
use crate::effort;
use crate::machine::{Machine, finish};
use crate::server::Server;
use crate::until::signal;

fn killed(mut server: Server) -> Server {
    let redis = server.redis_pid().unwrap();
    signal(redis, Signal::KILL);
    server.signal(Signal::KILL);
    server.end();
    server
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn acts(server: &Server) -> Vec<Value> {
    let reply: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg("{cm}:acts").arg("-").arg("+").query(&mut redis_of(server)).unwrap();
    reply.ids.iter().map(|entry| serde_json::from_str(&entry.get::<String>("e").unwrap()).unwrap()).collect()
}

/// A server that did this and that and was killed; all acts, and its log of changes.
fn with_a_past(machine: &Machine) -> (Server, Vec<Value>, PathBuf) {
    let server = machine.serve().ready();
    let admin = server.admin();
    for number in 0..12 {
        let (id, _) = server.create(&format!("ci-{number}"), "auditor");
        server.regenerate(&admin, &id).expect(201);
    }
    let acts = acts(&server);
    let server = killed(server);
    let log = contents(&server.data("redis/appendonlydir"))
        .into_keys()
        .find(|path| path.ends_with("appendonly.aof.1.incr.aof"));
    (server, acts, log.unwrap())
}

#[test]
fn a_log_that_ends_in_the_middle_of_a_change_ends_before_that_change() {
    let mut dice = dice();
    let machine = Machine::new();
    let (server, all, log) = with_a_past(&machine);
    let directory = server.data("redis/appendonlydir");
    let whole = contents(&directory);
    let length = whole[&log].len() as u64;
    let mut lost = 0;
    for _ in 0..effort::rounds(6, 60) {
        for path in contents(&directory).into_keys() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, content) in &whole {
            std::fs::write(path, content).unwrap();
        }
        // The first admin and the keys are further to the front.
        let cut = 1 + dice.below(length / 2);
        std::fs::File::options().write(true).open(&log).unwrap().set_len(length - cut).unwrap();
        let server = machine.serve().ready();
        // What was lost, and had ended something, was made up for.
        let mut left = acts(&server);
        left.retain(|act| act["kind"] != "store.raise");
        assert_eq!(left, all[..left.len()], "{cut} bytes less");
        lost += all.len() - left.len();
        Keys::default().check_everything(&mut redis_of(&server));
        server.verify(&server.admin()).expect(200);
        server.create("after", "auditor");
        Keys::default().check_everything(&mut redis_of(&server));
        drop(killed(server));
    }
    assert!(lost > 0, "nothing was cut off");
}

#[test]
fn a_log_that_ends_in_zeros_is_refused_and_what_is_said_to_do_helps() {
    let machine = Machine::new();
    let (server, all, log) = with_a_past(&machine);
    let mut content = std::fs::read(&log).unwrap();
    content.extend([0; 4096]);
    std::fs::write(&log, content).unwrap();
    let refused = machine.serve().ends().expect(2);
    let manifest = server.data("redis/appendonlydir/appendonly.aof.manifest");
    let advice = format!("redis-check-aof --fix {}", manifest.display());
    assert!(refused.err.contains("its data is damaged") && refused.err.contains(&advice), "{refused:?}");
    finish(Command::new("redis-check-aof").arg("--fix").arg(manifest), "y\n").expect(0);
    let server = machine.serve().ready();
    assert_eq!(acts(&server), all);
    server.stop();
}

#[test]
fn a_file_of_the_data_directory_that_is_empty_or_cut_is_made_anew_or_named_with_what_to_do() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (admin, ca) = (server.admin(), std::fs::read(server.ca()).unwrap());
    let data = server.data("");
    server.stop();
    // With words that the refusal must contain; without, it starts.
    let table: [(&str, Option<&[&str]>); 10] = [
        ("serve.json", None),
        ("node-name", None),
        ("tls/server.key", None),
        ("tls/server.pem", None),
        ("admin.token", None),
        ("lock", None),
        ("dataset", Some(&["dataset", "remove it"])),
        ("keys/master.key", Some(&["keys/master.key", "from your backup"])),
        ("tls/ca.key", None),
        ("tls/ca.pem", Some(&["tls/ca.pem", "remove"])),
    ];
    for (name, refusal) in table {
        let path = data.join(name);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, whole.len() / 2] {
            std::fs::write(&path, &whole[..length]).unwrap();
            match refusal {
                None => {
                    let server = machine.serve().ready();
                    server.verify(&admin).expect(200);
                    server.stop();
                }
                Some(words) => {
                    let refused = machine.serve().ends().expect(2);
                    for word in words {
                        assert!(refused.err.contains(word), "{name} of {length} bytes, no {word:?}: {refused:?}");
                    }
                    assert_eq!(std::fs::read(&path).unwrap(), whole[..length], "{name}");
                }
            }
            std::fs::write(&path, &whole).unwrap();
        }
    }
    assert_eq!(std::fs::read(data.join("tls/ca.pem")).unwrap(), ca);
    let server = machine.serve().ready();
    server.verify(&admin).expect(200);
    server.stop();
}
