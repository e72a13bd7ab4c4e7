//! A server whose way to its store breaks, and the changes that are asked of it.

use redis::streams::StreamRangeReply;
use serde_json::{Value, json};

use crate::between::Between;
use crate::call::Call;
use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;
use crate::until::soon;

pub struct Scene {
    pub server: Server,
    pub redis: Redis,
    pub way: Between,
    pub count: usize,
}

/// A change that a caller asks for.
pub struct Wanted {
    /// As it is called in a failure.
    pub what: &'static str,
    pub method: &'static str,
    pub path: String,
    /// The token that it is asked for with.
    pub token: String,
    pub body: Option<Value>,
    pub form: Option<String>,
    /// The status when it is done.
    pub done: u16,
    /// The status of a repetition when it was done already.
    pub repeated: u16,
}

impl Scene {
    pub fn new(machine: &Machine, command_timeout: &str) -> Self {
        let redis = Redis::start(machine, &[]);
        let way = Between::to(redis.port);
        let config = format!("[store]\ncommand_timeout = {command_timeout:?}\n");
        let server = machine.serve().option("--store", &way.url).config(&config).ready();
        Self { server, redis, way, count: 0 }
    }

    /// What has to be there before the change is asked for, and the change.
    pub fn prepare(&mut self, kind: usize) -> Wanted {
        self.count += 1;
        let (name, admin) = (format!("ci-{}", self.count), self.server.admin());
        let named = |what: &str, body: Value| {
            self.server.call("PUT", &format!("/api/v1/{what}s/{name}")).bearer(&admin).json(&body).send().expect(201);
        };
        let (_, token) = self.server.create(&name, "renewer");
        let account = format!("/api/v1/accounts/{name}");
        let months = || Some(json!({"valid_for_months": 6}));
        let role = |permissions: &[&str]| json!({"description": "", "permissions": permissions});
        let wanted = |what, method, path: String, body, done, repeated| Wanted {
            what,
            method,
            path,
            token: admin.clone(),
            body,
            form: None,
            done,
            repeated,
        };
        match kind {
            0 => {
                let body = json!({"username": format!("{name}-new"), "role": "renewer", "valid_for_months": 6});
                wanted("create", "POST", "/api/v1/accounts".into(), Some(body), 201, 409)
            }
            1 => wanted("regenerate", "POST", format!("{account}/token"), months(), 201, 201),
            2 => {
                let mut renewal = wanted("renew", "POST", "/api/v1/self/token".into(), months(), 201, 401);
                renewal.token = token;
                renewal
            }
            3 => wanted("revoke", "DELETE", format!("{account}/token"), None, 200, 200),
            4 => {
                let mut revocation = wanted("revoke by holding", "POST", "/oauth2/revoke".into(), None, 200, 200);
                revocation.form = Some(format!("token={token}"));
                revocation
            }
            5 => wanted("patch", "PATCH", account, Some(json!({"description": "changed"})), 200, 200),
            6 => wanted("delete", "DELETE", account, None, 200, 404),
            7 => wanted("new role", "PUT", format!("/api/v1/roles/{name}"), Some(role(&["a:b"])), 201, 200),
            8 => {
                named("role", role(&["a:b"]));
                wanted("changed role", "PUT", format!("/api/v1/roles/{name}"), Some(role(&["a:c"])), 200, 200)
            }
            9 => {
                named("role", role(&["a:b"]));
                wanted("deleted role", "DELETE", format!("/api/v1/roles/{name}"), None, 200, 404)
            }
            10 => wanted("new team", "PUT", format!("/api/v1/teams/{name}"), Some(json!({})), 201, 200),
            _ => {
                named("team", json!({}));
                wanted("deleted team", "DELETE", format!("/api/v1/teams/{name}"), None, 200, 404)
            }
        }
    }

    pub fn call(&self, wanted: &Wanted, request_id: &str) -> Call {
        let mut call = self.server.call(wanted.method, &wanted.path).header("X-Request-Id", request_id);
        // Whoever revokes by holding a token shows no other.
        if let Some(form) = &wanted.form {
            return call.option("--data", form);
        }
        call = call.bearer(&wanted.token);
        match &wanted.body {
            Some(body) => call.json(body),
            None => call,
        }
    }

    /// Ready is who can decide; for changes there is a connection of its own.
    pub fn changes_again(&self) {
        let admin = self.server.admin();
        soon("changes again", || {
            self.server.call("PUT", "/api/v1/teams/any").bearer(&admin).json(&json!({})).send().status < 300
        });
    }

    /// Acts that were committed for this request.
    pub fn acts_of(&self, request_id: &str) -> usize {
        let (committed, _) = self.events();
        committed.iter().filter(|event| event["request_id"] == request_id).count()
    }

    /// All events of acts, and of calls.
    pub fn events(&self) -> (Vec<Value>, Vec<Value>) {
        let mut redis = self.redis.connection();
        let mut read = |key: &str| -> Vec<Value> {
            let reply: StreamRangeReply = redis::cmd("XRANGE").arg(key).arg("-").arg("+").query(&mut redis).unwrap();
            let lines = reply.ids.iter().map(|entry| entry.get::<String>("e").unwrap());
            lines
                .flat_map(|lines| lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
                .collect()
        };
        (read("{cm}:acts"), (0..4).flat_map(|shard| read(&format!("{{cm:a{shard}}}:log"))).collect())
    }

    /// The numbers that were given to no event, and those that were given to two, are none.
    pub fn numbers_are_complete(&self) {
        soon("numbers without a gap", || {
            let (acts, calls) = self.events();
            let mut numbers: Vec<u64> =
                acts.iter().chain(&calls).map(|event| event["sequence"].as_u64().unwrap()).collect();
            numbers.sort_unstable();
            numbers == (1..=numbers.len() as u64).collect::<Vec<_>>()
        });
    }
}
