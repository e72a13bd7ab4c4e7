//! No answer without its event, or an answer in any case.

use std::time::Duration;

use super::callers::{Callers, call, count, missing};
use super::{Scene, metric};
use crate::crash::dice;
use crate::effort::rounds;
use crate::machine::Machine;
use crate::until::until;

/// A2: in `strict` nothing that was let through lacks its entry, whenever Redis is killed.
#[test]
fn in_strict_mode_no_call_is_let_through_without_its_event() {
    let mut scene = Scene::start("mode = \"strict\"");
    let mut dice = dice();
    let callers = Callers::start("a", 8, 100, scene.port(), &scene.token);
    for round in 0..rounds(3, 40) {
        std::thread::sleep(Duration::from_millis(200 + dice.below(600)));
        scene.redis.end();
        if round == 0 {
            // Longer than anybody waits.
            until(Duration::from_secs(20), "calls are refused", || {
                (scene.server.verify(&scene.token).status == 503).then_some(())
            });
        }
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        scene.redis.again(&[]);
        until(Duration::from_secs(20), "calls are answered", || {
            (scene.server.verify(&scene.token).status == 200).then_some(())
        });
    }
    // At once, with whatever waits still on its way.
    scene.server.signal(rustix::process::Signal::KILL);
    scene.server.end();
    let answers = callers.stop();
    let found = scene.on_record().by_request();
    let gone = missing(&answers, &found, 200);
    assert!(gone.is_empty(), "{gone:?}");
    assert!(count(&answers, 200) > 50 && count(&answers, 503) > 0, "{}", count(&answers, 200));
}

/// The bound: nobody waits for longer than two seconds.
#[test]
fn in_strict_mode_a_call_whose_event_can_not_be_written_is_answered_503_in_time() {
    let scene = Scene::start("mode = \"strict\"");
    let mut connection = None;
    assert_eq!(call(&mut connection, "first", scene.port(), &scene.token), Some(200));
    scene.way.break_at("\"previous\":", crate::between::Break::BeforeTheCommand, true);
    let reply = scene.server.verify(&scene.token).expect(503);
    assert!(reply.json()["detail"].as_str().unwrap().contains("the audit can't be written right now"), "{reply:?}");
    assert!(reply.header("Retry-After").is_some());
    // What is refused waits as well: no audit, no answer.
    scene.server.call("GET", "/api/v1/accounts").bearer(&scene.token).send().expect(503);
    scene.way.open();
    until(Duration::from_secs(20), "calls are answered", || {
        (scene.server.verify(&scene.token).status == 200).then_some(())
    });
}

/// A2: drops are counted and announced.
#[test]
fn in_best_effort_mode_calls_are_answered_and_what_is_left_out_is_told() {
    let scene = Scene::start("mode = \"best-effort\"\nqueue_events = 64");
    scene.cut_the_audit();
    let callers = Callers::start("a", 4, 250, scene.port(), &scene.token);
    until(Duration::from_secs(20), "events are left out", || {
        (metric(&scene.server, "countermark_audit_dropped_events_total") > 100.0).then_some(())
    });
    let answers = callers.stop();
    scene.way.open();
    let all: usize = answers.iter().map(Vec::len).sum();
    assert_eq!(count(&answers, 200), all);
    let announced = until(Duration::from_secs(20), "what is left out is told", || {
        let found = scene.on_record();
        let told: u64 = found.of_kind("audit.dropped").map(|event| event["details"]["events"].as_u64().unwrap()).sum();
        let gone = missing(&answers, &found.by_request(), 200).len() as u64;
        (told > 0 && gone == told).then_some(told)
    });
    assert_eq!(metric(&scene.server, "countermark_audit_dropped_events_total"), announced as f64);
    let event = scene.on_record().of_kind("audit.dropped").next().unwrap().clone();
    assert_eq!((&event["outcome"], &event["reason"]), (&"failed".into(), &"no_room".into()));
}

#[test]
fn what_the_audit_can_not_be_is_said_at_the_start() {
    let machine = Machine::new();
    let wrong = machine.serve().config("[audit]\nmode = \"sometimes\"\nspill_max_bytes = 5\n").ends().expect(2);
    assert!(wrong.err.contains("audit.mode") && wrong.err.contains("best-effort"), "{wrong:?}");
    assert!(wrong.err.contains("audit.spill_max_bytes") && wrong.err.contains("16777216"), "{wrong:?}");
    // What is in the way of the directory.
    std::fs::create_dir_all(machine.path("data")).unwrap();
    machine.write("data/audit", "");
    let wrong = machine.serve().ends().expect(2);
    assert!(wrong.err.contains("can't be kept on disk") && wrong.err.contains("data/audit"), "{wrong:?}");
}
