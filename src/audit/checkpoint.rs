//! Checkpoints: what an issuer has seen of all nodes' chains, signed (protocols, section 6, A3).
//!
//! A checkpoint is a JWS in its compact serialization (RFC 7515) over a [`Checkpoint`] as JSON, signed with ES256 by a key that signs
//! nothing else. Since a block's hash stands for all before it, the last checkpoint proves everything up to the blocks that it names.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::archive::Archived;
use super::block;
use crate::account::AccountId;
use crate::clock::rfc3339;
use crate::token::{KeyError, SigningKey, VerificationKey};

/// The `typ` of its header, so that it is nothing else than this, and no token.
const CHECKPOINT: &str = "countermark-checkpoint+jws";
/// The same of a [`Seal`].
const SEAL: &str = "countermark-export+jws";
/// The same of a [`Mark`].
const MARK: &str = "countermark-export-mark+jws";

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The dataset.
    pub dataset: String,
    /// 1, 2, 3 …
    pub number: u64,
    /// By the issuer's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The [hash](super::block::hash) of the checkpoint before, as it was written; empty in the first.
    pub previous: String,
    /// The last block of each node.
    pub nodes: BTreeMap<String, NodeHead>,
    /// The acts.
    pub acts: ActsHead,
    /// Of each stream (`0`, `1` … for a shard, `acts`), from where on entries are to be there; none: nothing was ever removed.
    #[serde(default)]
    pub kept: BTreeMap<String, KeptFrom>,
    /// Of each stream that was ever archived, how far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub archived: BTreeMap<String, Archived>,
    /// The number of the first checkpoint that is to be there.
    pub oldest: u64,
    /// Blocks that were signed before and were not there any more, or were others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHead {
    /// The number of the block.
    pub block: u64,
    /// The highest number of an event.
    pub last: u64,
    /// The block's hash.
    pub hash: String,
    /// The id of its entry.
    pub entry: String,
}

/// From where on a stream is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFrom {
    /// Entries before this one are removed.
    pub first: String,
    /// So many were.
    pub removed: u64,
}

/// The end of the stream of acts, which have an order of their own. After each act `hash` is the [hash](super::block::hash) of the text
/// `HASH ENTRY EPOCH LINE`: what it was before, the id of the act's entry, its epoch, and the hash of its line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActsHead {
    /// The last entry; empty: there is none.
    pub last: String,
    /// After it.
    pub hash: String,
    /// Before the first one that is to be there.
    pub before: String,
    /// How many there ever were.
    pub count: u64,
}

impl ActsHead {
    /// What `hash` is after one more act.
    pub fn after(hash: &str, entry: &str, epoch: &str, line: &str) -> String {
        Self::after_hashed(hash, entry, epoch, &block::hash(line))
    }

    /// The same of a line of which only the hash is known.
    pub fn after_hashed(hash: &str, entry: &str, epoch: &str, line: &str) -> String {
        block::hash(&format!("{hash} {entry} {epoch} {line}"))
    }
}

/// A block that was there once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The node.
    pub node: String,
    /// As it was signed.
    pub head: NodeHead,
    /// When it was missed.
    #[serde(with = "rfc3339")]
    pub noticed_at: DateTime<Utc>,
}

/// Why a text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    /// It has not the form of one.
    #[error("it has not the form of a checkpoint")]
    Form,
    /// It was signed with a key that is not known.
    #[error("it was signed with the key {0}, which is not among the audit keys")]
    UnknownKey(String),
    /// The signature is not that key's.
    #[error("its signature is not that of the key {0}")]
    Signature(String),
}

/// Which part of the audit an export has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Blocks of which entries are older are left out, and so are the events of older acts.
    #[serde(with = "rfc3339::option", default)]
    pub from: Option<DateTime<Utc>>,
    /// Events of which entries are not older are left out.
    #[serde(with = "rfc3339::option", default)]
    pub to: Option<DateTime<Utc>>,
    /// Events that don't concern this account are left out.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// Events of other nodes are left out.
    #[serde(default)]
    pub node: Option<String>,
}

impl Part {
    /// Whether it is all there is.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// The end of an export: without it, what is there may be the beginning of one only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The dataset.
    pub dataset: String,
    /// By the issuer's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The number of the last checkpoint in it.
    pub checkpoint: u64,
    /// The SHA-256, in hex, of all lines before it, each with its end; after a [`Mark`], of what [`Mark::lines`] says.
    pub lines: String,
    /// What was asked for.
    pub part: Part,
}

/// A place in an export from which it can be gone on with. It is signed: whoever signs the end after an interruption knows by it that
/// all before was exported, and how, though he may be another process and has it from the one who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The dataset.
    pub dataset: String,
    /// By the issuer's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The number of the last checkpoint so far.
    pub checkpoint: u64,
    /// The SHA-256, in hex, of all lines since the mark before, each with its end, and before them of that mark's `lines` and its own
    /// line. So it stands for everything from the beginning on.
    pub lines: String,
    /// What was asked for.
    pub part: Part,
    /// What was reached.
    pub reached: Reached,
}

/// How far an export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The entry of the last checkpoint.
    pub checkpoint: String,
    /// The stream that is being read: `0`, `1` … or `acts`.
    pub stream: String,
    /// The entry that was reached there; empty: none yet.
    pub entry: String,
}

impl Checkpoint {
    /// Signed.
    pub fn sign(&self, key: &SigningKey) -> Result<String, KeyError> {
        sign(CHECKPOINT, self, key)
    }

    /// Of a text that one of these keys signed.
    pub fn open(text: &str, keys: &[VerificationKey]) -> Result<Self, NotACheckpoint> {
        open(CHECKPOINT, text, keys)
    }

