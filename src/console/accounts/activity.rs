//! The activity log of an account: what was called with its tokens, what it did, what was done to it.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;

use super::super::asked::{Asked, Moment};
use super::super::events::{Events, Names, ROWS, kinds, outcomes};
use super::super::form::{Choice, Form};
use super::super::menu::Section;
use super::super::parts::{Empty, Pager};
use super::super::shell::Page;
use super::super::visit::{Visit, Visitor};
use super::Place;
use crate::account::AccountId;
use crate::audit::{Event, Outcome};
use crate::authority::{AccountRef, Authority, Error, EventPage};
use crate::http::Problem;
use crate::http::audit::Origin;
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::AuditRead;
use crate::permission::Permission;
use crate::store::{AuditCursor, AuditFilter};
use crate::web::FieldError;

const FILTERS: [&str; 7] = ["outcome", "kind", "reason", "path", "address", "from", "to"];

/// The filters of a list of events, as they were typed: what is wrong with them stands in `errors`.
fn filter(asked: &Asked, errors: &mut Vec<FieldError>) -> AuditFilter {
    AuditFilter {
        outcome: asked.read::<Outcome>("outcome", errors),
        kind: Some(asked.text("kind").to_owned()).filter(|kind| !kind.is_empty()),
        address: asked.read::<Origin>("address", errors).map(|Origin(network)| network),
        reason: Some(asked.text("reason").to_owned()).filter(|reason| !reason.is_empty()),
        path: Some(asked.text("path").to_owned()).filter(|path| !path.is_empty()),
        from: asked.read::<Moment>("from", errors).map(|Moment(time)| time),
        to: asked.read::<Moment>("to", errors).map(|Moment(time)| time),
        ..AuditFilter::default()
    }
}

#[derive(Template)]
#[template(path = "console/accounts/activity.html")]
struct Activity<'a> {
    action: String,
    form: Form,
    outcomes: Vec<Choice>,
    kinds: Vec<Choice>,
    events: Events<'a>,
    is_empty: bool,
    empty: Empty,
    pager: Pager,
    filtered: bool,
    more: bool,
}

/// `GET /console/service-accounts/{account}/activity`
pub async fn page(
    visitor: Visitor<AuditRead>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    asked: Asked,
) -> Result<Response, Problem> {
    authority.demand_also(&visitor, &Permission::known("accounts:read"))?;
    let account = place.account(&authority, &wanted).await?.view();
    let visit = visitor.visit();
    let path = format!("{}/activity", place.path(account.id));
    let read = Read::of(visit, &authority, account.id, &asked).await?;
    place.page(visit, &account, "Activity").answer(&read.body(visit, &asked, account.id, path))
}

/// The activity of an account that is there no longer.
pub async fn of_a_deleted_account(
    visit: &Visit,
    authority: &Authority,
    wanted: &AccountRef,
    asked: &Asked,
) -> Result<Response, Problem> {
    let id = authority.id_of(wanted).await?;
    if !visit.may("audit:read") {
        return Err(Error::NotFound("account").into());
    }
    let read = Read::of(visit, authority, id, asked).await?;
    let mut names = read.page.items.iter().filter(|event| event.account_id == Some(id));
    let name = names.find_map(|event| event.username.clone()).unwrap_or_else(|| id.to_string());
    let body = read.body(visit, asked, id, format!("/console/accounts/{id}"));
    Page::new(visit, Section::ServiceAccounts, format!("{name}, which was deleted")).answer(&body)
}

/// What was read.
struct Read {
    page: EventPage,
    names: Names,
    filter: AuditFilter,
    errors: Vec<FieldError>,
}

impl Read {
    async fn of(visit: &Visit, authority: &Authority, account: AccountId, asked: &Asked) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let filter = filter(asked, &mut errors);
        // One that is none of ours leads to the first page.
        let cursor = AuditCursor::decode(asked.text("cursor"));
        let page = if errors.is_empty() {
            authority.events(Some(account), &filter, cursor.as_ref(), ROWS).await?
        } else {
            EventPage { items: Vec::new(), next_cursor: None }
        };
        let names = Names::of(visit, authority, &page.items).await?;
        Ok(Self { page, names, filter, errors })
    }

    fn body(&self, visit: &Visit, asked: &Asked, account: AccountId, action: String) -> Activity<'_> {
        let next = self.page.next_cursor.as_deref();
        let none_here = self.page.items.is_empty() && next.is_some();
        let filtered = asked.any(&FILTERS);
        let events = Events::of_one(visit, account, &self.page.items, &self.names);
        let is_live = self.errors.is_empty() && !asked.any(&["cursor", "from", "to"]);
        Activity {
            form: asked.form(self.errors.clone()),
            outcomes: outcomes(),
            kinds: kinds(),
            events: if is_live { events.followed(&self.filter) } else { events },
            is_empty: (filtered || !is_live) && self.page.items.is_empty(),
            empty: if none_here {
                Empty::new("Nothing in the part that was looked at", "There is more: look further.")
            } else if self.errors.is_empty() {
                Empty::new("Nothing like this is in the activity log", "Change the filters, or leave them out.")
                    .action("Show all", action.clone())
            } else {
                Empty::new("This can't be looked for", "Change what is marked above.")
            },
            pager: Pager::new(asked, &action, &FILTERS, next, none_here),
            action,
            filtered,
            more: asked.any(&["kind", "address", "from", "to"]),
        }
    }
}

/// The newest of an account's activity.
pub async fn newest(authority: &Authority, account: AccountId, rows: usize) -> Result<Vec<Event>, Problem> {
    Ok(authority.events(Some(account), &AuditFilter::default(), None, rows).await?.items)
}
