//! S1, S3: random histories of one account, against what they must come to.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::app::{App, claims_of};

#[derive(Debug, Clone, Copy)]
enum Step {
    Regenerate(u64),
    Revoke,
    RevokeByHolder(prop::sample::Index),
    Disable,
    Enable,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = (Vec<Step>, bool)> {
    let step = prop_oneof![
        3 => Just(Step::Regenerate(0)),
        2 => (1_u64..100).prop_map(Step::Regenerate),
        1 => Just(Step::Revoke),
        1 => any::<prop::sample::Index>().prop_map(Step::RevokeByHolder),
        1 => Just(Step::Disable),
        2 => Just(Step::Enable),
        2 => (1_u64..100).prop_map(Step::Wait),
    ];
    (proptest::collection::vec(step, 1..16), any::<bool>())
}

/// What must be: which tokens are good, whether the account is.
#[derive(Default)]
struct Model {
    now: u64,
    active: bool,
    /// Index of the current token.
    current: Option<usize>,
    previous: Option<(usize, u64)>,
}

impl Model {
    fn verdict(&self, token: usize) -> &'static str {
        let overlapping = self.previous.is_some_and(|(previous, end)| previous == token && self.now < end);
        match () {
            () if !self.active => "disabled",
            () if self.current == Some(token) || overlapping => "allowed",
            () if self.current.is_some() => "superseded",
            () => "revoked",
        }
    }
}

async fn play(steps: Vec<Step>, deleted_at_the_end: bool) {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    let mut tokens = vec![ci.token().to_owned()];
    let mut model = Model { active: true, current: Some(0), ..Model::default() };
    let mut generation = 1;
    for step in steps {
        match step {
            Step::Regenerate(overlap) => {
                let body = json!({ "valid_for_months": 12, "overlap_seconds": overlap });
                let answer = admin.post("/accounts/ci/token", body, if model.active { 201 } else { 409 }).await;
                if model.active {
                    model.previous = model.current.filter(|_| overlap > 0).map(|token| (token, model.now + overlap));
                    model.current = Some(tokens.len());
                    tokens.push(answer.text_of("token"));
                }
            }
            Step::Revoke => {
                admin.delete("/accounts/ci/token", 200).await;
                (model.current, model.previous) = (None, None);
            }
            Step::RevokeByHolder(index) => {
                let token = index.index(tokens.len());
                app.nobody().form("/oauth2/revoke", &format!("token={}", tokens[token]), 200).await;
                // A disabled account's token would be good again once it is enabled: it ends all the same.
                let overlapping = model.previous.is_some_and(|(previous, end)| previous == token && model.now < end);
                if model.current == Some(token) {
                    (model.current, model.previous) = (None, None);
                } else if overlapping {
                    model.previous = None;
                }
            }
            Step::Disable => {
                admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
                model.active = false;
            }
            Step::Enable => {
                admin.patch("/accounts/ci", json!({ "status": "active" }), 200).await;
                model.active = true;
            }
            Step::Wait(seconds) => {
                app.clock.advance(Duration::from_secs(seconds));
                model.now += seconds;
            }
        }
        let after = app.look("ci").await["generation"].as_u64().unwrap();
        assert!(after >= generation, "S1: a generation only ever rises");
        generation = after;
        assert_eq!(usize::try_from(generation).unwrap(), tokens.len());
        for (index, token) in tokens.iter().enumerate() {
            assert_eq!(claims_of(token)["gen"], index + 1, "S1: no generation twice");
            assert_eq!(ci.holding(token).verdict().await, model.verdict(index), "{step:?}: token {index}");
        }
    }
    if deleted_at_the_end {
        admin.delete("/accounts/ci", 200).await;
        for token in &tokens {
            assert_eq!(ci.holding(token).verdict().await, "unknown_account");
        }
    }
}

#[test]
fn s1_only_the_tokens_that_should_be_are_good_after_any_history() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&steps(), |(steps, deleted)| {
            runtime.block_on(play(steps, deleted));
            Ok(())
        })
        .unwrap();
}

/// Levels that can refuse, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Status,
    Generation,
    Network,
    Role,
}

#[test]
fn s3_the_most_restrictive_level_wins_in_whatever_order_they_were_set() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let levels = vec![Level::Status, Level::Generation, Level::Network, Level::Role];
    let order = proptest::sample::subsequence(levels, 0..=4).prop_shuffle();
    runner
        .run(&order, |order| {
            runtime.block_on(async {
                let app = App::start().await;
                let admin = app.admin();
                let ci = app.account("ci", &["a:b"]).await;
                for level in &order {
                    match level {
                        Level::Status => admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await,
                        Level::Generation => admin.delete("/accounts/ci/token", 200).await,
                        Level::Network => {
                            admin.patch("/accounts/ci", json!({ "allowed_networks": ["192.0.2.0/24"] }), 200).await
                        }
                        Level::Role => admin.put("/roles/ci-role", json!({ "permissions": ["a:c"] }), 200).await,
                    };
                }
                let expected = match order.iter().min() {
                    None => (200, ""),
                    Some(Level::Status) => (401, "disabled"),
                    Some(Level::Generation) => (401, "revoked"),
                    Some(Level::Network) => (401, "network_not_allowed"),
                    Some(Level::Role) => (403, "insufficient_permission"),
                };
                let answer = ci.door("GET", "/verify?permission=a:b", expected.0).await;
                assert_eq!(answer["reason"].as_str().unwrap_or_default(), expected.1, "{order:?}");
            });
            Ok(())
        })
        .unwrap();
}
