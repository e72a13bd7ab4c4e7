//! The state record as it lies in the store: `term-counter {…}`, one short line for each account. The roles come first: the
//! script of the look-up reads them off the beginning.
//!
//! What says something that this version does not know is not read at all: a member of a newer version may restrict.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AccountState, Audience, Binding, Previous, StateRecord, Status, Tombstone, Versioned};
use crate::name::{Invalid, RoleName, TeamName, Username};
use crate::token::TokenId;

impl Versioned {
    /// Reads `term-counter {…}`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (version, body) =
            text.split_once(' ').ok_or_else(|| Invalid::new("a state record is an epoch and a JSON object"))?;
        let record =
            serde_json::from_str(body).map_err(|error| Invalid::new(format!("not a state record: {error}")))?;
        Ok(Self { version: version.parse()?, record })
    }
}

/// All members that either form of the record has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    r: Option<RoleName>,
    #[serde(default)]
    m: BTreeMap<TeamName, RoleName>,
    u: Username,
    g: u64,
    t: Option<Packed>,
    s: Option<Status>,
    #[serde(default)]
    a: Vec<Audience>,
    #[serde(default)]
    n: Vec<IpNet>,
    b: Option<Binding>,
    p: Option<Previous>,
    #[serde(default)]
    w: u64,
    d: Option<i64>,
}

impl<'de> Deserialize<'de> for StateRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Members::deserialize(deserializer)? {
            Members { r: Some(role), d: None, m, u, g, t, s, a, n, b, p, w } => Ok(Self::Live(AccountState {
                role,
                teams: m,
                username: u,
                generation: g,
                token_id: t.map(|Packed(id)| id),
                status: s.unwrap_or(Status::Active),
                audiences: a,
                allowed_networks: n,
                binding: b,
                previous: p,
                sign_ins: w,
            })),
            Members { r: None, t: None, s: None, b: None, p: None, w: 0, d: Some(deleted_at), m, u, g, a, n }
                if m.is_empty() && a.is_empty() && n.is_empty() =>
            {
                Ok(Self::Deleted(Tombstone { username: u, generation: g, deleted_at }))
            }
            _ => Err(D::Error::custom("neither an account nor what remains of one")),
        }
    }
}

/// An active account needs no word for it.
pub(super) fn is_active(status: &Status) -> bool {
    *status == Status::Active
}

/// Of machines, and of people who never had to sign in anew.
#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A token id in 22 characters instead of the 32 that it has outside.
struct Packed(TokenId);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.packed())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        TokenId::unpacked(&text).map(Self).map_err(D::Error::custom)
    }
}

/// For the token ids of a record.
pub(super) mod packed {
    use super::{Deserialize, Deserializer, Packed, Serialize, Serializer, TokenId};

    pub(in super::super) fn serialize<S: Serializer>(id: &TokenId, serializer: S) -> Result<S::Ok, S::Error> {
        Packed(*id).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenId, D::Error> {
        Packed::deserialize(deserializer).map(|Packed(id)| id)
    }

    pub(in super::super) fn serialize_some<S: Serializer>(
        id: &Option<TokenId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        id.map(Packed).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> AccountState {
        AccountState {
            username: "ci-deploy-01".parse().unwrap(),
            generation: 1,
            token_id: Some(TokenId::of_jti("abc")),
            status: Status::Active,
            role: "deployer".parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: vec![],
            allowed_networks: vec![],
            binding: None,
            previous: None,
            sign_ins: 0,
        }
    }

    fn text(record: &StateRecord) -> String {
        format!("1-1000000 {}", serde_json::to_string(record).unwrap())
    }

    #[test]
    fn a_state_record_is_small_and_reads_back() {
        let plain = text(&StateRecord::Live(state()));
        // Redis keeps up to 92 bytes of value in a block of 96, and the key in one of 32: 184 an account with all its own.
        assert_eq!(plain, r#"1-1000000 {"r":"deployer","u":"ci-deploy-01","g":1,"t":"ungWv48Bz-pBQUDeXa4iIw"}"#);
        let full = AccountState {
            status: Status::Disabled,
            teams: BTreeMap::from([("payments".parse().unwrap(), "deployer".parse().unwrap())]),
            audiences: vec!["billing".parse().unwrap()],
            allowed_networks: vec!["10.0.0.0/8".parse().unwrap()],
            binding: Some(Binding::Key("jkt".into())),
            previous: Some(Previous { generation: 2, token_id: TokenId::of_jti("old"), ends_at: 1_700_000_000 }),
            ..state()
        };
        let revoked = AccountState { token_id: None, ..state() };
        for state in [state(), full, revoked] {
            let record = StateRecord::Live(state);
            assert_eq!(Versioned::parse(&text(&record)).unwrap().record, record);
        }
        let gone = Tombstone { username: "ci-deploy".parse().unwrap(), generation: 3, deleted_at: 1_700_000_000 };
        let gone = StateRecord::Deleted(gone);
        assert_eq!(text(&gone), r#"1-1000000 {"u":"ci-deploy","g":3,"d":1700000000}"#);
        assert_eq!(Versioned::parse(&text(&gone)).unwrap().record, gone);
    }

    #[test]
    fn what_is_neither_of_the_two_forms_is_not_read() {
        let good = text(&StateRecord::Live(state()));
        let with = |member: &str| good.replace('}', &format!(",{member}}}"));
        for bad in [
            // Of a newer version, perhaps a restriction; both forms at once; a token id as it is outside; one twice.
            with(r#""new":1"#),
            with(r#""d":1700000000"#),
            with(r#""s":"other""#),
            with(r#""g":2"#),
            good.replace(&TokenId::of_jti("abc").packed(), &TokenId::of_jti("abc").to_string()),
            good.replace(r#""r":"deployer","#, ""),
            r#"1-1 {"u":"a","g":1}"#.to_owned(),
            r#"1-1 {"u":"a","g":1,"d":1,"n":["10.0.0.0/8"]}"#.to_owned(),
            "1-1 {}".to_owned(),
            "1-1".to_owned(),
        ] {
            assert!(Versioned::parse(&bad).is_err(), "{bad}");
        }
    }
}
