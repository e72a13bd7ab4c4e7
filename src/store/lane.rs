//! Connections for one purpose: one where what must change together lies, and in a cluster further ones, to whichever server
//! has what is spread over the slots.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StoreError;
use super::cluster::Cluster;
use super::greeting::ConnectError;
use super::link::{Link, counted};
use super::target::Target;
use super::url::HostPort;

/// See the module. By itself it is the link to where what must change together lies.
pub(super) struct Lane {
    home: Arc<Link>,
    spread: Option<Spread>,
}

struct Spread {
    name: &'static str,
    target: Target,
    cluster: Arc<Cluster>,
    busy: Duration,
    stop: CancellationToken,
    links: Mutex<HashMap<Leads, Kept>>,
}

/// Where a link leads.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Leads {
    /// To a server, for all its slots.
    To(HostPort),
    /// To whoever has this key, for nothing else: it blocks.
    #[cfg(feature = "server")]
    ToOwnerOf(String),
}

struct Kept {
    link: Arc<Link>,
    stop: CancellationToken,
}

impl Lane {
    /// Begins to connect to where `home` lies. `busy` as of [`Link::supervise`].
    pub(super) fn open(
        name: &'static str,
        target: &Target,
        home: &str,
        busy: Duration,
        stop: &CancellationToken,
    ) -> Self {
        let link = Link::supervise(name, target.of(home), busy, stop.clone());
        let spread = target.cluster().map(|cluster| Spread {
            name,
            target: target.clone(),
            cluster: Arc::clone(cluster),
            busy,
            stop: stop.clone(),
            links: Mutex::default(),
        });
        Self { home: link, spread }
    }

    /// The link to where what must change together lies.
    pub(super) fn home(&self) -> Arc<Link> {
        Arc::clone(&self.home)
    }

    /// Whether several keys of different tags may stand in one command.
    #[cfg(feature = "server")]
    pub(super) fn is_one_server(&self) -> bool {
        self.spread.is_none()
    }

    /// A link to where a key lies.
    pub(super) async fn at(&self, key: &str) -> Result<Arc<Link>, StoreError> {
        let Some(spread) = &self.spread else { return Ok(self.home()) };
        let (look, known) = (spread.cluster.look_again().await, spread.cluster.known_owner_of(key));
        match (known, look) {
            (Some(owner), _) => Ok(spread.link(Leads::To(owner)).await),
            (None, Err(ConnectError::Away(why) | ConnectError::Refused(why))) => Err(StoreError::Unavailable(why)),
            (None, Ok(())) => Err(StoreError::Unavailable("no server of the cluster has the slot".into())),
        }
    }

    /// A link to where a key lies, for commands that block it.
    #[cfg(feature = "server")]
    pub(super) async fn blocking_at(&self, key: &str) -> Arc<Link> {
        match &self.spread {
            None => self.home(),
            Some(spread) => spread.link(Leads::ToOwnerOf(key.to_owned())).await,
        }
    }
}

impl Deref for Lane {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.home
    }
}

impl Spread {
    async fn link(&self, leads: Leads) -> Arc<Link> {
        let link = self.kept(leads);
        if !link.has_ever_come() {
            // Those who need it first wait for it once: they would be refused for nothing.
            let _ = counted(tokio::time::timeout(self.target.timeout(), link.connected())).await;
        }
        link
    }

    fn kept(&self, leads: Leads) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = links.get(&leads) {
            return Arc::clone(&kept.link);
        }
        // Servers come and go: what leads to one that has no slots any more is let go.
        let owners = self.cluster.owners();
        links.retain(|leads, kept| {
            let is_used = !matches!(leads, Leads::To(at) if !owners.contains(at));
            if !is_used {
                kept.stop.cancel();
            }
            is_used
        });
        let target = match &leads {
            Leads::To(at) => self.target.server(at),
            #[cfg(feature = "server")]
            Leads::ToOwnerOf(key) => self.target.of(key),
        };
        let stop = self.stop.child_token();
        let link = Link::supervise(self.name, target, self.busy, stop.clone());
        links.insert(leads, Kept { link: Arc::clone(&link), stop });
        link
    }
}
