//! Files that are damaged, keys that don't fit, restores that don't come to their end.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::scene::Scene;
use crate::machine::{Ended, Machine, finish_within};
use crate::redis::{Redis, state_key};
use crate::until::{signal, until};

fn says_so(refused: &Ended) -> bool {
    refused.err.to_lowercase().matches("nothing was changed").count() == 1
}

/// Files of a backup that has no name yet.
fn unfinished(scene: &Scene) -> Vec<String> {
    let names = std::fs::read_dir(scene.machine.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.contains(".backup.new-")).collect()
}

#[test]
fn a_backup_that_was_interrupted_leaves_nothing_or_what_the_next_one_removes() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    super::large::fill(&scene, 20_000, "one of many");
    let interrupted = |which: Signal| {
        let mut command = scene.machine.command();
        command.args(["backup", "--out", "a.backup", "--data-dir", "data", "--store", &scene.redis.url()]);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        until(Duration::from_secs(20), "a part of it", || (!unfinished(&scene).is_empty()).then_some(()));
        signal(child.id(), which);
        let ended = child.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    for which in [Signal::INT, Signal::TERM] {
        let (code, said) = interrupted(which);
        assert!(code == Some(2) && said.contains("interrupted; no backup was written"), "{code:?} {said}");
        assert_eq!(unfinished(&scene), Vec::<String>::new());
    }
    assert_eq!(interrupted(Signal::KILL).0, None);
    assert_eq!(unfinished(&scene).len(), 1);
    scene.backup("another.backup").expect(0);
    assert_eq!(unfinished(&scene), Vec::<String>::new());
    assert!(!scene.machine.path("a.backup").exists());
    server.stop();
}

#[test]
fn a_damaged_file_another_master_key_and_another_place_are_refused_before_anything_is_changed() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    server.create("ci", "auditor");
    scene.backup("a.backup").expect(0);
    let taken = scene.backup("a.backup").expect(2);
    assert!(taken.err.contains("name a new one"), "{taken:?}");
    server.stop();
    scene.lose();

    let whole = std::fs::read(scene.machine.path("a.backup")).unwrap();
    let end = whole.len();
    let flipped = |place: usize| {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        changed
    };
    let another = [whole.as_slice(), b"x"].concat();
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("flipped", flipped(end - 40), "damaged"),
        ("header", flipped(40), ""),
        ("cut", whole[..end - 1].to_vec(), "cut off"),
        ("empty", Vec::new(), "no backup"),
        ("longer", another, "follows upon its end"),
        ("other", b"REDIS0011".to_vec(), "no backup"),
    ];
    for (name, bytes, told) in cases {
        std::fs::write(scene.machine.path(name), bytes).unwrap();
        let refused = scene.restore(name).expect(2);
        assert!(refused.err.contains(told) && says_so(&refused), "{name}: {refused:?}");
    }
    let absent = scene.restore("nowhere").expect(2);
    assert!(absent.err.contains("can't be read") && says_so(&absent), "{absent:?}");

    // Another master key: in the place of the first, which opens the file all the same once it is named.
    std::fs::rename(scene.machine.path("data/keys/master.key"), scene.machine.path("former.key")).unwrap();
    let other = "A".repeat(43);
    scene.machine.write("data/keys/master.key", &other);
    let refused = scene.restore("a.backup").expect(2);
    assert!(
        refused.err.contains("sealed under the master key") && refused.err.contains("--backup-key-file"),
        "{refused:?}"
    );
    assert!(says_so(&refused), "{refused:?}");
    assert_eq!(scene.redis.size(), 0, "nothing was changed");
    scene.run(&["restore", "a.backup", "--yes", "--backup-key-file", "former.key"]).expect(0);
    // The signing keys open under the present one.
    let server = scene.serve().ready();
    server.verify(&server.admin()).expect(200);
    server.stop();

    let theirs = scene.machine.serve_in("theirs").ready();
    theirs.stop();
    let backup = scene.machine.path("a.backup");
    let arguments =
        ["restore", backup.to_str().unwrap(), "--yes", "--data-dir", "theirs", "--backup-key-file", "former.key"];
    let refused = scene.machine.run(&arguments).expect(2);
    assert!(refused.err.contains("belongs to the dataset") && says_so(&refused), "{refused:?}");
    let elsewhere =
        ["restore", "a.backup", "--yes", "--master-key-file", "former.key", "--store", "redis://127.0.0.1:1"];
    let refused = scene.machine.run(&elsewhere).expect(2);
    assert!(says_so(&refused), "{refused:?}");
    let keyless = ["restore", "a.backup", "--yes", "--master-key-file", "no.key", "--store", &scene.redis.url()];
    let refused = scene.machine.run(&keyless).expect(2);
    assert!(says_so(&refused), "{refused:?}");
}

