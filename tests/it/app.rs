//! The harness: a running service, and those who call it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::ops::Index;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use countermark::authority::{
    Archive, Authority, BootstrapError, Metrics, SessionSettings, Settings, SigningSettings, Startup,
};
use countermark::clock::{Clock, ManualClock, SystemClock};
use countermark::config::{Secret, SecretSource};
use countermark::http::{Edge, NamedDemand};
use countermark::keyring::MasterKey;
use countermark::listen::{Arrival, Peer, Transport};
use countermark::node::{Follower, Mode, Writer};
use countermark::store::{
    Address, Filler, Journal, Options, Place, REPLICA_MAX_LAG, Remembering, Retention, Store, Target, Twins,
};
use countermark::token::Algorithm;
use http_body_util::BodyExt as _;
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::redis_server::RedisServer;

pub const ISSUER: &str = "https://countermark.test";
pub const DAY: Duration = Duration::from_secs(86_400);

/// What a test may want otherwise.
pub struct Setup {
    pub redis: Arc<RedisServer>,
    pub prefix: String,
    pub master_key: String,
    /// Instead of the value.
    pub master_key_file: Option<PathBuf>,
    pub keys_mark: Option<PathBuf>,
    pub algorithm: Algorithm,
    pub publish_ahead: TimeDelta,
    pub rotate_every: Option<TimeDelta>,
    pub guessing: (u32, u32),
    pub trusted_proxies: Vec<IpNet>,
    pub policies: BTreeMap<String, NamedDemand>,
    pub max_staleness: Duration,
    pub name_retention: Duration,
    pub records_calls: bool,
    /// Events of one account that are kept.
    pub activity: u64,
    pub firehose: u64,
    pub archive: Archive,
    /// Events that may wait for the store.
    pub audit_queue: usize,
    pub command_timeout: Duration,
    /// Where the store is to be found, if not at its own socket.
    pub store: Option<PathBuf>,
    pub twins: Twins,
    /// The directory of its journal. `None`: it remembers nothing of what it has changed.
    pub journal: Option<PathBuf>,
    pub node: &'static str,
    /// Whoever joins a dataset that has an admin already is told his token.
    pub admin: Option<String>,
    /// `None`: one of its own.
    pub clock: Option<Arc<ManualClock>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            redis: RedisServer::shared(),
            prefix: format!("t{}", uuid::Uuid::now_v7().simple()),
            master_key: a_master_key(),
            master_key_file: None,
            keys_mark: None,
            algorithm: Algorithm::ES256,
            publish_ahead: TimeDelta::hours(24),
            rotate_every: None,
            guessing: (1_000_000, 1_000_000),
            trusted_proxies: Vec::new(),
            policies: BTreeMap::new(),
            max_staleness: Duration::from_millis(500),
            name_retention: 400 * DAY,
            records_calls: true,
            activity: 10_000,
            firehose: 100_000,
            archive: Archive::Elsewhere,
            audit_queue: 65_536,
            command_timeout: Duration::from_secs(10),
            store: None,
            twins: Twins::Impossible,
            journal: None,
            node: "node-1",
            admin: None,
            clock: None,
        }
    }
}

pub fn a_master_key() -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("master.key");
    MasterKey::generate().unwrap().write_new(&path).unwrap();
    std::fs::read_to_string(path).unwrap().trim_end().to_owned()
}

impl Setup {
    pub fn open_store(&self, clock: Arc<dyn Clock>, stop: &CancellationToken) -> Store {
        let target = Target::new(Address {
            timeout: self.command_timeout,
            connect_timeout: Duration::from_secs(5),
            ..Address::to(Place::Socket(self.store.clone().unwrap_or_else(|| self.redis.socket())))
        })
        .unwrap();
        let retention = Retention { firehose: self.firehose, activity: self.activity, age: self.name_retention };
        let options = Options {
            prefix: self.prefix.clone(),
            replicas_required: 0,
            renewals_wait: false,
            replica_timeout: Duration::from_secs(1),
            retention,
            twins: self.twins,
            replicated: false,
            replica_max_lag: REPLICA_MAX_LAG,
            remembering: self.journal.as_ref().map(|directory| Remembering {
                journal: Arc::new(Journal::open(directory, 400 * DAY).unwrap()),
                name: self.node.to_owned(),
                node: None,
            }),
            sinks: true,
        };
        Store::open(target, options, clock, stop)
    }

