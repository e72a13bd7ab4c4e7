//! An act and the number of its event (protocols, section 6, A3).

use std::collections::BTreeSet;

use super::Authority;
use crate::audit::{Event, Numbered};
use crate::node::{ActEnd, Recorder};
use crate::store::{AccountChange, Committed, Forgetting, KeyringChange, NamedChange, Note, StoreError};

/// How often a number is asked for anew: only another process of the same name makes this necessary more than once.
const CLAIMS: usize = 4;

/// What is to be committed, with the event of the act that it is.
pub(super) enum Change<'a> {
    Account(&'a AccountChange<'a>),
    Named(&'a NamedChange<'a>),
    Keys(&'a KeyringChange<'a>, &'a Event),
    Forget(&'a Forgetting<'a>),
    Noted(&'a Note<'a>),
}

/// An act that is committed once, with whatever number is good when it is.
pub(super) struct Acting<'a> {
    change: Change<'a>,
    number: Option<Numbered>,
}

impl<'a> Acting<'a> {
    pub(super) fn new(change: Change<'a>) -> Self {
        Self { change, number: None }
    }

    pub(super) fn event(&self) -> &'a Event {
        match self.change {
            Change::Account(change) => change.event,
            Change::Named(change) => change.event,
            Change::Keys(_, event) => event,
            Change::Forget(forgetting) => forgetting.event,
            Change::Noted(note) => note.event,
        }
    }
}

/// Whoever leaves in the middle does not know what became of the act.
struct Underway<'a> {
    recorder: &'a Recorder,
    act: &'a Numbered,
    end: ActEnd,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.recorder.act_ended(self.act, self.end);
    }
}

impl Authority {
    /// Links acts that their nodes don't: those were killed, or are commands that have ended. `seen` has what was so at the last look.
    pub async fn link_orphans(&self, seen: &mut BTreeSet<(String, u64)>) -> Result<(), StoreError> {
        let now: BTreeSet<(String, u64)> = self.store.unlinked_acts().await?.into_keys().collect();
        let orphans: BTreeSet<&str> = now.intersection(seen).map(|(node, _)| node.as_str()).collect();
        for node in orphans {
            if node == self.recorder().node() {
                self.recorder().look_for_acts();
                continue;
            }
            match Recorder::link_for(self.node.home(), node).await {
                Ok(()) => tracing::info!(node, "acts of this node were linked into its chain for it"),
                Err(error) => tracing::debug!(%error, node, "acts of this node wait for their place in its chain"),
            }
        }
        *seen = now;
        Ok(())
    }

    /// Commits an act under a number of this node's, and sees to it that the chain learns what became of the number. `again`: it may
    /// have been committed before, and keeps its number.
    pub(super) async fn carry_out(&self, acting: &mut Acting<'_>, again: bool) -> Result<Committed, StoreError> {
        let recorder = self.recorder();
        for _ in 0..CLAIMS {
            let event = acting.event();
            let act = &*acting.number.get_or_insert_with(|| recorder.number(event.clone()));
            let mut underway = Underway { recorder, act, end: ActEnd::Unknown };
            let done = match acting.change {
                Change::Account(change) => self.store.change_account(change, act, again).await,
                Change::Named(change) => self.store.change_named(change, act, again).await,
                Change::Keys(change, _) => self.store.replace_keyring(change, Some(act), again).await,
                Change::Forget(forgetting) => self.store.forget_issuer(forgetting.id, act, again).await,
                Change::Noted(note) => self.store.note(note, act, again).await,
            };
            underway.end = match &done {
                Ok(_) | Err(StoreError::Unconfirmed { .. } | StoreError::NotNoted(_)) => ActEnd::Committed,
                Err(StoreError::Uncertain(_)) => ActEnd::Unknown,
                Err(_) => ActEnd::NotCommitted,
            };
            drop(underway);
            if !matches!(done, Err(StoreError::Unclaimed)) {
                return done;
            }
            let stale = acting.number.take().map(|number| number.claim);
            recorder.claim(self.node.home(), stale.as_deref().filter(|claim| !claim.is_empty())).await?;
        }
        Err(StoreError::Unclaimed)
    }
}
