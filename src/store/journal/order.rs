//! Which of several changes of the same thing is the last.
//!
//! Changes of one server in one term were made in the order of their epochs, in whatever order they were noted. Between others nothing but
//! the order in which they were noted tells: a server that was left may be met again, and go on in its own term.

use super::Entry;
use super::entry::Noted;
use crate::epoch::Epoch;

/// Puts what was noted in this order into the order in which it was made: what was noted late stands before what was made upon it.
/// `made`: in which term of which server, and at which epoch.
pub(super) fn in_order<T, Term: PartialEq>(noted: Vec<T>, made: impl Fn(&T) -> (Term, Epoch)) -> Vec<T> {
    let mut ordered: Vec<T> = Vec::with_capacity(noted.len());
    for one in noted {
        let (term, epoch) = made(&one);
        let mut place = ordered.len();
        let before = ordered.iter().map(&made).enumerate().rev();
        // Of one term the last one before it is the highest: mostly there is nothing to look for behind that.
        for (at, (_, other)) in before.filter(|(_, (other, _))| *other == term) {
            if other <= epoch {
                break;
            }
            place = at;
        }
        ordered.insert(place, one);
    }
    ordered
}

/// Adds a change to those among which the last is: of each term one, in no order. None is kept that can't be the last.
pub(super) fn keep(kept: &mut Vec<Noted>, one: Noted) {
    let rank = |one: &Noted| (one.entry.epoch, one.place);
    match kept.iter_mut().find(|other| same_term(&other.entry, &one.entry)) {
        Some(other) if rank(other) < rank(&one) => *other = one,
        Some(_) => {}
        None => kept.push(one),
    }
}

/// The last of those.
pub(super) fn last(kept: Vec<Noted>) -> Option<Noted> {
    kept.into_iter().max_by_key(|one| one.place)
}

fn same_term(one: &Entry, other: &Entry) -> bool {
    one.dataset == other.dataset && one.server == other.server && one.epoch.term == other.epoch.term
}
