//! A new account, and what it signs in with, shown once.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::super::form::{Choice, Form};
use super::super::parts::{Empty, Now};
use super::super::shell::Page;
use super::super::visit::{Fields, Sent, Visit, Visitor};
use super::Place;
use super::fields::{Known, Rights};
use super::link;
use super::token::{Shown, months};
use crate::authority::{AccountRef, Authority, Error, NewAccount, NewUser};
use crate::clock::rfc3339;
use crate::http::Problem;
use crate::http::extract::Ready;
use crate::http::permissions::AccountsWrite;
use crate::name::{Description, Username};
use crate::permission::Permission;
use crate::web::FieldError;

#[derive(Template)]
#[template(path = "console/accounts/new.html")]
struct NewPage<'a> {
    place: Place,
    form_token: &'a str,
    form: Form,
    known: &'a Known,
    months: Vec<Choice>,
    /// What is said of audiences.
    audiences: String,
    /// When the form was made: whoever sends it twice is told so.
    opened: String,
}

/// `GET /console/service-accounts/new`, `GET /console/users/new`
pub async fn page(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
) -> Result<Response, Problem> {
    authority.demand_also(&visitor, &Permission::known("tokens:issue"))?;
    form(
        &visitor,
        &authority,
        place,
        Form::new()
            .with("valid_for_months", months_at_first(&authority))
            .with("opened", rfc3339::text(&visitor.visit().now)),
    )
    .await
}

fn months_at_first(authority: &Authority) -> String {
    let offered = authority.lifetimes();
    let usual = offered.iter().find(|months| **months == 12).or(offered.first());
    usual.map(ToString::to_string).unwrap_or_default()
}

async fn form(
    visitor: &Visitor<AccountsWrite>,
    authority: &Authority,
    place: Place,
    form: Form,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let known = Known::to_give(visit, visitor, authority, None).await?;
    let page = Page::new(
        visit,
        place.section(),
        match place {
            Place::ServiceAccounts => "New Service Account",
            Place::Users => "New user",
        },
    );
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&NewPage {
        place,
        form_token: &visit.form_token,
        opened: form.value("opened").to_owned(),
        form,
        known: &known,
        months: months(authority),
        audiences: format!(
            "APIs that its tokens are good for, one on each line. None: this service itself, {}.",
            authority.own_audience()
        ),
    })
}

/// `POST` of the same.
pub async fn create(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    authority.demand_also(&visitor, &Permission::known("tokens:issue"))?;
    let new = match read(&fields, place) {
        Ok(new) => new,
        Err(errors) => return form(&visitor, &authority, place, Form::wrong(&fields, errors)).await,
    };
    let username = new.username().clone();
    let visit = visitor.visit();
    let made = match new {
        Person(new) => authority.create_user(&visitor, new).await.map(|invited| {
            let name = invited.account.username.to_string();
            link::shown(visit, place, &invited, Some(&name))
        }),
        Machine(new) => {
            let issued = authority.create_account(&visitor, new).await;
            issued.map(|issued| Shown::of_a_new_account(visit, &authority, place, &issued))
        }
    };
    match made {
        Ok(shown) => shown,
        Err(Error::UsernameTaken) => match made_meanwhile(&authority, &username, &fields).await? {
            Some(made) => already_made(visit, place, &made),
            None => {
                let refused = Form::refused(&fields, Error::UsernameTaken.into()).beside("username");
                form(&visitor, &authority, place, refused).await
            }
        },
        Err(error) => form(&visitor, &authority, place, Form::refused(&fields, error.into())).await,
    }
}

/// What is to be made.
enum New {
    Machine(NewAccount),
    Person(NewUser),
}
use New::{Machine, Person};

impl New {
    fn username(&self) -> &Username {
        match self {
            Machine(new) => &new.username,
            Person(new) => &new.username,
        }
    }
}

fn read(fields: &Fields, place: Place) -> Result<New, Vec<FieldError>> {
    let mut errors = Vec::new();
    let username = fields.read::<Username>("username", &mut errors);
    let description = description(fields, &mut errors);
    let rights = Rights::read(fields, &mut errors);
    let months = match place {
        Place::ServiceAccounts => fields.read("valid_for_months", &mut errors),
        Place::Users => None,
    };
    let (Some(username), Some(description), Some(role)) = (username, description, rights.role) else {
        return Err(errors);
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let Rights { teams, audiences, allowed_networks, .. } = rights;
    Ok(match months {
        Some(valid_for_months) => {
            Machine(NewAccount { username, description, role, teams, audiences, allowed_networks, valid_for_months })
        }
        None => Person(NewUser { username, description, role, teams, allowed_networks }),
    })
}

/// Browsers send the line breaks of a text area as CR LF (HTML, section 4.10.21.3).
pub fn description(fields: &Fields, errors: &mut Vec<FieldError>) -> Option<Description> {
    let text = fields.text("description").replace("\r\n", "\n");
    text.parse()
        .map_err(|error: crate::name::Invalid| {
            errors.push(FieldError { field: "description".into(), message: error.to_string() });
        })
        .ok()
}

struct Made {
    account: AccountRef,
    username: String,
    created_at: DateTime<Utc>,
}

/// An account of this name that was made after the form was opened: most likely by this very form, sent again.
async fn made_meanwhile(authority: &Authority, username: &Username, fields: &Fields) -> Result<Option<Made>, Problem> {
    let Ok(opened) = DateTime::parse_from_rfc3339(fields.text("opened")) else { return Ok(None) };
    match authority.account(&AccountRef::Name(username.clone())).await {
        Ok(account) if account.profile.created_at >= opened => Ok(Some(Made {
            account: AccountRef::Id(account.id),
            username: account.state.username.to_string(),
            created_at: account.profile.created_at,
        })),
        Ok(_) | Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn already_made(visit: &Visit, place: Place, made: &Made) -> Result<Response, Problem> {
    let AccountRef::Id(id) = made.account else { return Err(Problem::internal("an account without an id")) };
    let now: Now = visit.clock();
    let what = match place {
        Place::ServiceAccounts => {
            "Its token was shown then, and can't be shown again: who did not keep it generates a new one."
        }
        Place::Users => "Its link was shown then, and can't be shown again: who did not keep it makes a new one.",
    };
    let text = format!("{} was made {}. {what}", made.username, now.relative(made.created_at));
    let empty = Empty::new("This was done already", text).action(format!("Go to {}", made.username), place.path(id));
    Page::new(visit, place.section(), "Already done").telling(Error::UsernameTaken.into()).answer(&empty)
}