    /// One start of an issuer.
    pub async fn begin(
        &self,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        node: &str,
    ) -> Result<(Authority, Writer), BootstrapError> {
        let startup = Startup {
            store,
            clock,
            master_key: match &self.master_key_file {
                Some(file) => SecretSource::File(file.clone()),
                None => SecretSource::Value(Secret::new(self.master_key.clone())),
            },
            keys_mark: self.keys_mark.clone(),
            hardware: None,
            issuer: None,
            default_issuer: ISSUER.to_owned(),
            node: node.to_owned(),
            audit_queue: self.audit_queue,
            audit_mode: Mode::Memory,
            guessing: self.guessing,
            settings: Settings {
                valid_for_months: vec![6, 12, 24],
                max_staleness: self.max_staleness,
                account_cache_bytes: 64 * 1024 * 1024,
                also_accept_issuers: Vec::new(),
                name_retention: self.name_retention,
                signature_cache_bytes: 1 << 20,
                records_calls: self.records_calls,
                signing: SigningSettings {
                    algorithm: self.algorithm,
                    publish_ahead: self.publish_ahead,
                    rotate_every: self.rotate_every,
                },
                archive: self.archive.clone(),
                sessions: SessionSettings { idle: Duration::from_secs(1_800), longest: Duration::from_secs(43_200) },
            },
            metrics,
        };
        startup.run().await
    }
}

/// A clock that stands at whole seconds, as in tokens: so that ends are exact.
pub fn a_clock() -> Arc<ManualClock> {
    let now = SystemClock.now();
    Arc::new(ManualClock::at(chrono::DateTime::from_timestamp(now.timestamp(), 0).unwrap()))
}

/// A running service.
pub struct App {
    pub client: Client,
    pub edge: Arc<Edge>,
    pub authority: Arc<Authority>,
    pub store: Arc<Store>,
    pub clock: Arc<ManualClock>,
    pub redis: Arc<RedisServer>,
    pub prefix: String,
    pub master_key: String,
    pub metrics: Arc<Metrics>,
    pub node_id: String,
    /// The link of the first start, of the one that made it.
    pub setup_link: Option<String>,
    admin: Actor,
    stop: CancellationToken,
    filling: Mutex<Option<CancellationToken>>,
    following: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl App {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let clock = setup.clock.clone().unwrap_or_else(a_clock);
        let stop = CancellationToken::new();
        let store = Arc::new(setup.open_store(clock.clone(), &stop));
        store.connected().await;
        let metrics = Arc::new(Metrics::new());
        let (authority, writer) =
            setup.begin(Arc::clone(&store), clock.clone(), Arc::clone(&metrics), setup.node).await.unwrap();
        let authority = Arc::new(authority);
        let kept = Mutex::new(String::new());
        let setup_link = Mutex::new(None);
        let created = authority.create_first_admin(|token, link| {
            token.clone_into(&mut kept.lock().unwrap());
            *setup_link.lock().unwrap() = Some(link.to_owned());
            Ok(())
        });
        assert_eq!(created.await.unwrap(), setup.admin.is_none());
        let token = setup.admin.clone().unwrap_or_else(|| kept.into_inner().unwrap());
        let edge = Edge::new(
            Arc::clone(&metrics),
            clock.clone(),
            setup.trusted_proxies.clone(),
            setup.policies.clone(),
            vec![6, 12, 24],
            64 * 1024,
            Duration::from_secs(5),
        );
        edge.open(Arc::clone(&authority));
        tokio::spawn(writer.run(Arc::clone(authority.node()), stop.clone(), Duration::from_secs(1)));
        let node_id = uuid::Uuid::now_v7().to_string();
        let follower = Follower::new(Arc::clone(authority.node()), node_id.clone(), "https://127.0.0.1".into());
        let follows = stop.child_token();
        let following = tokio::spawn(follower.run(follows.clone()));
        let client = Client {
            router: countermark::http::service(Arc::clone(&edge)),
            peer: a_peer(Transport::Tls, Some("127.0.0.1")),
            answers: Arc::default(),
        };
        let admin = Actor { id: claims_of(&token)["sub"].as_str().unwrap().to_owned(), ..client.actor(Some(token)) };
        let app = Self {
            client,
            edge,
            authority,
            store,
            clock,
            redis: setup.redis,
            prefix: setup.prefix,
            master_key: setup.master_key,
            metrics,
            admin,
            setup_link: setup_link.into_inner().unwrap(),
            node_id,
            stop,
            filling: Mutex::new(None),
            following: Mutex::new(Some((follows, following))),
        };
        app.start_filler();
        // A longer one is not to be had.
        if app.authority.node().freshness().max_staleness() <= Duration::from_secs(5) {
            eventually("it holds its lease", || async { app.authority.node().holds_lease() }).await;
        }
        app
    }

