//! Lists of accounts, in the order of their usernames.

use super::account_reads::Use;
use super::account_record::StoredAccount;
use super::{Store, StoreError};
use crate::account::{AccountId, AccountState, StateRecord, Versioned};
use crate::name::{RoleName, TeamName};

/// Accounts that are read at once.
const CHUNK: usize = 500;
/// Accounts that are looked at for one page.
const LOOK_AT: usize = 10_000;

/// A list that accounts stand in.
#[derive(Debug, Clone, Copy, Default)]
pub enum List<'a> {
    /// All accounts.
    #[default]
    All,
    /// People.
    Users,
    /// Those that have this role, by default or in a team.
    OfRole(&'a RoleName),
    /// The members of this team.
    OfTeam(&'a TeamName),
}

/// Which accounts are gone through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
    /// Those in this list.
    pub of: List<'a>,
    /// Those whose username begins so.
    pub prefix: &'a str,
    /// Those after this username.
    pub after: Option<&'a str>,
}

/// A page of the list.
#[derive(Debug, Default)]
pub struct Page {
    /// In order of username.
    pub accounts: Vec<StoredAccount>,
    /// The username after which the next page begins. `None`: there is none.
    pub next: Option<String>,
}

impl Listing<'_> {
    /// The bounds of `ZRANGEBYLEX` among names.
    fn bounds(&self) -> (String, Vec<u8>) {
        self.bounds_from(|after| format!("({after}"))
    }

    /// The bounds among lines that begin with a name and a line feed: after all of the name's.
    pub(super) fn bounds_within_lines(&self) -> (String, Vec<u8>) {
        self.bounds_from(|after| format!("[{after}\x0b"))
    }

    fn bounds_from(&self, beyond: impl Fn(&str) -> String) -> (String, Vec<u8>) {
        let first = match self.after {
            Some(after) if after >= self.prefix => beyond(after),
            _ if self.prefix.is_empty() => "-".to_owned(),
            _ => format!("[{}", self.prefix),
        };
        if self.prefix.is_empty() {
            return (first, b"+".to_vec());
        }
        // No character of a name comes after this byte.
        (first, [b"(", self.prefix.as_bytes(), &[0xff]].concat())
    }
}

impl Store {
    /// Accounts in the order of usernames: those that pass, up to the limit. Looks at 10,000 at the most; a page may so be short, or
    /// empty, and still have a next one. Whether an account is in the list is for `passes` to say as well: the list of a dataset of an
    /// earlier version is that of all accounts.
    pub async fn list(
        &self,
        which: Listing<'_>,
        limit: usize,
        passes: impl Fn(&StoredAccount) -> bool,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let mut position = which.after.map(str::to_owned);
        // Mostly all that are in the list pass.
        let (mut looked_at, mut count) = (0, CHUNK.min(limit + 1));
        loop {
            let some = self.some_accounts(Listing { after: position.as_deref(), ..which }, count).await?;
            for account in some.accounts {
                if page.accounts.len() == limit {
                    page.next = page.accounts.last().map(|last| last.state.username.to_string());
                    return Ok(page);
                }
                if passes(&account) {
                    page.accounts.push(account);
                }
            }
            looked_at += count;
            if some.next.is_none() || looked_at >= LOOK_AT {
                page.next = some.next;
                return Ok(page);
            }
            (position, count) = (some.next, CHUNK);
        }
    }

    /// The next accounts, so many at the most, and whether there are more. Those that can't be read are left out.
    pub async fn some_accounts(&self, which: Listing<'_>, count: usize) -> Result<Page, StoreError> {
        let (ids, next) = self.some_ids(which, count).await?;
        Ok(Page { accounts: self.readable_by(&self.reads, &ids, Use::Wanted).await?, next })
    }

