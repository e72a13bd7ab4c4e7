//! A raise that is broken off in its middle is begun again, and never taken for done.

use std::sync::Arc;

use countermark::authority::{Metrics, Upkeep};
use countermark::clock::Clock;
use countermark::store::StoreError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Issuers, acts, serves};
use crate::app::{Actor, App, ISSUER, Setup, eventually};
use crate::redis_server::RedisServer;
use crate::wire::{Held, Sent, Wire};

const NAMES: [&str; 4] = ["ci", "build", "deploy", "backup"];

/// Two issuers, of which the second has revoked what the promoted server, at which the first waits for it, still takes for good.
struct Scene {
    issuers: Arc<Issuers>,
    /// The server that both had; it goes on.
    left: Arc<RedisServer>,
    promoted: Arc<RedisServer>,
    one: App,
    revoked: Vec<Actor>,
}

impl Scene {
    async fn begin() -> Self {
        let (issuers, one) = Issuers::begin("one").await;
        let two = issuers.start("two", &one.redis).await;
        let mut revoked = Vec::new();
        for name in NAMES {
            revoked.push(one.account(name, &[]).await);
        }
        let (left, promoted) = (Arc::clone(&one.redis), one.redis.copy().await);
        for name in NAMES {
            two.admin().delete(&format!("/accounts/{name}/token"), 200).await;
        }
        drop((one, two));
        let one = issuers.start("one", &promoted).await;
        Self { issuers: Arc::new(issuers), left, promoted, one, revoked }
    }

    /// As the second one comes to the promoted server, if on this way.
    fn second(&self, wire: &Wire) -> Setup {
        Setup { store: Some(wire.socket()), ..self.issuers.setup("two", &self.promoted) }
    }

    /// The second one comes. When this returns it has made up for one of its revocations, and has not been told so yet.
    async fn half_done(&self, wire: &Wire) -> (JoinHandle<App>, Held) {
        let held = wire.hold(Sent::Change);
        let coming = tokio::spawn(App::with(self.second(wire)));
        held.answered(1).await;
        if acts(&self.one, "store.raise").await.is_empty() {
            // Redis did not know the script.
            held.let_through(1);
            held.answered(2).await;
        }
        assert_eq!(acts(&self.one, "store.raise").await.len(), 1);
        (coming, held)
    }

    async fn all_are_revoked(&self, at: &App) {
        for actor in &self.revoked {
            assert_eq!(at.bearer(actor.token()).verdict().await, "revoked");
        }
        assert_eq!(acts(at, "store.raise").await.len(), NAMES.len(), "each once");
    }
}

