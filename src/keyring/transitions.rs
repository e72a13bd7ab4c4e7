//! The life of keys (protocols, section 5): which steps there are, and what to do instead of those that there are not.
//!
//! | from | step | to |
//! |---|---|---|
//! | | prepare | pending |
//! | pending | activate, not before `publish_ahead` unless forced (K1) | active; the one that was active is retiring |
//! | retiring | retire, once no living token needs it (K2) | retired |
//! | any | revoke | revoked; where it was active, the oldest pending key, or a new one, is active |
//!
//! So there is exactly one active key, always.

use chrono::{DateTime, TimeDelta, Utc};

use super::document::{KeyEntry, KeyringDocument, Revoked};
use crate::clock::rfc3339;
use crate::verify::KeyState;

/// Keys that are published at once, at the most: every verifier reads them all.
pub const MOST_PUBLISHED: usize = 32;
/// Keys that are remembered, at the most: beyond that retired ones are forgotten, then revoked ones, the oldest first.
const MOST: usize = 128;

/// Why a step is not taken, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// There is none of this id.
    #[error("there is no such key; GET /api/v1/keys lists them")]
    NoSuchKey,
    /// It is there already.
    #[error("this key is there already; it is {0}")]
    Known(KeyState),
    /// No room for another one.
    #[error("{MOST_PUBLISHED} keys are published already; revoke pending ones that nobody is going to use")]
    TooMany,
    /// K1.
    #[error(
        "not every cache has this key yet: it can be activated from {} on. Force it only if the active key must not sign any \
         longer; verifiers that read the key set rarely then refuse new tokens for a while",
        rfc3339::text(.0)
    )]
    TooEarly(DateTime<Utc>),
    /// Only a pending key becomes active.
    #[error("{}", not_activated(*.0))]
    NotActivated(KeyState),
    /// Only a retiring key retires.
    #[error("{}", not_retired(*.0))]
    NotRetired(KeyState),
    /// K2.
    #[error(
        "{tokens} living tokens need this key, the last until {}: it retires by itself when none does. To end them now, revoke \
         the key",
        last_expiry.as_ref().map_or_else(|| "they are replaced".to_owned(), rfc3339::text)
    )]
    Needed {
        /// So many.
        tokens: u64,
        /// When the last of them expires.
        last_expiry: Option<DateTime<Utc>>,
    },
    /// There is nothing to put in its place.
    #[error("the active key has no successor")]
    NoSuccessor,
}

fn not_activated(state: KeyState) -> String {
    let why = match state {
        KeyState::Pending | KeyState::Active => "it signs already",
        KeyState::Retiring | KeyState::Retired => "its private half is gone",
        KeyState::Revoked => "nothing that it signed is accepted",
    };
    format!("this key is {state}: {why}; prepare another one")
}

fn not_retired(state: KeyState) -> &'static str {
    match state {
        KeyState::Pending => "this key is pending, and signed nothing; if it is not wanted, revoke it",
        KeyState::Active => "this key signs; activate another one, and it retires by itself when no token needs it",
        KeyState::Retiring | KeyState::Retired => "this key is retired already",
        KeyState::Revoked => "this key is revoked, which is more than retired",
    }
}

impl KeyringDocument {
    /// A new key is published. It signs once it is activated.
    pub fn prepare(&mut self, entry: KeyEntry) -> Result<(), StepError> {
        if let Some(known) = self.keys.iter().find(|known| known.id == entry.id) {
            return Err(StepError::Known(known.state));
        }
        if self.keys.iter().filter(|key| key.state.is_published()).count() >= MOST_PUBLISHED {
            return Err(StepError::TooMany);
        }
        if self.keys.len() >= MOST {
            // What a forgotten key signed is refused as of an unknown one.
            let oldest = |state| self.keys.iter().position(|key| key.state == state);
            if let Some(oldest) = oldest(KeyState::Retired).or_else(|| oldest(KeyState::Revoked)) {
                self.keys.remove(oldest);
            }
        }
        self.keys.push(entry);
        Ok(())
    }

    /// A pending key signs from now on, and the one that did verifies only. Yields whether that had to be forced (K1).
    pub fn activate(
        &mut self,
        id: &str,
        now: DateTime<Utc>,
        publish_ahead: TimeDelta,
        force: bool,
    ) -> Result<bool, StepError> {
        let key = self.key(id)?;
        if key.state != KeyState::Pending {
            return Err(StepError::NotActivated(key.state));
        }
        let possible_at = key.activation_possible_at(publish_ahead);
        if now < possible_at && !force {
            return Err(StepError::TooEarly(possible_at));
        }
        self.let_sign(id, now);
        Ok(now < possible_at)
    }