    /// The states of the next accounts, and after which name to go on. Those that can't be read are left out.
    pub async fn some_states(
        &self,
        which: Listing<'_>,
        count: usize,
    ) -> Result<(Vec<(AccountId, AccountState)>, Option<String>), StoreError> {
        let (ids, next) = self.some_ids(which, count).await?;
        let mut states = Vec::with_capacity(ids.len());
        if !ids.is_empty() {
            let mut command = redis::cmd("MGET");
            for id in &ids {
                command.arg(self.schema.state(*id));
            }
            let texts: Vec<Option<String>> = self.query(&self.reads, command).await?;
            let read =
                ids.into_iter().zip(texts).filter_map(|(id, text)| match Versioned::parse(&text?).ok()?.record {
                    StateRecord::Live(state) => Some((id, state)),
                    StateRecord::Deleted(_) => None,
                });
            states.extend(read);
        }
        Ok((states, next))
    }

    /// How many accounts are in each of these lists. Of a dataset of an earlier version that is not known of all.
    pub async fn count_listed(&self, lists: &[List<'_>]) -> Result<Vec<u64>, StoreError> {
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for list in lists {
            pipeline.cmd("ZCARD").arg(self.list_key(*list));
        }
        self.pipeline(&self.reads, &pipeline).await
    }

    pub(super) async fn some_ids(
        &self,
        which: Listing<'_>,
        count: usize,
    ) -> Result<(Vec<AccountId>, Option<String>), StoreError> {
        let list = match which.of {
            List::OfRole(_) | List::OfTeam(_) if !self.is_indexed().await? => List::All,
            list => list,
        };
        let (first, last) = which.bounds();
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.list_key(list)).arg(first).arg(last).arg("LIMIT").arg(0).arg(count);
        let names: Vec<String> = self.query(&self.reads, command).await?;
        if names.is_empty() {
            return Ok((Vec::new(), None));
        }
        let ids = self.ids_named(&names).await?;
        let is_last = names.len() < count;
        Ok((ids, names.into_iter().next_back().filter(|_| !is_last)))
    }

    /// The ids that these names belong to, in their order.
    pub(super) async fn ids_named(&self, names: &[String]) -> Result<Vec<AccountId>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.schema.names()).arg(names);
        let ids: Vec<Option<String>> = self.query(&self.reads, command).await?;
        Ok(ids.into_iter().flatten().filter_map(|id| id.parse().ok()).collect())
    }

    pub(super) fn list_key(&self, list: List<'_>) -> String {
        match list {
            List::All => self.schema.list(),
            List::Users => self.schema.users(),
            List::OfRole(role) => self.schema.of_role(role.as_str()),
            List::OfTeam(team) => self.schema.of_team(team.as_str()),
        }
    }

    /// Whether every account stands in the lists of its roles and its teams.
    pub async fn is_indexed(&self) -> Result<bool, StoreError> {
        let mut command = redis::cmd("HEXISTS");
        command.arg(self.schema.meta()).arg("indexed");
        self.query(&self.reads, command).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_after_its_last_name_and_within_its_prefix() {
        let bounds = |prefix, after| {
            let (first, last) = Listing { of: List::All, prefix, after }.bounds();
            (first, String::from_utf8_lossy(&last).into_owned())
        };
        let until = |text: &str| format!("({text}\u{fffd}");
        assert_eq!(bounds("", None), ("-".into(), "+".into()));
        assert_eq!(bounds("", Some("b")), ("(b".into(), "+".into()));
        assert_eq!(bounds("ci-", None), ("[ci-".into(), until("ci-")));
        assert_eq!(bounds("ci-", Some("ci-7")), ("(ci-7".into(), until("ci-")));
        assert_eq!(bounds("ci-", Some("a")), ("[ci-".into(), until("ci-")));
        assert_eq!(bounds("ci-", Some("d")), ("(d".into(), until("ci-")));
        // After the name's own lines, and before those of any longer one.
        let (first, _) = Listing { of: List::All, prefix: "", after: Some("b") }.bounds_within_lines();
        let first = first.strip_prefix('[').unwrap();
        assert!("b\n\u{10ffff}" < first && first < "b-" && first < "b.\n");
    }
}
