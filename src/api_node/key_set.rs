//! The published key set (RFC 7517), as an API node has it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use serde_json::Value;

use super::copy::KeyCopy;
use super::own_file;
use crate::node::{KeyOrigin, Loaded, NotRead};
use crate::strict_json;
use crate::token::{Algorithm, VerificationKey};
use crate::verify::{KeySet, KeyState, KnownKey};

/// More than any key set of ours.
const MOST_BYTES: usize = 256 * 1024;
const MOST_KEYS: usize = 256;

/// How long a reading may take that nobody waits for.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a call waits for one.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Where it is published.
pub(super) enum Place {
    /// Over HTTPS.
    Url(reqwest::Url, reqwest::Client),
    /// In a file, which somebody replaces whenever the keys change.
    File(PathBuf),
}

/// For the log: a query may hold a secret.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url, _) => write!(f, "{}{}", url.origin().ascii_serialization(), url.path()),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// See the module.
pub(super) struct PublishedKeys {
    pub(super) place: Place,
    /// A copy for a start without the issuer.
    pub(super) copy: Option<KeyCopy>,
    pub(super) reads: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// A key set that was read.
pub(super) struct Published {
    set: Arc<KeySet>,
    /// It was not read from the issuer, but from what an earlier process has kept.
    is_copy: bool,
}

impl Published {
    /// Before anything was read.
    pub(super) fn nothing() -> Self {
        Self { set: Arc::new(KeySet::default()), is_copy: false }
    }
}

impl Loaded for Published {
    fn set(&self) -> &Arc<KeySet> {
        &self.set
    }

    /// A copy is of the past: a store that was restored from a backup since may count anew, and reach its version with other keys.
    fn serves(&self, version: u64) -> bool {
        if self.is_copy { self.set.version() == version } else { self.set.version() >= version }
    }
}

impl KeyOrigin for PublishedKeys {
    type Loaded = Published;

    const PATIENCE: Duration = PATIENCE;
    const REST: Duration = Duration::from_secs(1);

    async fn read(&self, now: &Published, within: Duration) -> Result<Published, NotRead> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let read = async {
            let text = self.text(within).await?;
            let published = with_those_that_are_gone(parse(&text)?, now)?;
            Ok::<_, String>((text, published))
        };
        match read.await {
            Ok((text, published)) => {
                if let Some(copy) = &self.copy {
                    copy.keep(&text, published.set.version());
                }
                Ok(published)
            }
            Err(why) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(why, from = %self.place, "the key set could not be read");
                Err(NotRead)
            }
        }
    }
}

impl PublishedKeys {
    async fn text(&self, within: Duration) -> Result<Vec<u8>, String> {
        let (url, client) = match &self.place {
            Place::File(path) => return own_file::read(path, MOST_BYTES).map_err(|error| error.to_string()),
            Place::Url(url, client) => (url, client),
        };
        // Caches in between must not answer with the set of before.
        let request = client.get(url.clone()).header("cache-control", "no-cache").timeout(within.min(LONGEST));
        let mut answer = request.send().await.map_err(|error| no_answer(&error))?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| no_answer(&error))? {
            if text.len() + chunk.len() > MOST_BYTES {
                return Err(format!("it has more than {MOST_BYTES} bytes"));
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }

    /// What an earlier process has kept of this dataset's keys.
    pub(super) fn kept(&self) -> Option<Published> {
        let copy = self.copy.as_ref()?;
        let set = copy.kept().and_then(|text| text.map(|text| parse(&text)).transpose());
        match set {
            Ok(set) => set.map(|set| Published { set: Arc::new(set), is_copy: true }),
            Err(why) => {
                tracing::warn!(why, path = %copy.path().display(), "the copy of the key set is not used");
                None
            }
        }
    }
}

/// What went wrong, without the URL, which is told beside it.
pub(crate) fn no_answer(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Reads a key set. Keys of kinds that we don't use are passed over (RFC 7517, section 5); one that is not what it says it is, too.
fn parse(text: &[u8]) -> Result<KeySet, String> {
    let Ok(Value::Object(mut members)) = strict_json::parse(text) else {
        return Err("it is no JSON object".to_owned());
    };
    let version = members.get("countermark_version").and_then(Value::as_u64).filter(|version| *version > 0);
    let Some(version) = version else {
        return Err("it has no countermark_version: it has to be the whole answer of /.well-known/jwks.json".to_owned());
    };
    let Some(Value::Array(keys)) = members.remove("keys") else { return Err("it has no keys".to_owned()) };
    if keys.len() > MOST_KEYS {
        return Err(format!("it has more than {MOST_KEYS} keys"));
    }
    // What signs checkpoints of the audit signs no tokens, and says so.
    let keys: Vec<Value> = keys.into_iter().filter(|key| key.get("key_ops").is_none()).collect();
    // None at all: the last one was revoked.
    let is_empty = keys.is_empty();
    let keys: Vec<KnownKey> = keys.into_iter().filter_map(known).collect();
    if keys.is_empty() && !is_empty {
        return Err("it has no key that could verify a token".to_owned());
    }
    Ok(KeySet::new(version, keys))
}

fn known(key: Value) -> Option<KnownKey> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let (said, id) = (jwk.common.key_algorithm?, jwk.common.key_id.clone()?);
    let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.in_jwk() == said)?;
    let public = VerificationKey::from_jwk(algorithm, jwk).ok().filter(|key| key.key_id() == id);
    if public.is_none() {
        tracing::warn!(
            id = crate::audit::printable(&id, 64),
            "a key of the key set is not what it says it is, and is not used"
        );
    }
    // Pending, active and retiring keys all verify, and are not told apart here.
    public.map(|public| KnownKey { public, state: KeyState::Active })
}

