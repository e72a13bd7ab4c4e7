//! Reads a header and a payload without writing them down first: strings are borrowed from it, and nothing is kept that is not consulted. As
//! strict as [`crate::strict_json`]: no member may appear twice, at any depth, known or not.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::claims::{Claimed, Confirmation, MAX_TIME};
use crate::account::Audience;
use crate::name::follows_the_pattern;

/// Reads a whole payload. `None`: it is not JSON, has a member twice, or is not of the shape of contract section 1.
pub(super) fn payload(bytes: &[u8]) -> Option<Claimed<'_>> {
    // Once for all of its strings.
    let text = std::str::from_utf8(bytes).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let claimed = deserializer.deserialize_map(Payload).ok()?;
    deserializer.end().ok()?;
    Some(claimed)
}

/// The members of a header: `alg`, `typ`, `kid`.
pub(super) type HeaderMembers<'a> = [Cow<'a, str>; 3];

/// Reads a whole header. `None`: it is not JSON, or has not exactly these members, each once.
pub(super) fn header(bytes: &[u8]) -> Option<HeaderMembers<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Header).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

/// Written by hand: what `serde` writes spells out in its errors what it had expected, which costs as much as the reading.
struct Header;

impl<'de> Visitor<'de> for Header {
    type Value = HeaderMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<HeaderMembers<'de>, A::Error> {
        let (mut algorithm, mut kind, mut key_id) = (None, None, None);
        while let Some(name) = members.next_key_seed(Text)? {
            match &*name {
                "alg" => once(&mut algorithm, members.next_value_seed(Text)?)?,
                "typ" => once(&mut kind, members.next_value_seed(Text)?)?,
                "kid" => once(&mut key_id, members.next_value_seed(Text)?)?,
                _ => return Err(A::Error::custom("a further member")),
            }
        }
        match (algorithm, kind, key_id) {
            (Some(algorithm), Some(kind), Some(key_id)) => Ok([algorithm, kind, key_id]),
            _ => Err(A::Error::custom("a member is missing")),
        }
    }
}

const TWICE: &str = "a member twice";

/// Keeps a value if it is the first.
fn once<T, E: serde::de::Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(TWICE)),
    }
}

/// The names of members whose values are read otherwise.
#[derive(Default)]
struct Names<'de>(Vec<Cow<'de, str>>);

impl<'de> Names<'de> {
    fn are_unique(mut self) -> bool {
        self.0.sort_unstable();
        self.0.windows(2).all(|pair| pair.first() != pair.last())
    }
}

struct Payload;

impl<'de> Visitor<'de> for Payload {
    type Value = Claimed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claimed<'de>, A::Error> {
        let (mut issuer, mut subject, mut client, mut audiences) = (None, None, None, None);
        let (mut issued_at, mut expires_at, mut jti, mut generation) = (None, None, None, None);
        let (mut role, mut teams, mut confirmation, mut others) = (None, None, None, Names::default());
        // The order of the members is free and further members may come one day; those that are here have exactly these types.
        while let Some(name) = members.next_key_seed(Text)? {
            match &*name {
                "iss" => once(&mut issuer, members.next_value_seed(Text)?)?,
                "sub" => once(&mut subject, members.next_value_seed(Text)?)?,
                "client_id" => once(&mut client, members.next_value_seed(Text)?)?,
                "aud" => once(&mut audiences, members.next_value_seed(Audiences)?)?,
                "iat" => once(&mut issued_at, members.next_value()?)?,
                "exp" => once(&mut expires_at, members.next_value()?)?,
                "jti" => once(&mut jti, members.next_value_seed(Text)?)?,
                "role" => once(&mut role, members.next_value_seed(Named)?)?,
                "teams" => once(&mut teams, members.next_value_seed(Teams)?)?,
                "gen" => once(&mut generation, members.next_value()?)?,
                "cnf" => once(&mut confirmation, members.next_value_seed(Cnf)?)?,
                _ => {
                    others.0.push(name);
                    members.next_value_seed(Unread)?;
                }
            }
        }
        let missing = || A::Error::custom("a claim is missing");
        let subject = subject.ok_or_else(missing)?;
        let claimed = Claimed {
            issuer: issuer.ok_or_else(missing)?,
            account: subject.parse().map_err(A::Error::custom)?,
            audiences: audiences.ok_or_else(missing)?,
            issued_at: issued_at.ok_or_else(missing)?,
            expires_at: expires_at.ok_or_else(missing)?,
            jti: jti.ok_or_else(missing)?,
            generation: generation.ok_or_else(missing)?,
            confirmation,
        };
        // An account id has one spelling.
        let plausible = client.as_ref() == Some(&subject)
            && role.is_some()
            && !claimed.audiences.is_empty()
            && claimed.generation >= 1
            && claimed.jti.len() == 22
            && (0..=MAX_TIME).contains(&claimed.issued_at)
            && (0..=MAX_TIME).contains(&claimed.expires_at)
            && others.are_unique();
        if plausible { Ok(claimed) } else { Err(A::Error::custom("not of the shape of a token")) }
    }
}

