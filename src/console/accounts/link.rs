//! The link by which a person sets the password, shown once.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;

use super::super::form::Form;
use super::super::notice::Notice;
use super::super::parts::{Empty, Now, Secret};
use super::super::visit::{Fields, Sent, Visit, Visitor};
use super::Place;
use crate::account::{Account, Status};
use crate::authority::{AccountRef, Authority, Error, Invited};
use crate::http::Problem;
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::TokensIssue;
use crate::permission::Permission;
use crate::store::StoredAccount;

#[derive(Template)]
#[template(path = "console/accounts/link.html")]
struct NewLink<'a> {
    now: Now,
    form_token: &'a str,
    account: &'a Account,
    path: String,
    form: Form,
    /// It grants more than whoever asks for it holds.
    beyond: bool,
}

/// A link, this once.
#[derive(Template)]
#[template(path = "console/accounts/invited.html")]
struct Shown<'a> {
    now: Now,
    invited: &'a Invited,
    path: String,
    secret: Secret<'a>,
}

/// `GET /console/users/{account}/link`
pub async fn page(
    visitor: Visitor<TokensIssue>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
) -> Result<Response, Problem> {
    let account = to_see(&visitor, &authority, place, &wanted).await?;
    ask(&visitor, &authority, place, &account, Form::new()).await
}

async fn to_see(
    visitor: &Visitor<TokensIssue>,
    authority: &Authority,
    place: Place,
    wanted: &AccountRef,
) -> Result<StoredAccount, Problem> {
    authority.demand_also(visitor, &Permission::known("accounts:read"))?;
    place.account(authority, wanted).await
}

async fn ask(
    visitor: &Visitor<TokensIssue>,
    authority: &Authority,
    place: Place,
    account: &StoredAccount,
    form: Form,
) -> Result<Response, Problem> {
    let (visit, view) = (visitor.visit(), account.view());
    let page = place.page(visit, &view, "New link to set the password");
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&NewLink {
        now: visit.clock(),
        form_token: &visit.form_token,
        path: place.path(account.id),
        account: &view,
        form,
        beyond: !authority.may_dispose_of(visitor, account).await?,
    })
}

/// `POST` of the same.
pub async fn create(
    visitor: Visitor<TokensIssue>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = to_see(&visitor, &authority, place, &wanted).await?;
    let only = fields.unchanged()?;
    let ends_present = fields.text("ends_present") == "yes";
    match authority.password_link(&visitor, &AccountRef::Id(account.id), ends_present, &only).await {
        Ok(invited) => shown(visitor.visit(), place, &invited, None),
        Err(Error::PreconditionFailed) if is_newer(&account.view(), &fields) => {
            already_made(visitor.visit(), place, &account.view())
        }
        Err(error) => {
            let account = place.account(&authority, &AccountRef::Id(account.id)).await?;
            ask(&visitor, &authority, place, &account, Form::refused(&fields, error.into())).await
        }
    }
}

/// Whether there is another link than the one that the form knew of.
fn is_newer(account: &Account, fields: &Fields) -> bool {
    account.sign_in.as_ref().and_then(|sign_in| sign_in.link_expires_at).is_some()
        && fields.text("link") != link_of(account)
}

fn link_of(account: &Account) -> String {
    let expires_at = account.sign_in.as_ref().and_then(|sign_in| sign_in.link_expires_at);
    expires_at.map(|time| time.timestamp_millis().to_string()).unwrap_or_default()
}

fn already_made(visit: &Visit, place: Place, account: &Account) -> Result<Response, Problem> {
    let text = "A link was made after this form was opened. It was shown then, and can't be shown again. Nothing was changed now.";
    let empty = Empty::new("This was done already", text);
    let empty = empty.action(format!("Go to {}", account.username), place.path(account.id));
    place.page(visit, account, "Already done").telling(Error::PreconditionFailed.into()).answer(&empty)
}

/// Shows it. `of_a_new_account`: who was just made.
pub fn shown(
    visit: &Visit,
    place: Place,
    invited: &Invited,
    of_a_new_account: Option<&str>,
) -> Result<Response, Problem> {
    let mut page = place.page(visit, &invited.account, "Link to set the password");
    if let Some(name) = of_a_new_account {
        page = page.notice(Notice::done(format!("The user {name} was created.")));
    }
    let label = format!("Link for {}", invited.account.username);
    let file = format!("{}.link", invited.account.username);
    page.answer(&Shown {
        now: visit.clock(),
        path: place.path(invited.account.id),
        secret: Secret { label: &label, text: &invited.link, file: &file },
        invited,
    })
}

impl NewLink<'_> {
    fn is_disabled(&self) -> bool {
        self.account.status == Status::Disabled
    }

    fn link(&self) -> String {
        link_of(self.account)
    }
}
