//! A store with many accounts, written straight into Redis in the service's own schema, and tokens for some of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use countermark::account::{AccountId, AccountState, Kind, StateRecord, Status, Versioned};
use countermark::clock::{Clock as _, SystemClock};
use countermark::epoch::Epoch;
use countermark::keyring::{KeyringDocument, MasterKey};
use countermark::store::schema::Schema;
use countermark::store::{Entry, IssuedToken, Profile};
use countermark::token::{Claims, Jti, Signer, encode};
use serde_json::json;

use super::api::Connection;
use super::node::{Certificate, ISSUER, Node, Start};
use super::redis_server::Redis;

/// Accounts that are written at once.
const CHUNK: usize = 1_000;
/// Accounts whose tokens may be regenerated, at most.
const OTHERS: usize = 10_000;
/// What one of them takes up in the file.
pub const OTHER: u64 = 37;
const ROLE: &str = "runner";
const VALID: TimeDelta = TimeDelta::days(180);

pub struct Dataset {
    pub redis: Redis,
    pub directory: PathBuf,
    /// Lines `ACCOUNT TOKEN`, all of one length.
    pub tokens: PathBuf,
    pub line: u64,
    /// Lines `ACCOUNT` of accounts whose tokens stand nowhere, so that nobody misses them.
    pub others: PathBuf,
    /// Of all accounts.
    pub size: usize,
    /// The key set that verifies them.
    pub keys: serde_json::Value,
    /// The first admin's token.
    pub admin: String,
    /// What one state record takes up in Redis: by the difference of the whole, and as Redis says of single keys.
    pub bytes_of_all: f64,
    pub bytes_of_one: f64,
}

impl Dataset {
    /// Of so many accounts, with tokens for so many of them, which lie evenly among all.
    pub fn make(directory: &Path, certificate: &Certificate, accounts: usize, tokens: usize) -> Self {
        Self::on(directory, certificate, accounts, tokens, Redis::start)
    }

    /// The same, on servers that are made so.
    pub fn on(
        directory: &Path,
        certificate: &Certificate,
        accounts: usize,
        tokens: usize,
        redis: fn(&Path) -> Redis,
    ) -> Self {
        let directory = directory.join(format!("dataset-{accounts}"));
        std::fs::create_dir_all(&directory).unwrap();
        let redis = redis(&directory);
        let store = redis.url();
        let start = Start { directory: &directory, name: "first", store: &store, certificate, settings: "" };
        let node = Node::start(&start);
        let admin = std::fs::read_to_string(directory.join("first/admin.token")).unwrap().trim().to_owned();
        let mut api = Connection::to(&node.plain);
        let role = json!({"permissions": ["jobs:run"]});
        api.call("PUT", &format!("/api/v1/roles/{ROLE}"), &admin, Some(&role)).expect(201);
        let example = json!({"username": "example", "role": ROLE, "valid_for_months": 6});
        let example = api.call("POST", "/api/v1/accounts", &admin, Some(&example)).expect(201);
        let keys = node.keys();
        drop(node);

        let mut dataset = Self {
            redis,
            tokens: directory.join("tokens.txt"),
            others: directory.join("others.txt"),
            directory,
            line: 0,
            size: accounts,
            keys,
            admin,
            bytes_of_all: 0.0,
            bytes_of_one: 0.0,
        };
        dataset.fill(example["account"]["id"].as_str().unwrap(), accounts, tokens);
        dataset
    }

    /// Starts a node on it.
    pub fn node(&self, name: &str, certificate: &Certificate, settings: &str) -> Node {
        let store = self.redis.url();
        Node::start(&Start { directory: &self.directory, name, store: &store, certificate, settings })
    }

