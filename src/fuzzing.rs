//! The entries of the fuzz targets in `fuzz/`, one for each kind of text that comes from outside. No part of the API.
//!
//! An entry takes any bytes and panics where something is wrong. Its seeds, in `fuzz/seeds/`, run once with the tests.

pub use crate::authority::backup::fuzz as backup;
pub use crate::config::fuzzing::configuration;
pub use crate::http::fuzzing::{headers, json};
pub use crate::verify::fuzzing::token;

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};

/// Whether an object in this JSON has a member twice: told by another reader than the one that refuses it.
pub(crate) fn repeats(text: &[u8]) -> bool {
    serde_json::from_slice::<Repeats>(text).is_ok_and(|Repeats(found)| found)
}

#[derive(Default)]
struct Repeats(bool);

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(false))
    }
}

macro_rules! alone {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self, E> {
            Ok(self)
        })*
    };
}

impl<'de> Visitor<'de> for Repeats {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    alone!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<Self, A::Error> {
        while let Some(value) = values.next_element::<Self>()? {
            self.0 |= value.0;
        }
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        let mut names = Vec::new();
        while let Some((name, value)) = members.next_entry::<String, Self>()? {
            self.0 |= value.0 || names.contains(&name);
            names.push(name);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn seeds(target: &str, entry: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut ran = 0;
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let seed = std::fs::read(&path).unwrap();
            assert!(std::panic::catch_unwind(|| entry(&seed)).is_ok(), "{}", path.display());
            ran += 1;
        }
        assert!(ran > 0, "there are no seeds");
    }

    #[test]
    fn the_seeds_of_the_token_target_find_nothing() {
        seeds("token", super::token);
    }

    #[test]
    fn the_seeds_of_the_json_target_find_nothing() {
        seeds("json", super::json);
    }

    #[test]
    fn the_seeds_of_the_configuration_target_find_nothing() {
        seeds("configuration", super::configuration);
    }

    #[test]
    fn the_seeds_of_the_backup_target_find_nothing() {
        seeds("backup", super::backup);
    }

    #[test]
    fn the_seeds_of_the_headers_target_find_nothing() {
        seeds("headers", super::headers);
    }
}
