//! What the pages of roles and of teams have in common: a name, a description, and accounts that they are given to.

use askama::Template;
use askama::filters::HtmlSafe;

use super::asked::Asked;
use super::parts::{Badge, Empty, Pager, Untrusted};
use super::visit::{Fields, Visit};
use crate::account::{Account, AccountId, Kind, Status};
use crate::authority::{AccountFilter, Authority};
use crate::http::Problem;
use crate::name::{Description, Username};
use crate::web::FieldError;

/// Rows of a page.
pub const ROWS: usize = 50;

/// The description that was typed.
pub fn description(fields: &Fields, errors: &mut Vec<FieldError>) -> Option<Description> {
    let read = fields.text("description").replace("\r\n", "\n").parse();
    read.map_err(|error: crate::name::Invalid| {
        errors.push(FieldError { field: "description".into(), message: error.to_string() });
    })
    .ok()
}

/// Some of a list that is kept in memory, in order of name: those after the cursor, and where the next page begins.
pub fn part_of<'a, T>(all: &'a [T], name: impl Fn(&T) -> &str, asked: &Asked) -> (&'a [T], Option<&'a T>) {
    let after = asked.text("cursor");
    let first = if after.is_empty() { 0 } else { all.partition_point(|one| name(one) <= after) };
    let rest = all.get(first..).unwrap_or_default();
    let some = rest.get(..ROWS).unwrap_or(rest);
    (some, some.last().filter(|_| rest.len() > some.len()))
}

/// An account that has a role, or is in a team.
struct Holder {
    id: AccountId,
    username: String,
    kind: Kind,
    status: Status,
    /// How it has the role; which role it has in the team.
    how: String,
}

/// Who has a role, or is in a team.
#[derive(Template)]
#[template(path = "console/named/holders.html")]
pub struct Holders {
    title: String,
    how: &'static str,
    holders: Vec<Holder>,
    total: Option<u64>,
    empty: Empty,
    pager: Pager,
}

impl HtmlSafe for Holders {}

impl Holder {
    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Service => "Service account",
            Kind::User => "User",
        }
    }

    fn status(&self) -> Badge {
        Badge::of_status(self.status)
    }
}

impl Holders {
    /// Of a role.
    pub async fn of_role(
        authority: &Authority,
        role: &crate::name::RoleName,
        asked: &Asked,
        total: Option<u64>,
    ) -> Result<Self, Problem> {
        let filter = AccountFilter { role: Some(role.clone()), ..AccountFilter::default() };
        let how = |account: &Account| {
            let teams = account.teams.iter().filter(|(_, other)| *other == role).map(|(team, _)| format!("in {team}"));
            let by_default = (account.role == *role).then(|| "by default".to_owned());
            by_default.into_iter().chain(teams).collect::<Vec<_>>().join(", ")
        };
        let empty =
            Empty::new("No account has this role", "It can be given to an account when that is made or edited.");
        let path = format!("/console/roles/{role}");
        Self::of(authority, &filter, asked, total, ("Who has it", "Has it", empty, path), how).await
    }

    /// Of a team.
    pub async fn of_team(
        authority: &Authority,
        team: &crate::name::TeamName,
        asked: &Asked,
        total: Option<u64>,
    ) -> Result<Self, Problem> {
        let filter = AccountFilter { team: Some(team.clone()), ..AccountFilter::default() };
        let how = |account: &Account| account.teams.get(team).map(ToString::to_string).unwrap_or_default();
        let empty = Empty::new("Nobody is in this team", "Accounts become members when they are made or edited.");
        let path = format!("/console/teams/{team}");
        Self::of(authority, &filter, asked, total, ("Members", "Role in the team", empty, path), how).await
    }

    async fn of(
        authority: &Authority,
        filter: &AccountFilter,
        asked: &Asked,
        total: Option<u64>,
        (title, how_title, empty, path): (&str, &'static str, Empty, String),
        how: impl Fn(&Account) -> String,
    ) -> Result<Self, Problem> {
        let after = asked.read::<Username>("cursor", &mut Vec::new());
        let page = authority.accounts(filter, after.as_ref().map(Username::as_str), ROWS).await?;
        let none_here = page.items.is_empty() && page.next_cursor.is_some();
        let holders = page.items.iter().map(|account| Holder {
            id: account.id,
            username: account.username.to_string(),
            kind: account.kind,
            status: account.status,
            how: how(account),
        });
        Ok(Self {
            title: title.to_owned(),
            how: how_title,
            holders: holders.collect(),
            total,
            empty: if none_here || after.is_some() {
                Empty::new("None in this part of the accounts", "Look further, or go back to the first page.")
            } else {
                empty
            },
            pager: Pager::new(asked, &path, &[], page.next_cursor.as_deref(), none_here),
        })
    }
}

/// The description of something, as a cell.
pub fn told(description: &Description) -> Untrusted<'_> {
    Untrusted::new(description.as_str()).at_most(500)
}

/// Whether he may see how many accounts there are of something.
pub fn counts(visit: &Visit) -> bool {
    visit.may("accounts:read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_after_the_last_name_of_a_page() {
        let all: Vec<String> = (0..120).map(|number| format!("r{number:03}")).collect();
        let page = |cursor: &str| {
            let asked = Asked::of(&[("cursor", cursor)]);
            let (some, next) = part_of(&all, |name| name, &asked);
            (some.first().cloned(), some.len(), next.cloned())
        };
        assert_eq!(page(""), (Some("r000".into()), 50, Some("r049".into())));
        assert_eq!(page("r049"), (Some("r050".into()), 50, Some("r099".into())));
        assert_eq!(page("r099"), (Some("r100".into()), 20, None));
        // Names that are gone.
        assert_eq!(page("r0995").0, Some("r100".into()));
        assert_eq!(page("z"), (None, 0, None));
    }
}
