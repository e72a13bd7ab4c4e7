use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

/// A JSON object that is written member by member (RFC 8259, section 4). Each event is one, and in most of its texts nothing is
/// to be escaped: those are copied as they are.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// A member that is a text, if there is one.
    pub(super) fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if needs_escapes(value) {
            self.json(name, Some(value));
        } else {
            self.quoted(name, |out| out.extend_from_slice(value.as_bytes()));
        }
    }

    /// The same of a text of ours, in which nothing needs escaping: an id, a time.
    pub(super) fn own(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.quoted(name, |out| out.extend_from_slice(value.as_bytes()));
    }

    /// The same of something that is written so.
    pub(super) fn plain<T: Display>(&mut self, name: &str, value: Option<T>) {
        let Some(value) = value else { return };
        // Writing to memory does not fail.
        self.quoted(name, |out| drop(write!(out, "{value}")));
    }

    /// A member that is a number.
    pub(super) fn number(&mut self, name: &str, value: Option<u64>) {
        let Some(value) = value else { return };
        self.name(name);
        // Writing to memory does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// A member of whatever kind.
    pub(super) fn json<T: Serialize + ?Sized>(&mut self, name: &str, value: Option<&T>) {
        let Some(value) = value else { return };
        self.name(name);
        // All that events hold has a JSON form.
        let _ = serde_json::to_writer(&mut *self.out, value);
    }

    fn quoted(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// Names are ours, and need no escapes.
    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// RFC 8259, section 7.
fn needs_escapes(text: &str) -> bool {
    memchr::memchr2(b'"', b'\\', text.as_bytes()).is_some()
        // Without a way out in between, so that many are compared at once.
        || text.bytes().fold(false, |found, byte| found | (byte < b' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn written(members: impl FnOnce(&mut Object<'_>)) -> String {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        members(&mut object);
        object.end();
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn whatever_a_text_holds_it_reads_back(texts in proptest::collection::vec(".*|[\\x00-\\x7f]{0,9}", 0..5)) {
            let text = written(|object| {
                for (index, text) in texts.iter().enumerate() {
                    object.text(&format!("t{index}"), Some(text));
                }
            });
            let read: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let expected: Map<String, Value> =
                texts.iter().enumerate().map(|(index, text)| (format!("t{index}"), json!(text))).collect();
            prop_assert_eq!(read, expected);
            prop_assert!(!text.contains('\n'));
        }
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let text = written(|object| {
            object.text("a", None);
            object.plain::<u8>("b", None);
            object.plain("c", Some(std::net::Ipv4Addr::LOCALHOST));
            object.number("d", None);
            object.number("e", Some(u64::MAX));
            object.json::<Value>("f", None);
            object.json("g", Some(&json!({"x": [1, null]})));
        });
        assert_eq!(text, r#"{"c":"127.0.0.1","e":18446744073709551615,"g":{"x":[1,null]}}"#);
        assert_eq!(written(|_| {}), "{}");
    }
}
