//! The archive of the audit, with a disk that is full, a process that is killed, and the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::effort::rounds;
use crate::faults::small_disk::SmallDisk;
use crate::machine::{Ended, Machine};
use crate::server::{Server, Start};
use crate::until::{soon, until};

/// Long enough for a look, and what is written then.
const LOOK: Duration = Duration::from_secs(20);

fn archiving(start: Start, directory: &Path) -> Start {
    start.config(&format!("[audit]\narchive_dir = {directory:?}\narchive_every = \"1s\"\n"))
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    segments.sort();
    segments
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.operations("/metrics").send().expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("countermark_{name} ")));
    line.unwrap().parse().unwrap()
}

fn calls(server: &Server, token: &str) {
    for _ in 0..5 {
        server.verify(token).expect(200);
    }
}

/// Until another segment is there.
fn archived(directory: &Path) {
    let before = segments(directory).len();
    until(LOOK, "another segment", || (segments(directory).len() > before).then_some(()));
}

/// The archive, and what the service has, are one chain.
#[track_caller]
fn one_chain(machine: &Machine, directory: &Path) -> Value {
    let ended = machine.run(&["audit", "verify", "--archive", directory.to_str().unwrap(), "--output", "json"]);
    let told = ended.expect(0).json();
    assert!(told["segments"].as_u64().unwrap() > 0, "{told}");
    told
}

#[test]
fn while_the_disk_of_the_archive_is_full_nothing_is_archived_and_afterwards_all_of_it_is() {
    let machine = Machine::new();
    let place = machine.path("archive");
    let Some(disk) = SmallDisk::at(&place, 2) else { return };
    let start = machine.serve().by(disk.enter(), disk.view());
    let server = archiving(start, &place.join("audit")).ready();
    let mut seen = disk.view().into_os_string();
    seen.push(place.join("audit"));
    let seen = PathBuf::from(seen);
    let (_, token) = server.create("ci", "auditor");
    calls(&server, &token);
    archived(&seen);
    soon("it is counted", || metric(&server, "audit_archived_entries_total") > 0);
    assert_eq!(metric(&server, "audit_archive_failures_total"), 0);

    disk.fill();
    calls(&server, &token);
    until(LOOK, "a failure", || (metric(&server, "audit_archive_failures_total") > 1).then_some(()));
    let before = segments(&seen);
    let (said, failures) =
        (server.log().matches("the audit can't be archived").count(), metric(&server, "audit_archive_failures_total"));
    until(LOOK, "another one", || (metric(&server, "audit_archive_failures_total") > failures).then_some(()));
    assert_eq!((said, server.log().matches("the audit can't be archived").count()), (1, 1), "once a minute");
    assert_eq!(segments(&seen), before);
    assert!(metric(&server, "audit_archive_lag_seconds") > 0);
    calls(&server, &token);
    one_chain(&machine, &seen);

    disk.make_room();
    archived(&seen);
    until(LOOK, "all of it", || (metric(&server, "audit_archive_lag_seconds") <= 2).then_some(()));
    let told = one_chain(&machine, &seen);
    assert!(told["events"].as_u64().unwrap() > 15, "{told}");
    let left = std::fs::read_dir(&seen).unwrap().count();
    assert_eq!(left, segments(&seen).len(), "nothing is left of what could not be written");
    server.stop();
}

#[test]
fn a_server_that_is_killed_again_and_again_leaves_an_archive_without_a_gap() {
    let machine = Machine::new();
    let directory = machine.path("archive");
    let start = || archiving(machine.serve(), &directory);
    let mut server = start().ready();
    let (_, token) = server.create("ci", "auditor");
    for round in 0..rounds(4, 40) {
        calls(&server, &token);
        // When a file is there, and at any other time.
        if round % 2 == 0 {
            archived(&directory);
        }
        server.signal(Signal::KILL);
        server.end();
        server = start().ready();
    }
    calls(&server, &token);
    archived(&directory);
    one_chain(&machine, &directory);
    let keys = server.call("GET", "/.well-known/jwks.json").send().expect(200).body;
    machine.write("keys.json", &keys);
    machine.run(&["audit", "export", "--out", "audit.jsonl"]).expect(0);
    server.stop();

    // Years later: alone, and with what was exported.
    let verify = |arguments: &[&str]| machine.run(&[&["audit", "verify", "--keys", "keys.json"], arguments].concat());
    let said = verify(&["archive"]).expect(0);
    assert!(said.out.contains("segments of an archive"), "{said:?}");
    verify(&["--archive", "archive", "audit.jsonl"]).expect(0);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&segments(&directory)[0]).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    // What was copied to two places, and what another issuer wrote in vain, is no fault.
    let files = segments(&directory);
    let of_stream = |path: &Path| path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
    let pair = files.windows(2).find(|pair| of_stream(&pair[0]) == of_stream(&pair[1])).unwrap();
    let name = pair[0].file_name().unwrap().to_str().unwrap().to_owned();
    let copy = machine.path("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(&pair[0], copy.join(&name)).unwrap();
    verify(&["archive", "--archive", "copy"]).expect(0);
    let other = format!("{}0123456789abcdef.jsonl", &name[..name.len() - 22]);
    std::fs::copy(&pair[0], copy.join(other)).unwrap();
    let said = verify(&["archive", "--archive", "copy"]).expect(0);
    assert!(said.out.contains("which did not count"), "{said:?}");

    // Found, and told where.
    let found = |ended: Ended, what: &str| {
        let ended = ended.expect(1);
        assert!(ended.out.contains(what) && ended.out.contains("The audit is not what was written"), "{ended:?}");
    };
    let text = std::fs::read(&pair[0]).unwrap();
    std::fs::write(&pair[0], &text[..text.len() / 2]).unwrap();
    found(verify(&["archive"]), &format!("{name}: it has no end"));
    std::fs::remove_file(&pair[0]).unwrap();
    found(verify(&["archive"]), "is missing before it");
    verify(&["archive", "--archive", "copy"]).expect(0);
    std::fs::create_dir(machine.path("empty")).unwrap();
    assert!(verify(&["empty"]).expect(2).err.contains("there is no segment of an archive in empty"));
    assert!(verify(&["--archive", "none", "audit.jsonl"]).expect(2).err.contains("none can't be read"));
}
