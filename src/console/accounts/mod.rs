//! Accounts: of machines, and of people. Both have the same pages; only what they sign in with differs.

mod activity;
mod change;
mod fields;
mod link;
mod list;
mod new;
mod sessions;
mod show;
mod token;
mod usage;

use std::borrow::Borrow;
use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use axum::response::Response;
use axum::routing::{get, post};

use super::asked::Asked;
use super::menu::Section;
use super::notice::see_other;
use super::shell::Page;
use super::visit::{Visit, Visitor};
use crate::account::{Account, AccountId, Kind};
use crate::authority::{AccountRef, Authority, Error};
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::AccountsRead;
use crate::http::{Edge, Problem};
use crate::store::StoredAccount;

/// Whose accounts a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Those of machines.
    ServiceAccounts,
    /// Those of people.
    Users,
}

impl Place {
    /// Where an account of this kind is.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Service => Self::ServiceAccounts,
            Kind::User => Self::Users,
        }
    }

    /// What its accounts are.
    pub fn kind(self) -> Kind {
        match self {
            Self::ServiceAccounts => Kind::Service,
            Self::Users => Kind::User,
        }
    }

    /// Where it is in the menu.
    pub fn section(self) -> Section {
        match self {
            Self::ServiceAccounts => Section::ServiceAccounts,
            Self::Users => Section::Users,
        }
    }

    /// One of its accounts.
    pub fn one(self) -> &'static str {
        match self {
            Self::ServiceAccounts => "service account",
            Self::Users => "user",
        }
    }

    /// Several of them.
    pub fn many(self) -> &'static str {
        match self {
            Self::ServiceAccounts => "service accounts",
            Self::Users => "users",
        }
    }

    /// The path of its list.
    pub fn base(self) -> &'static str {
        self.section().href()
    }

    /// The path of an account.
    pub fn path(self, account: impl Borrow<AccountId>) -> String {
        format!("{}/{}", self.base(), account.borrow())
    }

    /// A page about an account.
    fn page<'a>(self, visit: &'a Visit, account: &Account, title: &str) -> Page<'a> {
        Page::new(visit, self.section(), title).under(account.username.to_string(), self.path(account.id))
    }

    /// The account that a page of this place is about.
    async fn account(self, authority: &Authority, wanted: &AccountRef) -> Result<StoredAccount, Problem> {
        let account = authority.account(wanted).await?;
        if account.profile.kind != self.kind() {
            return Err(Error::NotFound(self.one()).into());
        }
        Ok(account)
    }
}

/// What follows from taking something from an account, with what is to be known before: that it is one's own, when it was last used.
fn consequences(visit: &Visit, account: &Account, own: &str, mut these: Vec<String>) -> Vec<String> {
    if let Some(used) = account.token.as_ref().and_then(|token| token.last_used_at) {
        these.insert(1, format!("Its token was last used {}.", visit.clock().relative(used)));
    }
    if visit.is(account.id) {
        these.insert(0, format!("This is your own account: {own}."));
    }
    these
}

/// The pages.
pub fn routes() -> Router<Arc<Edge>> {
    let pages = |place: Place| {
        let pages = Router::new()
            .route("/", get(list::page))
            .route("/new", get(new::page).post(new::create))
            .route("/{account}", get(show::page))
            .route("/{account}/activity", get(activity::page))
            .route("/{account}/edit", get(change::edit).post(change::save))
            .route("/{account}/disable", get(change::ask_to_disable))
            .route("/{account}/status", post(change::status))
            .route("/{account}/token", get(token::page).post(token::generate))
            .route("/{account}/revoke", get(token::ask_to_revoke).post(token::revoke))
            .route("/{account}/sessions", post(sessions::end))
            .route("/{account}/delete", get(change::ask_to_delete).post(change::delete));
        let pages = match place {
            Place::ServiceAccounts => pages,
            // What only people have.
            Place::Users => pages.route("/{account}/link", get(link::page).post(link::create)),
        };
        Router::new().nest(place.base(), pages.layer(Extension(place)))
    };
    pages(Place::ServiceAccounts).merge(pages(Place::Users)).route("/console/accounts/{account}", get(wherever))
}

/// Sends on to the page of an account, whatever kind it is of: events name accounts by their id alone.
async fn wherever(
    visitor: Visitor<AccountsRead>,
    Ready(authority): Ready,
    Wanted(wanted): Wanted,
    asked: Asked,
) -> Result<Response, Problem> {
    match authority.account(&wanted).await {
        Ok(account) => Ok(see_other(&Place::of(account.profile.kind).path(account.id))),
        Err(Error::NotFound(_)) => activity::of_a_deleted_account(visitor.visit(), &authority, &wanted, &asked).await,
        Err(error) => Err(error.into()),
    }
}
