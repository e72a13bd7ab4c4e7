//! The places that connections take, and who makes room when there is none left.
//!
//! Opening a connection costs an attacker nothing, so places must not go to whoever comes first. Who has shown a live token on
//! his connection, and who comes through a trusted proxy or a Unix socket, is known; everybody else is a stranger until then.
//! When all places are taken, the newcomer gets one all the same: of the subscriber with the most strangers, the oldest one
//! goes. So a flood displaces itself: a client with a live token has as long for its handshake and its first request as it takes
//! to open as many connections as there are places, from as many addresses as the flood has. Where no strangers are left, the
//! known connection goes that has been idle longest; where all are busy, the newcomer is refused.
//!
//! Requests of all connections together have a limit too, because HTTP/2 makes a hundred of them as cheap as one connection.
//! Every connection may have one; those beyond are counted. When a stranger begins one that is too many, of the subscriber with
//! the most such requests the stranger with the most has to go, which is whoever it takes so many from: not the gateway that
//! asks two things at once before its first answer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::subscriber::Subscriber;

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The connections of the whole process: one limit for all listeners.
pub struct Connections {
    limit: usize,
    /// So many places are made free ahead: under load it takes a moment until somebody who was told to go is gone.
    reserve: usize,
    most_requests: usize,
    /// Beyond the first of each connection.
    requests: AtomicUsize,
    trusted_proxies: Vec<IpNet>,
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    accepted: AtomicU64,
    refused: AtomicU64,
    displaced: AtomicU64,
}

#[derive(Default)]
struct Taken {
    next: u64,
    strangers: HashMap<Subscriber, BTreeMap<u64, Arc<Seat>>>,
    /// The subscribers of `strangers`; last the one with the most, and among equals the one with the oldest.
    crowds: BTreeSet<Crowd>,
    known: HashMap<u64, Arc<Seat>>,
    /// In none of them any more, and not gone yet.
    leaving: usize,
}

type Crowd = (usize, Reverse<u64>, Subscriber);

struct Seat {
    number: u64,
    subscriber: Subscriber,
    since: Instant,
    known: AtomicBool,
    leave: CancellationToken,
    /// Of its requests, once the handshake is over.
    progress: OnceLock<Arc<Progress>>,
}

/// A connection's place, free again when this is dropped.
pub(super) struct Place {
    standing: Standing,
    permit: Option<OwnedSemaphorePermit>,
}

/// What a request does for its connection.
#[derive(Clone)]
pub(super) struct Standing {
    connections: Arc<Connections>,
    seat: Arc<Seat>,
}