    /// The first so many tokens.
    pub fn first_tokens(&self, count: usize) -> Vec<String> {
        let text = std::fs::read_to_string(&self.tokens).unwrap();
        text.lines().take(count).map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// The first lines with tokens, in a file of their own.
    pub fn first_lines(&self, count: usize) -> PathBuf {
        let text = std::fs::read_to_string(&self.tokens).unwrap();
        let path = self.directory.join(format!("tokens-{count}.txt"));
        std::fs::write(&path, &text[..count * self.line as usize]).unwrap();
        path
    }

    fn fill(&mut self, example: &str, accounts: usize, with_token: usize) {
        let schema = Schema::new("cm");
        let mut connection = self.redis.connection();
        let meta: Vec<String> =
            redis::cmd("HMGET").arg(schema.meta()).arg(&["dataset", "term", "counter"]).query(&mut connection).unwrap();
        let version: Epoch = format!("{}-{}", meta[1], meta[2]).parse().unwrap();
        let key = self.signer(&schema, &meta[0]);
        check_form(&schema, example, &mut connection);

        let now = SystemClock.now();
        let every = accounts / with_token;
        let new: Vec<New> = (0..accounts).map(|number| New::make(number, now)).collect();
        let signed: Vec<&New> = new.iter().step_by(every).take(with_token).collect();
        self.write_tokens(&signed, key.as_ref(), now);
        let others = new.iter().enumerate().filter(|(number, _)| number % every != 0).take(OTHERS);
        let others: String = others.map(|(_, account)| format!("{}\n", account.id)).collect();
        std::fs::write(&self.others, others).unwrap();

        let before = self.redis.info("memory", "used_memory");
        let mut states = redis::pipe();
        for chunk in new.chunks(CHUNK) {
            states.clear();
            let command = states.cmd("MSET");
            for account in chunk {
                command.arg(schema.state(account.id)).arg(stored(&account.record(version)));
            }
            states.exec(&mut connection).unwrap();
        }
        self.bytes_of_all = (self.redis.info("memory", "used_memory") - before) / accounts as f64;
        let sample = new.iter().step_by(accounts.div_ceil(CHUNK));
        let mut asked = redis::pipe();
        sample.for_each(|account| {
            asked.cmd("MEMORY").arg("USAGE").arg(schema.state(account.id));
        });
        let answers: Vec<f64> = asked.query(&mut connection).unwrap();
        self.bytes_of_one = answers.iter().sum::<f64>() / answers.len() as f64;
        write_the_rest(&schema, &new, key.public().key_id(), &mut connection, now, self.redis.shards.is_empty());
    }

    /// The key that signs, as an issuer has it.
    fn signer(&self, schema: &Schema, dataset: &str) -> Arc<dyn Signer> {
        let text = std::fs::read_to_string(self.directory.join("master.key")).unwrap();
        let keyring: (u64, String) = redis::cmd("HMGET")
            .arg(schema.keyring())
            .arg(&["version", "document"])
            .query(&mut self.redis.connection())
            .unwrap();
        let document = MasterKey::parse(&text).unwrap().open(dataset, keyring.0, &keyring.1).unwrap();
        let document: KeyringDocument = serde_json::from_slice(&document.text).unwrap();
        document.signer(None).unwrap().unwrap()
    }

    /// Signing takes longest, and so has both processors.
    fn write_tokens(&mut self, accounts: &[&New], key: &dyn Signer, now: DateTime<Utc>) {
        let half = accounts.len().div_ceil(2);
        let sign = |accounts: &[&New]| -> Vec<u8> {
            accounts
                .iter()
                .flat_map(|account| format!("{} {}\n", account.id, account.token(key, now)).into_bytes())
                .collect()
        };
        let text = std::thread::scope(|scope| {
            let halves: Vec<_> = accounts.chunks(half).map(|half| scope.spawn(move || sign(half))).collect();
            halves.into_iter().flat_map(|half| half.join().unwrap()).collect::<Vec<u8>>()
        });
        self.line = (text.len() / accounts.len()) as u64;
        let same = text.split_inclusive(|byte| *byte == b'\n').all(|line| line.len() as u64 == self.line);
        assert!(same, "lines of more than one length");
        std::fs::write(&self.tokens, text).unwrap();
    }
}

/// An account that is to be.
struct New {
    id: AccountId,
    username: String,
    jti: Jti,
}

impl New {
    fn make(number: usize, now: DateTime<Utc>) -> Self {
        Self { id: AccountId::new(now), username: format!("account-{number:07}"), jti: Jti::random().unwrap() }
    }

