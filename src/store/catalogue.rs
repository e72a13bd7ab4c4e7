//! What accounts are looked for by, in one list: whoever looks for a few among very many reads no record but theirs.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::account_reads::Use;
use super::account_record::{Profile, StoredAccount};
use super::listing::{Listing, Page};
use super::{Store, StoreError};
use crate::account::{AccountState, Kind, Status};

/// Lists of no more accounts than that are gone through instead.
const FEW: usize = 1_500;
/// Lines that are read at once: about a millisecond of the store's, where descriptions are short.
const LINES: usize = 5_000;
/// Lines that are looked at for one page: about 0.7 µs each.
const LOOK_AT: usize = 20_000;
/// How start.lua calls a dataset whose every account stands in the catalogue.
const CATALOGUED: u64 = 2;

/// What an account is looked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub username: &'a str,
    /// A machine or a person.
    pub kind: Kind,
    /// Whether it is disabled.
    pub status: Status,
    /// When its current token expires, if it has one; Unix seconds.
    pub expires_at: Option<i64>,
    /// Its default role.
    pub role: &'a str,
    /// `TEAM=ROLE,TEAM=ROLE`
    teams: Cow<'a, str>,
    /// Its description, in small letters.
    pub description: Cow<'a, str>,
}

impl<'a> Entry<'a> {
    /// Of an account whose records are at hand.
    pub fn of(state: &'a AccountState, profile: &'a Profile) -> Self {
        let teams: Vec<String> = state.teams.iter().map(|(team, role)| format!("{team}={role}")).collect();
        Self {
            username: state.username.as_str(),
            kind: profile.kind,
            status: state.status,
            expires_at: state.token_id.and(profile.token.as_ref()).map(|token| token.expires_at.timestamp()),
            role: state.role.as_str(),
            teams: teams.join(",").into(),
            description: profile.description.as_str().to_lowercase().into(),
        }
    }

    /// Its teams, each with the role in it.
    pub fn teams(&self) -> impl Iterator<Item = (&str, &str)> {
        self.teams.split(',').filter_map(|one| one.split_once('='))
    }

    /// Whether its token expires before.
    pub fn expires_before(&self, time: DateTime<Utc>) -> bool {
        let expiry = self.expires_at.and_then(|expires_at| DateTime::from_timestamp(expires_at, 0));
        expiry.is_some_and(|expiry| expiry < time)
    }

    /// `USERNAME`, `KIND STATUS EXPIRY`, `ROLE`, `TEAMS`, `DESCRIPTION`, by line feeds, which only the last one may hold. No character of
    /// a name comes before it: lines are in the order of names.
    pub fn line(&self) -> String {
        let kind = match self.kind {
            Kind::Service => 's',
            Kind::User => 'u',
        };
        let status = match self.status {
            Status::Active => 'a',
            Status::Disabled => 'd',
        };
        let expiry = self.expires_at.map(|time| time.to_string()).unwrap_or_default();
        let Self { username, role, teams, description, .. } = self;
        format!("{username}\n{kind}{status}{expiry}\n{role}\n{teams}\n{description}")
    }

    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(5, '\n');
        let (username, facts) = (parts.next()?, parts.next()?);
        let (role, teams, description) = (parts.next()?, parts.next()?, parts.next()?);
        let kind = match facts.get(..1)? {
            "s" => Kind::Service,
            "u" => Kind::User,
            _ => return None,
        };
        let status = match facts.get(1..2)? {
            "a" => Status::Active,
            "d" => Status::Disabled,
            _ => return None,
        };
        let expires_at = match facts.get(2..)? {
            "" => None,
            time => Some(time.parse().ok()?),
        };
        Some(Self { username, kind, status, expires_at, role, teams: teams.into(), description: description.into() })
    }
}

impl Store {
    /// Accounts in the order of usernames: those that pass, up to the limit. Looks at 20,000 at the most; a page may so be short, or
    /// empty, and still have a next one. Whether an account is in the list is for `passes` to say as well: the catalogue is of all.
    pub async fn search(
        &self,
        which: Listing<'_>,
        limit: usize,
        passes: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<Page, StoreError> {
        let still_passes = |account: &StoredAccount| passes(&Entry::of(&account.state, &account.profile));
        if !self.is_worth_searching(which).await? {
            return self.list(which, limit, still_passes).await;
        }
        let (mut found, mut looked_at, mut next) = (Vec::new(), 0, which.after.map(str::to_owned));
        while found.len() <= limit && looked_at < LOOK_AT {
            let lines = self.some_lines(Listing { after: next.as_deref(), ..which }).await?;
            // What can't be read is left to the record.
            let pass = lines.iter().filter(|line| Entry::parse(line).is_none_or(|entry| passes(&entry)));
            found.extend(pass.map(|line| name_of(line).to_owned()).take(limit + 1 - found.len()));
            looked_at += lines.len();
            next = lines.last().filter(|_| lines.len() == LINES).map(|line| name_of(line).to_owned());
            if next.is_none() {
                break;
            }
        }
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().cloned();
        }
        let ids = self.ids_named(&found).await?;
        let mut accounts = self.readable_by(&self.reads, &ids, Use::Wanted).await?;
        // It may have changed meanwhile.
        accounts.retain(still_passes);
        Ok(Page { accounts, next })
    }

    /// Whether the catalogue is whole, and the list itself too long to be gone through.
    async fn is_worth_searching(&self, which: Listing<'_>) -> Result<bool, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(self.schema.meta()).arg("indexed");
        pipeline.cmd("ZCARD").arg(self.list_key(which.of));
        let (indexed, length): (Option<u64>, usize) = self.pipeline(&self.reads, &pipeline).await?;
        Ok(indexed.is_some_and(|indexed| indexed >= CATALOGUED) && length > FEW)
    }

    async fn some_lines(&self, which: Listing<'_>) -> Result<Vec<String>, StoreError> {
        let (first, last) = which.bounds_within_lines();
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.schema.catalogue()).arg(first).arg(last).arg("LIMIT").arg(0).arg(LINES);
        self.query(&self.reads, command).await
    }
}

fn name_of(line: &str) -> &str {
    line.split('\n').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let some = Entry {
            username: "ci-deploy",
            kind: Kind::Service,
            status: Status::Disabled,
            expires_at: Some(1_800_000_000),
            role: "runner",
            teams: "ops=reader,web=runner".into(),
            description: "two\nlines, ünd =\n".into(),
        };
        assert_eq!(Entry::parse(&some.line()), Some(some.clone()));
        assert_eq!(some.teams().collect::<Vec<_>>(), [("ops", "reader"), ("web", "runner")]);
        let bare = Entry { kind: Kind::User, expires_at: None, teams: "".into(), description: "".into(), ..some };
        assert_eq!(Entry::parse(&bare.line()), Some(bare.clone()));
        assert_eq!(bare.teams().count(), 0);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for line in
            ["", "ci", "ci\nsa\nrole\nteams", "ci\nxa\nr\n\n", "ci\nsx\nr\n\n", "ci\nsaü\nr\n\n", "ci\nü\nr\n\n"]
        {
            assert_eq!(Entry::parse(line), None, "{line:?}");
        }
    }
}