#[test]
fn a_restore_that_was_killed_serves_nobody_and_goes_on() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    scene.backup("first.backup").expect(0);
    super::large::fill(&scene, 3_000, "one of many");
    scene.backup("a.backup").expect(0);
    server.stop();
    let before = scene.content();
    scene.lose();
    let mut command = scene.machine.command();
    command.args(["restore", "a.backup", "--yes", "--data-dir", "data", "--store", &scene.redis.url()]);
    let mut restoring = command.spawn().unwrap();
    until(Duration::from_secs(20), "a part of it", || (scene.keys("{cm}:s:*").len() > 100).then_some(()));
    signal(restoring.id(), Signal::KILL);
    restoring.wait().unwrap();
    assert!(scene.keys("{cm}:s:*").len() < 3_002, "it was killed in the middle");

    let refused = scene.serve().ends().expect(2);
    assert!(refused.err.contains("is being restored into the store, or was"), "{refused:?}");
    let refused = scene.machine.serve_in("fresh").option("--store", scene.redis.url()).ends().expect(2);
    assert!(refused.err.contains("is being restored"), "{refused:?}");
    let other = scene.restore("first.backup").expect(2);
    assert!(other.err.contains("another backup") && other.err.contains("empty the store first"), "{other:?}");
    let nothing = scene.backup("half.backup").expect(2);
    assert!(nothing.err.contains("is being restored") && !nothing.err.contains("empty"), "{nothing:?}");
    let shown = scene.run(&["restore", "a.backup", "--dry-run"]).expect(0);
    assert!(shown.out.contains("that goes on"), "{shown:?}");
    let mut command = scene.machine.command();
    command.args(["restore", "a.backup", "--yes", "--data-dir", "data", "--store", &scene.redis.url()]);
    finish_within(&mut command, "", Duration::from_secs(60)).expect(0);
    assert_eq!(scene.content(), before);
    let server = scene.serve().ready();
    server.verify(&token).expect(200);
    server.stop();
}

#[test]
fn a_restore_that_another_process_has_ended_meanwhile_says_so_and_not_that_the_store_is_half_restored() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    super::large::fill(&scene, 3_000, "one of many");
    scene.backup("a.backup").expect(0);
    server.stop();
    scene.lose();
    let mut command = scene.machine.command();
    command.args(["restore", "a.backup", "--yes", "--data-dir", "data", "--store", &scene.redis.url()]);
    let slow = command.stderr(Stdio::piped()).spawn().unwrap();
    until(Duration::from_secs(20), "a part of it", || (scene.keys("{cm}:s:*").len() > 100).then_some(()));
    // As whoever comes to the end of it does.
    assert_eq!(scene.command::<u64>(&["HDEL", "{cm}:meta", "restoring"]), 1);
    let slow = slow.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&slow.stderr);
    assert_eq!(slow.status.code(), Some(2), "{said}");
    assert!(said.contains("another process has put it back meanwhile") && !said.contains("not whole"), "{said}");
}

