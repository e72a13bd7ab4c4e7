//! Open files: what the process may have, and what happens when they are used up.

use std::sync::Arc;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::scene::{Scene, files};
use super::wire::{Attacker, until_closed};
use crate::machine::Machine;

async fn idle(attacker: Arc<Attacker>) -> std::io::Result<()> {
    let stream = attacker.plain().await?;
    attacker.is_there();
    until_closed(stream).await
}

#[test]
fn the_limit_of_open_files_is_raised_and_what_does_not_fit_into_it_is_not_served() {
    let scene = Scene::start_with("", |start| start.open_files(300, 600));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", scene.server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("600"), "{line}");
    assert!(scene.server.log().contains("limits.connections does not fit into the limit of open files"));
    scene.endures(700, 32, idle);
    scene.was_full();
    assert!(!scene.server.log().contains("can't accept"), "{}", scene.server.log());
}

#[test]
fn too_few_open_files_are_a_refusal_to_start() {
    let machine = Machine::new();
    let ended = machine.serve().open_files(200, 200).ends().expect(2);
    assert!(ended.err.contains("200 open files are too few") && ended.err.contains("LimitNOFILE"), "{ended:?}");
}

#[test]
fn where_open_files_are_used_up_a_connection_makes_room() {
    let scene = Scene::start("");
    let pid = scene.server.pid();
    let few = u64::try_from(files(pid)).unwrap() + 10;
    let limit = Rlimit { current: Some(few), maximum: Some(few) };
    prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Nofile, limit).unwrap();
    scene.endures(100, 32, idle);
    scene.was_full();
    // It goes on and on, and is told of once by each listener.
    let told = scene.server.log().matches("can't accept connections").count();
    assert!((1..=2).contains(&told), "{told}: {}", scene.server.log());
}
