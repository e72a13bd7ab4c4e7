//! JSON without duplicate members. A parser that silently keeps the first or the last of two is how two programs come to
//! read two things in one text (RFC 8259, section 4; RFC 7515, section 4 demands it for headers).

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// It is not JSON at all (RFC 8259), or nested too deeply.
    #[error("{0}")]
    NotJson(String),
    /// An object has this member twice. The path leads to it: `teams.payments`.
    #[error("the member {0} appears more than once")]
    Duplicate(String),
}

const DUPLICATE: &str = "\u{1}duplicate member ";

/// Parses a whole text.
pub fn parse(bytes: &[u8]) -> Result<Value, StrictJsonError> {
    let mut path = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { path: &mut path }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| {
            let text = error.to_string();
            match text.strip_prefix(DUPLICATE) {
                Some(_) => StrictJsonError::Duplicate(path.join(".")),
                None => StrictJsonError::NotJson(text),
            }
        })
}

struct Strict<'a> {
    path: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            self.path.push(values.len().to_string());
            let Some(value) = sequence.next_element_seed(Strict { path: self.path })? else { break };
            self.path.pop();
            values.push(value);
        }
        self.path.pop();
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            self.path.push(name.clone());
            if members.contains_key(&name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            let value = access.next_value_seed(Strict { path: self.path })?;
            self.path.pop();
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duplicate_is_named_wherever_it_stands() {
        assert_eq!(parse(br#"{"a":1,"b":2,"a":3}"#), Err(StrictJsonError::Duplicate("a".into())));
        assert_eq!(parse(br#"{"a":[{},{"c":{"b":1,"b":1}}]}"#), Err(StrictJsonError::Duplicate("a.1.c.b".into())));
        assert_eq!(parse(br#"{"a":1,"\u0061":2}"#), Err(StrictJsonError::Duplicate("a".into())));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "{", "{}x", "{'a':1}", "NaN", "01", "\"\u{1}\"", "[1,]", "\u{feff}{}"] {
            assert!(matches!(parse(bad.as_bytes()), Err(StrictJsonError::NotJson(_))), "{bad:?}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err(StrictJsonError::NotJson(_))));
    }

    proptest! {
        #[test]
        fn everything_else_reads_as_serde_json_reads_it(text in r#"(\{("[ab]":(1|-1|0.5|null|true|"x"|\[\]|\{\}),?){0,2}\}|\[1,"a"\]|[a-z\[\]{}",:]{0,12})"#) {
            match (parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                (Ok(mine), Ok(theirs)) => prop_assert_eq!(mine, theirs),
                (Err(StrictJsonError::NotJson(_)), Err(_)) | (Err(StrictJsonError::Duplicate(_)), _) => {}
                (mine, theirs) => prop_assert!(false, "{:?} {:?}", mine, theirs),
            }
        }
    }
}