    /// The id of the key that a text says it was signed with; whether it was is for [`Checkpoint::open`] to say.
    pub fn key_id_of(text: &str) -> Option<String> {
        let header = Header::of(text.split_once('.')?.0).ok()?;
        Some(super::printable(&header.kid, 64))
    }
}

impl Seal {
    /// Signed.
    pub fn sign(&self, key: &SigningKey) -> Result<String, KeyError> {
        sign(SEAL, self, key)
    }

    /// Of a text that one of these keys signed.
    pub fn open(text: &str, keys: &[VerificationKey]) -> Result<Self, NotACheckpoint> {
        open(SEAL, text, keys)
    }
}

impl Mark {
    /// With what the hash of the lines after a mark begins: its `lines`, and its own line.
    pub fn digest(lines: &str, line: &str) -> Context {
        let mut digest = Context::new(&SHA256);
        for text in [lines, line] {
            digest.update(text.as_bytes());
            digest.update(b"\n");
        }
        digest
    }

    /// Signed.
    pub fn sign(&self, key: &SigningKey) -> Result<String, KeyError> {
        sign(MARK, self, key)
    }

    /// Of a text that one of these keys signed.
    pub fn open(text: &str, keys: &[VerificationKey]) -> Result<Self, NotACheckpoint> {
        open(MARK, text, keys)
    }
}

pub(super) fn sign(kind: &str, what: &impl Serialize, key: &SigningKey) -> Result<String, KeyError> {
    let header = json!({ "alg": key.public().algorithm(), "typ": kind, "kid": key.public().key_id() });
    let segment = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let payload = serde_json::to_vec(what).map_err(|_| KeyError::Signing)?;
    let message = format!("{}.{}", segment(header.to_string().as_bytes()), segment(&payload));
    let signature = key.sign(message.as_bytes())?;
    Ok(format!("{message}.{}", segment(&signature)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl Header {
    fn of(segment: &str) -> Result<Self, NotACheckpoint> {
        let bytes = URL_SAFE_NO_PAD.decode(segment).map_err(|_| NotACheckpoint::Form)?;
        serde_json::from_slice(&bytes).map_err(|_| NotACheckpoint::Form)
    }
}

pub(super) fn open<T: DeserializeOwned>(kind: &str, text: &str, keys: &[VerificationKey]) -> Result<T, NotACheckpoint> {
    let segment = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| NotACheckpoint::Form);
    let (message, signature) = text.rsplit_once('.').ok_or(NotACheckpoint::Form)?;
    let (header, payload) = message.split_once('.').ok_or(NotACheckpoint::Form)?;
    let header = Header::of(header)?;
    let key = keys.iter().find(|key| key.key_id() == header.kid);
    let key = key.ok_or_else(|| NotACheckpoint::UnknownKey(super::printable(&header.kid, 64)))?;
    if header.typ != kind || header.alg != key.algorithm().as_str() {
        return Err(NotACheckpoint::Form);
    }
    if !key.verifies(message.as_bytes(), &segment(signature)?) {
        return Err(NotACheckpoint::Signature(header.kid));
    }
    serde_json::from_slice(&segment(payload)?).map_err(|_| NotACheckpoint::Form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Algorithm;

    fn checkpoint() -> Checkpoint {
        let head = NodeHead { block: 2, last: 7, hash: "ab".into(), entry: "1-0".into() };
        Checkpoint {
            dataset: "d".into(),
            number: 3,
            time: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            previous: "cd".into(),
            nodes: [("n".to_owned(), head)].into(),
            acts: ActsHead::default(),
            kept: BTreeMap::new(),
            archived: BTreeMap::new(),
            oldest: 1,
            lost: Vec::new(),
        }
    }

    #[test]
    fn only_what_a_known_key_has_signed_is_one() {
        let (key, other) = [(); 2].map(|()| SigningKey::generate(Algorithm::ES256).unwrap()).into();
        let text = checkpoint().sign(&key).unwrap();
        let known = [other.public().clone(), key.public().clone()];
        assert_eq!(Checkpoint::open(&text, &known), Ok(checkpoint()));
        let unknown = NotACheckpoint::UnknownKey(key.public().key_id().to_owned());
        assert_eq!(Checkpoint::open(&text, &known[..1]), Err(unknown));
        let segments: Vec<&str> = text.split('.').collect();
        let changed = URL_SAFE_NO_PAD.encode(
            String::from_utf8(URL_SAFE_NO_PAD.decode(segments[1]).unwrap())
                .unwrap()
                .replace("\"block\":2", "\"block\":1"),
        );
        let forged = format!("{}.{changed}.{}", segments[0], segments[2]);
        let signature = NotACheckpoint::Signature(key.public().key_id().to_owned());
        assert_eq!(Checkpoint::open(&forged, &known), Err(signature));
        for bad in ["", ".", "..", "a.b.c", &text[1..], &format!("{text}.x")] {
            assert!(Checkpoint::open(bad, &known).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_and_a_seal_are_none() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let seal = Seal {
            dataset: "d".into(),
            time: checkpoint().time,
            checkpoint: 3,
            lines: "ab".into(),
            part: Part::default(),
        };
        let text = seal.sign(&key).unwrap();
        assert_eq!(Seal::open(&text, &[key.public().clone()]), Ok(seal));
        assert_eq!(Checkpoint::open(&text, &[key.public().clone()]), Err(NotACheckpoint::Form));
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": key.public().key_id() });
        let payload = serde_json::to_vec(&checkpoint()).unwrap();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let text = format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap()));
        assert_eq!(Checkpoint::open(&text, &[key.public().clone()]), Err(NotACheckpoint::Form));
    }
}
