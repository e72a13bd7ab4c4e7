//! S3: where several levels disagree the most restrictive wins, in whatever order they were set.

use proptest::prelude::*;
use proptest::sample::select;

use super::scene::NOW;
use super::*;
use crate::account::{Previous, StateRecord, Status, Tombstone};
use crate::token::TokenId;

/// How the account's state stands to the token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    Current,
    Overlapping,
    OverlapEnded,
    Superseded,
    Forged,
    Revoked,
    Ahead,
}

/// Where the account's roles grant what is demanded.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Granted {
    Everywhere,
    InTheTeam,
    Nowhere,
}

#[derive(Debug, Clone, Copy)]
struct Levels {
    key: KeyState,
    there: bool,
    status: Status,
    relation: Relation,
    network: Option<bool>,
    bound: bool,
    granted: Granted,
    in_team: bool,
}

impl Levels {
    fn all_allow(&self) -> bool {
        self.key.is_published()
            && self.there
            && self.status == Status::Active
            && matches!(self.relation, Relation::Current | Relation::Overlapping)
            && self.network != Some(false)
            && !self.bound
            && match self.granted {
                Granted::Everywhere => true,
                Granted::InTheTeam => self.in_team,
                Granted::Nowhere => false,
            }
    }

    /// Sets one level; there are [`Levels::COUNT`].
    fn set(&self, scene: &mut Scene, nth: usize) {
        let (generation, token_id) = (scene.claims.generation, scene.claims.token_id);
        match nth {
            0 => scene.key_state(self.key),
            1 => scene.state(|state| state.status = self.status),
            2 => match self.relation {
                Relation::Current => {}
                Relation::Overlapping => scene.regenerate(Some(NOW + 1)),
                Relation::OverlapEnded => scene.regenerate(Some(NOW)),
                Relation::Superseded => scene.regenerate(None),
                Relation::Forged => scene.state(|state| state.token_id = Some(TokenId::of_jti("the true one"))),
                Relation::Revoked => scene.state(|state| state.token_id = None),
                Relation::Ahead => scene.state(|state| {
                    state.generation = generation - 1;
                    state.previous = Some(Previous { generation: generation - 2, token_id, ends_at: NOW + 1 });
                }),
            },
            3 => scene.state(|state| {
                state.allowed_networks = match self.network {
                    None => vec![],
                    Some(true) => vec!["192.0.2.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
                    Some(false) => vec!["192.0.2.0/24".parse().unwrap()],
                };
            }),
            4 => scene.state(|state| state.binding = self.bound.then(|| Binding::Key("a".to_owned()))),
            5 => {
                let grants =
                    |on: bool| std::sync::Arc::new(if on { ["jobs:run".parse().unwrap()].into() } else { [].into() });
                let roles = &mut scene.snapshot().roles;
                roles.insert("deployer".parse().unwrap(), grants(self.granted == Granted::Everywhere));
                roles.insert("releaser".parse().unwrap(), grants(self.granted == Granted::InTheTeam));
            }
            _ => {
                scene.demand.permission = Some("jobs:run".parse().unwrap());
                scene.demand.team = self.in_team.then(|| "payments".parse().unwrap());
            }
        }
    }

    const COUNT: usize = 7;

    fn scene(&self, order: &[usize]) -> Scene {
        let mut scene = Scene::new();
        order.iter().for_each(|nth| self.set(&mut scene, *nth));
        if !self.there {
            scene.snapshot().record = None;
        }
        scene
    }
}

fn levels() -> impl Strategy<Value = Levels> {
    // Weighted towards what allows, so that acceptances are not rare.
    let key = prop_oneof![
        6 => select(vec![KeyState::Pending, KeyState::Active, KeyState::Retiring]),
        1 => select(vec![KeyState::Retired, KeyState::Revoked]),
    ];
    let status = prop_oneof![6 => Just(Status::Active), 1 => Just(Status::Disabled)];
    let relation = prop_oneof![
        5 => select(vec![Relation::Current, Relation::Overlapping]),
        1 => select(vec![
            Relation::OverlapEnded, Relation::Superseded, Relation::Forged, Relation::Revoked, Relation::Ahead,
        ]),
    ];
    let network = prop_oneof![6 => select(vec![None, Some(true)]), 1 => Just(Some(false))];
    let granted = prop_oneof![
        6 => select(vec![Granted::Everywhere, Granted::InTheTeam]),
        1 => Just(Granted::Nowhere),
    ];
    let rarely = || prop_oneof![8 => Just(false), 1 => Just(true)];
    (key, rarely(), status, relation, network, rarely(), granted, any::<bool>()).prop_map(
        |(key, gone, status, relation, network, bound, granted, in_team)| Levels {
            key,
            there: !gone,
            status,
            relation,
            network,
            bound,
            granted,
            in_team,
        },
    )
}

fn order() -> impl Strategy<Value = Vec<usize>> {
    Just((0..Levels::COUNT).collect::<Vec<_>>()).prop_shuffle()
}

type Restriction = (&'static str, fn(&mut Scene));

/// Whatever may be done to take something away.
const RESTRICTIONS: [Restriction; 14] = [
    ("retire the key", |scene| {
        if scene.source.keys.iter().all(|key| key.state != KeyState::Revoked) {
            scene.key_state(KeyState::Retired);
        }
    }),
    ("revoke the key", |scene| scene.key_state(KeyState::Revoked)),
    ("revoke the key, unnoticed", |scene| {
        scene.source.stored_keys = scene.key_set(2, KeyState::Revoked);
        scene.snapshot().keys_version = 2;
    }),
    ("disable", |scene| scene.state(|state| state.status = Status::Disabled)),
    ("delete", |scene| {
        let tombstone = Tombstone { username: "ci-deploy".parse().unwrap(), generation: 9, deleted_at: NOW };
        scene.snapshot().record = Some(StateRecord::Deleted(tombstone).into());
    }),
    ("lose the record", |scene| scene.snapshot().record = None),
    ("regenerate", |scene| {
        scene.state(|state| {
            state.generation += 1;
            state.token_id = Some(TokenId::of_jti("newer still"));
            state.previous = None;
        });
    }),
    ("revoke", |scene| {
        scene.state(|state| {
            state.token_id = None;
            state.previous = None;
        });
    }),
    ("end the overlap", |scene| scene.state(|state| state.previous = None)),
    ("narrow the networks", |scene| {
        scene.state(|state| state.allowed_networks = vec!["198.51.100.0/24".parse().unwrap()]);
    }),
    ("bind", |scene| scene.state(|state| state.binding = Some(Binding::Certificate("b".to_owned())))),
    ("empty the roles", |scene| scene.snapshot().roles.values_mut().for_each(|grants| *grants = Default::default())),
    ("delete the roles", |scene| scene.snapshot().roles.clear()),
    ("leave the teams", |scene| scene.state(|state| state.teams.clear())),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn s3_a_token_is_good_only_if_every_level_allows_it_in_whatever_order_they_were_set(
        levels in levels(), one in order(), another in order(),
    ) {
        let reason = levels.scene(&one).reason();
        prop_assert_eq!(reason.is_none(), levels.all_allow(), "{:?}", reason);
        prop_assert_eq!(levels.scene(&another).reason(), reason);
    }

    #[test]
    fn s3_no_restriction_turns_a_refusal_into_an_acceptance(
        levels in levels(), order in order(), more in proptest::collection::vec(0..RESTRICTIONS.len(), 1..4),
    ) {
        let mut scene = levels.scene(&order);
        let mut refused = scene.reason().is_some();
        for nth in more {
            let (name, restrict) = RESTRICTIONS[nth];
            restrict(&mut scene);
            let now_refused = scene.reason().is_some();
            prop_assert!(!refused || now_refused, "{} made it good", name);
            refused = now_refused;
        }
    }
}

/// Each of them is one: it takes the good token of its kind away.
#[test]
fn s3_every_restriction_restricts() {
    for (name, restrict) in RESTRICTIONS {
        let mut scene = Scene::new();
        scene.regenerate(Some(NOW + 60));
        scene.demand.permission = Some("releases:publish".parse().unwrap());
        scene.demand.team = Some("payments".parse().unwrap());
        assert_eq!(scene.reason(), None);
        restrict(&mut scene);
        assert!(scene.reason().is_some(), "{name}");
    }
}