    /// A retiring key that no living token needs is published no longer.
    pub fn retire(
        &mut self,
        id: &str,
        now: DateTime<Utc>,
        live_tokens: u64,
        last_expiry: Option<DateTime<Utc>>,
    ) -> Result<(), StepError> {
        let key = self.key(id)?;
        if key.state != KeyState::Retiring {
            return Err(StepError::NotRetired(key.state));
        }
        if live_tokens > 0 {
            return Err(StepError::Needed { tokens: live_tokens, last_expiry });
        }
        key.state = KeyState::Retired;
        key.retired_at = Some(now);
        Ok(())
    }

    /// Nothing that a key signed is accepted any more. Where it was the active one, the oldest pending key signs from now on, or
    /// else the `successor`. One that is revoked already stays as it is.
    pub fn revoke(
        &mut self,
        id: &str,
        now: DateTime<Utc>,
        live_tokens: u64,
        successor: Option<KeyEntry>,
    ) -> Result<(), StepError> {
        let state = self.key(id)?.state;
        if state == KeyState::Active {
            let next = match self.next_to_sign() {
                Some(next) => next.id.clone(),
                None => {
                    let successor = successor.ok_or(StepError::NoSuccessor)?;
                    let next = successor.id.clone();
                    self.prepare(successor)?;
                    next
                }
            };
            self.let_sign(&next, now);
        }
        let key = self.key(id)?;
        if state != KeyState::Revoked {
            key.state = KeyState::Revoked;
            key.revoked = Some(Revoked { at: now, tokens: live_tokens });
            key.signs_no_more();
        }
        Ok(())
    }

    /// The pending key that has been published for longest.
    pub fn next_to_sign(&self) -> Option<&KeyEntry> {
        self.keys.iter().filter(|key| key.state == KeyState::Pending).min_by_key(|key| key.published_at)
    }

    /// The key that signs.
    pub fn active(&self) -> Option<&KeyEntry> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    fn key(&mut self, id: &str) -> Result<&mut KeyEntry, StepError> {
        self.keys.iter_mut().find(|key| key.id == id).ok_or(StepError::NoSuchKey)
    }

    fn let_sign(&mut self, id: &str, now: DateTime<Utc>) {
        for key in &mut self.keys {
            if key.id == id {
                key.state = KeyState::Active;
                key.activated_at = Some(now);
            } else if key.state == KeyState::Active {
                key.state = KeyState::Retiring;
                key.signs_no_more();
            }
        }
    }
}