/// A string, borrowed where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A list of audiences.
struct Audiences;

impl<'de> DeserializeSeed<'de> for Audiences {
    type Value = Vec<Audience>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Audience>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Audiences {
    type Value = Vec<Audience>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Vec<Audience>, A::Error> {
        let mut audiences = Vec::new();
        while let Some(text) = texts.next_element_seed(Text)? {
            audiences.push(text.parse().map_err(A::Error::custom)?);
        }
        Ok(audiences)
    }
}

/// The name of a role, which nobody consults.
struct Named;

impl<'de> DeserializeSeed<'de> for Named {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if follows_the_pattern(text) { Ok(()) } else { Err(E::custom("not a name")) }
    }
}

/// Teams with their roles, which nobody consults.
struct Teams;

impl<'de> DeserializeSeed<'de> for Teams {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Teams {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = Names::default();
        while let Some(name) = members.next_key_seed(Text)? {
            if !follows_the_pattern(&name) {
                return Err(A::Error::custom("not a team"));
            }
            names.0.push(name);
            members.next_value_seed(Named)?;
        }
        if names.are_unique() { Ok(()) } else { Err(A::Error::custom(TWICE)) }
    }
}

/// A `cnf` that is there but empty, or null, is not the same as none.
struct Cnf;

impl<'de> DeserializeSeed<'de> for Cnf {
    type Value = Confirmation;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Confirmation, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Cnf {
    type Value = Confirmation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of one member")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Confirmation, A::Error> {
        let name = members.next_key_seed(Text)?.unwrap_or_default();
        let confirmation = match &*name {
            "x5t#S256" => Confirmation::Certificate { thumbprint: members.next_value()? },
            "jkt" => Confirmation::Key { jkt: members.next_value()? },
            _ => return Err(A::Error::custom("not a method of confirmation")),
        };
        match members.next_key::<IgnoredAny>()? {
            None => Ok(confirmation),
            Some(_) => Err(A::Error::custom("more than one method of confirmation")),
        }
    }
}

/// Any JSON, of which nothing is kept.
struct Unread;

