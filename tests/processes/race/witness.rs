//! Reads the store's feed past all wires, wherever it is: what was committed, in its order, and by when.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use serde_json::Value;

use super::admins::epoch;
use super::history::{Disturbance, Epoch, State, Time};
use super::scene::{NODES, Scene};

/// For how long Redis may keep a question of the witness open.
const BLOCKS_MS: usize = 20;
/// An answer that is later than this is one of a store, or of a machine, that is too busy for anybody.
const BUSY: Duration = Duration::from_millis(250);
const FEED: &str = "{cm}:feed";

/// What a state is told from others by: a server that was replaced may have given an epoch that another one gave too.
type Told = (Epoch, usize, u64, bool, bool);

fn told(state: &State) -> Told {
    (state.epoch, state.account, state.generation, state.has_token, state.active)
}

/// Until all is over, and then to the feed's end.
pub fn watch(scene: &Scene) -> Vec<State> {
    let accounts: HashMap<&str, usize> =
        scene.accounts.iter().enumerate().map(|(number, account)| (account.id.as_str(), number)).collect();
    let feeds = scene.feeds();
    let mut seen: BTreeMap<Told, State> = BTreeMap::new();
    let each: Vec<Vec<State>> = std::thread::scope(|threads| {
        let accounts = &accounts;
        let readers: Vec<_> = feeds.iter().map(|port| threads.spawn(move || follow(scene, accounts, *port))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    for state in each.into_iter().flatten() {
        // Whoever has it by replication has it later, or has missed less: what any of them says holds, of either time.
        let (after, by) = (state.after, state.by);
        let known = seen.entry(told(&state)).or_insert(state);
        (known.after, known.by) = (known.after.min(after), known.by.min(by));
    }
    let kept = feeds.iter().filter_map(|port| whole(*port, &accounts)).max_by_key(|(last, _)| *last);
    let kept: HashSet<Told> = kept.expect("a primary that has the feed").1.iter().map(told).collect();
    let states = seen.into_iter().map(|(told, state)| State { lost: !kept.contains(&told), ..state });
    states.collect()
}

/// What one server's feed says.
fn follow(scene: &Scene, accounts: &HashMap<&str, usize>, port: u16) -> Vec<State> {
    let mut seen = Seen { accounts, states: Vec::new(), last: (0, 0), asked: Time::ZERO };
    let mut connection = None;
    loop {
        let over = scene.is_over();
        let asked = scene.now();
        let reply = match &mut connection {
            Some(connection) => read(connection, seen.last, over),
            None => {
                connection = connect(port);
                if connection.is_none() {
                    if over {
                        return seen.states;
                    }
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
            // Of a cluster, one that does not have this feed.
            Err(_) if over => return seen.states,
            Err(_) => {
                connection = None;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The whole feed of a primary, and its last epoch.
fn whole(port: u16, accounts: &HashMap<&str, usize>) -> Option<(Epoch, Vec<State>)> {
    let mut connection = connect(port)?;
    let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut connection).ok()?;
    let role: String = redis::from_redis_value_ref(role.first()?).ok()?;
    let feed: StreamRangeReply = redis::cmd("XRANGE").arg(FEED).arg("-").arg("+").query(&mut connection).ok()?;
    let last = epoch(&feed.ids.last().filter(|_| role == "master")?.id);
    let mut seen = Seen { accounts, states: Vec::new(), last: (0, 0), asked: Time::ZERO };
    seen.note(&feed.ids, Time::ZERO, Time::ZERO);
    Some((last, seen.states))
}

fn connect(port: u16) -> Option<redis::Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Of a cluster, replicas say what they have only to those who know what they are; others have no such command.
    let _ = redis::cmd("READONLY").exec(&mut connection);
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
    command.arg("STREAMS").arg(FEED).arg(format!("{term}-{counter}"));
    let reply: Option<StreamReadReply> = command.query(connection)?;
    Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
}

struct Seen<'a> {
    accounts: &'a HashMap<&'a str, usize>,
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
                lost: false,
            });
        }
        self.asked = asked;
    }
}
