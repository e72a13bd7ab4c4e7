//! A Redis Cluster: three primaries with one replica each, and another one of whoever has the state of accounts, so that there
//! is a replica left when that one is replaced.

use std::time::{Duration, Instant};

use super::member::{Kind, Member};
use super::net::Net;
use crate::machine::Machine;
use crate::until::until;

const SLOTS: u16 = 16_384;
const MEMBERS: usize = 7;

#[derive(Clone, Copy)]
pub struct Set {
    /// `cluster-node-timeout`: how soon a silent primary is given up.
    pub node_timeout: Duration,
    pub least: u32,
    pub lag: u64,
}

pub struct Cluster {
    /// The first three begin as primaries, the others as replicas.
    pub members: Vec<Member>,
    pub net: Net,
}

impl Cluster {
    pub fn start(machine: &Machine, set: Set) -> Self {
        let net = Net::default();
        let settings = format!(
            "{}cluster-node-timeout {}\ncluster-replica-validity-factor 0\n",
            super::redis_settings(set.least, set.lag),
            set.node_timeout.as_millis()
        );
        let members: Vec<Member> =
            (0..MEMBERS).map(|_| Member::start(machine, &net, &Kind::OfACluster, &settings)).collect();
        for (place, member) in members.iter().enumerate() {
            // So that nobody's vote is taken for another's.
            member.told::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            if place < 3 {
                let third = |part: usize| SLOTS as usize * part / 3;
                let (first, last) = (third(place).to_string(), (third(place + 1) - 1).to_string());
                member.told::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
            if place > 0 {
                let (door, bus) = (members[0].door.to_string(), members[0].bus_door().to_string());
                member.told::<()>(&["CLUSTER", "MEET", "127.0.0.1", &door, &bus]);
            }
        }
        let all = Self { members, net };
        until(Duration::from_secs(20), "servers that know each other", || {
            let know = |one: &Member| {
                one.ask::<String>(&["CLUSTER", "NODES"]).is_some_and(|text| {
                    text.lines().count() == MEMBERS && !text.contains("handshake") && !text.contains("noaddr")
                })
            };
            all.members.iter().all(know).then_some(())
        });
        let has_state = all.serves(all.state_slot()).unwrap();
        for (primary, replica) in [0, 1, 2, has_state].into_iter().zip(3..MEMBERS) {
            let id = all.id(primary);
            all.members[replica].told::<()>(&["CLUSTER", "REPLICATE", &id]);
        }
        all.is_whole(Duration::from_secs(20));
        all
    }

    pub fn id(&self, place: usize) -> String {
        self.members[place].told(&["CLUSTER", "MYID"])
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.members.iter().take(3).map(|one| format!("127.0.0.1:{}", one.door)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The slot of accounts' state.
    pub fn state_slot(&self) -> u16 {
        self.slot("{cm}:meta")
    }

    /// The replicas of a primary, by their places.
    pub fn replicas(&self, primary: usize) -> Vec<usize> {
        let door = self.members[primary].door.to_string();
        let follows = |place: &usize| self.members[*place].info("master_port").as_ref() == Some(&door);
        (0..self.members.len()).filter(follows).collect()
    }

    /// Whether each server names every replica to who asks it for slots: one that has had nothing to copy yet is none, and to one of
    /// them longer than to another.
    pub fn lists_all_replicas(&self) -> bool {
        let lists = |one: &Member| {
            let ranges: Vec<Vec<redis::Value>> = one.ask(&["CLUSTER", "SLOTS"])?;
            // Each range: its first slot, its last one, and its servers.
            Some(ranges.iter().map(|range| range.len() - 2).sum::<usize>() == MEMBERS)
        };
        self.members.iter().all(|one| lists(one) == Some(true))
    }

    /// A slot moves to another primary, a few keys at a time.
    pub fn moves(&self, slot: u16) {
        let from = self.serves(slot).unwrap();
        let is_other = |place: &usize| *place != from && self.members[*place].is_primary();
        let to = (0..self.members.len()).find(is_other).unwrap();
        let (number, source, target) = (slot.to_string(), self.id(from), self.id(to));
        let set = |place: usize, how: &[&str]| {
            self.members[place].told::<()>(&[&["CLUSTER", "SETSLOT", &number], how].concat());
        };
        set(to, &["IMPORTING", &source]);
        set(from, &["MIGRATING", &target]);
        let port = self.members[to].port.to_string();
        loop {
            let keys: Vec<String> = self.members[from].told(&["CLUSTER", "GETKEYSINSLOT", &number, "10"]);
            if keys.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            self.members[from].told::<()>(&words);
        }
        set(to, &["NODE", &target]);
        set(from, &["NODE", &target]);
        until(Duration::from_secs(10), "a slot that has moved", || (self.serves(slot) == Some(to)).then_some(()));
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.members.iter().find_map(|one| one.ask(&["CLUSTER", "KEYSLOT", key])).unwrap()
    }

    /// Who serves a slot, as most of those say who answer; by its place.
    pub fn serves(&self, slot: u16) -> Option<usize> {
        let says: Vec<usize> = self.members.iter().filter_map(|one| self.served_by(one, slot)).collect();
        says.iter().copied().find(|place| says.iter().filter(|other| *other == place).count() * 2 > says.len())
    }

    /// Who serves a slot, as one of them says.
    fn served_by(&self, one: &Member, slot: u16) -> Option<usize> {
        let ranges: Vec<Vec<redis::Value>> = one.ask(&["CLUSTER", "SLOTS"])?;
        ranges.iter().find_map(|range| {
            let number = |value: &redis::Value| redis::from_redis_value_ref::<u16>(value).ok();
            let (first, last) = (number(range.first()?)?, number(range.get(1)?)?);
            let redis::Value::Array(server) = range.get(2)? else { return None };
            let port = number(server.get(1)?)?;
            ((first..=last).contains(&slot)).then(|| self.members.iter().position(|member| member.door == port))?
        })
    }

    /// Waits for another who serves the slot, says so himself, and takes changes.
    #[track_caller]
    pub fn replaced(&self, slot: u16, former: usize, within: Duration) -> usize {
        until(within, "another primary of the slot", || {
            let place = self.serves(slot).filter(|place| *place != former)?;
            let member = &self.members[place];
            (member.takes_changes() && self.served_by(member, slot) == Some(place)).then_some(place)
        })
    }

    /// Waits until all slots are served, and every primary has its replicas.
    #[track_caller]
    pub fn is_whole(&self, within: Duration) {
        let began = Instant::now();
        while !self.seems_whole() {
            assert!(began.elapsed() < within, "not whole within {within:?}: {:#?}", self.told_by_each());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn seems_whole(&self) -> bool {
        let is_well = |member: &Member| {
            let state: Option<String> = member.ask(&["CLUSTER", "INFO"]);
            let nodes: Option<String> = member.ask(&["CLUSTER", "NODES"]);
            state.is_some_and(|state| state.contains("cluster_state:ok"))
                && nodes.is_some_and(|nodes| !nodes.contains("fail"))
                && (member.is_primary() || member.follows())
        };
        self.members.iter().all(is_well) && self.members.iter().filter(|member| member.is_primary()).count() == 3
    }

    fn told_by_each(&self) -> Vec<Option<(String, String)>> {
        let told = |member: &Member| {
            let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
            Some((first(member.ask(&["CLUSTER", "INFO"])?), member.ask::<String>(&["CLUSTER", "NODES"])?))
        };
        self.members.iter().map(told).collect()
    }
}
