//! A primary, two replicas and three sentinels.

use std::time::Duration;

use super::member::{Kind, Member};
use super::net::Net;
use crate::machine::Machine;
use crate::until::until;

pub const MASTER: &str = "countermark";

/// How servers and sentinels are set.
#[derive(Clone, Copy)]
pub struct Set {
    /// `down-after-milliseconds`: how soon a silent primary is given up.
    pub down_after: Duration,
    /// `min-replicas-to-write`
    pub least: u32,
    /// `min-replicas-max-lag`, seconds
    pub lag: u64,
}

pub struct Sentinels {
    pub servers: Vec<Member>,
    pub sentinels: Vec<Member>,
    pub net: Net,
}

impl Sentinels {
    pub fn start(machine: &Machine, set: Set) -> Self {
        let net = Net::default();
        let settings = super::redis_settings(set.least, set.lag);
        let servers: Vec<Member> = (0..3).map(|_| Member::start(machine, &net, &Kind::Redis, &settings)).collect();
        for replica in &servers[1..] {
            replica.told::<()>(&["REPLICAOF", "127.0.0.1", &servers[0].door.to_string()]);
            replica.told::<()>(&["CONFIG", "REWRITE"]);
        }
        until(Duration::from_secs(20), "two replicas", || servers[1..].iter().all(Member::follows).then_some(()));
        let settings = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {MASTER} {}\n\
             sentinel failover-timeout {MASTER} 6000\nsentinel parallel-syncs {MASTER} 2\n",
            servers[0].door,
            set.down_after.as_millis()
        );
        let sentinels: Vec<Member> = (0..3).map(|_| Member::start(machine, &net, &Kind::Sentinel, &settings)).collect();
        let all = Self { servers, sentinels, net };
        until(Duration::from_secs(20), "sentinels that know each other and the replicas", || {
            all.sentinels.iter().all(|one| all.knows_all(one)).then_some(())
        });
        all
    }

    /// Whether a sentinel knows the others and both replicas, and finds nothing wrong with them.
    fn knows_all(&self, sentinel: &Member) -> bool {
        let facts = |list: &str| -> Vec<std::collections::HashMap<String, String>> {
            sentinel.ask(&["SENTINEL", list, MASTER]).unwrap_or_default()
        };
        let well = |list: &str, flag: &str| {
            facts(list).iter().filter(|one| one.get("flags").is_some_and(|flags| flags == flag)).count()
        };
        well("SENTINELS", "sentinel") == 2 && well("REPLICAS", "slave") == 2
    }

    /// As `store.url` names it.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.door)).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// The primary that most sentinels name, by its place among the servers.
    pub fn named(&self) -> Option<usize> {
        let names = self.sentinels.iter().filter_map(|one| {
            let (_, port): (String, u16) = one.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?;
            self.servers.iter().position(|server| server.door == port)
        });
        let names: Vec<usize> = names.collect();
        names.iter().copied().find(|name| names.iter().filter(|other| *other == name).count() >= 2)
    }

    /// Waits for a primary that the sentinels name, that takes changes, and that is not this one.
    #[track_caller]
    pub fn replaced(&self, former: usize, within: Duration) -> usize {
        until(within, "another primary", || {
            self.named().filter(|named| *named != former && self.servers[*named].takes_changes())
        })
    }

    /// Waits until one is the primary and the others follow it, and every sentinel knows.
    #[track_caller]
    pub fn is_whole(&self, within: Duration) -> usize {
        until(within, "one primary with two replicas", || {
            let primary = self.named()?;
            let others = self.servers.iter().enumerate().filter(|(place, _)| *place != primary);
            let door = self.servers[primary].door.to_string();
            let whole = self.servers[primary].is_primary()
                && others.clone().all(|(_, one)| one.follows() && one.info("master_port").as_ref() == Some(&door))
                && self.sentinels.iter().all(|one| self.knows_all(one));
            whole.then_some(primary)
        })
    }
}
