//! What is recorded of a call.

use super::{Call, Full, Home, Node, Permit, Recorded};
use crate::audit::{Line, Outcome, kinds};
use crate::verify::Reason;

/// How a call ended, for its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending<'a> {
    /// It was let through.
    Allowed,
    /// It was refused, for this reason.
    Refused(&'a str),
    /// It failed.
    Failed(&'a str),
}

impl<H: Home> Node<H> {
    /// Records how a call ended. A call without a genuine token is only counted, with a sampled event for each address and
    /// minute; an act that was carried out has its event already.
    pub fn record(&self, call: &Call, ending: Ending<'_>) -> Result<Recorded, Full> {
        self.tell(call, ending, |line| self.recorder.record(line))
    }

    /// The same for a call that has room for its event since before it was begun.
    pub fn record_reserved(&self, call: &Call, ending: Ending<'_>, permit: Permit) -> Result<Recorded, Full> {
        if !permit.records() {
            return Ok(Recorded::at_once());
        }
        self.tell(call, ending, |line| permit.record(line))
    }

    fn tell(
        &self,
        call: &Call,
        ending: Ending<'_>,
        take: impl FnOnce(&Line<'_>) -> Result<Recorded, Full>,
    ) -> Result<Recorded, Full> {
        let record = call.record();
        // What can't be known, and what was not even asked for, is counted in the metrics.
        if record.committed || matches!(record.refusal, Some(Reason::StoreUnavailable | Reason::MissingToken)) {
            return Ok(Recorded::at_once());
        }
        let (outcome, reason) = match ending {
            // Whoever asked about a token was answered; the event tells about that token.
            Ending::Allowed if record.subject.is_some() && record.subject_refusal.is_some() => {
                (Outcome::Refused, record.subject_refusal.map(Reason::as_str))
            }
            // RFC 7009: a token that was dead already is answered as if it had been ended now.
            Ending::Allowed if record.refusal.is_some() => (Outcome::Refused, record.refusal.map(Reason::as_str)),
            Ending::Allowed => (Outcome::Allowed, None),
            Ending::Refused(reason) => (Outcome::Refused, Some(reason)),
            Ending::Failed(reason) => (Outcome::Failed, Some(reason)),
        };
        let kind = match record.kind() {
            Some(kind) => kind,
            None if record.refusal.is_some_and(Reason::is_unproven) && self.is_sample(call) => {
                kinds::INVALID_SIGNATURES
            }
            None => return Ok(Recorded::at_once()),
        };
        let mut line = call.line(&record, kind, outcome, self.clock.as_ref());
        line.reason = record.refusal.map(Reason::as_str).or(reason);
        if record.refusal.or(record.subject_refusal) == Some(Reason::Superseded) {
            // Whoever still holds the old token has not been given the new one: late, or a thief.
            line.detail("possible_leak", true);
        }
        take(&line)
    }
}
