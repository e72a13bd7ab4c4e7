//! R2: the journal of changes on a disk that is full.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::call::Reply;
use crate::faults::small_disk::SmallDisk;
use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;
use crate::until::until;

/// Disables each of these at once. Returns how many were; of the others nothing has changed, and they are told so.
fn disable(server: &Server, accounts: &[(String, String)]) -> usize {
    let admin = server.admin();
    let one = |id: &str| -> Reply {
        let call = server.call("PATCH", &format!("/api/v1/accounts/{id}")).bearer(&admin);
        call.json(&json!({ "status": "disabled" })).send()
    };
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let asked: Vec<_> = accounts.iter().map(|(id, _)| scope.spawn(move || one(id))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (reply, (_, token)) in replies.iter().zip(accounts) {
        let verified = server.verify(token);
        if reply.status == 200 {
            assert_eq!(verified.expect(401).reason(), "disabled");
        } else {
            assert_eq!((reply.status, reply.reason()), (503, "journal_stuck".to_owned()), "{reply:?}");
            assert_eq!(verified.status, 200, "it was made: {reply:?}");
        }
    }
    replies.iter().filter(|reply| reply.status == 200).count()
}

#[test]
fn r2_on_a_full_disk_no_change_is_made_that_can_not_be_noted() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let Some(disk) = SmallDisk::at(&machine.path("data"), 8) else { return };
    let start = machine.serve().by(disk.enter(), disk.view());
    let server = start.option("--store", redis.url()).ready();
    let accounts: Vec<_> = (0..36).map(|number| server.create(&format!("ci-{number}"), "auditor")).collect();
    let (before, rest) = accounts.split_at(2);
    let (at_once, later) = rest.split_at(24);
    assert_eq!(disable(&server, before), 2);

    disk.fill();
    // There is room for what is promised, which nobody else can take. Commands beside the server use most of it.
    let path = server.data("journal/changes-000000000001");
    let there = std::fs::read(&path).unwrap();
    let line = there.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
    let mut segment = std::fs::File::options().append(true).open(&path).unwrap();
    segment.write_all(&line.repeat((2 * 1024 * 1024 - 64 * 1024 - there.len()) / line.len())).unwrap();
    let disabled = disable(&server, at_once);
    assert!(disabled > 0);
    assert_eq!(disable(&server, later), 0);
    let ready = server.operations("/readyz").send().expect(200).json();
    assert!(ready["warnings"].to_string().contains("no change is made until it can be noted"), "{ready}");
    assert!(server.operations("/metrics").send().body.contains("countermark_journal_stuck 1\n"));

    disk.make_room();
    until(Duration::from_secs(10), "no warning any more", || {
        let ready = server.operations("/readyz").send().expect(200).json();
        (!ready["warnings"].to_string().contains("noted")).then_some(())
    });
    assert_eq!(disable(&server, later), later.len());
    server.stop();
}