impl<'de> DeserializeSeed<'de> for Unread {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // And not as `IgnoredAny`, which is skipped without a look at what stands in its strings and numbers.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unread {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Unread)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = Names::default();
        while let Some(name) = members.next_key_seed(Text)? {
            names.0.push(name);
            members.next_value_seed(Unread)?;
        }
        if names.are_unique() { Ok(()) } else { Err(A::Error::custom(TWICE)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::account::AccountId;
    use crate::strict_json;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn good() -> Vec<(&'static str, String)> {
        let text = |text: &str| format!("{text:?}");
        vec![
            ("iss", text("https://id.example.com")),
            ("sub", text(ID)),
            ("client_id", text(ID)),
            ("aud", r#"["a","b"]"#.to_owned()),
            ("iat", "1".to_owned()),
            ("exp", "2".to_owned()),
            ("jti", text(&"j".repeat(22))),
            ("role", text("r")),
            ("gen", "3".to_owned()),
        ]
    }

    fn written(members: &[(&str, String)]) -> String {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn a_payload_is_read_in_any_order_and_with_escapes() {
        let mut members = good();
        members.reverse();
        members.push(("t\\u0065ams", r#"{"p":"r"}"#.to_owned()));
        members.push(("org", r#"{"a":[1,2.5,{"b":null}],"c":true}"#.to_owned()));
        let text = written(&members).replace("https://id", "https:\\/\\/id");
        let claimed = payload(text.as_bytes()).unwrap();
        assert_eq!(claimed.issuer, "https://id.example.com");
        assert_eq!(claimed.account, ID.parse::<AccountId>().unwrap());
        assert_eq!((claimed.issued_at, claimed.expires_at, claimed.generation), (1, 2, 3));
        assert_eq!(claimed.audiences.iter().map(Audience::as_str).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn no_member_appears_twice_at_any_depth() {
        let nested = [
            r#""teams":{"p":"r","p":"s"}"#,
            r#""teams":{"p":"r","\u0070":"s"}"#,
            r#""x":{"a":1,"a":1}"#,
            r#""x":[0,{"y":{"a":1,"b":2,"\u0061":3}}]"#,
            r#""x":1,"y":2,"x":3"#,
            r#""x":1,"\u0078":3"#,
            r#""cnf":{"jkt":"a","jkt":"a"}"#,
        ];
        let fine = written(&good());
        assert!(payload(fine.as_bytes()).is_some());
        for more in nested {
            let text = fine.replacen('{', &format!("{{{more},"), 1);
            assert!(payload(text.as_bytes()).is_none(), "{more}");
        }
        for (name, value) in good() {
            let text = fine.replacen('{', &format!("{{\"{name}\":{value},"), 1);
            assert!(payload(text.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn what_nobody_reads_must_be_json_all_the_same() {
        let fine = written(&good());
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for bad in ["1e999", "\"\\ud800\"", "\"\u{1}\"", "01", "nul", "[1,]", "{\"a\":}", "+1", &deep] {
            let text = fine.replacen('{', &format!("{{\"x\":{bad},"), 1);
            assert!(payload(text.as_bytes()).is_none(), "{bad}");
        }
        let mut bytes = fine.replacen('{', "{\"x\":\"?\",", 1).into_bytes();
        assert!(payload(&bytes).is_some());
        let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
        bytes[at] = 0xff;
        assert!(payload(&bytes).is_none(), "not UTF-8");
        for (before, after) in [("", "x"), ("", "{}"), ("\u{feff}", ""), ("[", "]"), ("\x0c", "")] {
            assert!(payload(format!("{before}{fine}{after}").as_bytes()).is_none());
        }
        assert!(payload(format!(" \r\n\t{fine} \n").as_bytes()).is_some());
    }

    proptest! {
        /// Whatever else stands in it: what is no strict JSON is refused, and what is strict JSON does no harm.
        #[test]
        fn it_is_as_strict_as_the_strict_reader(
            value in r#"(\{("([ab]|\\u0061)":(1|-1|0\.5|1e400|null|true|"x"|"\\ud800"|\[\]|\{\}),?){0,3}\}|\[1,"a"\]|[a-z\[\]{}",:0-9.e-]{0,8})"#,
            twice in any::<bool>(),
        ) {
            let more = if twice { format!("\"org\":{value},\"more\":{value}") } else { format!("\"org\":{value}") };
            let text = written(&good()).replacen('{', &format!("{{{more},"), 1);
            let strict = strict_json::parse(text.as_bytes());
            // A value may have smuggled claims of ours in.
            let clean = strict.as_ref().is_ok_and(|read| {
                read.as_object().is_some_and(|members| members.len() == good().len() + if twice { 2 } else { 1 })
            });
            if strict.is_err() {
                prop_assert!(payload(text.as_bytes()).is_none(), "{text}");
            } else if clean {
                prop_assert!(payload(text.as_bytes()).is_some(), "{text}");
            }
            let _: Option<Value> = strict.ok();
        }
    }
}
