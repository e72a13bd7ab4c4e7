//! Lists of accounts, in the order of their usernames.

use super::accounts::StoredAccount;
use super::{Store, StoreError};
use crate::account::AccountId;

/// Accounts that are read at once.
const CHUNK: usize = 500;
/// Accounts that are looked at for one page.
const LOOK_AT: usize = 10_000;

/// Which accounts are gone through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listing<'a> {
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
    /// The bounds of `ZRANGEBYLEX`.
    fn bounds(&self) -> (String, Vec<u8>) {
        let first = match self.after {
            Some(after) if after >= self.prefix => format!("({after}"),
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
    /// empty, and still have a next one.
    pub async fn list(
        &self,
        which: Listing<'_>,
        limit: usize,
        passes: impl Fn(&StoredAccount) -> bool,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let mut position = which.after.map(str::to_owned);
        let mut looked_at = 0;
        loop {
            let some = self.some_accounts(Listing { after: position.as_deref(), ..which }).await?;
            for account in some.accounts {
                if page.accounts.len() == limit {
                    page.next = page.accounts.last().map(|last| last.state.username.to_string());
                    return Ok(page);
                }
                if passes(&account) {
                    page.accounts.push(account);
                }
            }
            looked_at += CHUNK;
            if some.next.is_none() || looked_at >= LOOK_AT {
                page.next = some.next;
                return Ok(page);
            }
            position = some.next;
        }
    }

    /// The next few hundred accounts. Those that can't be read are left out.
    pub async fn some_accounts(&self, which: Listing<'_>) -> Result<Page, StoreError> {
        let (first, last) = which.bounds();
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.schema.list()).arg(first).arg(last).arg("LIMIT").arg(0).arg(CHUNK);
        let names: Vec<String> = self.query(&self.reads, command).await?;
        if names.is_empty() {
            return Ok(Page::default());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.schema.names()).arg(&names);
        let ids: Vec<Option<String>> = self.query(&self.reads, command).await?;
        let ids: Vec<AccountId> = ids.into_iter().flatten().filter_map(|id| id.parse().ok()).collect();
        let mut accounts = Vec::with_capacity(ids.len());
        for account in self.accounts_by(&self.reads, &ids).await? {
            match account {
                Ok(account) => accounts.extend(account),
                Err(error) => tracing::error!(%error, "an unreadable account is left out of a list"),
            }
        }
        let is_last = names.len() < CHUNK;
        Ok(Page { accounts, next: names.into_iter().next_back().filter(|_| !is_last) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_after_its_last_name_and_within_its_prefix() {
        let bounds = |prefix, after| {
            let (first, last) = Listing { prefix, after }.bounds();
            (first, String::from_utf8_lossy(&last).into_owned())
        };
        let until = |text: &str| format!("({text}\u{fffd}");
        assert_eq!(bounds("", None), ("-".into(), "+".into()));
        assert_eq!(bounds("", Some("b")), ("(b".into(), "+".into()));
        assert_eq!(bounds("ci-", None), ("[ci-".into(), until("ci-")));
        assert_eq!(bounds("ci-", Some("ci-7")), ("(ci-7".into(), until("ci-")));
        assert_eq!(bounds("ci-", Some("a")), ("[ci-".into(), until("ci-")));
        assert_eq!(bounds("ci-", Some("d")), ("(d".into(), until("ci-")));
    }
}