    fn state(&self) -> AccountState {
        AccountState {
            username: self.username.parse().unwrap(),
            generation: 1,
            token_id: Some(self.jti.token_id()),
            status: Status::Active,
            role: ROLE.parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: Vec::new(),
            allowed_networks: Vec::new(),
            binding: None,
            previous: None,
            sign_ins: 0,
        }
    }

    fn record(&self, version: Epoch) -> Versioned {
        Versioned { version, record: StateRecord::Live(self.state()) }
    }

    fn token(&self, key: &dyn Signer, now: DateTime<Utc>) -> String {
        let claims = Claims {
            issuer: ISSUER.to_owned(),
            account: self.id,
            audiences: vec![ISSUER.parse().unwrap()],
            issued_at: now.timestamp(),
            expires_at: (now + VALID).timestamp(),
            token_id: self.jti.token_id(),
            role: ROLE.parse().unwrap(),
            teams: BTreeMap::new(),
            generation: 1,
            confirmation: None,
        };
        encode(&claims, &self.jti, key).unwrap()
    }
}

/// A state record as the service stores it.
fn stored(record: &Versioned) -> String {
    format!("{} {}", record.version, serde_json::to_string(&record.record).unwrap())
}

/// What we would write for an account that the service made is what the service wrote.
fn check_form(schema: &Schema, account: &str, connection: &mut redis::Connection) {
    let found: String = redis::cmd("GET").arg(schema.state(account.parse().unwrap())).query(connection).unwrap();
    let record = Versioned::parse(&found).unwrap();
    assert_eq!(stored(&record), found, "the service stores state records in another form than this bench");
}

/// What belongs to an account beside its state, and the generation that a naive server looks at.
fn write_the_rest(
    schema: &Schema,
    accounts: &[New],
    key: &str,
    connection: &mut redis::Connection,
    now: DateTime<Utc>,
    with_generations: bool,
) {
    let token = IssuedToken { key_id: key.to_owned(), issued_at: now, expires_at: now + VALID, for_own_api: true };
    let profile = Profile {
        kind: Kind::Service,
        description: "Runs what the build of this number has to run".parse().unwrap(),
        created_at: now,
        updated_at: now,
        token: Some(token),
        previous: None,
        networks_proven: false,
        password: None,
        link: None,
    };
    let stored = serde_json::to_string(&profile).unwrap();
    let until = (now + VALID).timestamp();
    let mut pipe = redis::pipe();
    for chunk in accounts.chunks(CHUNK) {
        pipe.clear();
        let command = pipe.cmd("MSET");
        chunk.iter().for_each(|account| {
            command.arg(schema.profile(account.id)).arg(&stored);
        });
        let command = pipe.cmd("HSET").arg(schema.names());
        chunk.iter().for_each(|account| {
            command.arg(&account.username).arg(account.id.to_string());
        });
        for list in [schema.list(), schema.of_role(ROLE)] {
            let command = pipe.cmd("ZADD").arg(list);
            chunk.iter().for_each(|account| {
                command.arg(0).arg(&account.username);
            });
        }
        let command = pipe.cmd("ZADD").arg(schema.catalogue());
        chunk.iter().for_each(|account| {
            command.arg(0).arg(Entry::of(&account.state(), &profile).line());
        });
        let command = pipe.cmd("ZADD").arg(schema.live(key));
        chunk.iter().for_each(|account| {
            command.arg(until).arg(format!("{}:1", account.id));
        });
        if with_generations {
            let command = pipe.cmd("MSET");
            chunk.iter().for_each(|account| {
                command.arg(format!("gen:{}", account.id)).arg(1);
            });
        }
        pipe.cmd("HINCRBY").arg(schema.role_refs()).arg(ROLE).arg(chunk.len());
        pipe.exec(connection).unwrap();
    }
}
