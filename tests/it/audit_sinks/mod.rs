//! The audit, sent on to others.

#[allow(dead_code, reason = "each binary uses its part of them")]
mod receivers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countermark::audit::{Event, Outcome};
use countermark::clock::SystemClock;
use countermark::config::{Secret, SecretSource, Sink, SinkKind, SinkTls, SyslogSink, WebhookSink};
use countermark::sinks::{Courier, Outlet};
use countermark::store::TailPosition;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use receivers::{Authenticity, Deed, Receiver, Speech, nowhere, silent};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn sink(kind: SinkKind) -> Sink {
    Sink { kind, from_beginning: true, kinds: Vec::new(), outcomes: Vec::new() }
}

fn syslog(receiver: &Receiver, tls: Option<&Authenticity>) -> Sink {
    let tls = tls.map(|tls| SinkTls { ca_file: Some(tls.ca_file.clone()), client: None });
    let host = if tls.is_some() { "localhost" } else { "127.0.0.1" };
    sink(SinkKind::Syslog(SyslogSink { host: host.into(), port: receiver.address.port(), tls }))
}

fn webhook(url: String, tls: Option<&Authenticity>) -> Sink {
    let tls = SinkTls { ca_file: tls.map(|tls| tls.ca_file.clone()), client: None };
    let secret = SecretSource::Value(Secret::new(SECRET.into()));
    sink(SinkKind::Webhook(WebhookSink { url: url.parse().unwrap(), secret, tls }))
}

/// One issuer's part in a sink.
struct Delivering {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Delivering {
    fn of(app: &App, sink: &Sink) -> Self {
        Self::named(app, "one", sink)
    }

    fn named(app: &App, name: &str, sink: &Sink) -> Self {
        let outlet = Arc::new(Outlet::new(&sink.kind).unwrap());
        // Its own clock: a right to deliver ends in the store's time.
        let (store, clock) = (Arc::clone(&app.store), Arc::new(SystemClock));
        let who = uuid::Uuid::now_v7().to_string();
        let courier = Courier::new(store, clock, &app.metrics.sinks, &who, name, sink, outlet);
        let stop = CancellationToken::new();
        let task = tokio::spawn(courier.run(stop.clone()));
        Self { stop, task }
    }

