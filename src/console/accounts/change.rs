//! An account is edited, enabled, disabled, deleted.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;

use super::super::form::Form;
use super::super::notice::{Notice, see_other};
use super::super::parts::{Confirm, in_words};
use super::super::visit::{Fields, Sent, Visit, Visitor};
use super::fields::{Known, Rights};
use super::new::description;
use super::show::Show;
use super::{Place, consequences};
use crate::account::{Account, Status};
use crate::authority::{AccountPatch, AccountRef, Authority, Error};
use crate::epoch::Epoch;
use crate::http::Problem;
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::AccountsWrite;
use crate::permission::Permission;
use crate::store::StoredAccount;
use crate::web::FieldError;

#[derive(Template)]
#[template(path = "console/accounts/edit.html")]
struct Edit<'a> {
    place: Place,
    form_token: &'a str,
    account: &'a Account,
    /// The version that is going to be changed.
    version: Epoch,
    form: Form,
    known: &'a Known,
    /// What is said of audiences.
    audiences: String,
}

/// The account. Whoever may write accounts and not read them changes them over the API, where nothing is shown.
async fn to_change(
    visitor: &Visitor<AccountsWrite>,
    authority: &Authority,
    place: Place,
    wanted: &AccountRef,
) -> Result<StoredAccount, Problem> {
    authority.demand_also(visitor, &Permission::known("accounts:read"))?;
    place.account(authority, wanted).await
}

/// `GET /console/service-accounts/{account}/edit`
pub async fn edit(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
) -> Result<Response, Problem> {
    let account = to_change(&visitor, &authority, place, &wanted).await?.view();
    editing(&visitor, &authority, place, &account, as_it_is(&account)).await
}

fn as_it_is(account: &Account) -> Form {
    let lines = |texts: Vec<String>| texts.join("\n");
    let mut form = Form::new()
        .with("description", account.description.as_str())
        .with("role", account.role.as_str())
        .with("audiences", lines(account.audiences.iter().map(ToString::to_string).collect()))
        .with("allowed_networks", lines(account.allowed_networks.iter().map(ToString::to_string).collect()))
        .with("teams", lines(account.teams.iter().map(|(team, role)| format!("{team}={role}")).collect()));
    for (team, role) in &account.teams {
        form = form.with(format!("teams.{team}"), role.as_str());
    }
    form
}

async fn editing(
    visitor: &Visitor<AccountsWrite>,
    authority: &Authority,
    place: Place,
    account: &Account,
    form: Form,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let known = Known::to_give(visit, visitor, authority, Some(account)).await?;
    let page = place.page(visit, account, "Edit");
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&Edit {
        place,
        form_token: &visit.form_token,
        version: account.version,
        account,
        form,
        known: &known,
        audiences: format!(
            "APIs that tokens generated from now on are good for, one on each line; a token keeps those that it was issued with. None: this service itself, {}.",
            authority.own_audience()
        ),
    })
}

/// `POST` of the same.
pub async fn save(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = to_change(&visitor, &authority, place, &wanted).await?.view();
    let only = fields.unchanged()?;
    let patch = match patch(&fields, &account) {
        Ok(patch) => patch,
        Err(errors) => return editing(&visitor, &authority, place, &account, Form::wrong(&fields, errors)).await,
    };
    let path = place.path(account.id);
    match authority.update_account(&visitor, &AccountRef::Id(account.id), patch, &only).await {
        Ok((_, receipt)) => {
            let said = in_words(&receipt, "Saved; it holds");
            Ok(Notice::done(said).on(&path))
        }
        // What was typed is kept, and whoever sends it again has been told.
        Err(error) => {
            let account = place.account(&authority, &AccountRef::Id(account.id)).await?.view();
            editing(&visitor, &authority, place, &account, Form::refused(&fields, error.into())).await
        }
    }
}

