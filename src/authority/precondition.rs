//! On what condition a change is made.

use super::Error;
use crate::epoch::Epoch;

/// What must be so for a change to be made: what stands in `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2). By
/// default nothing.
#[derive(Debug, Clone, Default)]
pub struct Precondition {
    /// It is there, in one of these versions.
    pub is: Option<Versions>,
    /// It is not there, or in none of these versions.
    pub is_not: Option<Versions>,
}

/// Versions of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Versions {
    /// Whichever.
    Any,
    /// One of these.
    These(Vec<Epoch>),
}

impl Versions {
    fn contain(&self, version: Epoch) -> bool {
        match self {
            Self::Any => true,
            Self::These(versions) => versions.contains(&version),
        }
    }
}

impl Precondition {
    /// It is still of this version.
    pub fn version(version: Epoch) -> Self {
        Self { is: Some(Versions::These(vec![version])), is_not: None }
    }

    /// There is none yet.
    pub fn is_new() -> Self {
        Self { is: None, is_not: Some(Versions::Any) }
    }

    /// Whether it is so now. `None`: it is not there.
    pub(super) fn check(&self, now: Option<Epoch>) -> Result<(), Error> {
        let is = |versions: &Versions| now.is_some_and(|version| versions.contain(version));
        if self.is.as_ref().is_none_or(is) && !self.is_not.as_ref().is_some_and(is) {
            return Ok(());
        }
        Err(Error::PreconditionFailed)
    }

    /// What a change answers that another one came before.
    pub(super) fn or_failed(&self, error: Error) -> Error {
        match error {
            Error::Conflict if self.is.is_some() || self.is_not.is_some() => Error::PreconditionFailed,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_made_where_what_is_there_is_as_it_was_said() {
        let (one, two) = (Epoch { term: 1, counter: 1 }, Epoch { term: 1, counter: 2 });
        let holds = |precondition: &Precondition, now| precondition.check(now).is_ok();
        let these = |versions: &[Epoch]| Some(Versions::These(versions.to_vec()));
        for (precondition, of_none, of_one, of_two) in [
            (Precondition::default(), true, true, true),
            (Precondition::version(one), false, true, false),
            (Precondition::is_new(), true, false, false),
            (Precondition { is: Some(Versions::Any), is_not: None }, false, true, true),
            (Precondition { is: these(&[]), is_not: None }, false, false, false),
            (Precondition { is: these(&[one, two]), is_not: None }, false, true, true),
            (Precondition { is: None, is_not: these(&[one]) }, true, false, true),
            (Precondition { is: Some(Versions::Any), is_not: Some(Versions::Any) }, false, false, false),
        ] {
            let is = (holds(&precondition, None), holds(&precondition, Some(one)), holds(&precondition, Some(two)));
            assert_eq!(is, (of_none, of_one, of_two), "{precondition:?}");
        }
    }
}