/// A key that was published and no longer is was retired or revoked: nothing it signed is accepted, and whoever holds such a
/// token is told so precisely, and not taken for somebody who guesses.
///
/// What was read from the issuer takes a copy's place whatever their versions are.
fn with_those_that_are_gone(new: KeySet, before: &Published) -> Result<Published, String> {
    let seen = before.set.version();
    if !before.is_copy && new.version() < seen {
        return Err(format!("it is of version {}, and {seen} was seen already", new.version()));
    }
    let gone = before.set.iter().filter(|key| new.find(key.public.key_id()).is_none());
    let gone: Vec<KnownKey> =
        gone.map(|key| KnownKey { public: key.public.clone(), state: KeyState::Retired }).collect();
    let all = new.iter().cloned().chain(gone);
    Ok(Published { set: Arc::new(KeySet::new(new.version(), all)), is_copy: false })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::SigningKey;

    fn set(version: u64, keys: &[&SigningKey]) -> Vec<u8> {
        let keys: Vec<Value> = keys.iter().map(|key| serde_json::to_value(key.public().jwk()).unwrap()).collect();
        json!({"keys": keys, "countermark_version": version}).to_string().into_bytes()
    }

    #[test]
    fn the_log_is_told_no_query() {
        let url = "https://keys.example.com:8443/jwks.json?key=SECRET#SECRET".parse().unwrap();
        let tls = crate::store::tls_config(None, None).unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
        let place = Place::Url(url, client);
        assert_eq!(place.to_string(), "https://keys.example.com:8443/jwks.json");
    }

    #[test]
    fn a_key_that_is_gone_is_remembered_as_retired_and_an_older_set_is_refused() {
        let (old, new) =
            (SigningKey::generate(Algorithm::ES256).unwrap(), SigningKey::generate(Algorithm::EdDSA).unwrap());
        let read =
            |version, key, before: &Published| with_those_that_are_gone(parse(&set(version, &[key])).unwrap(), before);
        let second = read(4, &new, &read(3, &old, &Published::nothing()).unwrap()).unwrap();
        let state = |key: &SigningKey| second.set.find(key.public().key_id()).map(|known| known.state);
        assert_eq!((state(&old), state(&new)), (Some(KeyState::Retired), Some(KeyState::Active)));
        assert!(read(3, &old, &second).is_err());
    }

    #[test]
    fn a_copy_is_good_for_its_own_version_alone_and_gives_way_to_what_is_read() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let parsed = |version| parse(&set(version, &[&key])).unwrap();
        let copy = Published { set: Arc::new(parsed(7)), is_copy: true };
        assert_eq!([6, 7, 8].map(|version| copy.serves(version)), [false, true, false]);
        let read = with_those_that_are_gone(parsed(3), &copy).unwrap();
        assert_eq!([2, 3, 4].map(|version| read.serves(version)), [true, true, false]);
    }

    #[test]
    fn what_is_no_key_set_of_ours_is_refused_with_a_reason() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let jwk = serde_json::to_value(key.public().jwk()).unwrap();
        let mut other_id = jwk.clone();
        other_id["kid"] = json!("another");
        let mut other_alg = jwk.clone();
        other_alg["alg"] = json!("ES384");
        for (what, text) in [
            ("no version", json!({"keys": [jwk]})),
            ("version zero", json!({"keys": [jwk], "countermark_version": 0})),
            ("no keys", json!({"countermark_version": 1})),
            ("none of use", json!({"keys": [other_id, other_alg, {"kty": "oct"}, 1], "countermark_version": 1})),
            ("too many", json!({"keys": vec![jwk.clone(); MOST_KEYS + 1], "countermark_version": 1})),
        ] {
            assert!(parse(text.to_string().as_bytes()).is_err(), "{what}");
        }
        assert!(parse(b"").is_err() && parse(b"[]").is_err());
        assert_eq!(parse(br#"{"keys": [], "countermark_version": 5}"#).unwrap().version(), 5);
        let beside = json!({"keys": [{"kty": "unheard-of"}, jwk], "countermark_version": 1});
        assert!(parse(beside.to_string().as_bytes()).unwrap().find(key.public().key_id()).is_some());
    }
}
