use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::account::AccountId;
#[cfg(feature = "server")]
use crate::audit::Event;
use crate::audit::{Address, Line, Outcome, kinds, printable};
use crate::clock::Clock;
use crate::name::{TeamName, Username};
use crate::permission::Permission;
use crate::verify::{Holder, Reason};

/// One request, as the audit will tell of it. Cheap to clone; all clones are the same call.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

struct Inner {
    request_id: String,
    method: String,
    path: String,
    client_address: Option<IpAddr>,
    user_agent: Option<String>,
    began: Instant,
    record: Mutex<CallRecord>,
}

/// The request that a gateway asks about.
#[derive(Debug, Clone)]
pub struct Original {
    /// Its method.
    pub method: String,
    /// Its path, without query.
    pub path: String,
    /// Whether the gateway's headers name two of them: then one may be the client's invention.
    pub disagree: bool,
}

/// What has become known of a call.
#[derive(Debug, Clone, Default)]
pub struct CallRecord {
    /// Whose token it came with, if that was genuine.
    pub holder: Option<Holder>,
    /// What it is, if not just a call.
    pub kind: Option<&'static str>,
    /// The permission that it was asked for.
    pub permission: Option<Permission>,
    /// The team in which.
    pub team: Option<TeamName>,
    /// The account that it is about, with its name, if not the caller's own.
    pub target: Option<(AccountId, String)>,
    /// Whose genuine token the caller asked about.
    pub subject: Option<Holder>,
    /// Why that token is refused.
    pub subject_refusal: Option<Reason>,
    /// The request behind it, where it came through a gateway.
    pub original: Option<Original>,
    /// Why the token was refused.
    pub refusal: Option<Reason>,
    /// What an API answered in the end.
    pub status: Option<u16>,
    /// Whether the token came in plain text.
    pub exposed: bool,
    /// Whether the act's own script has committed its event (A1).
    pub committed: bool,
    /// When the decision about the token stood, in microseconds since the call began.
    pub decided_us: Option<u64>,
}

impl CallRecord {
    /// What kind of event it is. `None`: nobody's, as the token was not genuine.
    pub fn kind(&self) -> Option<&'static str> {
        match (&self.holder, self.exposed) {
            (_, true) => Some(kinds::TOKEN_EXPOSED),
            (Some(_), false) => Some(self.kind.unwrap_or(kinds::CALL)),
            // Somebody who has not come in, at somebody's door.
            (None, false) => self.kind.filter(|kind| *kind == kinds::SESSION_BEGIN && self.target.is_some()),
        }
    }
}

impl Call {
    /// A call that begins now.
    pub fn begin(
        request_id: String,
        method: &str,
        path: &str,
        client_address: Option<IpAddr>,
        user_agent: Option<&str>,
        clock: &dyn Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            request_id,
            method: printable(method, 32),
            path: printable(path, 512),
            client_address,
            user_agent: user_agent.map(|agent| printable(agent, 200)),
            began: clock.monotonic(),
            record: Mutex::default(),
        }))
    }

    /// Its id.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Its method.
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// Where it comes from.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.0.client_address
    }

    /// What the client says it is.
    pub fn user_agent(&self) -> Option<&str> {
        self.0.user_agent.as_deref()
    }

    /// What has become known of it.
    pub fn record(&self) -> MutexGuard<'_, CallRecord> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a live token was shown, whatever it was good for.
    pub fn shows_a_live_token(&self) -> bool {
        let record = self.record();
        record.holder.is_some() && matches!(record.refusal, None | Some(Reason::InsufficientPermission))
    }

    /// Microseconds since it began.
    pub fn elapsed_us(&self, clock: &dyn Clock) -> u64 {
        u64::try_from(clock.monotonic().duration_since(self.0.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// Its event as far as it is known.
    #[cfg(feature = "server")]
    pub fn event(&self, kind: &str, outcome: Outcome, clock: &dyn Clock) -> Event {
        self.line(&self.record(), kind, outcome, clock).to_event()
    }

    /// The same, of a record of this call, to be written at once.
    pub(super) fn line<'a>(
        &'a self,
        record: &'a CallRecord,
        kind: &'a str,
        outcome: Outcome,
        clock: &dyn Clock,
    ) -> Line<'a> {
        let inner = &*self.0;
        let mut line = Line::new(clock.now(), kind, outcome);
        let (method, path) = match &record.original {
            Some(original) => (original.method.as_str(), original.path.as_str()),
            None => (inner.method.as_str(), inner.path.as_str()),
        };
        (line.method, line.path) = (Some(method), Some(path));
        line.client_address = inner.client_address.map(Address::Known);
        line.user_agent = inner.user_agent.as_deref();
        line.request_id = Some(&inner.request_id);
        if let Some(holder) = record.subject.as_ref().or(record.holder.as_ref()) {
            line.account_id = Some(holder.account);
            line.username = holder.username().map(Username::as_str);
            if let Some(token) = &holder.token {
                line.token_id = Some(token.id);
                line.generation = Some(token.generation);
                line.key_id = Some(token.key_id());
            }
        }
        #[cfg(feature = "server")]
        if let Some(session) = record.holder.as_ref().and_then(|holder| holder.session) {
            line.detail("session", session.to_string());
        }
        if record.original.as_ref().is_some_and(|original| original.disagree) {
            line.detail("original_disagrees", true);
        }
        if let Some(status) = record.status {
            line.detail("status", status);
        }
        if record.subject.is_some() {
            // The permission was the asker's affair.
            line.actor_id = record.holder.as_ref().map(|holder| holder.account);
        } else {
            line.permission = record.permission.as_ref().map(|permission| permission.to_string().into());
            line.team = record.team.as_ref().map(TeamName::as_str);
        }
        if let Some((target, username)) = &record.target {
            // About somebody else: the token that was used is a detail.
            line.actor_id = line.account_id.replace(*target);
            line.username = Some(username);
            if let Some(token) = line.token_id.take() {
                line.detail("actor_token_id", token.to_string());
            }
            line.generation = None;
            line.key_id = None;
        }
        let decided = record.decided_us.filter(|_| kind == kinds::CALL);
        line.duration_us = Some(decided.unwrap_or_else(|| self.elapsed_us(clock)));
        line
    }
}
