//! Blocks: the events that a node writes at once, linked to those that it wrote before (protocols, section 6, A3).
//!
//! A block is one entry of the firehose: a [`Header`] as a line of JSON, and the events as one more line each. The hash of a block is
//! the SHA-256 of its header's text; that has the hash of the block before, and of the events the SHA-256 over the SHA-256 of each, so
//! that an event can be shown without the others. Whoever holds the last hash can tell whether anything before it was changed.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

/// What is said of a block. Its text is what is hashed, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The node.
    pub node: String,
    /// Which of its blocks: 1, 2, 3 …
    pub block: u64,
    /// The hash of the block before; empty in the first.
    pub previous: String,
    /// The id of that block's entry; empty in the first.
    pub after: String,
    /// How many events follow.
    pub count: u64,
    /// Over the events: see [`Lines`].
    pub lines: String,
    /// The highest number that the node has given to an event of this or an earlier block.
    pub last: u64,
    /// Events of acts, which are entries of their own: their numbers, the ids of their entries, and their SHA-256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<(u64, String, String)>,
    /// Numbers that no event has, and none will have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub void: Vec<u64>,
    /// Numbers up to `last` whose events are still to come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<u64>,
}

impl Header {
    /// As it is written, and hashed.
    pub fn to_text(&self) -> String {
        // All members have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The SHA-256 of a text, in hex.
pub fn hash(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 over the SHA-256 of each line, without its end.
pub struct Lines(Context);

impl Default for Lines {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Lines {
    /// Takes the next line.
    pub fn push(&mut self, line: &str) {
        self.0.update(digest(&SHA256, line.as_bytes()).as_ref());
    }

    /// Takes a line of which only the hash is known, in hex. What is none makes another hash of all.
    #[cfg(feature = "server")]
    pub fn push_hashed(&mut self, hash: &str) {
        let bytes = hash
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok()));
        self.0.update(&bytes.collect::<Option<Vec<u8>>>().unwrap_or_default());
    }

    /// Of all, in hex.
    pub fn finish(self) -> String {
        hex(self.0.finish().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_one_text_and_its_hash_is_that_of_the_text() {
        let header = Header {
            node: "n".into(),
            block: 1,
            previous: String::new(),
            after: String::new(),
            count: 0,
            lines: Lines::default().finish(),
            last: 0,
            acts: Vec::new(),
            void: Vec::new(),
            open: Vec::new(),
        };
        // SHA-256 of nothing (FIPS 180-4).
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text =
            format!(r#"{{"node":"n","block":1,"previous":"","after":"","count":0,"lines":"{nothing}","last":0}}"#);
        assert_eq!(header.to_text(), text);
        assert_eq!(serde_json::from_str::<Header>(&text).unwrap(), header);
        assert_eq!(hash(""), nothing);
        // FIPS 180-4, of "abc".
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn lines_are_told_apart() {
        let of = |lines: &[&str]| {
            let mut all = Lines::default();
            lines.iter().for_each(|line| all.push(line));
            all.finish()
        };
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["ab"]), of(&["a", "b"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}
