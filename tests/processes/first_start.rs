//! A first start that is killed in the middle is gone on with by the next one: nothing is made twice, nothing is left over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::crash::keys::Keys;
use crate::crash::{dice, redis_of};
use crate::effort;
use crate::machine::{self, Machine};
use crate::until::{signal, soon, until};

/// What must stay what it is once it is there: others may have seen it.
const MADE_ONCE: [&str; 7] =
    ["node-name", "dataset", "admin.token", "setup.url", "keys/master.key", "tls/ca.key", "tls/ca.pem"];

/// Each of them is the sign of a moment: it is killed as soon as this is there.
const SIGNS: [&str; 13] = [
    "keys/master.key",
    "setup.url.new",
    "admin.token.new",
    "tls/ca.key",
    "dataset",
    "redis/redis.sock",
    "node-name",
    "tls/ca.pem",
    "tls/server.key",
    "redis/appendonlydir",
    "serve.json",
    "setup.url",
    "admin.token",
];

fn made(data: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    MADE_ONCE.iter().filter_map(|name| Some((*name, std::fs::read(data.join(name)).ok()?))).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    children.flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

#[test]
fn a_first_start_that_is_killed_at_any_moment_is_gone_on_with() {
    let mut dice = dice();
    let (machine, began) = (Machine::new(), Instant::now());
    let undisturbed = machine.serve().begun();
    until(Duration::from_secs(20), "a whole start", || undisturbed.data("admin.token").exists().then_some(()));
    let whole = began.elapsed();
    drop(undisturbed);
    let moments = u32::try_from(effort::rounds(6, 60)).unwrap();
    let mut found = BTreeMap::<usize, usize>::new();
    for number in 0..moments {
        let machine = Machine::new();
        let mut server = machine.serve().begun();
        // The first moments have a sign; the others come by chance.
        let sign = SIGNS.get(usize::try_from(number).unwrap()).filter(|_| number + 1 < moments);
        let began = Instant::now();
        match sign {
            Some(sign) => {
                // The last that is made is there when one that comes and goes was missed.
                let (path, last) = (server.data(sign), server.data("admin.token"));
                while !path.exists() && !last.exists() {
                    assert!(began.elapsed() < Duration::from_secs(20), "no {sign}: {}", server.log());
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
            None => std::thread::sleep(whole.mul_f64(dice.below(1000) as f64 / 1000.0)),
        }
        // Its Redis ends by itself, or is killed as well.
        let redis = if dice.below(2) == 0 { children(server.pid()) } else { Vec::new() };
        server.signal(Signal::KILL);
        redis.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        server.end();
        let data = server.data("");
        let before = if data.is_dir() { made(&data) } else { BTreeMap::new() };
        *found.entry(before.len()).or_default() += 1;
        println!("killed after {:?} ({sign:?}): {:?}", began.elapsed(), before.keys());
        // What it would have left in the middle of writing a file, should it not have been there.
        for left in
            [".serve.json.new-0", "tls/.ca.key.new-0", "keys/.master.key.new-0", "redis/temp-rewriteaof-bg-1.aof"]
        {
            let path = data.join(left);
            if path.parent().unwrap().is_dir() {
                machine::write_private(&path, "half");
            }
        }

        let server = machine.serve().ready();
        let after = made(&data);
        assert_eq!(after.len(), MADE_ONCE.len(), "{:?}", after.keys());
        for (name, content) in &before {
            assert!(after[name] == *content, "{name} is another one");
        }
        // It may be writing a file at this very moment.
        soon("nothing left over", || {
            !files(&data).iter().any(|path| {
                let path = path.to_string_lossy();
                path.contains(".new") || path.contains("/temp-")
            })
        });
        server.verify(&server.admin()).expect(200);
        let link = std::fs::read_to_string(server.data("setup.url")).unwrap();
        let path = link.trim_end().strip_prefix(&server.issuer()).unwrap();
        server.call("GET", path).send().expect(200);
        let mut redis = redis_of(&server);
        let mut count = |words: &[&str]| -> u64 { redis::cmd(words[0]).arg(&words[1..]).query(&mut redis).unwrap() };
        assert_eq!(count(&["ZCARD", "{cm}:admins"]), 1);
        assert_eq!(count(&["HLEN", "{cm}:names"]), 1);
        assert_eq!(count(&["HGET", "{cm}:keyring", "version"]), 1);
        assert_eq!(count(&["XLEN", "{cm}:acts"]), 1);
        Keys::default().check_everything(&mut redis);
        // And is no half service.
        let (_, token) = server.create("ci", "auditor");
        server.verify(&token).expect(200);
        server.stop();
    }
    println!("a whole start takes {whole:?}; files that were there: {found:?}");
    assert!(found.len() > 1, "always the same moment: {found:?}");
}
