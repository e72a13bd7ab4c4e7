//! What lies in Redis fits together: every key of `src/store/schema.rs` against every other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use countermark::account::AccountId;
use redis::streams::StreamRangeReply;
use serde_json::Value;

use super::work::Record;

/// What was read so far.
#[derive(Default)]
pub struct Keys {
    last_act: Option<String>,
    /// How often an act of this request was committed.
    acts: HashMap<String, usize>,
}

type Redis = redis::Connection;

fn ask<T: redis::FromRedisValue>(redis: &mut Redis, words: &[&str]) -> T {
    redis::cmd(words[0]).arg(&words[1..]).query(redis).unwrap()
}

/// Entries of a stream, oldest first: their ids and fields.
fn entries(redis: &mut Redis, key: &str, after: Option<&str>) -> Vec<(String, BTreeMap<String, String>)> {
    let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
    let reply: StreamRangeReply = ask(redis, &["XRANGE", key, &from, "+"]);
    let fields = |map: HashMap<String, redis::Value>| {
        map.into_iter().map(|(name, value)| (name, redis::from_redis_value(value).unwrap())).collect()
    };
    reply.ids.into_iter().map(|entry| (entry.id, fields(entry.map))).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn split(text: &str) -> (&str, Value) {
    let (epoch, body) = text.split_once(' ').unwrap();
    (epoch, json(body))
}

fn number(epoch: &str) -> (u64, u64) {
    let (term, counter) = epoch.split_once('-').unwrap();
    (term.parse().unwrap(), counter.parse().unwrap())
}

/// The accounts whose logs tell of an event.
fn concerned(event: &Value) -> BTreeSet<String> {
    [&event["account_id"], &event["actor_id"]].into_iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect()
}

/// Entries of an account's log that are kept in any case.
const KEPT: usize = 10_000;

impl Keys {
    /// Each change that was made has its one act, and none of those that were not.
    pub fn check_acts(&mut self, redis: &mut Redis, records: &[Record]) {
        for (id, fields) in entries(redis, "{cm}:acts", self.last_act.as_deref()) {
            self.last_act = Some(id);
            if let Some(request_id) = json(&fields["e"])["request_id"].as_str() {
                *self.acts.entry(request_id.to_owned()).or_default() += 1;
            }
        }
        for record in records {
            let acts = self.acts.get(&record.request_id).copied().unwrap_or(0);
            assert_eq!(acts, usize::from(record.done), "{record:?}");
        }
    }

    /// Every key against every other.
    pub fn check_everything(&self, redis: &mut Redis) {
        let all = Everything::read(redis);
        all.check_feed(redis);
        all.check_accounts(redis);
        all.check_acts(redis);
    }

    /// Whether each call that is in the firehose is once, and in its place, in the logs of those whom it concerns.
    pub fn activity_is_complete(&self, redis: &mut Redis) -> bool {
        let mut expected = BTreeMap::<String, Vec<String>>::new();
        for shard in 0..4 {
            for (_, fields) in entries(redis, &format!("{{cm:a{shard}}}:log"), None) {
                for line in fields["e"].lines() {
                    for account in concerned(&json(line)) {
                        expected.entry(account).or_default().push(line.to_owned());
                    }
                }
            }
        }
        expected.iter().all(|(account, expected)| {
            let found = entries(redis, &format!("{{cm:{account}}}:activity"), None);
            let found: Vec<_> = found.iter().flat_map(|(_, fields)| fields["e"].lines()).collect();
            assert!(found.len() <= expected.len(), "{account}: a call is there twice");
            let trimmed = expected.len() - found.len();
            (trimmed == 0 || found.len() >= KEPT) && found == expected[trimmed..]
        })
    }

    /// Numbers of events are given once. Those that are missing were taken by what was under way at an end, or is unknown.
    pub fn check_numbers(&self, redis: &mut Redis, unknown: usize) {
        let mut numbers = BTreeMap::<String, Vec<u64>>::new();
        let mut note = |event: &Value| {
            let node = event["node"].as_str().unwrap().to_owned();
            numbers.entry(node).or_default().push(event["sequence"].as_u64().unwrap());
        };
        for (_, fields) in entries(redis, "{cm}:acts", None) {
            note(&json(&fields["e"]));
        }
        for shard in 0..4 {
            for (_, fields) in entries(redis, &format!("{{cm:a{shard}}}:log"), None) {
                fields["e"].lines().for_each(|line| note(&json(line)));
            }
        }
        assert_eq!(numbers.len(), 1, "one node");
        for numbers in numbers.values_mut() {
            numbers.sort_unstable();
            let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
            assert_eq!(twice, None, "a number was given twice");
            let missing = numbers.last().unwrap() - numbers.len() as u64;
            println!("{} events, {missing} numbers are missing, {unknown} changes were unknown", numbers.len());
            assert!(missing <= unknown as u64, "{missing} numbers are missing, and {unknown} changes were unknown");
        }
    }
}

struct Everything {
    meta: HashMap<String, String>,
    states: BTreeMap<String, (String, Value)>,
    profiles: BTreeMap<String, Value>,
}

impl Everything {
    fn read(redis: &mut Redis) -> Self {
        let mut read = |pattern: &str| -> Vec<(String, String)> {
            let keys: Vec<String> = ask(redis, &["KEYS", &format!("{{cm}}:{pattern}:*")]);
            let mut read = |key: String| {
                let value = ask(redis, &["GET", &key]);
                (key.rsplit(':').next().unwrap().to_owned(), value)
            };
            keys.into_iter().map(&mut read).collect()
        };
        let states = read("s").into_iter().map(|(packed, text)| {
            let (epoch, state) = split(&text);
            (AccountId::unpacked(&packed).unwrap().to_string(), (epoch.to_owned(), state))
        });
        let states = states.collect();
        let profiles = read("p").into_iter().map(|(id, text)| (id, json(&text))).collect();
        Self { meta: ask(redis, &["HGETALL", "{cm}:meta"]), states, profiles }
    }

    fn live(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.states.iter().filter(|(_, (_, state))| state.get("d").is_none()).map(|(id, (_, state))| (id, state))
    }

    /// Epochs follow each other, and each term ends where it is said to have ended.
    fn check_feed(&self, redis: &mut Redis) {
        let feed = entries(redis, "{cm}:feed", None);
        let mut counters = BTreeMap::<u64, Vec<u64>>::new();
        for (epoch, _) in &feed {
            let (term, counter) = number(epoch);
            counters.entry(term).or_default().push(counter);
        }
        let term: u64 = self.meta["term"].parse().unwrap();
        for (of, counters) in &counters {
            let ended = if *of == term { &self.meta["counter"] } else { &self.meta[&format!("ended:{of}")] };
            let expected: Vec<u64> = (1..=ended.parse().unwrap()).collect();
            assert_eq!(*counters, expected, "term {of}");
        }
        // The last that the feed says of something is what there is.
        let mut last = BTreeMap::<(&str, &str), (&str, &str)>::new();
        for (epoch, fields) in &feed {
            last.insert((&fields["t"], &fields["k"]), (epoch, &fields["b"]));
        }
        for (id, (epoch, state)) in &self.states {
            let (at, body) = last[&("account", id.as_str())];
            assert_eq!((at, json(body)), (epoch.as_str(), state.clone()), "{id}");
        }
        for (kind, key) in [("role", "{cm}:roles"), ("team", "{cm}:teams")] {
            let named: BTreeMap<String, String> = ask(redis, &["HGETALL", key]);
            for (name, text) in &named {
                let (epoch, body) = text.split_once(' ').unwrap();
                match last.get(&(kind, name.as_str())) {
                    Some(found) => assert_eq!(*found, (epoch, body), "{kind} {name}"),
                    None => assert_eq!(epoch, "0-0", "{kind} {name} is built in"),
                }
            }
            for ((_, name), (_, body)) in last.iter().filter(|((of, _), _)| *of == kind) {
                assert_eq!(named.contains_key(*name), !body.is_empty(), "{kind} {name}");
            }
        }
    }

    fn check_accounts(&self, redis: &mut Redis) {
        let names: BTreeMap<String, String> = ask(redis, &["HGETALL", "{cm}:names"]);
        let expected = self.states.iter().map(|(id, (_, state))| (state["u"].as_str().unwrap().to_owned(), id.clone()));
        assert_eq!(names, expected.collect(), "names");
        let list: BTreeSet<String> = ask(redis, &["ZRANGE", "{cm}:list", "0", "-1"]);
        assert_eq!(list, self.live().map(|(_, state)| state["u"].as_str().unwrap().to_owned()).collect(), "list");
        let profiles: BTreeSet<&String> = self.profiles.keys().collect();
        assert_eq!(profiles, self.live().map(|(id, _)| id).collect(), "profiles");

        let (mut roles, mut teams) = (BTreeMap::<String, i64>::new(), BTreeMap::<String, i64>::new());
        let (mut overlaps, mut admins) = (BTreeMap::<String, i64>::new(), BTreeSet::<String>::new());
        let mut live = BTreeMap::<String, BTreeSet<String>>::new();
        for (id, state) in self.live() {
            let profile = &self.profiles[id];
            assert_eq!(state.get("t").is_some(), profile["token"].is_object(), "{id}: {state} {profile}");
            assert_eq!(state.get("p").is_some(), profile["previous"].is_object(), "{id}: {state} {profile}");
            *roles.entry(state["r"].as_str().unwrap().to_owned()).or_default() += 1;
            for (team, role) in state.get("m").and_then(Value::as_object).into_iter().flatten() {
                *teams.entry(team.clone()).or_default() += 1;
                *roles.entry(role.as_str().unwrap().to_owned()).or_default() += 1;
            }
            let mut alive = |token: &Value, generation: &Value| {
                let key = token["key_id"].as_str().unwrap().to_owned();
                live.entry(key).or_default().insert(format!("{id}:{generation}"));
            };
            if state.get("t").is_some() {
                alive(&profile["token"], &state["g"]);
            }
            if let Some(previous) = state.get("p") {
                alive(&profile["previous"], &previous["g"]);
                overlaps.insert(id.clone(), previous["e"].as_i64().unwrap());
            }
            if state["r"] == "admin" {
                admins.insert(id.clone());
            }
        }
        for (key, expected) in [("{cm}:role_refs", roles), ("{cm}:team_refs", teams)] {
            let mut counted: BTreeMap<String, i64> = ask(redis, &["HGETALL", key]);
            counted.retain(|_, count| *count != 0);
            assert_eq!(counted, expected, "{key}");
        }
        let found: BTreeMap<String, i64> = ask(redis, &["ZRANGE", "{cm}:overlaps", "0", "-1", "WITHSCORES"]);
        assert_eq!(found, overlaps, "overlaps");
        let found: BTreeSet<String> = ask(redis, &["ZRANGE", "{cm}:admins", "0", "-1"]);
        assert_eq!(found, admins, "admins");
        let keys: Vec<String> = ask(redis, &["KEYS", "{cm}:live:*"]);
        let found = keys.iter().map(|key| {
            let members: BTreeSet<String> = ask(redis, &["ZRANGE", key, "0", "-1"]);
            (key.trim_start_matches("{cm}:live:").to_owned(), members)
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), live, "living tokens by key");
    }

    /// Every change has its event once in the firehose, once with its account and once with whoever did it.
    fn check_acts(&self, redis: &mut Redis) {
        let mut expected = BTreeMap::<String, Vec<(String, String)>>::new();
        let (mut epochs, mut ids, mut head) = (Vec::new(), HashSet::new(), 0);
        for (_, fields) in entries(redis, "{cm}:acts", None) {
            let event = json(&fields["e"]);
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "twice: {event}");
            head = head.max(event["sequence"].as_u64().unwrap());
            for account in concerned(&event) {
                expected.entry(account).or_default().push((fields["v"].clone(), fields["e"].clone()));
            }
            epochs.push(number(&fields["v"]));
        }
        let feed = entries(redis, "{cm}:feed", None);
        let changes = feed.iter().filter(|(_, fields)| fields["t"] != "keys").map(|(epoch, _)| number(epoch));
        assert_eq!(epochs, changes.collect::<Vec<_>>(), "an act for each change, in their order");
        assert!(epochs.is_sorted_by(|a, b| a < b), "epochs rise");
        for (account, expected) in &expected {
            let found = entries(redis, &format!("{{cm}}:acts:{account}"), None);
            let found: Vec<_> =
                found.into_iter().map(|(_, fields)| (fields["v"].clone(), fields["e"].clone())).collect();
            // Trimmed in whole nodes of the stream.
            let kept = expected.len().saturating_sub(found.len());
            assert!(kept == 0 || found.len() >= KEPT, "{account}: {} of {}", found.len(), expected.len());
            assert_eq!(found, expected[kept..], "{account}");
        }
        let streams: BTreeSet<String> = ask::<Vec<String>>(redis, &["KEYS", "{cm}:acts:*"]).into_iter().collect();
        let of = |account: &String| format!("{{cm}}:acts:{account}");
        assert_eq!(streams, expected.keys().map(of).collect(), "activity of nobody");
        let heads: HashMap<String, String> = ask(redis, &["HGETALL", "{cm}:act_heads"]);
        let numbers =
            heads.iter().filter(|(node, _)| !node.ends_with("#claim")).map(|(_, number)| number.parse().unwrap());
        assert_eq!(numbers.max(), Some(head), "the last number");
    }
}
