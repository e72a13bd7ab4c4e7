//! Look-ups that go together in one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countermark::account::{AccountId, StateRecord};
use countermark::store::StoreError;
use countermark::verify::freshness::LookedUp;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Pair, regenerating};
use crate::app::{Actor, App, Setup, a_clock, eventually};
use crate::redis_server::RedisServer;
use crate::wire::{Held, Sent, Wire};

type Asked = JoinHandle<Result<LookedUp, StoreError>>;

/// So many calls may be under way at once.
const CALLS: u64 = 2;

fn id(account: &Actor) -> AccountId {
    account.id.parse().unwrap()
}

fn ask(app: &App, account: AccountId) -> Asked {
    let store = Arc::clone(&app.store);
    tokio::spawn(async move { store.look_up(account).await })
}

fn generation(found: &LookedUp) -> Option<u64> {
    match &found.record.as_ref()?.record {
        StateRecord::Live(state) => Some(state.generation),
        StateRecord::Deleted(_) => None,
    }
}

/// An app whose way to the store is in our hands, which asks for everything there and at its own pace.
async fn app_on_a_wire(command_timeout: Duration) -> (App, Wire) {
    let redis = RedisServer::start();
    let wire = Wire::to(&redis);
    let store = Some(wire.socket());
    let setup = Setup {
        redis,
        store,
        clock: Some(a_clock()),
        max_staleness: Duration::ZERO,
        command_timeout,
        ..Setup::default()
    };
    (App::with(setup).await, wire)
}

/// As many calls as may be under way, answered and held.
async fn all_under_way(app: &App, wire: &Wire, account: AccountId) -> (Held, Vec<Asked>) {
    let held = wire.hold(Sent::LookUp);
    let mut asked = Vec::new();
    for count in 1..=CALLS {
        asked.push(ask(app, account));
        held.answered(count).await;
    }
    (held, asked)
}

#[tokio::test]
async fn what_is_asked_meanwhile_goes_together_and_each_gets_what_is_its_own() {
    let (app, wire) = app_on_a_wire(Duration::from_secs(10)).await;
    let admin = app.admin();
    let (ci, corrupt) = (app.account("ci", &["jobs:run"]).await, app.account("corrupt", &[]).await);
    let (gone, binary) = (app.account("gone", &[]).await, app.account("binary", &[]).await);
    admin.put("/roles/of-the-team", json!({ "permissions": ["jobs:stop"] }), 201).await;
    admin.put("/teams/team", json!({}), 201).await;
    let member = app.account("member", &[]).await;
    admin.patch("/accounts/member", json!({ "teams": { "team": "of-the-team" } }), 200).await;
    admin.put("/roles/unreadable", json!({ "permissions": ["jobs:stop"] }), 201).await;
    let of_it = app.account("of-it", &[]).await;
    admin.patch("/accounts/of-it", json!({ "role": "unreadable" }), 200).await;
    admin.delete("/accounts/gone", 200).await;
    app.redis.run::<()>(&["HSET", &app.key("roles"), "unreadable", "1-1 {"]).await;
    app.redis.run::<()>(&["SET", &app.state_key(&corrupt.id), "1-1 {\"r\":\"ci-role\",\"u\""]).await;
    // No text at all.
    app.redis
        .run::<()>(&["EVAL", "redis.call('SET', KEYS[1], '1-1 \\255\\254')", "1", &app.state_key(&binary.id)])
        .await;

    let (held, first) = all_under_way(&app, &wire, id(&ci)).await;
    let unknown = AccountId::new(countermark::clock::Clock::now(&countermark::clock::SystemClock));
    let wanted = [id(&ci), id(&corrupt), unknown, id(&gone), id(&binary), id(&member), id(&of_it), id(&ci)];
    let asked = wanted.map(|account| ask(&app, account));
    tokio::task::yield_now().await;
    assert_eq!(held.seen(), CALLS, "they wait");
    held.let_through(1);
    held.sent(CALLS + 1).await;
    held.let_through(u64::MAX);
    let mut found = Vec::new();
    for asked in asked {
        found.push(asked.await.unwrap());
    }
    assert_eq!(held.seen(), CALLS + 1, "one call for all of them");
    let [ci, corrupt, unknown, gone, binary, member, of_it, again] = found.try_into().unwrap();
    let ci = ci.unwrap();
    assert_eq!((generation(&ci), ci.roles.len()), (Some(1), 1));
    assert_eq!(ci, again.unwrap());
    let member = member.unwrap();
    let names: Vec<_> = member.roles.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["member-role", "of-the-team"], "its own roles, and no other's");
    assert_eq!(member.place, ci.place);
    assert_eq!(unknown.unwrap().record, None);
    assert!(matches!(gone.unwrap().record.unwrap().record, StateRecord::Deleted(_)));
    for bad in [corrupt, binary, of_it] {
        assert!(matches!(bad, Err(StoreError::Corrupt(_))), "{bad:?}");
    }
    for asked in first {
        assert_eq!(generation(&asked.await.unwrap().unwrap()), Some(1));
    }
}

