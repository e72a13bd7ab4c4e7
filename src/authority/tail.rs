//! The audit as it is written, for those who look on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;

use super::shares::Share;
use super::{Act, Authority, Error};
use crate::account::AccountId;
use crate::audit::Event;
use crate::store::{AuditFilter, TailPosition, Tailed, for_one_request};

/// How often it is looked whether there is anything new: each look asks five things of the store.
const EVERY: Duration = Duration::from_secs(1);
/// How often the position is told though nothing has come.
const STILL: Duration = Duration::from_secs(15);

/// What is told to somebody who looks on.
#[derive(Debug)]
pub enum Told {
    /// An event, and the position after it.
    Event(Box<Event>, String),
    /// Nothing new, and the position all the same.
    Still(String),
    /// It ends here, for this reason.
    End(String),
}

/// Which events somebody wants to see, and from where on.
pub struct Looking {
    /// Which.
    pub filter: AuditFilter,
    /// That concern this account.
    pub account: Option<AccountId>,
    /// From where on. `None`: from now.
    pub after: Option<TailPosition>,
    /// His place among those who look on: see [`Authority::place_to_look`].
    pub place: PlaceToLook,
}

/// A place among those who look on, until it is dropped.
pub struct PlaceToLook {
    _place: OwnedSemaphorePermit,
    _share: Share,
}

struct Tail<M> {
    authority: Arc<Authority>,
    looking: Looking,
    position: TailPosition,
    ready: VecDeque<(Event, TailPosition)>,
    may_still: M,
    told: Instant,
    is_over: bool,
}

impl Authority {
    /// A place among those who look on at once. `None`: all are taken, or he has as many as one may have.
    pub fn place_to_look(&self, act: &Act) -> Option<PlaceToLook> {
        let share = self.looks.take(act.actor.account())?;
        let place = Arc::clone(&self.places_to_look).try_acquire_owned().ok()?;
        Some(PlaceToLook { _place: place, _share: share })
    }

    /// Events as they are written. Before each look it is asked whether he may still see them: why not, if not; `false`: that can't be
    /// known now.
    pub async fn tail<M, F>(
        self: &Arc<Self>,
        looking: Looking,
        may_still: M,
    ) -> Result<impl Stream<Item = Told> + Send + use<M, F>, Error>
    where
        M: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<bool, String>> + Send,
    {
        let position = match &looking.after {
            Some(position) => position.clone(),
            None => TailPosition::at(self.store.time().await?),
        };
        let (authority, ready, told) = (Arc::clone(self), VecDeque::new(), Instant::now());
        let tail = Tail { authority, looking, position, ready, may_still, told, is_over: false };
        Ok(stream::unfold(tail, |mut tail| async move {
            let told = tail.next().await?;
            Some((told, tail))
        }))
    }
}

impl<M, F> Tail<M>
where
    M: Fn() -> F,
    F: Future<Output = Result<bool, String>>,
{
    async fn next(&mut self) -> Option<Told> {
        if self.is_over {
            return None;
        }
        loop {
            while let Some((event, position)) = self.ready.pop_front() {
                self.position = position;
                if self.looking.account.is_none_or(|account| event.concerns(account))
                    && self.looking.filter.passes(&event)
                {
                    self.told = Instant::now();
                    return Some(Told::Event(Box::new(event), self.position.encode()));
                }
            }
            if self.told.elapsed() >= STILL {
                self.told = Instant::now();
                return Some(Told::Still(self.position.encode()));
            }
            match (self.may_still)().await {
                Ok(true) => {}
                // He waits with us.
                Ok(false) => {
                    tokio::time::sleep(EVERY).await;
                    continue;
                }
                Err(why) => {
                    self.is_over = true;
                    return Some(Told::End(why));
                }
            }
            match for_one_request(self.authority.store.tail(&self.position)).await {
                Ok(Tailed { reached, .. }) if reached == self.position => tokio::time::sleep(EVERY).await,
                Ok(Tailed { events, reached, .. }) => {
                    self.ready = events.into();
                    if self.ready.is_empty() {
                        self.position = reached;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "somebody who looks at the audit waits for the store");
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
    }
}
