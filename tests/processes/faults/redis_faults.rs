//! What can happen to Redis itself.

use std::time::Duration;

use rustix::process::Signal;

use super::doors::{During, knock, knock_twice};
use super::scene::Scene;
use crate::effort::rounds;
use crate::until::{soon, until};

/// How soon all is well again.
const RECOVERS: Duration = Duration::from_secs(3);

/// What makes it end.
type End = Box<dyn FnOnce(&mut Scene)>;

struct Fault {
    what: &'static str,
    during: During,
    begin: fn(&mut Scene) -> End,
}

const FAULTS: [Fault; 15] = [
    Fault { what: "writes are paused", during: During::Closed, begin: |scene| paused(scene, "WRITE") },
    Fault { what: "everything is paused", during: During::Closed, begin: |scene| paused(scene, "ALL") },
    Fault {
        what: "it is stopped",
        during: During::Closed,
        begin: |scene| {
            scene.redis.stands_still();
            Box::new(|scene| scene.redis.signal(Signal::CONT))
        },
    },
    Fault {
        what: "its memory is full",
        during: During::Reading("store_full"),
        begin: |scene| set(scene, "maxmemory", "1", "0"),
    },
    Fault {
        what: "it is cut off from its replicas",
        during: During::Closed,
        begin: |scene| set(scene, "min-replicas-to-write", "1", "0"),
    },
    Fault {
        what: "it was made a replica",
        during: During::Closed,
        begin: |scene| {
            scene.command(&["REPLICAOF", "192.0.2.1", "1"]);
            Box::new(|scene| scene.command(&["REPLICAOF", "NO", "ONE"]))
        },
    },
    Fault { what: "it can't write its data", during: During::Closed, begin: misconfigured },
    Fault {
        what: "it is restarted",
        during: During::Closed,
        begin: |scene| {
            scene.redis.end();
            Box::new(|scene| scene.redis.again(&[]))
        },
    },
    Fault { what: "it is loading", during: During::Closed, begin: loading },
    Fault {
        what: "its scripts are gone",
        during: During::Open,
        begin: |scene| {
            scene.command(&["SCRIPT", "FLUSH"]);
            Box::new(|_| {})
        },
    },
    Fault {
        what: "it ends every connection",
        during: During::Either,
        begin: |scene| {
            scene.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            Box::new(|_| {})
        },
    },
    Fault {
        what: "the password was changed",
        during: During::Closed,
        begin: |scene| {
            let mut inside = scene.redis.connection();
            ask(&mut inside, &["ACL", "SETUSER", "default", "resetpass", ">another"]);
            ask(&mut inside, &["CLIENT", "KILL", "TYPE", "normal"]);
            Box::new(move |_| ask(&mut inside, &["ACL", "SETUSER", "default", "nopass"]))
        },
    },
    Fault {
        what: "its user may no longer run scripts",
        during: During::Closed,
        begin: |scene| {
            scene.command(&["ACL", "SETUSER", "default", "-@scripting"]);
            Box::new(|scene| scene.command(&["ACL", "SETUSER", "default", "+@all"]))
        },
    },
    Fault {
        what: "it has too many clients",
        during: During::Closed,
        begin: |scene| {
            let mut inside = scene.redis.connection();
            ask(&mut inside, &["CONFIG", "SET", "maxclients", "1"]);
            ask(&mut inside, &["CLIENT", "KILL", "TYPE", "normal"]);
            Box::new(move |_| ask(&mut inside, &["CONFIG", "SET", "maxclients", "1000"]))
        },
    },
    Fault { what: "it is busy with a script", during: During::Closed, begin: busy },
];

#[test]
fn whatever_happens_to_redis_every_door_answers_in_time_and_recovers() {
    meets_every_fault("500ms");
}

#[test]
fn f4_without_memory_every_door_is_closed_at_once() {
    meets_every_fault("0");
}

fn meets_every_fault(max_staleness: &str) {
    let mut scene = Scene::with(&[("--enable-protected-configs", "yes")], max_staleness);
    for round in 0..rounds(1, 10) {
        for fault in FAULTS {
            let end = (fault.begin)(&mut scene);
            knock_twice(&scene, fault.what, fault.during);
            end(&mut scene);
            let took = scene.recovers(RECOVERS, fault.what);
            println!("round {round}: {}: well after {took:?}", fault.what);
        }
    }
    scene.nothing_is_missing_in_the_audit();
}

