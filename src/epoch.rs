//! Epochs: the order of all changes (protocols, section 1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::Invalid;

/// A moment in the dataset's history: the term of the store's identity, and a counter that each change raises.
/// Written `term-counter`, which is also the id of the change in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch {
    /// Rises when an issuer meets the store under a new identity.
    pub term: u64,
    /// Rises with each change.
    pub counter: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.counter)
    }
}

impl FromStr for Epoch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = |part: &str| {
            // One spelling for each epoch: no sign, no leading zero.
            part.parse::<u64>().ok().filter(|number| number.to_string() == part)
        };
        text.split_once('-')
            .and_then(|(term, counter)| Some(Self { term: number(term)?, counter: number(counter)? }))
            .ok_or_else(|| Invalid::new("an epoch is two numbers, term-counter"))
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "server")]
crate::name::text_schema!(Epoch, "^[0-9]+-[0-9]+$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_term_is_later_whatever_the_counter() {
        let epoch = |text: &str| text.parse::<Epoch>().unwrap();
        assert!(epoch("2-1") > epoch("1-9"));
        assert!(epoch("1-10") > epoch("1-9"));
        for bad in ["", "1", "1-", "-1", "01-1", "1-+1", "1-1-1", "a-1"] {
            assert!(bad.parse::<Epoch>().is_err(), "{bad}");
        }
    }
}