#[test]
fn a_restore_under_which_the_server_was_replaced_is_not_done_before_it_was_gone_on_with() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[("--enable-debug-command", "yes")]);
    let scene = Scene { machine, redis };
    let server = scene.serve().ready();
    let (id, token) = server.create("ci", "auditor");
    super::large::fill(&scene, 3_000, "one of many");
    scene.backup("a.backup").expect(0);
    server.stop();
    let before = scene.content();
    scene.lose();
    let mut command = scene.machine.command();
    command.args(["restore", "a.backup", "--yes", "--data-dir", "data", "--store", &scene.redis.url()]);
    let restoring = command.stderr(Stdio::piped()).spawn().unwrap();
    let is_there = || (scene.keys("{cm}:s:*").len() > 100).then_some(());
    until(Duration::from_secs(20), "a part of it", is_there);
    // A failover: the new primary lacks what was put back last, here the account that comes first in the file.
    let () = scene.command(&["DEBUG", "CHANGE-REPL-ID"]);
    let () = scene.command(&["DEL", &state_key(&id), &format!("{{cm}}:p:{id}")]);
    let restored = restoring.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.code() == Some(2) && said.contains("became another server"), "{said}");
    assert!(said.contains("run the same command again, which puts back what is missing"), "{said}");
    scene.serve().ends().expect(2);
    scene.restore("a.backup").expect(0);
    for kind in ["s", "p", "names", "list", "catalogue"] {
        let of = |content: &BTreeMap<String, Vec<String>>| -> Vec<(String, Vec<String>)> {
            content.clone().into_iter().filter(|(name, _)| name.split(':').next() == Some(kind)).collect()
        };
        assert_eq!(of(&scene.content()), of(&before), "{kind}");
    }
    let server = scene.serve().ready();
    server.verify(&token).expect(200);
    server.stop();
}

#[test]
fn a_store_that_is_full_is_said_to_be_full_and_to_be_as_it_was() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    scene.backup("a.backup").expect(0);
    server.stop();
    scene.lose();
    let () = scene.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = scene.restore("a.backup").expect(2);
    assert!(refused.err.contains("its memory is full") && says_so(&refused), "{refused:?}");
    assert_eq!(scene.redis.size(), 0);
}

#[test]
fn a_store_that_was_restored_and_has_too_few_replicas_is_not_said_to_be_half_restored() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    scene.backup("a.backup").expect(0);
    server.stop();
    let before = scene.content();
    scene.lose();
    let strict = scene.machine.write("strict.toml", "[store]\nreplicas_required = 1\nreplica_timeout = \"100ms\"\n");
    let restore = ["restore", "a.backup", "--yes", "--config", strict.to_str().unwrap()];
    let said = scene.run(&restore).expect(2);
    assert!(said.err.contains("everything was put back") && said.err.contains("0 of 1 replicas"), "{said:?}");
    assert_eq!(scene.content(), before);
    assert!(scene.run(&restore).expect(0).out.contains("Nothing is missing"));
    scene.serve().ready().stop();
}

#[test]
fn an_account_that_cant_be_read_is_named_and_the_rest_is_backed_up() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let (_, good) = server.create("ci", "auditor");
    let (broken, _) = server.create("broken", "auditor");
    let () = scene.command(&["SET", &format!("{{cm}}:p:{broken}"), "{"]);
    let said = scene.backup("a.backup").expect(1);
    assert!(said.out.contains(": 2 accounts,"), "{said:?}");
    let told = format!("1 accounts can't be read, and are not in it: {broken}");
    assert!(said.err.contains(&told) || said.out.contains(&told), "{said:?}");
    let said = scene.run(&["backup", "--out", "b.backup", "--output", "json"]).expect(1).json();
    assert_eq!((&said["accounts"], &said["unreadable"]), (&2.into(), &vec![broken].into()));
    server.stop();
    scene.lose();
    scene.restore("a.backup").expect(0);
    let server = scene.serve().ready();
    server.verify(&good).expect(200);
    server.call("GET", "/api/v1/accounts/broken").bearer(&server.admin()).send().expect(404);
    server.stop();
}

#[test]
fn a_store_that_has_lost_its_dataset_alone_is_not_taken_for_an_empty_one() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    scene.backup("a.backup").expect(0);
    server.stop();
    let () = scene.command(&["DEL", "{cm}:meta"]);
    let refused = scene.restore("a.backup").expect(2);
    assert!(refused.err.contains("and yet the key {cm"), "{refused:?}");
    assert!(scene.keys("{cm}:meta").is_empty());
}