/// A request among all that are under way; `None`: the one that every connection may have.
pub(super) struct UnderWay(Option<Arc<Connections>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(connections) = &self.0 {
            connections.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Connections {
    /// So many connections, and requests beyond the first of each, to be shared by all listeners. Peers in `trusted_proxies` are known from the start.
    pub fn new(limit: usize, most_requests: usize, trusted_proxies: Vec<IpNet>) -> Arc<Self> {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            limit,
            reserve: limit / 64,
            most_requests,
            requests: AtomicUsize::new(0),
            trusted_proxies,
            free: Arc::new(Semaphore::new(limit)),
            taken: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
        })
    }

    /// How many are open now.
    pub fn open(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    /// How many were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were closed at once since the start, because all places were taken and in use.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many had to make room for a newer one since the start.
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// A place for who comes from this address (`None`: by a Unix socket). `None`: all are taken, and in use.
    pub(super) async fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        while self.makes_room() {
            // Whoever leaves has left as soon as his task has noticed. Meanwhile another may be faster: then all over again.
            let permit = tokio::time::timeout(LOOK_AGAIN, Arc::clone(&self.free).acquire_owned());
            if let Ok(Ok(permit)) = permit.await {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                let seat = self.taken().sit(Subscriber::from(address), self.knows(address));
                let standing = Standing { connections: Arc::clone(self), seat };
                return Some(Place { standing, permit: Some(permit) });
            }
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Whether there is room, or will be in a moment.
    fn makes_room(&self) -> bool {
        let taken = self.taken();
        let free = self.free.available_permits();
        if free + taken.leaving > self.reserve {
            return true;
        }
        let seat = taken.oldest_stranger();
        if seat.is_none() && free + taken.leaving > 0 {
            return true;
        }
        let seat = seat.or_else(|| taken.idlest());
        seat.is_some_and(|seat| self.sends_away(taken, &seat))
    }

    /// Makes somebody leave, if nobody is about to. `false`: nobody can be asked to.
    pub(super) fn displace(&self) -> bool {
        let taken = self.taken();
        if taken.leaving > 0 {
            return true;
        }
        let seat = taken.oldest_stranger().or_else(|| taken.idlest());
        seat.is_some_and(|seat| self.sends_away(taken, &seat))
    }

    fn sends_away(&self, mut taken: MutexGuard<'_, Taken>, seat: &Seat) -> bool {
        let was_here = taken.leave(seat);
        if was_here {
            taken.leaving += 1;
            self.displaced.fetch_add(1, Ordering::Relaxed);
        }
        drop(taken);
        seat.leave.cancel();
        was_here
    }

    fn knows(&self, address: Option<IpAddr>) -> bool {
        let trusts = |address| self.trusted_proxies.iter().any(|network| network.contains(&address));
        address.is_none_or(|address| trusts(address.to_canonical()))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn sit(&mut self, subscriber: Subscriber, known: bool) -> Arc<Seat> {
        self.next += 1;
        let seat = Arc::new(Seat {
            number: self.next,
            subscriber,
            since: Instant::now(),
            known: AtomicBool::new(known),
            leave: CancellationToken::new(),
            progress: OnceLock::new(),
        });
        if known {
            self.known.insert(seat.number, Arc::clone(&seat));
        } else {
            self.change(subscriber, |crowd| crowd.insert(seat.number, Arc::clone(&seat)));
        }
        seat
    }

    /// Whether he had not left already.
    fn leave(&mut self, seat: &Seat) -> bool {
        self.known.remove(&seat.number).is_some()
            || self.change(seat.subscriber, |crowd| crowd.remove(&seat.number)).is_some()
    }

    fn change<T>(&mut self, subscriber: Subscriber, change: impl FnOnce(&mut BTreeMap<u64, Arc<Seat>>) -> T) -> T {
        let crowd = self.strangers.entry(subscriber).or_default();
        let key = |crowd: &BTreeMap<u64, Arc<Seat>>| {
            crowd.first_key_value().map(|(oldest, _)| (crowd.len(), Reverse(*oldest), subscriber))
        };
        if let Some(before) = key(crowd) {
            self.crowds.remove(&before);
        }
        let changed = change(crowd);
        match key(crowd) {
            Some(after) => drop(self.crowds.insert(after)),
            None => drop(self.strangers.remove(&subscriber)),
        }
        changed
    }

    fn oldest_stranger(&self) -> Option<Arc<Seat>> {
        let (_, Reverse(oldest), subscriber) = self.crowds.last()?;
        self.strangers.get(subscriber)?.get(oldest).cloned()
    }

    /// Looks at all strangers: that costs something, and happens only where there are too many requests.
    fn busiest_stranger(&self) -> Option<Arc<Seat>> {
        let beyond_the_first =
            |crowd: &BTreeMap<u64, Arc<Seat>>| -> usize { crowd.values().map(|seat| seat.beyond()).sum() };
        let crowd = self.strangers.values().max_by_key(|crowd| beyond_the_first(crowd))?;
        crowd.values().max_by_key(|seat| seat.beyond()).filter(|seat| seat.beyond() > 0).cloned()
    }

    /// Looks at all who are known: that costs something, and happens only where all who are here have shown a live token.
    fn idlest(&self) -> Option<Arc<Seat>> {
        let idle = self.known.values().filter_map(|seat| {
            let since = match seat.progress.get() {
                Some(progress) => progress.idle_since()?,
                None => seat.since,
            };
            Some((since, seat))
        });
        idle.min_by_key(|(since, _)| *since).map(|(_, seat)| Arc::clone(seat))
    }
}

impl Seat {
    /// How many requests it has beyond the first.
    fn beyond(&self) -> usize {
        self.progress.get().map_or(0, |progress| progress.requests().saturating_sub(1))
    }
}

impl Place {
    /// Returns when it has to be left.
    pub(super) async fn displaced(&self) {
        self.standing.seat.leave.cancelled().await;
    }

    /// The requests begin.
    pub(super) fn watch(&self, progress: &Arc<Progress>) {
        let _ = self.standing.seat.progress.set(Arc::clone(progress));
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.standing.connections.taken();
        // Before he is counted as gone: in between he would be missing in both.
        self.permit.take();
        if !taken.leave(&self.standing.seat) {
            taken.leaving -= 1;
        }
    }
}

impl Standing {
    /// A request begins on this connection, which has `own` under way with it.
    pub(super) fn request(&self, own: usize) -> UnderWay {
        let connections = &self.connections;
        if own <= 1 {
            return UnderWay(None);
        }
        let all = connections.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if all > connections.most_requests && !self.seat.known.load(Ordering::Relaxed) {
            let taken = connections.taken();
            if let Some(seat) = taken.busiest_stranger() {
                connections.sends_away(taken, &seat);
            }
        }
        UnderWay(Some(Arc::clone(connections)))
    }

    /// Whether the connection was told to make room.
    pub(super) fn leaves(&self) -> bool {
        self.seat.leave.is_cancelled()
    }

    /// A live token was shown on this connection: it is no stranger's any more.
    pub(super) fn prove(&self) {
        let seat = &self.seat;
        if seat.known.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut taken = self.connections.taken();
        // Not if he is on his way out.
        if taken.leave(seat) {
            taken.known.insert(seat.number, Arc::clone(seat));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admit(connections: &Arc<Connections>, address: &str) -> Place {
        connections.admit(Some(address.parse().unwrap())).await.unwrap()
    }

    /// A newcomer from `address`, for whom the place of `leaver` is given up.
    async fn displaces(connections: &Arc<Connections>, address: &str, leaver: Place) -> Place {
        let admitted = admit(connections, address);
        let left = async {
            tokio::time::timeout(Duration::from_secs(10), leaver.displaced()).await.expect("another one has to leave");
            drop(leaver);
        };
        tokio::join!(admitted, left).0
    }

    #[tokio::test]
    async fn the_greatest_crowd_of_strangers_makes_room() {
        let connections = Connections::new(5, 10, vec!["10.0.0.0/8".parse().unwrap()]);
        let _proxy = admit(&connections, "10.0.0.1").await;
        let single = admit(&connections, "192.0.2.1").await;
        let (first, second) = (admit(&connections, "2001:db8::1").await, admit(&connections, "2001:db8::2").await);
        let _shown = admit(&connections, "2001:db8::3").await;
        _shown.standing().prove();
        // The one /64 has two strangers: they go before the older one who is alone.
        let third = displaces(&connections, "2001:db8::4", first).await;
        let another = displaces(&connections, "198.51.100.1", second).await;
        // All are alone now: the oldest goes.
        let last = displaces(&connections, "203.0.113.1", single).await;
        drop((third, another, last));
        assert_eq!((connections.open(), connections.displaced()), (2, 3));
        let taken = connections.taken();
        assert_eq!((taken.strangers.len(), taken.crowds.len(), taken.known.len()), (0, 0, 2));
    }

    #[tokio::test]
    async fn who_leaves_is_not_let_in_again_by_what_he_shows() {
        let connections = Connections::new(1, 10, vec![]);
        let first = admit(&connections, "192.0.2.1").await;
        assert!(connections.displace());
        first.standing().prove();
        assert_eq!(connections.taken().known.len(), 0);
        drop(first);
        assert_eq!(connections.taken().leaving, 0);
        drop(admit(&connections, "192.0.2.1").await);
    }

    #[tokio::test]
    async fn who_is_known_stays_while_a_stranger_is_still_on_his_way_out() {
        let connections = Connections::new(2, 10, vec![]);
        let known = admit(&connections, "192.0.2.1").await;
        known.standing().prove();
        let stranger = admit(&connections, "192.0.2.2").await;
        let newcomers = [connections.admit(None), connections.admit(None)].map(Box::pin);
        let [mut first, mut second] = newcomers;
        for _ in 0..3 {
            // Both wait for the one place that is to come free.
            let short = Duration::from_millis(20);
            assert!(tokio::time::timeout(short, async { tokio::join!(&mut first, &mut second) }).await.is_err());
        }
        assert_eq!((connections.displaced(), known.standing.seat.leave.is_cancelled()), (1, false));
        drop(stranger);
        let place = tokio::select! { place = first => place, place = second => place };
        assert!(place.is_some());
    }

    #[tokio::test]
    async fn too_many_requests_are_at_the_expense_of_who_has_the_most() {
        let connections = Connections::new(100, 3, vec![]);
        let mut under_way = Vec::new();
        let mut busy = |place: &Place, requests: usize| {
            let progress = Progress::new();
            place.watch(&progress);
            for _ in 0..requests {
                let guard = progress.request();
                under_way.push((guard, place.standing().request(progress.requests())));
            }
        };
        let left = |place: &Place| place.standing.seat.leave.is_cancelled();
        // However many have one each.
        let mut slow = Vec::new();
        for _ in 0..9 {
            let place = admit(&connections, "192.0.2.1").await;
            busy(&place, 1);
            slow.push(place);
        }
        let gateway = admit(&connections, "192.0.2.2").await;
        busy(&gateway, 2);
        // One crowd holds what there is, each of it no more than the gateway does.
        let (first, second) = (admit(&connections, "192.0.2.3").await, admit(&connections, "192.0.2.3").await);
        busy(&first, 2);
        busy(&second, 2);
        assert!(!slow.iter().chain([&gateway, &first, &second]).any(left));
        let another = admit(&connections, "192.0.2.4").await;
        busy(&another, 2);
        assert!(left(&first) || left(&second));
        assert!(!slow.iter().chain([&gateway, &another]).any(left));
        drop(under_way);
        assert_eq!(connections.requests.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_place_on_a_unix_socket_is_a_known_ones() {
        let connections = Connections::new(2, 10, vec![]);
        let local = connections.admit(None).await.unwrap();
        let stranger = admit(&connections, "192.0.2.1").await;
        let next = displaces(&connections, "192.0.2.1", stranger).await;
        assert!(!local.standing.seat.leave.is_cancelled());
        drop((local, next));
        assert_eq!(connections.open(), 0);
    }
}
