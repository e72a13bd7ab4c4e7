//! The order of contract section 2: a token with several faults is told the first.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::scene::text;
use super::*;
use crate::account::Status;

/// A scene, and what is done by hand to its token.
struct Spoilt {
    scene: Scene,
    header: Vec<(&'static str, &'static str)>,
    duplicate: bool,
    foreign_signature: bool,
    too_long: bool,
}

type Fault = (Reason, fn(&mut Spoilt));

/// In the order in which they are told. `superseded` and `revoked` exclude each other and share a rank.
const FAULTS: [Fault; 17] = [
    (Reason::TooLarge, |it| it.too_long = true),
    (Reason::Malformed, |it| it.duplicate = true),
    (Reason::UnsupportedAlgorithm, |it| it.header.push(("alg", "\"HS256\""))),
    (Reason::UnknownKey, |it| it.header.push(("kid", "\"made up\""))),
    (Reason::BadSignature, |it| it.foreign_signature = true),
    (Reason::RevokedKey, |it| it.scene.key_state(KeyState::Revoked)),
    (Reason::WrongIssuer, |it| it.scene.claims.issuer = "https://elsewhere.example".to_owned()),
    (Reason::WrongAudience, |it| it.scene.demand.audience = Some("mail".parse().unwrap())),
    (Reason::Expired, |it| it.scene.clock.advance(Duration::from_secs(2000))),
    (Reason::NotYetValid, |it| it.scene.claims.issued_at = scene::NOW + 9000),
    (Reason::StoreUnavailable, |it| it.scene.source.state_unavailable = true),
    (Reason::UnknownAccount, |it| it.scene.snapshot().record = None),
    (Reason::Disabled, |it| it.scene.state(|state| state.status = Status::Disabled)),
    (Reason::Superseded, |it| it.scene.regenerate(None)),
    (Reason::BindingMismatch, |it| it.scene.claims.confirmation = Some(Confirmation::Key { jkt: "a".to_owned() })),
    (Reason::NetworkNotAllowed, |it| {
        it.scene.state(|state| state.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()]);
    }),
    (Reason::InsufficientPermission, |it| it.scene.demand.permission = Some("money:print".parse().unwrap())),
];

impl Spoilt {
    fn by(faults: impl IntoIterator<Item = Fault>) -> Self {
        let mut it =
            Self { scene: Scene::new(), header: vec![], duplicate: false, foreign_signature: false, too_long: false };
        faults.into_iter().for_each(|(_, spoil)| spoil(&mut it));
        it
    }

    fn reason(&self) -> Option<Reason> {
        let mut header = self.scene.header();
        for (name, raw) in &self.header {
            header.insert((*name).to_owned(), serde_json::from_str(raw).unwrap());
        }
        let mut payload = text(&self.scene.payload(), "", None);
        if self.duplicate {
            payload = payload.replacen('{', r#"{"gen":3,"#, 1);
        }
        let mut token = self.scene.sign(&text(&header, "", None), &payload);
        if self.foreign_signature {
            let (signed, _) = token.rsplit_once('.').unwrap();
            let (_, foreign) =
                self.scene.sign("", "").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            token = format!("{signed}.{foreign}");
        }
        if self.too_long {
            token.push_str(&"A".repeat(4096));
        }
        self.scene.reason_for(&token)
    }
}

#[test]
fn without_a_fault_the_token_is_good() {
    assert_eq!(Spoilt::by([]).reason(), None);
}

#[test]
fn each_fault_alone_has_its_reason() {
    for fault in FAULTS {
        assert_eq!(Spoilt::by([fault]).reason(), Some(fault.0));
    }
}

#[test]
fn of_two_faults_the_first_is_told() {
    for (nth, first) in FAULTS.into_iter().enumerate() {
        for second in FAULTS.into_iter().skip(nth + 1) {
            assert_eq!(Spoilt::by([first, second]).reason(), Some(first.0), "{} and {}", first.0, second.0);
            assert_eq!(Spoilt::by([second, first]).reason(), Some(first.0), "{} and {}", second.0, first.0);
        }
    }
}

#[test]
fn a_token_with_every_fault_is_told_the_first_until_it_is_mended() {
    for (nth, first) in FAULTS.into_iter().enumerate() {
        assert_eq!(Spoilt::by(FAULTS.into_iter().skip(nth)).reason(), Some(first.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn of_any_faults_in_any_order_the_first_is_told(order in Just((0..FAULTS.len()).collect::<Vec<_>>()).prop_shuffle(), count in 0..6_usize) {
        let chosen = &order[..count];
        let expected = chosen.iter().min().map(|nth| FAULTS[*nth].0);
        prop_assert_eq!(Spoilt::by(chosen.iter().map(|nth| FAULTS[*nth])).reason(), expected);
    }
}

/// What only a door can say, and what is said of sessions (`session`).
const OTHERS: [Reason; 4] = [Reason::MissingToken, Reason::InvalidRequest, Reason::RateLimited, Reason::SessionEnded];

#[test]
fn every_reason_that_the_function_can_give_is_given_here() {
    let given: BTreeSet<_> = FAULTS.iter().filter_map(|fault| Spoilt::by([*fault]).reason()).collect();
    let mut revoked = Scene::new();
    revoked.state(|state| state.token_id = None);
    let given: BTreeSet<_> = given.into_iter().chain(revoked.reason()).chain(OTHERS).collect();
    assert_eq!(given, BTreeSet::from(Reason::ALL));
}

/// Contract, section 2: the table's names.
#[test]
fn reasons_are_named_as_the_contract_names_them() {
    let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let contract = "missing_token invalid_request malformed too_large unsupported_algorithm unknown_key bad_signature \
         revoked_key wrong_issuer wrong_audience expired not_yet_valid unknown_account disabled superseded revoked \
         binding_mismatch network_not_allowed insufficient_permission rate_limited session_ended store_unavailable";
    assert_eq!(names, contract.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn a_stranger_hears_one_and_the_same_whatever_was_wrong_before_the_signature() {
    for (reason, spoil) in FAULTS {
        let refused = Spoilt::by([(reason, spoil)]);
        let before_the_signature = FAULTS.iter().take(5).any(|(other, _)| *other == reason);
        assert_eq!(reason.is_unproven(), before_the_signature, "{reason}");
        assert_eq!(reason.outside() == "invalid_token", before_the_signature, "{reason}");
        assert_eq!(refused.reason(), Some(reason));
    }
}
