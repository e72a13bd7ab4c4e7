//! What a builder was given, checked.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use url::Url;

use super::builder::{Builder, KeySetPlace, MIB};
use super::copy::KeyCopy;
use super::key_set::{self, PublishedKeys};
use super::{StartError, redis_url};
use crate::account::Audience;
use crate::clock::random;
use crate::name::NodeName;
use crate::store::{Address, Place, Servers, Target};

/// The longest staleness that any dataset allows.
const MOST_STALENESS: Duration = Duration::from_secs(5);

const ISSUER: &str = "an https:// URL as it stands in tokens: without user, query, fragment or a slash at its end";

impl Builder {
    pub(super) fn checked(&self) -> Result<Audience, StartError> {
        let audience = self.audience.as_ref().unwrap_or(&self.issuer);
        let audience = audience.parse().map_err(|error: crate::name::Invalid| {
            let setting = if self.audience.is_some() { "audience" } else { "issuer" };
            StartError::setting(setting, error.to_string())
        })?;
        if !is_issuer(&self.issuer) {
            return Err(StartError::setting("issuer", ISSUER));
        }
        if !self.also_accept_issuers.iter().all(|issuer| is_issuer(issuer)) {
            return Err(StartError::setting("also_accept_issuers", format!("each is {ISSUER}")));
        }
        if self.max_staleness > MOST_STALENESS {
            return Err(StartError::setting("max_staleness", "at most 5 s"));
        }
        if self.prefix.is_empty() || !self.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err(StartError::setting("prefix", "letters, digits, - and _: the issuer's store.prefix"));
        }
        if self.account_bytes < MIB {
            return Err(StartError::setting("account_bytes", "at least 1 MiB"));
        }
        for (setting, is_zero) in [
            ("command_timeout", self.command_timeout.is_zero()),
            ("audit_queue", self.audit_queue == 0),
            ("firehose_max_entries", self.firehose == 0),
        ] {
            if is_zero {
                return Err(StartError::setting(setting, "more than zero"));
            }
        }
        self.has_leases()?;
        Ok(audience)
    }

    /// Where renewals wait for replicas, nothing counts but under a lease.
    fn has_leases(&self) -> Result<(), StartError> {
        if self.renewals_wait > 0 && self.max_staleness.is_zero() {
            let problem = "needs max_staleness above 0: without leases there is nothing to renew";
            return Err(StartError::setting("renewals_wait", problem));
        }
        Ok(())
    }

    pub(super) fn name(&self) -> Result<String, StartError> {
        if let Some(name) = &self.node_name {
            let name: Result<NodeName, _> = name.parse();
            return name
                .map(|name| name.to_string())
                .map_err(|error| StartError::setting("node_name", error.to_string()));
        }
        let [a, b, c] = random::<3>().map_err(|error| StartError::setting("node_name", error.to_string()))?;
        Ok(format!("{}-{a:02x}{b:02x}{c:02x}", NodeName::of_the_host()))
    }

    pub(super) fn target(&self) -> Result<Target, StartError> {
        let Some(url) = &self.redis else {
            return Err(StartError::setting("redis", "say where Redis is: it knows which tokens are good"));
        };
        let mut address = Address::to(Place::Socket(PathBuf::new()));
        redis_url::parse(url, &mut address)?;
        if self.redis_password.is_some() {
            if address.password.is_some() {
                return Err(StartError::setting("redis_password", "it is given twice: also in the address; keep one"));
            }
            address.password.clone_from(&self.redis_password);
        }
        if self.redis_user.is_some() {
            if address.user.is_some() {
                return Err(StartError::setting("redis_user", "it is given twice: also in the address; keep one"));
            }
            address.user.clone_from(&self.redis_user);
        }
        if address.password.is_some() && redis_url::is_in_the_open(&address.place) {
            tracing::warn!("the password of Redis goes over the network in plain text: write rediss://");
        }
        if self.redis_sentinel_user.is_some() || self.redis_sentinel_password.is_some() {
            if !matches!(address.place, Place::Network { servers: Servers::Sentinels { .. }, .. }) {
                let problem = "the address names no sentinels: it is redis+sentinel://HOST:PORT,HOST:PORT/NAME then";
                return Err(StartError::setting("redis_sentinel_user", problem));
            }
            address.sentinel.user.clone_from(&self.redis_sentinel_user);
            address.sentinel.password.clone_from(&self.redis_sentinel_password);
        }
        if !address.sentinel.tls && (self.redis_ca_pem.is_some() || self.redis_certificate.is_some()) {
            return Err(StartError::setting("redis", "certificates are of no use without TLS: write rediss://"));
        }
        address.ca_pem.clone_from(&self.redis_ca_pem);
        address.client_certificate.clone_from(&self.redis_certificate);
        address.timeout = self.command_timeout;
        address.connect_timeout = self.command_timeout;
        Target::new(address).map_err(|refused| StartError::setting("redis", refused.0))
    }

    pub(super) fn keys(&self) -> Result<PublishedKeys, StartError> {
        let place = match &self.key_set {
            Some(KeySetPlace::File(path)) => key_set::Place::File(path.clone()),
            Some(KeySetPlace::Url(url)) => self.over_https(url, "key_set_url")?,
            None => self.over_https(&format!("{}/.well-known/jwks.json", self.issuer), "issuer")?,
        };
        if self.copy.as_deref().is_some_and(Path::is_dir) {
            return Err(StartError::setting("keep_keys_in", "it is a directory; name a file"));
        }
        let copy = self.copy.as_ref().map(|path| KeyCopy::new(path.clone(), self.issuer.clone()));
        Ok(PublishedKeys { place, copy, reads: AtomicU64::new(0), failures: AtomicU64::new(0) })
    }

    fn over_https(&self, url: &str, setting: &'static str) -> Result<key_set::Place, StartError> {
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.has_host());
        let url =
            url.ok_or_else(|| StartError::setting(setting, "the key set comes from an https:// URL, or from a file"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(StartError::setting(setting, "the key set is public: a URL without user and password"));
        }
        let wrong = |why: String| StartError::setting("ca_pem", why);
        let tls = crate::store::tls_config(self.ca_pem.as_deref(), None).map_err(wrong)?;
        let client = reqwest::Client::builder()
            .user_agent(concat!("countermark-node/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| StartError::setting(setting, error.to_string()))?;
        Ok(key_set::Place::Url(url, client))
    }
}

/// Tokens are compared with it as it is written.
fn is_issuer(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let is_bare = url.username().is_empty() && url.password().is_none();
        let is_whole = url.query().is_none() && url.fragment().is_none() && !text.ends_with('/');
        url.scheme() == "https" && url.has_host() && is_bare && is_whole
    })
}
