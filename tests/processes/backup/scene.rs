//! A service with a store that can be lost.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::call::Reply;
use crate::machine::{Ended, Machine};
use crate::redis::Redis;
use crate::server::{Server, Start};

pub struct Scene {
    pub machine: Machine,
    pub redis: Redis,
}

impl Scene {
    pub fn new() -> Self {
        let machine = Machine::new();
        let redis = Redis::start(&machine, &[]);
        Self { machine, redis }
    }

    pub fn serve(&self) -> Start {
        self.machine.serve().option("--store", self.redis.url())
    }

    /// `countermark COMMAND … --store …`
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let store = self.redis.url();
        self.machine.run(&[arguments, &["--data-dir", "data", "--store", &store]].concat())
    }

    #[track_caller]
    pub fn backup(&self, file: &str) -> Ended {
        self.run(&["backup", "--out", file])
    }

    #[track_caller]
    pub fn restore(&self, file: &str) -> Ended {
        self.run(&["restore", file, "--yes"])
    }

    /// Everything in the store is lost.
    pub fn lose(&self) {
        self.command::<()>(&["FLUSHALL"]);
    }

    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut self.redis.connection()).unwrap()
    }

    pub fn keys(&self, pattern: &str) -> BTreeSet<String> {
        self.command(&["KEYS", pattern])
    }

    /// What lies in the store of accounts, roles and teams, and of all by which they are found and counted.
    pub fn content(&self) -> BTreeMap<String, Vec<String>> {
        let mut content = BTreeMap::new();
        for key in self.keys("{cm}:*") {
            let name = key.strip_prefix("{cm}:").unwrap();
            let kind = name.split(':').next().unwrap();
            let is_content = matches!(
                kind,
                "s" | "p"
                    | "users"
                    | "names"
                    | "list"
                    | "catalogue"
                    | "of_role"
                    | "of_team"
                    | "roles"
                    | "teams"
                    | "role_refs"
                    | "team_refs"
                    | "admins"
                    | "overlaps"
                    | "live"
            );
            if !is_content {
                continue;
            }
            let mut values: Vec<String> = match kind {
                "s" | "p" => vec![self.command(&["GET", &key])],
                "names" | "roles" | "teams" | "role_refs" | "team_refs" => {
                    let fields: BTreeMap<String, String> = self.command(&["HGETALL", &key]);
                    // A count of none is none.
                    fields
                        .into_iter()
                        .filter(|(_, value)| value != "0")
                        .map(|(name, value)| format!("{name} {value}"))
                        .collect()
                }
                _ => {
                    let members: Vec<(String, String)> = self.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]);
                    members.into_iter().map(|(member, score)| format!("{member} {score}")).collect()
                }
            };
            values.sort();
            if !values.is_empty() {
                content.insert(name.to_owned(), values);
            }
        }
        content
    }
}

#[track_caller]
pub fn put(server: &Server, path: &str, body: &Value) -> Reply {
    server.call("PUT", &format!("/api/v1{path}")).bearer(&server.admin()).json(body).send()
}

#[track_caller]
pub fn patch(server: &Server, path: &str, body: &Value) -> Reply {
    server.call("PATCH", &format!("/api/v1{path}")).bearer(&server.admin()).json(body).send().expect(200)
}

#[track_caller]
pub fn delete(server: &Server, path: &str) -> Reply {
    server.call("DELETE", &format!("/api/v1{path}")).bearer(&server.admin()).send().expect(200)
}

/// A role that may read accounts, and a team.
#[track_caller]
pub fn make_role_and_team(server: &Server) {
    put(server, "/roles/deployer", &json!({"description": "deploys", "permissions": ["deployments:create"]}))
        .expect(201);
    put(server, "/teams/web", &json!({"description": "the web"})).expect(201);
}

/// The kinds of acts in the audit, with their details.
#[track_caller]
pub fn acts(server: &Server, kind: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit?kind={kind}&limit=500");
    let list = server.call("GET", &path).bearer(&server.admin()).send().expect(200).json();
    list["items"].as_array().unwrap().clone()
}