    pub fn start_filler(&self) {
        let stop = self.stop.child_token();
        let filler = Filler::new(Arc::clone(&self.store), uuid::Uuid::now_v7().to_string());
        tokio::spawn(filler.run(stop.clone()));
        *self.filling.lock().unwrap() = Some(stop);
    }

    /// It stops following, drops its lease and says goodbye.
    pub async fn goes(&self) {
        let (follows, following) = self.following.lock().unwrap().take().unwrap();
        follows.cancel();
        following.await.unwrap();
    }

    /// It follows no more, and says nothing: as one that was killed, or paused, before its lease is over.
    pub async fn stands_still(&self) {
        let (_, following) = self.following.lock().unwrap().take().unwrap();
        following.abort();
        let _ = following.await;
    }

    /// Waits until it decides from memory about everything that is asked.
    pub async fn has_lease(&self) {
        eventually("there is a lease", || async { self.authority.node().freshness().has_lease() }).await;
    }

    pub fn stop_filler(&self) {
        if let Some(stop) = self.filling.lock().unwrap().take() {
            stop.cancel();
        }
    }

    /// Somebody with a valid token and every permission.
    pub fn admin(&self) -> Actor {
        self.admin.clone()
    }

    /// Somebody without a token.
    pub fn nobody(&self) -> Actor {
        self.client.actor(None)
    }

    /// Somebody with this token.
    pub fn bearer(&self, token: &str) -> Actor {
        self.client.actor(Some(token.to_owned()))
    }

    /// A role of these permissions.
    pub async fn role(&self, name: &str, permissions: &[&str]) {
        let body = json!({ "permissions": permissions });
        let answer = self.admin().send("PUT", &format!("/roles/{name}"), Some(body)).await;
        assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
    }

    /// An account with a role of its own that has these permissions.
    pub async fn account(&self, name: &str, permissions: &[&str]) -> Actor {
        let role = format!("{name}-role");
        self.role(&role, permissions).await;
        self.create(json!({ "username": name, "role": role, "valid_for_months": 12 })).await
    }

    /// An account like this, made by the admin.
    pub async fn create(&self, body: Value) -> Actor {
        let answer = self.admin().post("/accounts", body, 201).await;
        Actor {
            id: answer["account"]["id"].as_str().unwrap().to_owned(),
            ..self.client.actor(Some(answer["token"].as_str().unwrap().to_owned()))
        }
    }

