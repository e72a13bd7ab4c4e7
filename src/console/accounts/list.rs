//! The list: search, filters, pages.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::super::asked::Asked;
use super::super::form::{Choice, Form};
use super::super::parts::{Badge, Empty, Now, Pager, Tone, Untrusted, counted};
use super::super::shell::Page;
use super::super::visit::Visitor;
use super::Place;
use super::fields::Known;
use crate::account::{Account, Status};
use crate::authority::{AccountFilter, AccountPage};
use crate::http::Problem;
use crate::http::extract::Ready;
use crate::http::permissions::AccountsRead;
use crate::name::Username;

/// Rows of a page.
const ROWS: usize = 50;
/// What may be looked for.
const FILTERS: [&str; 5] = ["query", "role", "team", "status", "expires"];

#[derive(Template)]
#[template(path = "console/accounts/list.html")]
struct List<'a> {
    place: Place,
    now: Now,
    form: Form,
    known: &'a Known,
    statuses: &'a [Choice],
    expiries: &'a [Choice],
    accounts: &'a [Account],
    empty: Empty,
    pager: Pager,
    filtered: bool,
}

/// `GET /console/service-accounts`, `GET /console/users`
pub async fn page(
    visitor: Visitor<AccountsRead>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    asked: Asked,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let known = Known::of(visit, &authority).await?;
    let mut errors = Vec::new();
    let filter = AccountFilter {
        query: Some(asked.text("query").to_lowercase()).filter(|query| !query.is_empty()),
        kind: Some(place.kind()),
        role: asked.read("role", &mut errors),
        team: asked.read("team", &mut errors),
        status: asked.read::<Wanted>("status", &mut errors).map(|Wanted(status)| status),
        expires_before: asked.read::<Within>("expires", &mut errors).map(|Within(time)| visit.now + time),
        ..AccountFilter::default()
    };
    // One that is none of ours leads to the first page.
    let cursor = asked.read::<After>("cursor", &mut Vec::new());
    let mut page = if errors.is_empty() {
        authority.accounts(&filter, cursor.as_ref().map(|After(name)| name.as_str()), ROWS).await?
    } else {
        AccountPage { items: Vec::new(), next_cursor: None }
    };
    let next = page.next_cursor.as_ref().map(|name| URL_SAFE_NO_PAD.encode(name));
    let filtered = asked.any(&FILTERS);
    let none_here = page.items.is_empty() && next.is_some();
    let room = ROWS.saturating_sub(page.items.len());
    if room > 0 && next.is_some() && filter.query.is_some() {
        // Whoever types the beginning of a name is shown it, however far down it stands.
        let begins_so = AccountFilter { prefix: filter.query.clone(), ..filter };
        let further = authority.accounts(&begins_so, page.next_cursor.as_deref(), room).await?;
        page.items.extend(further.items);
    }
    let wrong = !errors.is_empty();
    let body = List {
        place,
        now: visit.clock(),
        form: asked.form(errors),
        known: &known,
        statuses: &[Choice::new("", "Any"), Choice::new("active", "Active"), Choice::new("disabled", "Disabled")],
        expiries: &[
            Choice::new("", "Any time"),
            Choice::new("0", "Has expired"),
            Choice::new("7", "Within 7 days, or expired"),
            Choice::new("30", "Within 30 days, or expired"),
            Choice::new("60", "Within 60 days, or expired"),
        ],
        accounts: &page.items,
        empty: empty(place, wrong, filtered || cursor.is_some(), none_here),
        pager: Pager::new(&asked, place.base(), &FILTERS, next.as_deref(), none_here),
        filtered,
    };
    let page = Page::new(visit, place.section(), place.section().title());
    let page = match place {
        _ if !(visit.may("accounts:write") && visit.may("tokens:issue")) => page,
        Place::ServiceAccounts => page.primary("New Service Account", "/console/service-accounts/new"),
        Place::Users => page.primary("New user", "/console/users/new"),
    };
    page.answer(&body)
}

fn empty(place: Place, wrong: bool, sought: bool, none_here: bool) -> Empty {
    let (one, many) = (place.one(), place.many());
    match (wrong, none_here, sought) {
        (true, ..) => Empty::new("This can't be looked for", "Change what is marked above."),
        (_, true, _) => Empty::new(
            format!("No {many} in the part that was looked at"),
            "There are more accounts than are looked at for one page: look further.",
        ),
        (_, _, true) => Empty::new(format!("No {many} like these"), "Change the filters, or leave them out.")
            .action(format!("Show all {many}"), place.base()),
        _ => Empty::new(format!("There are no {many} yet"), format!("The first {one} that is made appears here.")),
    }
}

/// Of which status.
struct Wanted(Status);

impl std::str::FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "active" => Ok(Self(Status::Active)),
            "disabled" => Ok(Self(Status::Disabled)),
            _ => Err("a status is active or disabled"),
        }
    }
}

/// In so many days.
struct Within(TimeDelta);

impl std::str::FromStr for Within {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let days = text.parse::<u16>().map_err(|_| "this is a number of days")?;
        Ok(Self(TimeDelta::days(days.into())))
    }
}

/// After this username.
struct After(String);

impl std::str::FromStr for After {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        name.filter(|name| name.parse::<Username>().is_ok()).map(Self).ok_or("this is no page of this list")
    }
}

impl List<'_> {
    /// What is to be known of an account's token at a glance, if anything.
    fn of_token(&self, account: &Account) -> Option<Badge> {
        let Some(token) = &account.token else { return Some(Badge::new(Tone::Plain, "No token")) };
        let left = token.expires_at - self.now.0;
        if left <= TimeDelta::zero() {
            Some(Badge::new(Tone::Bad, "Expired"))
        } else if left <= TimeDelta::days(30) {
            Some(Badge::new(Tone::Warn, "Expires soon"))
        } else {
            None
        }
    }

    fn teams(&self, account: &Account) -> String {
        counted(u64::try_from(account.teams.len()).unwrap_or(u64::MAX), "team", "teams")
    }

    fn of_status(&self, account: &Account) -> Badge {
        Badge::of_status(account.status)
    }

    /// The beginning of its description.
    fn description<'t>(&self, account: &'t Account) -> Untrusted<'t> {
        Untrusted::new(account.description.as_str()).at_most(120)
    }

    /// Where its token is used although it is dead.
    fn dead(&self, account: &Account) -> Option<Badge> {
        account.dead_tokens.as_ref().map(|_| Badge::new(Tone::Warn, "Dead token in use"))
    }
}
