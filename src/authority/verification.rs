//! Asking the one function about tokens, and counting the answers.

use super::{Act, Authority, Call, Refused};
use crate::verify::{Demand, Presenter, Refusal, Verified};

impl Authority {
    /// Decides about a token in a call, and notes in the call what was decided.
    pub async fn verify(&self, call: &Call, token: &str, demand: &Demand) -> Result<Verified, Refused> {
        let result = self.node.verify(call, token, demand).await;
        self.metrics.decided(result.as_ref().err().map(|refused| refused.refusal.reason));
        result
    }

    /// The same, but never without the store: for whoever then reads or changes what lies there.
    pub async fn verify_in_the_store(&self, call: &Call, token: &str, demand: &Demand) -> Result<Verified, Refused> {
        let result = self.node.verify_in_the_store(call, token, demand).await;
        self.metrics.decided(result.as_ref().err().map(|refused| refused.refusal.reason));
        result
    }

    /// Decides about a token that was shown to somebody else, who asks (RFC 7662). It does not count against the asker:
    /// whatever he is shown, it is not he who guesses. The call leads back to the token's account.
    pub async fn introspect(&self, act: &Act, token: &str) -> Result<Verified, Refusal> {
        let demand = Demand { audience: None, permission: None, team: None, presenter: Presenter::ThirdParty };
        let result = self.node.decide(token, &demand).await;
        let (holder, refusal) = match &result {
            Ok(verified) => (Some(verified.holder()), None),
            Err(refusal) => (refusal.holder.clone(), Some(refusal.reason)),
        };
        let mut record = act.call.record();
        record.subject = holder;
        record.subject_refusal = refusal;
        drop(record);
        self.metrics.decided(refusal);
        result
    }

    /// Brings what is counted elsewhere into the metrics.
    pub fn measure(&self) {
        self.metrics.signatures(self.node.signature_counts());
        self.metrics.freshness(self.node.freshness());
        self.metrics.issuers_waited_for.set(i64::try_from(self.store.waited_for().len()).unwrap_or(i64::MAX));
        self.metrics.journal_stuck.set(i64::from(self.store.journal_trouble().is_some()));
        self.metrics.recorder.update(self.node.recorder());
    }
}