    async fn stops(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Without a word, as by kill -9.
    async fn dies(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Polls until it is so; retries after failures take their time.
async fn in_time(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All that was written to the audit, once nothing is on its way.
async fn written(app: &App) -> Vec<Event> {
    crate::app::eventually("all is written", || async { app.authority.node().recorder().counters().waiting() == 0 })
        .await;
    let (mut events, mut position) = (Vec::new(), TailPosition::at(1));
    loop {
        let tailed = app.store.tail(&position).await.unwrap();
        if tailed.reached == position {
            return events;
        }
        position = tailed.reached;
        events.extend(tailed.events.into_iter().map(|(event, _)| event));
    }
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

/// Nothing is missing, and what is there for the first time comes in the order of its node: calls, and acts.
fn assert_whole(written: &[Event], received: &[Value]) {
    let found = ids(received);
    let missing: Vec<_> = written.iter().filter(|event| !found.contains(&event.id.to_string())).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {:?}", missing.len(), written.len(), missing.first());
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    for event in received.iter().filter(|event| event["id"].is_string()) {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        if !seen.insert(text("id")) {
            continue;
        }
        let sequence = event["sequence"].as_u64().unwrap();
        let before = last.insert((text("node"), text("kind").starts_with("call")), sequence);
        assert!(before.is_none_or(|before| before < sequence), "{before:?} came before {event}");
    }
}

/// What is counted of the sink `one`.
fn count(app: &App, name: &str) -> u64 {
    let text = app.metrics.text();
    let line = text.lines().find(|line| line.starts_with(&format!("countermark_audit_sink_{name}{{sink=\"one\"}}")));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn repeated(received: &[Value]) -> usize {
    received.len() - ids(received).len()
}

/// Calls, in so many blocks.
async fn history(app: &App, blocks: usize) {
    let ci = match app.admin().send("GET", "/accounts/ci", None).await.status.as_u16() {
        200 => app.bearer(&app.admin().regenerate("ci").await),
        _ => app.account("ci", &[]).await,
    };
    for _ in 0..blocks {
        for _ in 0..20 {
            ci.door("GET", "/verify", 200).await;
        }
        crate::app::eventually("all is written", || async {
            app.authority.node().recorder().counters().waiting() == 0
        })
        .await;
    }
}

/// What is delivered in the end, whatever the receiver does meanwhile.
async fn whatever_happens(
    speech: Speech,
    tls: Option<Arc<Authenticity>>,
    deeds: &[Deed],
) -> (App, Receiver, Vec<Value>) {
    let app = App::start().await;
    let mut receiver = Receiver::new(speech, tls.clone()).await;
    let sink = match speech {
        Speech::Syslog => syslog(&receiver, tls.as_deref()),
        Speech::Http if tls.is_some() => {
            webhook(format!("https://localhost:{}/hook?x=y", receiver.address.port()), tls.as_deref())
        }
        Speech::Http => webhook(format!("http://{}/hook?x=y", receiver.address), None),
    };
    history(&app, 3).await;
    let delivering = Delivering::of(&app, &sink);
    in_time("the first comes", || !receiver.events().is_empty()).await;
    // One at a time: success makes the next pause short again.
    for deed in deeds {
        let tries = receiver.tries();
        receiver.plans(&[*deed]);
        history(&app, 2).await;
        // In plain text each delivery is followed by an empty one, which may be what it was done to.
        let again = if speech == Speech::Syslog && tls.is_none() { 1 } else { 2 };
        in_time("it was tried again", || receiver.has_done_all() && receiver.tries() >= tries + again).await;
    }
    receiver.dies().await;
    history(&app, 3).await;
    receiver.returns(speech, tls.clone()).await;
    // The issuer dies too, and another one takes over.
    delivering.dies().await;
    let delivering = Delivering::of(&app, &sink);
    let written = written(&app).await;
    let wanted: BTreeSet<String> = written.iter().map(|event| event.id.to_string()).collect();
    in_time("all have come", || ids(&receiver.events()).is_superset(&wanted)).await;
    delivering.stops().await;
    let received = receiver.events();
    assert_whole(&written, &received);
    (app, receiver, received)
}

#[tokio::test]
async fn a_webhook_misses_nothing_whatever_it_answers_and_each_message_is_signed() {
    let deeds = [
        Deed::Answers(500),
        Deed::Slams,
        Deed::Answers(302),
        Deed::DiesReading,
        Deed::Answers(410),
        Deed::DiesAfterReading,
        Deed::DiesAfterKeeping,
    ];
    let tls = Authenticity::new();
    let (app, receiver, received) = whatever_happens(Speech::Http, Some(tls), &deeds).await;
    let messages = receiver.messages();
    assert!(messages.len() > deeds.len());
    for message in &messages {
        assert!(message.is_signed_by(SECRET), "{message:?}");
        assert!(!message.is_signed_by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"));
        let age = countermark::clock::Clock::unix_seconds(&SystemClock)
            - message.header("webhook-timestamp").parse::<i64>().unwrap();
        assert!((0..120).contains(&age), "{age}");
        // Nothing was followed to where an answer pointed.
        assert!(message.head.starts_with("POST /hook?x=y HTTP/1.1\r\n"), "{}", message.head);
    }
    // Only what was kept and not answered well came again, under the same id.
    assert!(repeated(&received) > 0);
    let mut bodies = BTreeMap::new();
    for message in &messages {
        assert_eq!(bodies.entry(message.header("webhook-id")).or_insert(&message.body), &&message.body);
    }
    assert!(bodies.len() < messages.len());
    assert!(count(&app, "failures_total") >= 6);
    assert!(count(&app, "delivered_events_total") as usize >= ids(&received).len());
    let at_rest = ["lag_seconds", "behind_entries", "missed_entries_total"].map(|name| count(&app, name));
    assert_eq!(at_rest, [0, 0, 0]);
}

#[tokio::test]
async fn syslog_over_tls_misses_nothing_whatever_becomes_of_the_receiver() {
    let deeds = [Deed::Slams, Deed::DiesReading, Deed::EndsAtOnce, Deed::DiesAfterReading, Deed::DiesAfterKeeping];
    let tls = Authenticity::new();
    let (_app, receiver, received) = whatever_happens(Speech::Syslog, Some(tls), &deeds).await;
    assert!(repeated(&received) > 0);
    for line in receiver.lines() {
        let fields: Vec<&str> = line.splitn(8, ' ').collect();
        let [priority, _, node, name, process, _, structured, _] = fields.as_slice() else { panic!("{line}") };
        assert!(["<109>1", "<110>1"].contains(priority), "{line}");
        assert_eq!((*node, *name, *process, *structured), ("node-1", "countermark", "-", "-"));
    }
}

#[tokio::test]
async fn syslog_in_plain_text_misses_nothing_when_the_receiver_breaks_off() {
    // One that ends its side before it has read can't be told from one that has read, without TLS.
    let deeds = [Deed::Slams, Deed::DiesReading];
    let (_app, _receiver, received) = whatever_happens(Speech::Syslog, None, &deeds).await;
    assert!(!received.is_empty());
}

#[tokio::test]
async fn a_receiver_that_the_ca_has_not_certified_gets_nothing() {
    let (genuine, other) = (Authenticity::new(), Authenticity::new());
    for speech in [Speech::Syslog, Speech::Http] {
        let app = App::start().await;
        let receiver = Receiver::new(speech, Some(Arc::clone(&other))).await;
        let sink = match speech {
            Speech::Syslog => syslog(&receiver, Some(&genuine)),
            Speech::Http => webhook(format!("https://localhost:{}/", receiver.address.port()), Some(&genuine)),
        };
        let delivering = Delivering::of(&app, &sink);
        in_time("it has failed twice", || count(&app, "failures_total") >= 2).await;
        delivering.stops().await;
        assert_eq!(receiver.tries(), 0);
    }
}

#[tokio::test]
async fn whoever_takes_nothing_or_never_answers_keeps_nobody_waiting() {
    let app = App::start().await;
    let (silent, _listening) = silent().await;
    let nowhere = nowhere().await;
    let plain = |address: std::net::SocketAddr| {
        sink(SinkKind::Syslog(SyslogSink { host: "127.0.0.1".into(), port: address.port(), tls: None }))
    };
    let one = Delivering::named(&app, "silent-hook", &webhook(format!("http://{silent}/"), None));
    let two = Delivering::named(&app, "silent-syslog", &plain(silent));
    let three = Delivering::named(&app, "nowhere", &plain(nowhere));
    history(&app, 2).await;
    in_time("each is told to have failed", || {
        let of = |name: &str| format!("countermark_audit_sink_failures_total{{sink=\"{name}\"}} 1");
        let text = app.metrics.text();
        ["silent-hook", "silent-syslog"].iter().all(|name| text.contains(&of(name)))
    })
    .await;
    let text = app.metrics.text();
    let lag =
        text.lines().find(|line| line.starts_with("countermark_audit_sink_lag_seconds{sink=\"nowhere\"}")).unwrap();
    assert!(lag.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 5, "{lag}");
    let began = Instant::now();
    for delivering in [one, two, three] {
        delivering.stops().await;
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // It may be read while it is written.
    let (text, _) = text.rsplit_once('\n').unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[tokio::test]
async fn a_file_that_is_renamed_goes_on_as_a_new_one_and_nothing_is_missing_or_doubled() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let delivering = Delivering::of(&app, &sink(SinkKind::File(at("a.jsonl"))));
    for number in 1..4 {
        history(&app, 2).await;
        in_time("it is there", || at("a.jsonl").exists()).await;
        std::fs::rename(at("a.jsonl"), at(&format!("a.jsonl.{number}"))).unwrap();
    }
    history(&app, 1).await;
    let written = written(&app).await;
    let all = || {
        let files = ["a.jsonl.1", "a.jsonl.2", "a.jsonl.3", "a.jsonl"];
        files.iter().flat_map(|name| lines(&at(name))).collect::<Vec<_>>()
    };
    in_time("all is there", || all().len() >= written.len()).await;
    delivering.stops().await;
    assert_whole(&written, &all());
    assert_eq!(repeated(&all()), 0);
    assert_eq!(std::fs::metadata(at("a.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
    // As the API shows them.
    let shown = serde_json::to_value(&written[0]).unwrap();
    assert!(all().contains(&shown), "{shown}");
}

#[tokio::test]
async fn a_new_sink_begins_now_gets_what_it_asks_for_and_another_issuer_goes_on_where_one_stopped() {
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.jsonl");
    history(&app, 2).await;
    let sink = Sink {
        from_beginning: false,
        kinds: vec!["call".into(), "token.regenerate".into()],
        outcomes: vec![Outcome::Refused, Outcome::Done],
        ..sink(SinkKind::File(path.clone()))
    };
    let delivering = Delivering::of(&app, &sink);
    crate::app::eventually("it has begun", || async { app.store.sink_cursor("one").await.unwrap().is_some() }).await;
    history(&app, 1).await;
    app.bearer(&app.admin().regenerate("ci").await).door("GET", "/verify?permission=a:b", 403).await;
    in_time("all of it is there", || lines(&path).len() == 3).await;
    delivering.stops().await;
    app.bearer(&app.admin().regenerate("ci").await).door("GET", "/verify?permission=a:b", 403).await;
    history(&app, 1).await;
    let two = [Delivering::of(&app, &sink), Delivering::of(&app, &sink)];
    in_time("all of it is there", || lines(&path).len() >= 6).await;
    history(&app, 1).await;
    in_time("all of it is there", || lines(&path).len() >= 7).await;
    for delivering in two {
        delivering.stops().await;
    }
    let kinds: Vec<(String, String)> = lines(&path)
        .iter()
        .map(|event| (event["kind"].as_str().unwrap().to_owned(), event["outcome"].as_str().unwrap().to_owned()))
        .collect();
    let of = |kind: &str, outcome: &str| (kind.to_owned(), outcome.to_owned());
    let done = || of("token.regenerate", "done");
    let mut expected = vec![done(), done(), of("call", "refused"), done(), of("call", "refused"), done(), done()];
    // An act may be told before a call that came before it.
    let (mut found, mut wanted) = (kinds.clone(), std::mem::take(&mut expected));
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(repeated(&lines(&path)), 0);
}

#[tokio::test]
async fn what_was_removed_before_it_could_be_delivered_is_told() {
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.jsonl");
    let sink = sink(SinkKind::File(path.clone()));
    let log = |shard: u16| format!("{{{}:a{shard}}}:log", app.prefix);
    let trim = |key: String, kept: &'static str| {
        let redis = Arc::clone(&app.redis);
        async move { redis.run::<u64>(&["XTRIM", &key, "MAXLEN", kept]).await }
    };
    history(&app, 4).await;
    let before = written(&app).await.len();
    let delivering = Delivering::of(&app, &sink);
    in_time("all is there", || lines(&path).len() >= before).await;
    // What was delivered may go.
    for shard in 0..4 {
        trim(log(shard), "0").await;
    }
    trim(app.key("acts"), "0").await;
    history(&app, 2).await;
    let after = before + written(&app).await.len();
    in_time("all is there", || lines(&path).len() >= after).await;
    assert!(lines(&path).iter().all(|line| line["kind"] != "sink.missed"));
    delivering.stops().await;
    // What was not delivered is missed.
    history(&app, 4).await;
    let mut gone = 0;
    for shard in 0..4 {
        gone += trim(log(shard), "2").await;
    }
    let of_acts = trim(app.key("acts"), "0").await;
    let read = |line: &Value| (line["stream"] == "acts", line["entries"].as_u64().unwrap_or_default());
    let delivering = Delivering::of(&app, &sink);
    let told = || lines(&path).iter().filter(|line| line["kind"] == "sink.missed").map(read).collect::<Vec<_>>();
    in_time("it is told", || told().len() == 2).await;
    history(&app, 1).await;
    let kept = ids(&written(&app).await.iter().map(|event| serde_json::to_value(event).unwrap()).collect::<Vec<_>>());
    in_time("what is kept is there", || ids(&lines(&path)).is_superset(&kept)).await;
    delivering.stops().await;
    // Of the entries that were trimmed some were delivered before.
    let told = told();
    let missed: u64 = told.iter().map(|(_, entries)| entries).sum();
    assert!(told.iter().any(|(is_of_acts, entries)| *is_of_acts && *entries > 0 && *entries <= of_acts), "{told:?}");
    assert!(missed <= gone + of_acts && missed > of_acts / 2, "{told:?} of {gone} and {of_acts}");
    assert_eq!(count(&app, "missed_entries_total"), missed);
}

#[tokio::test]
async fn nothing_that_lies_in_the_store_makes_two_lines_of_one() {
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.jsonl");
    let delivering = Delivering::of(&app, &sink(SinkKind::File(path.clone())));
    let mut event = Event::new(countermark::clock::Clock::now(&SystemClock), "call", Outcome::Allowed);
    event.node = "x\",\"outcome\":\"done\"}\n{\"forged\":1".into();
    let line = serde_json::to_string(&event).unwrap();
    let log = format!("{{{}:a0}}:log", app.prefix);
    app.redis.run::<String>(&["XADD", &log, "*", "b", "", "e", &line]).await;
    in_time("it is there", || lines(&path).iter().any(|line| line["node"] == event.node.as_str())).await;
    assert!(lines(&path).iter().all(|line| line.get("forged").is_none()));
    delivering.stops().await;
}

#[tokio::test]
async fn whoever_lost_a_sink_to_another_issuer_does_not_move_it_back() {
    let app = App::start().await;
    let store = &app.store;
    let first = store.first_of_sink(true).await.unwrap();
    assert!(!store.move_sink("one", "a", &first).await.unwrap(), "nobody holds it");
    assert!(store.hold_sink("one", "a", Duration::from_secs(10)).await.unwrap());
    assert!(!store.hold_sink("one", "b", Duration::from_secs(10)).await.unwrap());
    assert!(store.move_sink("one", "a", &first).await.unwrap());
    store.hold_sink("one", "a", Duration::ZERO).await.unwrap();
    assert!(store.hold_sink("one", "b", Duration::from_secs(10)).await.unwrap());
    assert!(!store.move_sink("one", "a", &first).await.unwrap(), "it is another's");
    assert_eq!(store.sink_cursor("one").await.unwrap(), Some(first.clone()));
    // Nor in another dataset.
    let meta = app.key("meta");
    app.redis.run::<u64>(&["HSET", &meta, "dataset", "another"]).await;
    assert!(!store.move_sink("one", "b", &first).await.unwrap());
    assert!(store.hold_sink("two", "a", Duration::from_secs(10)).await.is_err());
    app.redis.run::<u64>(&["HSET", &app.key("sinks"), "one", "{}"]).await;
    assert!(store.sink_cursor("one").await.is_err(), "what can't be read is no new sink");
}