/// What is different from how it is: what stays is not said to be changed.
fn patch(fields: &Fields, account: &Account) -> Result<AccountPatch, Vec<FieldError>> {
    let mut errors = Vec::new();
    let description = description(fields, &mut errors);
    let rights = Rights::read(fields, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let machine = account.kind == crate::account::Kind::Service;
    Ok(AccountPatch {
        description: description.filter(|description| *description != account.description),
        role: rights.role.filter(|role| *role != account.role),
        teams: Some(rights.teams).filter(|teams| *teams != account.teams),
        audiences: Some(rights.audiences).filter(|audiences| machine && *audiences != account.audiences),
        allowed_networks: Some(rights.allowed_networks).filter(|networks| *networks != account.allowed_networks),
        status: None,
    })
}

/// `GET /console/service-accounts/{account}/disable`
pub async fn ask_to_disable(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
) -> Result<Response, Problem> {
    let account = to_change(&visitor, &authority, place, &wanted).await?.view();
    let (visit, name, path) = (visitor.visit(), &account.username, place.path(account.id));
    if account.status == Status::Disabled {
        return Ok(see_other(&path));
    }
    let these = vec![
        format!("Nothing is accepted of {name} from then on, on every node."),
        match place {
            Place::ServiceAccounts => "It can be enabled again; its tokens stay the same.".to_owned(),
            Place::Users => {
                "It can be enabled again; the password stays the same, sessions and links have ended then.".to_owned()
            }
        },
    ];
    let consequences = consequences(visit, &account, "you are signed out by it", these);
    place.page(visit, &account, "Disable the account").answer(&Confirm {
        form_token: &visit.form_token,
        action: &format!("{path}/status"),
        version: &account.version.to_string(),
        consequences: &consequences,
        sends: &[("status", "disabled")],
        typed: None,
        error: None,
        button: &format!("Disable {name}"),
        back: &path,
    })
}

/// `POST /console/service-accounts/{account}/status`
pub async fn status(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = to_change(&visitor, &authority, place, &wanted).await?;
    let (status, said) = match fields.text("status") {
        "active" => (Status::Active, "Enabled; it holds"),
        "disabled" => (Status::Disabled, "Disabled; its tokens are refused"),
        _ => return Err(Problem::invalid_field("status", "it is active or disabled")),
    };
    let only = fields.unchanged()?;
    let patch = AccountPatch { status: Some(status), ..AccountPatch::default() };
    match authority.update_account(&visitor, &AccountRef::Id(account.id), patch, &only).await {
        Ok((_, receipt)) => {
            let said = in_words(&receipt, said);
            Ok(Notice::done(said).on(&place.path(account.id)))
        }
        Err(error) => Show::telling(visitor.visit(), &visitor, &authority, place, account.id, error.into()).await,
    }
}

/// `GET /console/service-accounts/{account}/delete`
pub async fn ask_to_delete(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
) -> Result<Response, Problem> {
    let account = to_change(&visitor, &authority, place, &wanted).await?.view();
    deleting(visitor.visit(), place, &account, None)
}

fn deleting(visit: &Visit, place: Place, account: &Account, problem: Option<Problem>) -> Result<Response, Problem> {
    let (name, path) = (account.username.to_string(), place.path(account.id));
    let these = vec![
        format!("Every token of {name} is refused from then on, on every node."),
        "Its activity stays readable for as long as activity is kept, and its name stays taken for as long.".to_owned(),
        "This can't be undone.".to_owned(),
    ];
    let consequences = consequences(visit, account, "you are signed out by it", these);
    let wrong = problem.as_ref().and_then(|problem| {
        let errors = problem.told().errors.iter();
        errors.clone().find(|error| error.field == "confirm").map(|error| error.message.clone())
    });
    let page = place.page(visit, account, "Delete the account");
    let page = match problem {
        Some(problem) if wrong.is_some() => page.telling(problem),
        Some(problem) => page.notice(Notice::failed(&problem)).telling(problem),
        None => page,
    };
    page.answer(&Confirm {
        form_token: &visit.form_token,
        action: &format!("{path}/delete"),
        version: &account.version.to_string(),
        consequences: &consequences,
        sends: &[],
        typed: Some(&name),
        error: wrong.as_deref(),
        button: &format!("Delete {name}"),
        back: &path,
    })
}

/// `POST` of the same.
pub async fn delete(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = to_change(&visitor, &authority, place, &wanted).await?.view();
    let only = fields.unchanged()?;
    if fields.text("confirm").trim() != account.username.as_str() {
        let wrong = Error::field("confirm", format!("type {}, the name of the account that is lost", account.username));
        return deleting(visitor.visit(), place, &account, Some(wrong.into()));
    }
    match authority.delete_account(&visitor, &AccountRef::Id(account.id), &only).await {
        Ok(receipt) => {
            let said = format!("{} was deleted; its tokens are refused", account.username);
            Ok(Notice::done(in_words(&receipt, &said)).on(place.base()))
        }
        Err(error) => deleting(visitor.visit(), place, &account, Some(error.into())),
    }
}
