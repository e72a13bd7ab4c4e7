//! Events wait on disk: none is lost, none comes twice, each has its place.

use std::io::Write as _;
use std::time::Duration;

use rustix::process::Signal;

use super::callers::{Callers, OnRecord, count, missing};
use super::{Scene, metric};
use crate::crash::dice;
use crate::effort::{long, rounds};
use crate::faults::small_disk::SmallDisk;
use crate::machine::Machine;
use crate::until::until;

/// All that was answered, once it is on record.
#[track_caller]
fn are_on_record(scene: &Scene, answers: &[Vec<super::callers::Answer>]) -> OnRecord {
    until(Duration::from_secs(60), "all that was answered is on record", || {
        let found = scene.on_record();
        missing(answers, &found.by_request(), 200).is_empty().then_some(found)
    })
}

/// A2, with the audit's connection cut and the state's left alone.
#[test]
fn while_the_audit_is_cut_off_no_call_is_refused_and_no_event_is_lost() {
    let scene = Scene::start("mode = \"spill\"");
    let callers = Callers::start("a", 4, 250, scene.port(), &scene.token);
    scene.cut_the_audit();
    std::thread::sleep(Duration::from_secs(if long() { 60 } else { 3 }));
    assert!(metric(&scene.server, "countermark_audit_spilled_bytes") > 1_000.0);
    scene.way.open();
    until(Duration::from_secs(60), "nothing waits", || {
        (metric(&scene.server, "countermark_audit_waiting_events") < 100.0).then_some(())
    });
    let answers = callers.stop();
    let all: usize = answers.iter().map(Vec::len).sum();
    assert_eq!(count(&answers, 200), all);
    are_on_record(&scene, &answers);
    println!("{all} calls, all answered and on record");
    scene.machine.run(&["audit", "verify"]);
    scene.server.stop();
    let left = std::fs::read_dir(scene.machine.path("data/audit")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["lock"]);
}

/// A2: all of Redis stands still. What was answered from memory before that was noticed is on record later.
#[test]
fn while_the_store_is_away_calls_are_refused_and_what_was_answered_is_on_record_later() {
    let mut scene = Scene::start("mode = \"spill\"");
    let callers = Callers::start("a", 4, 250, scene.port(), &scene.token);
    scene.redis.end();
    until(Duration::from_secs(10), "calls are refused", || {
        (scene.server.verify(&scene.token).status == 503).then_some(())
    });
    std::thread::sleep(Duration::from_secs(if long() { 60 } else { 1 }));
    scene.redis.again(&[]);
    until(Duration::from_secs(20), "calls are answered", || {
        (scene.server.verify(&scene.token).status == 200).then_some(())
    });
    let answers = callers.stop();
    assert!(count(&answers, 503) > 10);
    are_on_record(&scene, &answers);
}

/// A2: kill -9 takes the batch in the making with it.
#[test]
fn whoever_kills_the_process_loses_the_batch_in_the_making_and_nothing_comes_twice() {
    let mut scene = Scene::start("mode = \"spill\"");
    let mut dice = dice();
    let mut worst = Duration::ZERO;
    let mut lost = 0;
    for round in 0..rounds(6, 60) {
        let callers = Callers::start(&format!("r{round}"), 4, 500, scene.port(), &scene.token);
        let is_away = round % 2 == 1;
        if is_away {
            scene.cut_the_audit();
        }
        std::thread::sleep(Duration::from_millis(100 + dice.below(400)));
        scene.server.signal(Signal::KILL);
        let killed = std::time::Instant::now();
        scene.server.end();
        let answers = callers.stop();
        scene.way.open();
        if round % 3 == 0 {
            // As if it had been killed while it wrote.
            let last = std::fs::read_dir(scene.machine.path("data/audit")).unwrap();
            let mut files: Vec<_> = last.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let mut file = std::fs::File::options().append(true).open(files.last().unwrap()).unwrap();
            file.write_all(&b"B\x10\0\0\0"[..2 + dice.below(3) as usize]).unwrap();
        }
        // At times twice, and under another name.
        let mut again = || {
            let name = *dice.one_of(&["n1", "n2"]);
            Scene::serve_as(name, &scene.machine, &scene.way, "mode = \"spill\"").ready()
        };
        scene.server = again();
        if round % 3 == 1 {
            scene.server.signal(Signal::KILL);
            scene.server.end();
            scene.server = again();
        }
        until(Duration::from_secs(20), "nothing waits", || {
            (metric(&scene.server, "countermark_audit_waiting_events") == 0.0).then_some(())
        });
        let found = scene.on_record().by_request();
        let gone = missing(&answers, &found, 200);
        lost += gone.len();
        for answer in gone {
            worst = worst.max(killed.saturating_duration_since(answer.at));
        }
        assert!(count(&answers, 200) > 20, "round {round}");
    }
    println!("{lost} events lost, the oldest answered {worst:?} before its end");
    // 10 ms are gathered; a busy machine lets a thread wait for longer.
    assert!(worst < Duration::from_millis(300), "{worst:?}");
    let verified = scene.machine.run(&["audit", "verify"]);
    assert!(!verified.out.contains("missing"), "{verified:?}");
}

/// What the documentation says of a disk without room: events wait in memory, and calls are refused where that is full.
#[test]
fn on_a_full_disk_events_wait_in_memory_and_then_calls_are_refused() {
    let machine = Machine::new();
    let Some(disk) = SmallDisk::at(&machine.path("data"), 24) else { return };
    let audit = "mode = \"spill\"\nqueue_events = 512";
    let scene = Scene::start_by(machine, audit, |start| start.by(disk.enter(), disk.view()));
    disk.fill();
    let callers = Callers::start("a", 4, 250, scene.port(), &scene.token);
    scene.cut_the_audit();
    until(Duration::from_secs(20), "no room for events", || {
        (scene.server.verify(&scene.token).status == 503).then_some(())
    });
    assert!(metric(&scene.server, "countermark_audit_spill_failures_total") > 0.0);
    assert!(metric(&scene.server, "countermark_audit_refused_calls_total") > 0.0);
    let log = scene.server.log();
    assert_eq!(log.matches("events of the audit can't be kept on disk, and wait in memory").count(), 1, "{log}");
    // With room on disk they need none in memory.
    disk.make_room();
    scene.way.open();
    until(Duration::from_secs(20), "there is room", || (scene.server.verify(&scene.token).status == 200).then_some(()));
    let answers = callers.stop();
    assert!(count(&answers, 200) >= 500 && count(&answers, 503) > 0);
    are_on_record(&scene, &answers);
}
