//! Shows every row at every door, and looks at what comes back, what is counted, what is recorded, and how long it took.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark::listen::{Arrival, Transport};
use countermark::token::Algorithm;
use serde_json::{Value, json};

use super::door::Door;
use super::expected::{UNPROVEN, check, recorded, verdict};
use super::forge::{Forge, StolenKey};
use crate::app::{Answer, App, Setup, a_peer};

/// No answer takes longer. Of a request that did, the best of three counts: other programs have the machine too.
pub const SOON: Duration = Duration::from_millis(100);

pub enum Expected {
    /// At every door, for this reason.
    Refused(&'static str),
    /// It is as good as the genuine one, which is spent afterwards.
    Allowed,
    /// Refused where Countermark's own audience is asked for, allowed elsewhere.
    OtherAudience,
}

pub struct Row {
    pub name: String,
    pub token: String,
    pub expected: Expected,
}

impl Row {
    pub fn refused(name: impl Into<String>, reason: &'static str, token: String) -> Self {
        Self { name: name.into(), token, expected: Expected::Refused(reason) }
    }

    pub fn allowed(name: impl Into<String>, token: String) -> Self {
        Self { name: name.into(), token, expected: Expected::Allowed }
    }

    pub fn other_audience(name: impl Into<String>, token: String) -> Self {
        Self { name: name.into(), token, expected: Expected::OtherAudience }
    }
}

/// A service with a victim, and a thief of its signing key.
pub struct Bench {
    pub app: App,
    pub key: Arc<StolenKey>,
    /// What most rows are made of: a token of the second generation that may do everything.
    pub victim: Forge,
    /// The victim's older token.
    pub older: String,
    /// Another account's living token.
    pub other: String,
    accounts: std::cell::Cell<usize>,
}

impl Bench {
    pub async fn new() -> Self {
        Self::under(Algorithm::ES256).await
    }

    /// A service that signs so.
    pub async fn under(algorithm: Algorithm) -> Self {
        let app = App::with(Setup { algorithm, ..Setup::default() }).await;
        app.role("everything", &["*:*"]).await;
        app.role("little", &["x:read"]).await;
        app.team("payments").await;
        let document = app.authority.keys().document().await.unwrap().document;
        let key = Arc::new(StolenKey::from(&document, 0));
        let create = |name: &str| app.create(json!({ "username": name, "role": "everything", "valid_for_months": 12 }));
        let (victim, other) = (create("victim").await, create("other").await);
        let token = app.admin().regenerate("victim").await;
        Self {
            victim: Forge { key: Arc::clone(&key), token },
            older: victim.token().to_owned(),
            other: other.token().to_owned(),
            accounts: std::cell::Cell::new(0),
            key,
            app,
        }
    }

    /// An account of its own, for what is expected to be allowed: at the last door it is revoked.
    pub async fn spare(&self) -> Forge {
        let number = self.accounts.replace(self.accounts.get() + 1);
        let body = json!({ "username": format!("spare-{number}"), "role": "everything",
            "teams": { "payments": "little" }, "valid_for_months": 12 });
        Forge { key: Arc::clone(&self.key), token: self.app.create(body).await.token().to_owned() }
    }

    /// Counted decisions, by reason.
    pub fn decisions(&self) -> BTreeMap<String, u64> {
        let text = self.app.metrics.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("countermark_decisions_total{reason=\""));
        let counted = lines.map(|line| line.split_once("\"} ").unwrap());
        counted.map(|(reason, count)| (reason.to_owned(), count.parse().unwrap())).collect()
    }

    /// What was counted between the two.
    pub fn counted(&self, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let more = self.decisions().into_iter().map(|(reason, count)| {
            let before = before.get(&reason).copied().unwrap_or(0);
            (reason, count - before)
        });
        more.filter(|(_, count)| *count > 0).collect()
    }

    /// The answer to a request that everybody makes from an address of his own: of each, garbage is sampled once.
    pub async fn ask(&self, number: usize, id: &str, transport: Transport, mut request: Request<Body>) -> Answer {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap()).to_string();
        request.extensions_mut().insert(Arrival::from(a_peer(transport, Some(&address))));
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        self.app.client.answer(request).await
    }

    /// All rows at all doors.
    pub async fn stand(&self, rows: Vec<Row>) {
        assert!(!rows.is_empty());
        let mut stand =
            Stand { bench: self, same: HashMap::new(), events: BTreeMap::new(), number: 0, faults: Vec::new() };
        for row in &rows {
            for door in Door::ALL {
                stand.show(row, door).await;
            }
        }
        stand.look_at_events().await;
        assert!(stand.faults.is_empty(), "{} faults:\n{}", stand.faults.len(), stand.faults.join("\n"));
        assert_eq!(
            self.app.bearer(&self.victim.token).verdict().await,
            "allowed",
            "the genuine token is as good as ever"
        );
    }
}