#[test]
fn a_redis_that_comes_back_empty_is_not_believed_and_its_data_is() {
    let mut scene = Scene::on_redis(&[]);
    let (data, aside) = (scene.redis.directory().join("appendonlydir"), scene.redis.directory().join("aside"));
    scene.redis.end();
    std::fs::rename(&data, &aside).unwrap();
    scene.redis.again(&[]);
    knock_twice(&scene, "it is empty", During::Closed);
    assert_eq!(scene.redis.size(), 0, "something was written into it");
    scene.redis.end();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&aside, &data).unwrap();
    scene.redis.again(&[]);
    scene.recovers(RECOVERS, "its data is back");
    knock(&scene, "its data is back", During::Open);
    scene.nothing_is_missing_in_the_audit();
}

fn ask(connection: &mut redis::Connection, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec(connection).unwrap();
}

fn set(scene: &Scene, name: &'static str, bad: &str, good: &'static str) -> End {
    scene.command(&["CONFIG", "SET", name, bad]);
    Box::new(move |scene| scene.command(&["CONFIG", "SET", name, good]))
}

fn paused(scene: &Scene, what: &str) -> End {
    // It can't be told to go on while everything is paused, and does so by itself.
    scene.command(&["CLIENT", "PAUSE", "5000", what]);
    Box::new(|scene| {
        soon("the end of the pause", || {
            redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut scene.redis.connection()).is_ok()
        });
    })
}

/// A save that failed lets it refuse writes (MISCONF).
fn misconfigured(scene: &mut Scene) -> End {
    fn saved(scene: &Scene) -> bool {
        redis::cmd("BGSAVE").exec(&mut scene.redis.connection()).unwrap();
        until(Duration::from_secs(10), "the end of a save", || {
            let info: String = redis::cmd("INFO").arg("persistence").query(&mut scene.redis.connection()).unwrap();
            info.contains("rdb_bgsave_in_progress:0").then(|| info.contains("rdb_last_bgsave_status:ok"))
        })
    }
    let in_the_way = scene.redis.directory().join("in-the-way");
    std::fs::create_dir_all(in_the_way.join("not-empty")).unwrap();
    scene.command(&["CONFIG", "SET", "save", "3600 1", "dbfilename", "in-the-way"]);
    assert!(!saved(scene));
    Box::new(|scene| {
        scene.command(&["CONFIG", "SET", "dbfilename", "dump.rdb"]);
        assert!(saved(scene));
        scene.command(&["CONFIG", "SET", "save", ""]);
    })
}

/// Each key takes its time, and it answers in between.
fn loading(scene: &mut Scene) -> End {
    scene.command(&["BGREWRITEAOF"]);
    soon("the end of the rewrite", || {
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut scene.redis.connection()).unwrap();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
    scene.redis.end();
    scene.redis.begin(&[("--key-load-delay", "200000"), ("--loading-process-events-interval-bytes", "1024")]);
    soon("that it is loading", || scene.redis.refusal().is_some_and(|code| code == "LOADING"));
    Box::new(|scene| {
        assert_eq!(scene.redis.refusal().as_deref(), Some("LOADING"), "it was loading for too short a time");
        soon("a faster pace", || {
            // Between two keys it answers for a moment.
            let words = ["SET", "key-load-delay", "0"];
            redis::cmd("CONFIG").arg(&words).exec(&mut scene.redis.connection()).is_ok()
        });
        scene.redis.has_begun();
    })
}

fn busy(scene: &mut Scene) -> End {
    scene.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let mut connection = scene.redis.connection();
    let runs = std::thread::spawn(move || {
        let _ = redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut connection);
    });
    soon("that it is busy", || scene.redis.refusal().is_some_and(|code| code == "BUSY"));
    Box::new(move |scene| {
        let client = redis::Client::open(scene.redis.url()).unwrap();
        soon("the end of the script", || {
            // What a connection begins with is refused as well, and ignored.
            let connection = client.get_connection_with_timeout(Duration::from_secs(2));
            connection.is_ok_and(|mut connection| redis::cmd("SCRIPT").arg("KILL").exec(&mut connection).is_ok())
                || runs.is_finished()
        });
    })
}
