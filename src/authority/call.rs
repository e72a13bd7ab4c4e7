//! On whose behalf something is changed.

use crate::node::Call;
use crate::store::Author;
use crate::verify::Actor;

/// Somebody who was let in, and the call in which he acts.
#[derive(Clone)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// In which call.
    pub call: Call,
}

impl By<'_> {
    pub(super) fn call(&self) -> Option<&Call> {
        match self {
            Self::Somebody(act) => Some(&act.call),
            Self::Holder(call) => Some(call),
            Self::Machine => None,
        }
    }

    pub(super) fn author(&self) -> Option<Author> {
        match self {
            Self::Somebody(act) => Some(Author::of(&act.actor)),
            Self::Holder(_) | Self::Machine => None,
        }
    }
}

/// On whose behalf something is changed.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    /// Somebody who was let in.
    Somebody(&'a Act),
    /// The holder of a token that can do nothing any more but end.
    Holder(&'a Call),
    /// Countermark itself: the first start, the end of an overlap, whoever holds the master key.
    Machine,
}
