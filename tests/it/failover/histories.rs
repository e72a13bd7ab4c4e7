//! R2, S1: random histories of two issuers over two failovers, each to a server that lacks the last changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::{Issuers, acts};
use crate::app::{App, Setup, claims_of, eventually};
use crate::redis_server::RedisServer;
use crate::wire::{Sent, Wire};

const ACCOUNTS: [&str; 2] = ["ci", "build"];

#[derive(Debug, Clone, Copy)]
enum What {
    Regenerate,
    Overlap,
    Revoke,
    Disable,
    Enable,
    Delete,
}

/// By which of the two issuers, upon which account.
#[derive(Debug, Clone, Copy)]
struct Step(bool, usize, What);

/// Until the next failover.
#[derive(Debug, Clone)]
struct Reign {
    /// What the promoted server has.
    kept: Vec<Step>,
    /// What it lacks.
    lost: Vec<Step>,
    /// What the second issuer does on the old server, which goes on as another one, when the first has moved.
    cut_off: Vec<Step>,
    /// Who comes first to the promoted server.
    second_first: bool,
    /// The other one is declared gone in the middle of its raise.
    forgotten: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        5 => Just(What::Regenerate),
        2 => Just(What::Overlap),
        3 => Just(What::Revoke),
        2 => Just(What::Disable),
        2 => Just(What::Enable),
        1 => Just(What::Delete),
    ];
    (any::<bool>(), 0..ACCOUNTS.len(), what).prop_map(|(by, account, what)| Step(by, account, what))
}

fn reign() -> impl Strategy<Value = Reign> {
    let steps = |most| proptest::collection::vec(step(), 0..most);
    (steps(3), steps(5), steps(3), any::<bool>(), any::<bool>()).prop_map(
        |(kept, lost, cut_off, second_first, forgotten)| Reign { kept, lost, cut_off, second_first, forgotten },
    )
}

/// What was confirmed of one account.
#[derive(Debug, Default)]
struct Told {
    /// All its tokens, and whether they are dead.
    tokens: Vec<(String, bool)>,
    generation: u64,
    disabled: bool,
    deleted: bool,
    at_copy: AtCopy,
}

/// What was so when the server that is promoted was copied, and since.
#[derive(Debug, Default)]
struct AtCopy {
    /// Its tokens then, and whether they were let in.
    let_in: Vec<bool>,
    disabled: bool,
    /// Which issuers have changed the account since: the second?
    changed_by: BTreeSet<bool>,
}

#[derive(Default)]
struct World {
    told: BTreeMap<&'static str, Told>,
    /// Generation and token of everything that was ever issued.
    issued: BTreeSet<(String, u64, String)>,
}

impl World {
    fn was_issued(&mut self, name: &'static str, token: &str) {
        let claims = claims_of(token);
        let told = self.told.get_mut(name).unwrap();
        let generation = claims["gen"].as_u64().unwrap();
        assert!(generation > told.generation, "S1: {name} {generation}");
        told.generation = generation;
        told.tokens.push((token.to_owned(), false));
        let jti = claims["jti"].as_str().unwrap().to_owned();
        assert!(self.issued.insert((name.to_owned(), generation, jti)), "S1: the same token twice");
    }

    /// Another server is a copy of this one from now on.
    async fn is_copied(&mut self, app: &App) {
        for told in self.told.values_mut() {
            let mut let_in = Vec::new();
            for (token, _) in &told.tokens {
                let_in.push(app.bearer(token).verdict().await == "allowed");
            }
            told.at_copy = AtCopy { let_in, disabled: told.disabled, changed_by: BTreeSet::new() };
        }
    }

    async fn play(&mut self, (app, is_second): (&App, bool), account: usize, what: What) {
        let name = ACCOUNTS[account];
        let (admin, path) = (app.admin(), format!("/accounts/{name}"));
        let answer = match what {
            What::Regenerate | What::Overlap => {
                let overlap = if matches!(what, What::Overlap) { 3600 } else { 0 };
                let body = json!({ "valid_for_months": 12, "overlap_seconds": overlap });
                admin.send("POST", &format!("{path}/token"), Some(body)).await
            }
            What::Revoke => admin.send("DELETE", &format!("{path}/token"), None).await,
            What::Disable => admin.send("PATCH", &path, Some(json!({ "status": "disabled" }))).await,
            What::Enable => admin.send("PATCH", &path, Some(json!({ "status": "active" }))).await,
            What::Delete => admin.send("DELETE", &path, None).await,
        };
        if !answer.status.is_success() {
            // A disabled account gets no token; a deleted one is not there.
            assert!([404, 409].contains(&answer.status.as_u16()), "{what:?}: {answer:?}");
            return;
        }
        let told = self.told.get_mut(name).unwrap();
        told.at_copy.changed_by.insert(is_second);
        let all_but = |told: &mut Told, kept: usize| {
            let ended = told.tokens.len().saturating_sub(kept);
            told.tokens[..ended].iter_mut().for_each(|(_, dead)| *dead = true);
        };
        match what {
            What::Regenerate => {
                all_but(told, 0);
                self.was_issued(name, &answer.text_of("token"));
            }
            What::Overlap => {
                all_but(told, 1);
                self.was_issued(name, &answer.text_of("token"));
            }
            What::Revoke => all_but(told, 0),
            What::Disable => told.disabled = true,
            What::Enable => told.disabled = false,
            What::Delete => {
                all_but(told, 0);
                told.deleted = true;
            }
        }
    }

