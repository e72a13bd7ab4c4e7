//! What all requests share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::problem::Problem;
use crate::account::Audience;
use crate::authority::{Authority, Metrics};
use crate::clock::Clock;
use crate::listen::{Peer, Transport};
use crate::name::TeamName;
use crate::permission::Permission;
use crate::store::StoreError;
use crate::web::{client_address, forwarded};

static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A demand that the configuration names, called as `/verify/~NAME`.
#[derive(Debug, Clone, Default)]
pub struct NamedDemand {
    /// The permission.
    pub permission: Option<Permission>,
    /// In this team.
    pub team: Option<TeamName>,
    /// For this API.
    pub audience: Option<Audience>,
}

/// What all requests share.
pub struct Edge {
    /// There is none until the store was met.
    authority: ArcSwapOption<Authority>,
    draining: AtomicBool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Proxies whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Named demands.
    pub policies: BTreeMap<String, NamedDemand>,
    /// The lifetimes on offer, in calendar months.
    pub lifetimes: Vec<u32>,
    /// The largest body.
    pub body_bytes: usize,
    /// How long it may take to arrive.
    pub body_timeout: Duration,
}

impl Edge {
    /// Without an authority yet.
    pub fn new(
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        trusted_proxies: Vec<IpNet>,
        policies: BTreeMap<String, NamedDemand>,
        lifetimes: Vec<u32>,
        body_bytes: usize,
        body_timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            authority: ArcSwapOption::empty(),
            draining: AtomicBool::new(false),
            metrics,
            clock,
            trusted_proxies,
            policies,
            lifetimes,
            body_bytes,
            body_timeout,
        })
    }

    /// From now on there is somebody who decides.
    pub fn open(&self, authority: Arc<Authority>) {
        self.authority.store(Some(authority));
    }

    /// From now on this process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether this process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The one that decides.
    pub fn authority(&self) -> Result<Arc<Authority>, Problem> {
        self.authority
            .load_full()
            .ok_or_else(|| Problem::not_ready("the store has not been reached yet; try again, and look at /readyz"))
    }

    /// Whether requests can be answered, and what is missing.
    pub async fn readiness(&self) -> Vec<(&'static str, Result<(), String>)> {
        let authority = self.authority.load_full();
        let store = match &authority {
            // What a verification needs, and not just an answer: a replica answers too.
            Some(authority) => authority.node().can_decide().await.map_err(|error| {
                let waited_for = authority.store().waited_for();
                if waited_for.is_empty() {
                    error.to_string()
                } else {
                    StoreError::Waits(waited_for.join(", ")).to_string()
                }
            }),
            None => Err("it has not been reached yet".to_owned()),
        };
        let key = match authority.as_ref().map(|authority| authority.keys().now()) {
            // One in a hardware token that is out of reach: tokens are checked all the same, and there is a warning.
            Some(loaded) if loaded.signer.is_some() || loaded.out_of_reach.is_some() => Ok(()),
            Some(_) => Err("no key signs".to_owned()),
            None => Err("the store holds the keys".to_owned()),
        };
        let lease = match &authority {
            Some(authority) if authority.node().holds_lease() => Ok(()),
            Some(_) => Err("none: every record is looked up".to_owned()),
            None => Err("there is nobody to hold it yet".to_owned()),
        };
        let stays = if self.draining.load(Ordering::Relaxed) { Err("it is stopping".to_owned()) } else { Ok(()) };
        let checks = vec![("store", store), ("signing_key", key), ("lease", lease), ("process", stays)];
        self.metrics.ready.set(i64::from(checks.iter().all(|(_, result)| result.is_ok())));
        checks
    }

    /// What an operator should know although requests are answered.
    pub fn warnings(&self) -> Vec<String> {
        let room = self.authority.load().as_ref().map_or(Ok(()), |authority| authority.store().has_room());
        self.metrics.store_full.set(i64::from(room.is_err()));
        let loaded = self.authority.load().as_ref().map(|authority| authority.keys().now());
        let signing = loaded.and_then(|loaded| match &loaded.signer {
            Some(signer) => signer.trouble(),
            None => loaded.out_of_reach.clone(),
        });
        let journal = self.authority.load().as_ref().and_then(|authority| authority.store().journal_trouble());
        let journal = journal.map(|why| format!("{why}: no change is made until it can be noted"));
        let room = room.err().map(|error| format!("{error}: only revoking, disabling and deleting go on"));
        let unguided = self.authority.load().as_ref().and_then(|authority| authority.store().unguided());
        let twin = self.authority.load().as_ref().and_then(|authority| authority.store().twin()).map(str::to_owned);
        let of_the_store = room.into_iter().chain(journal).chain(unguided).chain(twin);
        of_the_store.chain(signing.map(|why| format!("{why}: no token is issued here"))).collect()
    }

    fn trusts(&self, address: IpAddr) -> bool {
        forwarded::is_one_of(&self.trusted_proxies, address)
    }

    /// The client's address: see [`client_address`].
    pub fn client_address(&self, peer: &Peer, headers: &HeaderMap) -> Option<IpAddr> {
        client_address(&self.trusted_proxies, peer.address, headers)
    }

    /// Whether nobody on the way could read along: TLS, a Unix socket, the loopback, or a trusted proxy that says that it was
    /// HTTPS on its other side. A proxy that says that it was not is believed, however it speaks to us.
    pub fn is_private(&self, peer: &Peer, headers: &HeaderMap) -> bool {
        let trusted = peer.address.is_none_or(|address| self.trusts(address));
        let mut protocols = headers.get_all(&X_FORWARDED_PROTO).iter();
        let said = match (protocols.next(), protocols.next()) {
            (None, _) => None,
            (Some(protocol), None) => Some(protocol.as_bytes().eq_ignore_ascii_case(b"https")),
            (Some(_), Some(_)) => Some(false),
        };
        match (peer.transport, peer.address) {
            _ if trusted && said.is_some() => said == Some(true),
            (Transport::Tls | Transport::Unix, _) => true,
            (Transport::Plain, address) => address.is_some_and(|address| address.is_loopback()),
        }
    }
}
