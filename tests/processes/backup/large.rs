//! Many accounts take no more memory than few.

use std::time::Duration;

use countermark::account::AccountId;
use countermark::clock::{Clock as _, SystemClock};

use super::scene::Scene;
use crate::redis::state_key;
use crate::until::ended;

/// Writes accounts as the scripts do.
pub fn fill(scene: &Scene, accounts: usize, description: &str) {
    let mut connection = scene.redis.connection();
    for chunk in (0..accounts).collect::<Vec<_>>().chunks(1_000) {
        let mut pipeline = redis::pipe();
        for number in chunk {
            let id = AccountId::new(SystemClock.now()).to_string();
            let name = format!("many-{number:07}");
            let state = format!(r#"1-0 {{"r":"auditor","u":"{name}","g":0}}"#);
            let profile = format!(
                r#"{{"kind":"service","description":"{description}","created_at":"2027-05-23T14:00:00Z","updated_at":"2027-05-23T14:00:00Z","token":null,"previous":null,"networks_proven":false}}"#
            );
            let line = format!("{name}\nsa\nauditor\n\n{}", description.to_lowercase());
            pipeline.set(state_key(&id), state).ignore();
            pipeline.set(format!("{{cm}}:p:{id}"), profile).ignore();
            pipeline.hset("{cm}:names", &name, &id).ignore();
            pipeline.zadd("{cm}:list", &name, 0).ignore();
            pipeline.zadd("{cm}:of_role:auditor", &name, 0).ignore();
            pipeline.zadd("{cm}:catalogue", line, 0).ignore();
            pipeline.hincr("{cm}:role_refs", "auditor", 1).ignore();
        }
        pipeline.query::<()>(&mut connection).unwrap();
    }
}

/// The most memory that a command has taken, in bytes.
#[track_caller]
fn peak(scene: &Scene, arguments: &[&str]) -> u64 {
    let mut command = scene.machine.command();
    command.args(arguments).args(["--data-dir", "data", "--store", &scene.redis.url()]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: u64 = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        peak = peak.max(kilobytes * 1024);
        if let Some(status) = ended(&mut child, Duration::from_millis(20)) {
            break status;
        }
    };
    assert!(status.success(), "{arguments:?}");
    peak
}

#[test]
fn a_hundred_megabytes_of_accounts_take_no_more_memory_than_one() {
    let scene = Scene::new();
    let server = scene.serve().ready();
    let few = [peak(&scene, &["backup", "--out", "few.backup"]), {
        server.stop();
        scene.lose();
        peak(&scene, &["restore", "few.backup", "--yes"])
    }];
    // Four bytes each in the profile, and in the catalogue.
    fill(&scene, 30_000, &"\u{1d4d0}".repeat(500));
    let used: String = scene.command(&["INFO", "memory"]);
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory_dataset:")?.trim().parse::<u64>().ok());
    assert!(used.unwrap() > 100_000_000, "{used:?}");
    let many = [peak(&scene, &["backup", "--out", "many.backup"]), {
        scene.lose();
        peak(&scene, &["restore", "many.backup", "--yes"])
    }];
    assert_eq!(scene.keys("{cm}:s:*").len(), 30_001);
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < few + 40 * 1024 * 1024, "{few} bytes for few and {many} for many");
    }
}
