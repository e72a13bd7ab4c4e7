//! Named demands for `/verify/~NAME`, so that a proxy needs to know a name only.
use std::collections::BTreeMap;

use super::reader::Reader;

/// What `/verify/~NAME` demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The permission, `resource:action`.
    pub permission: Option<String>,
    /// The team in which it is asked for.
    pub team: Option<String>,
    /// The audience; the default audience when there is none.
    pub audience: Option<String>,
}

pub(super) fn read(reader: &mut Reader) -> BTreeMap<String, Policy> {
    let mut policies = BTreeMap::new();
    for name in reader.policy_names() {
        let path = format!("policies.{name}");
        reader.take_empty_table(&path);
        let permission = reader.parsed(&format!("{path}.permission"), permission);
        let team = reader.parsed(&format!("{path}.team"), self::name);
        let audience = reader.parsed(&format!("{path}.audience"), audience);
        let first = [
            permission.as_ref().map(|it| &it.origin),
            team.as_ref().map(|it| &it.origin),
            audience.as_ref().map(|it| &it.origin),
        ];
        if let Err(problem) = self::name(&name) {
            let origin =
                first.iter().flatten().next().map_or(super::error::Origin::Default, |origin| (*origin).clone());
            reader.problem(&path, &origin, format!("{name:?} is {problem}"));
        }
        let policy = Policy {
            permission: permission.map(|it| it.value),
            team: team.map(|it| it.value),
            audience: audience.map(|it| it.value),
        };
        policies.insert(name, policy);
    }
    policies
}

/// A name as usernames, teams and nodes have it.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| edge(&byte) || matches!(byte, b'.' | b'_' | b'-');
    let bytes = text.as_bytes();
    let good = bytes.len() <= 64
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && text.bytes().all(inner);
    if good {
        Ok(text.to_owned())
    } else {
        Err("not a name: 1 to 64 of a-z 0-9 . _ -, a letter or digit first and last")
    }
}

fn permission(text: &str) -> Result<String, &'static str> {
    let half = |half: &str| {
        !half.is_empty()
            && half
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
    };
    match text.split_once(':') {
        Some((resource, action)) if half(resource) && half(action) => Ok(text.to_owned()),
        _ => Err("not a permission: resource:action, each of a-z 0-9 _ - (a policy can't demand *)"),
    }
}

fn audience(text: &str) -> Result<String, &'static str> {
    if text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("not an audience: up to 255 ASCII characters without spaces")
    }
}
