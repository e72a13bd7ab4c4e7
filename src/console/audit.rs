//! The audit of all accounts: what was called, and what was done.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::asked::{Asked, Moment};
use super::events::{Events, Names, ROWS, kinds, outcomes};
use super::form::{Choice, Form};
use super::menu::Section;
use super::parts::{Empty, Pager};
use super::shell::Page;
use super::visit::Visitor;
use crate::account::AccountId;
use crate::audit::Outcome;
use crate::authority::{AccountRef, Authority, Error, EventPage};
use crate::http::audit::Origin;
use crate::http::extract::Ready;
use crate::http::permissions::AuditRead;
use crate::http::{Edge, Problem};
use crate::store::{AuditCursor, AuditFilter};
use crate::web::FieldError;

const PATH: &str = "/console/audit";
const FILTERS: [&str; 10] = ["account", "kind", "outcome", "reason", "method", "path", "address", "node", "from", "to"];

pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route(PATH, get(page))
}

#[derive(Template)]
#[template(path = "console/audit.html")]
struct Body<'a> {
    form: Form,
    kinds: Vec<Choice>,
    outcomes: Vec<Choice>,
    events: Events<'a>,
    is_empty: bool,
    empty: Empty,
    pager: Pager,
    filtered: bool,
    more: bool,
    export: String,
    /// Whether filters are set that an export does not know.
    left_out: bool,
    json: String,
}

/// What was typed into the filters, read.
async fn filter(
    authority: &Authority,
    asked: &Asked,
    errors: &mut Vec<FieldError>,
) -> Result<(Option<AccountId>, AuditFilter), Problem> {
    let text = |name: &str| Some(asked.text(name).to_owned()).filter(|text| !text.is_empty());
    let mut wrong =
        |field: &str, message: &str| errors.push(FieldError { field: field.into(), message: message.into() });
    let account = match text("account") {
        None => None,
        Some(text) => match text.parse().map(AccountRef::Id).or_else(|_| text.parse().map(AccountRef::Name)) {
            Err(_) => {
                wrong("account", "this is the name or the id of no account");
                None
            }
            Ok(wanted) => match authority.id_of(&wanted).await {
                Ok(id) => Some(id),
                Err(Error::NotFound(_)) => {
                    wrong("account", "there is, and was, no such account");
                    None
                }
                Err(other) => return Err(other.into()),
            },
        },
    };
    let filter = AuditFilter {
        kind: text("kind"),
        outcome: asked.read::<Outcome>("outcome", errors),
        reason: text("reason"),
        node: text("node"),
        method: text("method").map(|method| method.to_uppercase()),
        path: text("path"),
        address: asked.read::<Origin>("address", errors).map(|Origin(network)| network),
        from: asked.read::<Moment>("from", errors).map(|Moment(time)| time),
        to: asked.read::<Moment>("to", errors).map(|Moment(time)| time),
    };
    Ok((account, filter))
}

async fn page(visitor: Visitor<AuditRead>, Ready(authority): Ready, asked: Asked) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let mut errors = Vec::new();
    let (account, filter) = filter(&authority, &asked, &mut errors).await?;
    // One that is none of ours leads to the first page.
    let cursor = AuditCursor::decode(asked.text("cursor"));
    let found = match errors.is_empty() {
        true => authority.events(account, &filter, cursor.as_ref(), ROWS).await?,
        false => EventPage { items: Vec::new(), next_cursor: None },
    };
    let next = found.next_cursor.as_deref();
    let none_here = found.items.is_empty() && next.is_some();
    let filtered = asked.any(&FILTERS);
    let is_live = errors.is_empty() && !asked.any(&["cursor", "from", "to"]);
    let names = Names::of(visit, &authority, &found.items).await?;
    let events = match account {
        Some(account) => Events::of_one(visit, account, &found.items, &names),
        None => Events::of_all(visit, &found.items, &names),
    };
    let body = Body {
        kinds: kinds(),
        outcomes: outcomes(),
        events: if is_live { events.followed(&filter) } else { events },
        is_empty: (filtered || !is_live) && found.items.is_empty(),
        empty: if none_here {
            Empty::new("Nothing in the part that was looked at", "There is more: look further.")
        } else if errors.is_empty() {
            Empty::new("Nothing like this is in the audit", "Change the filters, or leave them out.")
                .action("Show all", PATH)
        } else {
            Empty::new("This can't be looked for", "Change what is marked above.")
        },
        pager: Pager::new(&asked, PATH, &FILTERS, next, none_here),
        more: asked.any(&["reason", "method", "path", "address", "node", "from", "to"]),
        export: outside("/api/v1/audit/export", account, &filter, false),
        left_out: asked.any(&["kind", "outcome", "reason", "method", "path", "address"]),
        json: outside("/api/v1/audit", account, &filter, true),
        form: asked.form(errors),
        filtered,
    };
    Page::new(visit, Section::Audit, Section::Audit.title()).action("Status", "/console/audit/status").answer(&body)
}

/// The same events of the API: by all filters, or by those that an export knows, which proves of what it leaves out that it was there.
fn outside(path: &str, account: Option<AccountId>, filter: &AuditFilter, by_all: bool) -> String {
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| time.map(|time| crate::clock::rfc3339::text(&time));
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = [
        ("account", account.map(|account| account.to_string())),
        ("node", filter.node.clone()),
        ("from", time(filter.from)),
        ("to", time(filter.to)),
    ];
    query.extend_pairs(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let others = [
        ("kind", filter.kind.clone()),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("reason", filter.reason.clone()),
        ("method", filter.method.clone()),
        ("path", filter.path.clone()),
        ("address", filter.address.map(|network| network.to_string())),
    ];
    query.extend_pairs(others.into_iter().filter(|_| by_all).filter_map(|(name, value)| Some((name, value?))));
    format!("{path}?{}", query.finish()).trim_end_matches('?').to_owned()
}