#[tokio::test]
async fn r1_a_look_up_is_not_answered_by_a_call_that_was_sent_before_it_was_asked_for() {
    let (app, wire) = app_on_a_wire(Duration::from_secs(10)).await;
    let ci = app.account("ci", &[]).await;
    let (held, first) = all_under_way(&app, &wire, id(&ci)).await;
    let other = App::with(super::joining(&app, Setup::default())).await;
    let receipt = regenerating(&other, &ci).await;
    let later = ask(&app, id(&ci));
    held.let_through(CALLS);
    held.sent(CALLS + 1).await;
    held.release();
    assert_eq!(generation(&later.await.unwrap().unwrap()), Some(2));
    for asked in first {
        assert_eq!(generation(&asked.await.unwrap().unwrap()), Some(1), "this is what was known then");
    }
    receipt.await.unwrap().expect(201);
}

#[tokio::test]
async fn who_gives_up_takes_nobody_along_and_is_not_asked_for() {
    let (app, wire) = app_on_a_wire(Duration::from_secs(10)).await;
    let ci = app.account("ci", &[]).await;
    let (held, mut first) = all_under_way(&app, &wire, id(&ci)).await;
    let impatient = ask(&app, id(&ci));
    tokio::task::yield_now().await;
    for given_up in [impatient, first.remove(0)] {
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
    }
    held.let_through(CALLS);
    assert_eq!(generation(&first.remove(0).await.unwrap().unwrap()), Some(1));
    held.let_through(u64::MAX);
    // Those that come after go at once, as ever.
    for _ in 0..3 {
        assert_eq!(generation(&ask(&app, id(&ci)).await.unwrap().unwrap()), Some(1));
    }
    assert_eq!(held.seen(), CALLS + 3, "no call for nobody");
}

#[tokio::test]
async fn an_error_goes_to_everybody_of_its_call() {
    let (app, wire) = app_on_a_wire(Duration::from_secs(10)).await;
    let ci = app.account("ci", &[]).await;
    let (held, first) = all_under_way(&app, &wire, id(&ci)).await;
    let asked: Vec<_> = (0..10).map(|_| ask(&app, id(&ci))).collect();
    tokio::task::yield_now().await;
    app.redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    held.release();
    for asked in first {
        assert_eq!(generation(&asked.await.unwrap().unwrap()), Some(1), "answered before");
    }
    for asked in asked {
        let answer = asked.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn waiting_to_be_sent_counts_as_much_as_being_under_way() {
    let timeout = Duration::from_millis(600);
    let (app, wire) = app_on_a_wire(timeout).await;
    let ci = app.account("ci", &[]).await;
    let (held, first) = all_under_way(&app, &wire, id(&ci)).await;
    let (began, asked) = (Instant::now(), ask(&app, id(&ci)));
    eventually("half the time is over", || async { began.elapsed() > timeout / 2 }).await;
    held.let_through(CALLS);
    held.sent(CALLS + 1).await;
    assert!(matches!(asked.await.unwrap(), Err(StoreError::Unavailable(_))));
    // Its call has as long again; it has not.
    assert!(began.elapsed() < timeout * 5 / 4, "{:?}", began.elapsed());
    for asked in first {
        assert_eq!(generation(&asked.await.unwrap().unwrap()), Some(1));
    }
}

#[tokio::test]
async fn more_than_can_wait_are_refused_at_once() {
    let (app, wire) = app_on_a_wire(Duration::from_secs(10)).await;
    let ci = app.account("ci", &[]).await;
    let (held, first) = all_under_way(&app, &wire, id(&ci)).await;
    let asked: Vec<_> = (0..8192 + 1).map(|_| ask(&app, id(&ci))).collect();
    eventually("one too many is refused", || async { asked.iter().any(JoinHandle::is_finished) }).await;
    held.release();
    let mut refused = 0;
    for asked in asked {
        match asked.await.unwrap() {
            Ok(found) => assert_eq!(generation(&found), Some(1)),
            Err(error) => {
                assert!(error.to_string().contains("too many"), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((refused, first.len()), (1, 2));
}

#[tokio::test]
async fn f6_all_of_a_call_see_that_another_server_answered_it() {
    let pair = Pair::start().await;
    let other = pair.issuer.account("other", &[]).await;
    let copy = pair.redis.copy().await;
    let there = App::with(Setup { redis: Arc::clone(&copy), ..super::joining(&pair.issuer, Setup::default()) }).await;
    let (held, first) = all_under_way(&pair.node, &pair.wire, id(&pair.ci)).await;
    let known = first.len();
    let asked =
        [id(&pair.ci), id(&other), AccountId::new(countermark::clock::Clock::now(&countermark::clock::SystemClock))]
            .map(|account| ask(&pair.node, account));
    tokio::task::yield_now().await;
    pair.wire.rehome(Sent::LookUp, &copy);
    held.let_through(CALLS);
    held.sent(CALLS + 1).await;
    held.release();
    let before = first.into_iter().next().unwrap().await.unwrap().unwrap().place.identity;
    assert_eq!(known, 2);
    for asked in asked {
        let now = asked.await.unwrap().unwrap().place.identity;
        assert_ne!(now, before);
        assert_eq!(now, there.store.look_up(id(&other)).await.unwrap().place.identity);
    }
}