    pub async fn team(&self, name: &str) {
        self.admin().send("PUT", &format!("/teams/{name}"), Some(json!({}))).await;
    }

    /// The account as the admin sees it.
    pub async fn look(&self, account: &str) -> Value {
        self.admin().get(&format!("/accounts/{account}"), 200).await.json
    }

    /// Waits until every event is in the activity logs.
    pub async fn settled(&self) {
        eventually("all events are in the activity logs", || async {
            if self.authority.node().recorder().counters().waiting() != 0 {
                return false;
            }
            for shard in 0..4 {
                let key = format!("{{{}:a{shard}}}:log", self.prefix);
                if self.redis.run::<u64>(&["EXISTS", &key]).await == 0 {
                    continue;
                }
                let groups: Vec<std::collections::HashMap<String, redis::Value>> =
                    self.redis.run(&["XINFO", "GROUPS", &key]).await;
                let stream: std::collections::HashMap<String, redis::Value> =
                    self.redis.run(&["XINFO", "STREAM", &key]).await;
                let Some(group) = groups.first() else { return false };
                if group["last-delivered-id"] != stream["last-generated-id"] || group["pending"] != redis::Value::Int(0)
                {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// All of an account's activity, from the newest on.
    pub async fn activity(&self, account: &str) -> Vec<Value> {
        self.settled().await;
        self.admin().all(&format!("/accounts/{account}/activity?limit=100")).await
    }

    /// `{prefix}:name`
    pub fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    /// The key of an account's state record.
    pub fn state_key(&self, account: &str) -> String {
        let account: countermark::account::AccountId = account.parse().unwrap();
        self.key(&format!("s:{}", account.packed()))
    }

    /// The state record that verifications consult: its version, and itself.
    pub async fn state(&self, account: &str) -> (String, Value) {
        let text: String = self.redis.run(&["GET", &self.state_key(account)]).await;
        let (version, record) = text.split_once(' ').unwrap();
        (version.to_owned(), serde_json::from_str(record).unwrap())
    }

    /// `term-counter` of the last change.
    pub async fn epoch(&self) -> (u64, u64) {
        self.redis.run(&["HMGET", &self.key("meta"), "term", "counter"]).await
    }
}

/// Polls until it is so; fails after a while.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn a_peer(transport: Transport, address: Option<&str>) -> Peer {
    Peer {
        address: address.map(|address| address.parse::<IpAddr>().unwrap()),
        transport,
        listener: "https://127.0.0.1:8443".into(),
        server_name: None,
    }
}

/// Those of a published set that sign tokens.
pub fn of_tokens(set: &Value) -> Vec<Value> {
    set["keys"].as_array().unwrap().iter().filter(|key| key["key_ops"].is_null()).cloned().collect()
}

/// What stands in a token, unchecked.
pub fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The way in, and all answers that came out, with the request that they answer.
#[derive(Clone)]
pub struct Client {
    pub router: countermark::http::Doors,
    pub peer: Peer,
    pub answers: Arc<Mutex<Vec<(String, String)>>>,
}

impl Client {
    fn actor(&self, token: Option<String>) -> Actor {
        Actor { client: self.clone(), token, id: String::new() }
    }

    pub async fn answer(&self, mut request: Request<Body>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        let arrival = request.extensions_mut().remove::<Arrival>();
        let arrival = arrival.unwrap_or_else(|| Arrival::from(self.peer.clone()));
        let response = self.router.answer(request, arrival).await;
        let (parts, body) = response.into_parts();
        // What has no end is not waited for.
        let is_endless = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_endless { Vec::new() } else { body.collect().await.unwrap().to_bytes().to_vec() };
        let text = String::from_utf8_lossy(&body).into_owned();
        self.answers.lock().unwrap().push((what.clone(), format!("{:?} {text}", parts.headers)));
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { what, status: parts.status, headers: parts.headers, text, json }
    }
}

/// Somebody who calls.
#[derive(Clone)]
pub struct Actor {
    pub client: Client,
    pub token: Option<String>,
    pub id: String,
}

impl Actor {
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// The same account with another token.
    pub fn holding(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// From another address.
    pub fn at(&self, address: &str) -> Self {
        let peer = a_peer(Transport::Tls, Some(address));
        Self { client: Client { peer, ..self.client.clone() }, ..self.clone() }
    }

    /// A request of his, to be completed. `path` is whole.
    pub fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
    }

    /// A door outside `/api/v1`, without a body.
    pub async fn door(&self, method: &str, path: &str, expected: u16) -> Answer {
        self.client.answer(self.request(method, path).body(Body::empty()).unwrap()).await.expect(expected)
    }

    /// A form.
    pub async fn form(&self, path: &str, form: &str, expected: u16) -> Answer {
        let request = self.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        self.client.answer(request.body(Body::from(form.to_owned())).unwrap()).await.expect(expected)
    }

    /// A call below `/api/v1`, whatever comes of it.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_with(method, path, body, &[]).await
    }

    pub async fn send_with(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.request(method, &format!("/api/v1{path}"));
        for (name, value) in headers {
            request = request
                .header(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.client.answer(request.unwrap()).await
    }

    pub async fn get(&self, path: &str, expected: u16) -> Answer {
        self.send("GET", path, None).await.expect(expected)
    }

    pub async fn post(&self, path: &str, body: Value, expected: u16) -> Answer {
        self.send("POST", path, Some(body)).await.expect(expected)
    }

    pub async fn put(&self, path: &str, body: Value, expected: u16) -> Answer {
        self.send("PUT", path, Some(body)).await.expect(expected)
    }

    pub async fn patch(&self, path: &str, body: Value, expected: u16) -> Answer {
        self.send("PATCH", path, Some(body)).await.expect(expected)
    }

    pub async fn delete(&self, path: &str, expected: u16) -> Answer {
        self.send("DELETE", path, None).await.expect(expected)
    }

    /// Gives an account a new token and returns it.
    pub async fn regenerate(&self, account: &str) -> String {
        self.regenerate_whole(account).await.text_of("token")
    }

    /// The same, with all that the answer says.
    pub async fn regenerate_whole(&self, account: &str) -> Answer {
        let path = format!("/accounts/{account}/token");
        self.post(&path, json!({ "valid_for_months": 12 }), 201).await
    }

    /// Whether the gateway lets his token through: `"allowed"`, or why not.
    pub async fn verdict(&self) -> String {
        let answer = self.client.answer(self.request("GET", "/verify").body(Body::empty()).unwrap()).await;
        match answer.status.as_u16() {
            200 => "allowed".to_owned(),
            _ => answer.text_of("reason"),
        }
    }

    /// The items of all pages. `path` has a query already.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let next = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = self.get(&format!("{path}{next}"), 200).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return items,
            }
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub what: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, expected: u16) -> Self {
        assert_eq!(self.status.as_u16(), expected, "{}: {}", self.what, self.text);
        self
    }

    pub fn text_of(&self, member: &str) -> String {
        self.json[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The reason of a problem; fails where it is none of the promised form.
    #[track_caller]
    pub fn reason(&self) -> &str {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self["status"], self.status.as_u16(), "{self:?}");
        assert_eq!(self["request_id"], self.header("x-request-id"), "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(self[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {self:?}");
        }
        self["reason"].as_str().unwrap()
    }

    /// The fields that a 422 names.
    pub fn fields(&self) -> Vec<String> {
        let errors = self.json["errors"].as_array().unwrap_or_else(|| panic!("no errors in {self:?}"));
        assert!(errors.iter().all(|error| error["message"].as_str().is_some_and(|text| !text.is_empty())), "{self:?}");
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

impl Index<&str> for Answer {
    type Output = Value;

    fn index(&self, member: &str) -> &Value {
        &self.json[member]
    }
}