#[tokio::test]
async fn r2_an_issuer_that_is_declared_gone_in_the_middle_of_its_raise_makes_up_for_all_that_it_knows() {
    let scene = Scene::begin().await;
    let wire = Wire::to(&scene.promoted);
    let (coming, held) = scene.half_done(&wire).await;
    scene.one.authority.forget_issuer("two").await.unwrap();
    held.release();
    let two = coming.await.unwrap();
    scene.all_are_revoked(&two).await;
    scene.all_are_revoked(&scene.one).await;
    let known = scene.one.store.issuers().await.unwrap();
    assert_eq!(known.iter().map(|issuer| issuer.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn r2_an_issuer_that_is_led_elsewhere_and_back_in_the_middle_of_its_raise_makes_up_for_all_that_it_knows() {
    let scene = Scene::begin().await;
    let elsewhere = scene.promoted.copy().await;
    let wire = Wire::to(&scene.promoted);
    let (coming, held) = scene.half_done(&wire).await;
    wire.rehome(Sent::Change, &elsewhere);
    // Whatever it does there, it comes back with it.
    wire.rehome(Sent::Meeting, &scene.promoted);
    wire.rehome(Sent::Raised, &scene.promoted);
    held.release();
    let two = coming.await.unwrap();
    scene.all_are_revoked(&two).await;
    scene.all_are_revoked(&scene.one).await;
    assert!(wire.is_rehomed());
}

/// The old primary has what the promoted server lacks.
#[tokio::test]
async fn r2_what_is_found_to_lack_nothing_at_another_server_is_not_taken_for_raised() {
    let scene = Scene::begin().await;
    let wire = Wire::to(&scene.promoted);
    let (setup, stop) = (scene.second(&wire), CancellationToken::new());
    let clock: Arc<dyn Clock> = Arc::clone(&scene.one.clock) as _;
    let store = Arc::new(setup.open_store(Arc::clone(&clock), &stop));
    store.connected().await;
    let held = wire.hold(Sent::Table);
    let coming = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { setup.begin(store, clock, Arc::new(Metrics::new()), "two").await.is_ok() })
    };
    held.answered(1).await;
    wire.rehome(Sent::Accounts, &scene.left);
    held.release();
    assert!(!coming.await.unwrap());
    assert!(wire.is_rehomed());
    stop.cancel();
    drop(store);
    assert!(scene.one.store.meet_again().await.is_err(), "it waits");
    let two = scene.issuers.start("two", &scene.promoted).await;
    scene.all_are_revoked(&two).await;
    eventually("the first is served too", || async { scene.one.store.meet_again().await.is_ok() }).await;
}

/// A command on the machine of an issuer writes to its journal as well.
#[tokio::test]
async fn r2_what_was_found_to_lack_before_more_was_is_not_taken_for_all_of_it() {
    let scene = Scene::begin().await;
    let later = scene.one.bearer(scene.revoked[0].token());
    let stop = CancellationToken::new();
    let store = scene.issuers.setup("two", &scene.promoted).open_store(Arc::clone(&scene.one.clock) as _, &stop);
    store.connected().await;
    store.meet("", None, ISSUER, &[]).await.unwrap();
    let earlier = store.to_raise().unwrap();
    let two = scene.issuers.start("two", &scene.left).await;
    two.admin().delete("/accounts/ci", 200).await;
    drop(two);
    store.look_again().await.unwrap();
    let told = store.has_raised(&earlier).await;
    assert!(matches!(told, Err(StoreError::Unmet)), "{told:?}");
    assert!(store.to_raise().is_some());
    stop.cancel();
    drop(store);
    scene.issuers.start("two", &scene.promoted).await;
    eventually("it serves", || async { scene.one.store.meet_again().await.is_ok() }).await;
    assert_eq!(later.verdict().await, "unknown_account");
}

/// What it makes up for is in the journal, whether or not anything can be written there now.
#[tokio::test]
async fn r2_a_promoted_server_is_raised_and_serves_while_the_journal_takes_no_entries() {
    let (issuers, one) = Issuers::begin("one").await;
    let (ci, build) = (one.account("ci", &[]).await, one.account("build", &[]).await);
    let (left, promoted, older) = (Arc::clone(&one.redis), one.redis.copy().await, one.redis.copy().await);
    drop(one);
    let wire = Wire::to(&left);
    let one = App::with(Setup { store: Some(wire.socket()), ..issuers.setup("one", &left) }).await;
    let stop = CancellationToken::new();
    tokio::spawn(Upkeep::new(Arc::clone(&one.authority)).run(stop.clone()));
    for name in ["ci", "build"] {
        one.admin().delete(&format!("/accounts/{name}/token"), 200).await;
    }
    // Whoever reads can lock it, and whoever writes can not.
    let (lock, away) = (issuers.journal("one").join("lock"), issuers.journal("lock-away"));
    std::fs::rename(&lock, &away).unwrap();
    std::fs::create_dir(&lock).unwrap();
    wire.leads_to(&promoted);
    eventually("it serves", || serves(&one)).await;
    stop.cancel();
    for account in [&ci, &build] {
        assert_eq!(one.bearer(account.token()).verdict().await, "revoked");
    }
    assert!(one.store.journal_trouble().is_some());
    assert_eq!(one.admin().delete("/accounts/ci", 503).await.reason(), "journal_stuck");
    std::fs::remove_dir(&lock).unwrap();
    std::fs::rename(&away, &lock).unwrap();
    drop(one);
    // And once more, where that is lost too.
    let one = issuers.start("one", &older).await;
    for account in [&ci, &build] {
        assert_eq!(one.bearer(account.token()).verdict().await, "revoked");
    }
    one.admin().delete("/accounts/ci", 200).await;
}