/// What an event has to say: its reason, and the secrets that it may not tell.
struct Event {
    what: String,
    reason: Option<&'static str>,
    secrets: Vec<String>,
}

struct Stand<'a> {
    bench: &'a Bench,
    /// The first answer to something unproven, at each door.
    same: HashMap<usize, String>,
    /// By request id.
    events: BTreeMap<String, Event>,
    number: usize,
    faults: Vec<String>,
}

impl Stand<'_> {
    async fn show(&mut self, row: &Row, door: Door) {
        let bench = self.bench;
        let what = format!("{} at {door:?}", row.name);
        let asker = bench.app.admin();
        let account = readable(&row.token)["sub"].as_str().unwrap_or_default().to_owned();
        let request = || door.request(&asker, &account, &row.token);
        let Some(first) = request() else {
            let control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
            assert!(door.takes_bearer() && row.token.bytes().any(control), "{what} can't be sent");
            return;
        };
        self.number += 1;
        let id = format!("{:05}-{}", self.number, door.number());
        let before = bench.decisions();
        let began = Instant::now();
        let answer = bench.ask(self.number, &id, door.transport(), first).await;
        let mut took = began.elapsed();
        let counted = bench.counted(&before);
        for _ in 0..2 {
            if took > SOON {
                let began = Instant::now();
                bench.ask(self.number, &id, door.transport(), request().unwrap()).await;
                took = took.min(began.elapsed());
            }
        }
        let secrets = secrets(&row.token);
        let mut fault = |text: String| self.faults.push(format!("{what}: {text}"));
        if took > SOON {
            fault(format!("took {took:?}"));
        }
        let told = format!("{:?} {}", answer.headers, answer.text);
        if let Some(secret) = secrets.iter().find(|secret| told.contains(*secret)) {
            fault(format!("the answer tells {secret}"));
        }

        let (verdict, expected) = verdict(row, door);
        if let Err(why) = check(&answer, door, verdict) {
            fault(why);
        }
        let expected: BTreeMap<String, u64> =
            expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        if counted != expected {
            fault(format!("counted {counted:?}, not {expected:?}"));
        }
        if UNPROVEN.contains(&verdict) || door == Door::Exposed {
            let answer = without_id(&answer, &id);
            let same = self.same.entry(door.number()).or_insert_with(|| answer.clone());
            if *same != answer {
                fault(format!("is told apart:\n{answer}\n{same}"));
            }
        }
        if let Some(reason) = recorded(door, verdict) {
            self.events.insert(id, Event { what, reason, secrets });
        }
        if verdict == "allowed" && door == Door::Revoke {
            let revoked = bench.app.bearer(&row.token).get("/self", 401).await;
            assert_eq!(revoked.reason(), "revoked", "{}", row.name);
        }
    }

    async fn look_at_events(&mut self) {
        self.bench.app.settled().await;
        let everything = self.bench.app.admin().all("/audit?limit=500").await;
        let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in everything {
            if let Some(id) = event["request_id"].as_str() {
                told.entry(id.to_owned()).or_default().push(event.clone());
            }
        }
        for (id, Event { what, reason, secrets }) in &self.events {
            let Some(events) = told.get(id) else {
                self.faults.push(format!("{what}: no event"));
                continue;
            };
            if !events.iter().any(|event| event["reason"].as_str() == *reason) {
                self.faults.push(format!("{what}: {events:?}"));
            }
            let text = serde_json::to_string(events).unwrap();
            if let Some(secret) = secrets.iter().find(|secret| text.contains(*secret)) {
                self.faults.push(format!("{what}: an event tells {secret}"));
            }
        }
    }
}

/// All of an answer but the id of its request.
pub fn without_id(answer: &Answer, id: &str) -> String {
    let mut headers: Vec<_> = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    format!("{} {headers:?} {}", answer.status, answer.text).replace(id, "(id)")
}

fn readable(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}

/// What of a token may be seen nowhere: itself, each of its segments, its `jti`.
fn secrets(token: &str) -> Vec<String> {
    let mut secrets: Vec<String> = token.split('.').map(str::to_owned).collect();
    secrets.push(token.to_owned());
    secrets.extend(readable(token)["jti"].as_str().map(str::to_owned));
    secrets.retain(|secret| secret.len() >= 20);
    secrets
}