    /// Nothing that was ended is good here.
    async fn check(&self, app: &App, when: &str) {
        for (name, told) in &self.told {
            for (number, (token, dead)) in told.tokens.iter().enumerate() {
                let verdict = app.bearer(token).verdict().await;
                let ended = *dead || told.disabled || told.deleted;
                assert!(!ended || verdict != "allowed", "{when}: token {number} of {name}: {told:?}");
            }
        }
    }

    /// What nobody ended is good here: of an account that lost nothing, and of one whose lost changes one issuer alone has made, in the
    /// order in which it made them.
    async fn check_living(&self, app: &App, when: &str) {
        for (name, told) in &self.told {
            let at_copy = &told.at_copy;
            for (number, (token, dead)) in told.tokens.iter().enumerate() {
                let was_let_in = at_copy.let_in.get(number);
                let is_let_in = app.bearer(token).verdict().await == "allowed";
                match at_copy.changed_by.len() {
                    0 => assert_eq!(Some(&is_let_in), was_let_in, "{when}: token {number} of {name}: {told:?}"),
                    1 if !at_copy.disabled && !told.disabled && !told.deleted && !dead => {
                        assert!(is_let_in || was_let_in == Some(&false), "{when}: token {number} of {name}: {told:?}");
                    }
                    _ => {}
                }
            }
        }
    }

    async fn check_served(&self, app: &App, when: &str) {
        eventually("it serves", || async { app.store.meet_again().await.is_ok() }).await;
        self.check(app, when).await;
        self.check_living(app, when).await;
        for (name, told) in self.told.iter().filter(|(_, told)| !told.deleted) {
            let generation = app.look(name).await["generation"].as_u64().unwrap();
            assert!(generation >= told.generation, "{when}: S1: {name} {generation}: {told:?}");
        }
    }
}

/// The issuer comes to the server of the other one, which declares it gone when it has made up for something there, and is not told so
/// yet; or, if it has nothing to make up for, when it is there.
async fn forgotten(issuers: &Issuers, name: &'static str, other: &App) -> (App, Wire) {
    let way = Wire::to(&other.redis);
    let raised = || async { acts(other, "store.raise").await.len() };
    let (before, held) = (raised().await, way.hold(Sent::Change));
    let coming = Setup { store: Some(way.socket()), ..issuers.setup(name, &other.redis) };
    let coming = tokio::spawn(App::with(coming));
    let mut through = 0;
    loop {
        eventually("it has come or changed something", || async { coming.is_finished() || held.answers() > through })
            .await;
        if coming.is_finished() || raised().await > before {
            break;
        }
        // Redis did not know the script.
        through += 1;
        held.let_through(through);
    }
    other.authority.forget_issuer(name).await.unwrap();
    held.release();
    (coming.await.unwrap(), way)
}

/// One of the two, and which.
fn by(second: bool, (one, two): &(App, App)) -> (&App, bool) {
    (if second { two } else { one }, second)
}

async fn history(reigns: Vec<Reign>) {
    let (issuers, one) = Issuers::begin("one").await;
    let mut world = World::default();
    for name in ACCOUNTS {
        let account = one.account(name, &[]).await;
        world.told.insert(name, Told::default());
        world.was_issued(name, account.token());
    }
    let mut redis: Arc<RedisServer> = Arc::clone(&one.redis);
    let two = issuers.start("two", &redis).await;
    let (mut apps, mut ways) = ((one, two), Vec::new());
    for (number, reign) in reigns.into_iter().enumerate() {
        for Step(second, account, what) in reign.kept {
            world.play(by(second, &apps), account, what).await;
        }
        let promoted = redis.copy().await;
        world.is_copied(&apps.0).await;
        for Step(second, account, what) in reign.lost {
            world.play(by(second, &apps), account, what).await;
        }
        let (mut one, mut two) = apps;
        if reign.second_first {
            std::mem::swap(&mut one, &mut two);
        }
        let (first, last) = if reign.second_first { ("two", "one") } else { ("one", "two") };
        // The old server goes on for whoever is still there, in a term that the promoted one begins as well.
        issuers.part(one, &two).await;
        for Step(_, account, what) in reign.cut_off {
            world.play((&two, !reign.second_first), account, what).await;
        }
        let one = issuers.start(first, &promoted).await;
        world.check(&one, &format!("failover {number}, before {last} has come")).await;
        drop(two);
        let two = if reign.forgotten {
            let (two, way) = forgotten(&issuers, last, &one).await;
            ways.push(way);
            two
        } else {
            issuers.start(last, &promoted).await
        };
        world.check_served(&one, &format!("failover {number}, at {first}")).await;
        world.check_served(&two, &format!("failover {number}, at {last}")).await;
        apps = if reign.second_first { (two, one) } else { (one, two) };
        redis = promoted;
    }
}

#[test]
fn r2_s1_no_history_of_two_issuers_over_two_failovers_brings_back_what_was_ended() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases = if std::env::var_os("COUNTERMARK_TEST_LONG").is_some() { 200 } else { 10 };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        max_shrink_iters: 30,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&proptest::collection::vec(reign(), 2), |reigns| {
            runtime.block_on(history(reigns));
            Ok(())
        })
        .unwrap();
}