impl KeyEntry {
    /// From when on every cache of the key set has it.
    pub fn activation_possible_at(&self, publish_ahead: TimeDelta) -> DateTime<Utc> {
        self.published_at.unwrap_or(self.created_at) + publish_ahead
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::token::{Algorithm, SigningKey};

    const AHEAD: TimeDelta = TimeDelta::hours(24);

    static KEYS: LazyLock<Vec<SigningKey>> =
        LazyLock::new(|| (0..40).map(|_| SigningKey::generate(Algorithm::EdDSA).unwrap()).collect());

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + hours * 3600, 0).unwrap()
    }

    fn first() -> KeyringDocument {
        KeyringDocument { keys: vec![KeyEntry::active(&KEYS[0], at(0))], ..Default::default() }
    }

    fn id(number: usize) -> &'static str {
        KEYS[number].public().key_id()
    }

    fn states(document: &KeyringDocument) -> Vec<KeyState> {
        document.keys.iter().map(|key| key.state).collect()
    }

    #[test]
    fn k1_a_key_is_published_for_a_day_before_it_signs() {
        let mut document = first();
        document.prepare(KeyEntry::pending(&KEYS[1], at(0))).unwrap();
        let early = document.activate(id(1), at(24) - TimeDelta::seconds(1), AHEAD, false).unwrap_err();
        assert_eq!(early, StepError::TooEarly(at(24)));
        assert!(early.to_string().contains("from 2023-11-15T22:13:20Z on"), "{early}");
        assert_eq!(states(&document), [KeyState::Active, KeyState::Pending], "nothing was changed");
        assert!(!document.activate(id(1), at(24), AHEAD, false).unwrap(), "in time");
        document.prepare(KeyEntry::pending(&KEYS[2], at(25))).unwrap();
        assert!(document.activate(id(2), at(26), AHEAD, true).unwrap(), "forced");
        assert_eq!(states(&document), [KeyState::Retiring, KeyState::Retiring, KeyState::Active]);
        assert_eq!(document.keys[2].activated_at, Some(at(26)));
    }

    #[test]
    fn k2_a_key_that_a_living_token_needs_is_not_retired() {
        let mut document = first();
        document.prepare(KeyEntry::pending(&KEYS[1], at(0))).unwrap();
        document.activate(id(1), at(24), AHEAD, false).unwrap();
        let needed = document.retire(id(0), at(25), 2, Some(at(99))).unwrap_err();
        assert_eq!(needed, StepError::Needed { tokens: 2, last_expiry: Some(at(99)) });
        document.retire(id(0), at(26), 0, None).unwrap();
        assert_eq!((document.keys[0].state, document.keys[0].retired_at), (KeyState::Retired, Some(at(26))));
    }

    #[test]
    fn each_step_that_there_is_not_says_what_to_do_instead() {
        let mut document = first();
        document.prepare(KeyEntry::pending(&KEYS[1], at(0))).unwrap();
        let text = |error: StepError| error.to_string();
        assert!(text(document.retire(id(0), at(0), 0, None).unwrap_err()).contains("activate another"));
        assert!(text(document.retire(id(1), at(0), 0, None).unwrap_err()).contains("revoke it"));
        assert!(text(document.activate(id(0), at(0), AHEAD, true).unwrap_err()).contains("signs already"));
        assert!(text(document.activate("none", at(0), AHEAD, true).unwrap_err()).contains("lists them"));
        assert!(text(document.prepare(KeyEntry::pending(&KEYS[1], at(0))).unwrap_err()).contains("it is pending"));
        document.revoke(id(1), at(0), 0, None).unwrap();
        assert!(text(document.activate(id(1), at(0), AHEAD, true).unwrap_err()).contains("prepare another"));
        assert!(text(document.retire(id(1), at(0), 0, None).unwrap_err()).contains("more than retired"));
        document.prepare(KeyEntry::pending(&KEYS[2], at(0))).unwrap();
        document.activate(id(2), at(0), AHEAD, true).unwrap();
        assert!(text(document.activate(id(0), at(0), AHEAD, true).unwrap_err()).contains("private half is gone"));
        document.retire(id(0), at(0), 0, None).unwrap();
        assert!(text(document.retire(id(0), at(0), 0, None).unwrap_err()).contains("already"));
        assert_eq!(document.revoke("none", at(0), 0, None), Err(StepError::NoSuchKey));
    }

    #[test]
    fn the_active_key_is_not_revoked_without_a_successor() {
        let mut document = first();
        assert_eq!(document.revoke(id(0), at(1), 7, None), Err(StepError::NoSuccessor));
        assert_eq!(states(&document), [KeyState::Active]);
        document.revoke(id(0), at(1), 7, Some(KeyEntry::pending(&KEYS[1], at(1)))).unwrap();
        assert_eq!(states(&document), [KeyState::Revoked, KeyState::Active]);
        assert_eq!(document.keys[0].revoked, Some(Revoked { at: at(1), tokens: 7 }));
        // Once more: it stays as it was.
        document.revoke(id(0), at(2), 0, None).unwrap();
        assert_eq!(document.keys[0].revoked, Some(Revoked { at: at(1), tokens: 7 }));
        // Of those that wait, the one that was published first.
        document.prepare(KeyEntry::pending(&KEYS[3], at(4))).unwrap();
        document.prepare(KeyEntry::pending(&KEYS[2], at(3))).unwrap();
        document.revoke(id(1), at(5), 0, Some(KeyEntry::pending(&KEYS[4], at(5)))).unwrap();
        assert_eq!(document.active().unwrap().id, id(2));
        assert_eq!(document.keys.len(), 4);
    }

    #[test]
    fn there_is_room_for_so_many_keys_and_retired_ones_are_forgotten_first() {
        let mut document = first();
        for key in &KEYS[1..MOST_PUBLISHED] {
            document.prepare(KeyEntry::pending(key, at(0))).unwrap();
        }
        let another = || KeyEntry::pending(&KEYS[MOST_PUBLISHED], at(0));
        assert_eq!(document.prepare(another()), Err(StepError::TooMany));
        document.revoke(id(1), at(0), 0, None).unwrap();
        document.prepare(another()).unwrap();

        let mut document = first();
        for number in 0..MOST {
            let mut old = KeyEntry::pending(&KEYS[1], at(0));
            (old.id, old.state) = (format!("{number}"), KeyState::Retired);
            document.keys.push(old);
        }
        document.prepare(another()).unwrap();
        assert!(document.active().is_some());
        assert_eq!(document.keys.len(), MOST + 1);
        assert!(document.keys.iter().all(|key| key.id != "0"), "the oldest");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Prepare,
        Activate(usize, bool),
        Retire(usize),
        Revoke(usize, bool),
        Issue,
        End(usize),
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Prepare),
            4 => (0..40_usize, any::<bool>()).prop_map(|(key, force)| Step::Activate(key, force)),
            3 => (0..40_usize).prop_map(Step::Retire),
            2 => (0..40_usize, any::<bool>()).prop_map(|(key, new)| Step::Revoke(key, new)),
            4 => Just(Step::Issue),
            4 => (0..40_usize).prop_map(Step::End),
            2 => (0..30_i64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever is done in whatever order: one key signs, no key that a living token needs is retired, a key that signs
        /// nothing has no private half, and no key comes back.
        #[test]
        fn no_order_of_steps_leads_astray(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut document, mut now, mut fresh) = (first(), 0, 1..40_usize);
            // Living tokens by the key that signed them.
            let mut live = BTreeMap::<String, u64>::new();
            for step in steps {
                let before: BTreeMap<String, KeyState> =
                    document.keys.iter().map(|key| (key.id.clone(), key.state)).collect();
                let pick = |number: usize| document.keys[number % document.keys.len()].id.clone();
                match step {
                    Step::Prepare => {
                        if let Some(key) = fresh.next() {
                            let _ = document.prepare(KeyEntry::pending(&KEYS[key], at(now)));
                        }
                    }
                    Step::Activate(key, force) => {
                        let (key, entry) = (pick(key), document.keys[key % document.keys.len()].published_at);
                        let done = document.activate(&key, at(now), AHEAD, force);
                        prop_assert!(done.is_err() || force || entry.unwrap() + AHEAD <= at(now), "K1");
                    }
                    Step::Retire(key) => {
                        let key = pick(key);
                        let needed = live.get(&key).copied().unwrap_or(0);
                        let _ = document.retire(&key, at(now), needed, None);
                    }
                    Step::Revoke(key, new) => {
                        let key = pick(key);
                        let successor = new.then(|| fresh.next()).flatten();
                        let successor = successor.map(|key| KeyEntry::pending(&KEYS[key], at(now)));
                        if document.revoke(&key, at(now), 0, successor).is_ok() {
                            live.remove(&key);
                        }
                    }
                    Step::Issue => *live.entry(document.signer(None).unwrap().unwrap().public().key_id().to_owned()).or_default() += 1,
                    Step::End(key) => {
                        if let Some(count) = live.get_mut(&pick(key)) {
                            *count = count.saturating_sub(1);
                        }
                    }
                    Step::Wait(hours) => now += hours,
                }
                prop_assert_eq!(states(&document).iter().filter(|state| **state == KeyState::Active).count(), 1);
                prop_assert!(document.signer(None).unwrap().is_some());
                for key in &document.keys {
                    let signs = matches!(key.state, KeyState::Pending | KeyState::Active);
                    prop_assert_eq!(key.can_sign(), signs);
                    let needed = live.get(&key.id).copied().unwrap_or(0);
                    prop_assert!(key.state != KeyState::Retired || needed == 0, "K2");
                    let legal: &[KeyState] = match before.get(&key.id) {
                        None => &[KeyState::Pending, KeyState::Active],
                        Some(KeyState::Pending) => &[KeyState::Pending, KeyState::Active, KeyState::Revoked],
                        Some(KeyState::Active) => &[KeyState::Active, KeyState::Retiring, KeyState::Revoked],
                        Some(KeyState::Retiring) => &[KeyState::Retiring, KeyState::Retired, KeyState::Revoked],
                        Some(KeyState::Retired) => &[KeyState::Retired, KeyState::Revoked],
                        Some(KeyState::Revoked) => &[KeyState::Revoked],
                    };
                    prop_assert!(legal.contains(&key.state), "{:?} to {:?}", before.get(&key.id), key.state);
                }
            }
        }
    }
}
