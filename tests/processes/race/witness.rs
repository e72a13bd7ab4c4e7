//! Reads the store's feed past all wires: what was committed, in its order, and by when.

use std::collections::HashMap;
use std::time::Duration;

use redis::streams::{StreamId, StreamReadReply};
use serde_json::Value;

use super::admins::epoch;
use super::history::{Disturbance, Epoch, State, Time};
use super::scene::{NODES, Scene};

/// For how long Redis may keep a question of the witness open.
const BLOCKS_MS: usize = 20;
/// An answer that is later than this is one of a store, or of a machine, that is too busy for anybody.
const BUSY: Duration = Duration::from_millis(250);

/// Until all is over, and then to the feed's end.
pub fn watch(scene: &Scene) -> Vec<State> {
    let accounts: HashMap<&str, usize> =
        scene.accounts.iter().enumerate().map(|(number, account)| (account.id.as_str(), number)).collect();
    let mut seen = Seen { accounts, states: Vec::new(), last: (0, 0), asked: Time::ZERO };
    let mut connection = None;
    loop {
        let over = scene.is_over();
        let asked = scene.now();
        let reply = match &mut connection {
            Some(connection) => read(connection, seen.last, over),
            None => {
                connection = connect(scene.redis_port);
                if connection.is_none() {
                    assert!(!over, "the store is gone");
                    std::thread::sleep(Duration::from_millis(5));
                }
                continue;
            }
        };
        let answered = scene.now();
        if answered - asked > BUSY {
            for node in 0..NODES {
                let what = "a store that was busy";
                scene.disturbed(Disturbance { node, what, from: asked, until: answered });
            }
        }
        match reply {
            Ok(entries) if entries.is_empty() && over => return seen.states,
            Ok(entries) => seen.note(&entries, asked, answered),
            Err(_) => connection = None,
        }
    }
}

fn connect(port: u16) -> Option<redis::Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    Some(connection)
}

fn read(
    connection: &mut redis::Connection,
    (term, counter): Epoch,
    at_once: bool,
) -> redis::RedisResult<Vec<StreamId>> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(1_000);
    if !at_once {
        command.arg("BLOCK").arg(BLOCKS_MS);
    }
    command.arg("STREAMS").arg("{cm}:feed").arg(format!("{term}-{counter}"));
    let reply: Option<StreamReadReply> = command.query(connection)?;
    Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
}

struct Seen<'a> {
    accounts: HashMap<&'a str, usize>,
    states: Vec<State>,
    last: Epoch,
    /// When the last question was asked that was answered: what its answer lacks came later.
    asked: Time,
}

impl Seen<'_> {
    fn note(&mut self, entries: &[StreamId], asked: Time, answered: Time) {
        for entry in entries {
            self.last = epoch(&entry.id);
            let key: String = entry.get("k").unwrap_or_default();
            let Some(account) = self.accounts.get(key.as_str()) else { continue };
            let record: Value = serde_json::from_str(&entry.get::<String>("b").unwrap()).unwrap();
            self.states.push(State {
                account: *account,
                epoch: self.last,
                generation: record["g"].as_u64().unwrap(),
                has_token: record["t"].is_string(),
                active: record["s"] != "disabled",
                after: self.asked,
                by: answered,
            });
        }
        self.asked = asked;
    }
}
