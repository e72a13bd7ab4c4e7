//! The token of an account: what uses the present one, a new one in its place, none at all.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;

use super::super::form::{Choice, Form};
use super::super::notice::Notice;
use super::super::parts::{Confirm, Empty, Now, Secret, counted, in_words};
use super::super::shell::Page;
use super::super::visit::{Fields, Sent, Visit, Visitor};
use super::usage::{Used, Window};
use super::{Place, consequences};
use crate::account::Account;
use crate::authority::{AccountRef, Act, Authority, Error, Issued};
use crate::http::Problem;
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::{TokensIssue, TokensRevoke};
use crate::permission::Permission;
use crate::store::StoredAccount;

/// For how long the older token may stay good: seconds, and how that is said.
const OVERLAPS: [(u64, &str); 5] = [
    (0, "At once"),
    (15 * 60, "After 15 minutes"),
    (3_600, "After 1 hour"),
    (24 * 3_600, "After 1 day"),
    (7 * 24 * 3_600, "After 7 days"),
];

/// The lifetimes on offer.
pub fn months(authority: &Authority) -> Vec<Choice> {
    authority
        .lifetimes()
        .iter()
        .map(|months| Choice::new(months.to_string(), counted(u64::from(*months), "month", "months")))
        .collect()
}

#[derive(Template)]
#[template(path = "console/accounts/token.html")]
struct Generate<'a> {
    place: Place,
    now: Now,
    form_token: &'a str,
    account: &'a Account,
    used: Option<Used>,
    form: Form,
    months: Vec<Choice>,
    overlaps: Vec<Choice>,
    /// It grants more than whoever asks for it holds.
    beyond: bool,
}

/// `GET /console/service-accounts/{account}/token`
pub async fn page(
    visitor: Visitor<TokensIssue>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
) -> Result<Response, Problem> {
    let account = to_see(&visitor, &authority, place, &wanted).await?;
    let lifetimes = authority.lifetimes();
    let usual = lifetimes.iter().find(|months| **months == 12).or(lifetimes.first());
    let form = Form::new()
        .with("valid_for_months", usual.map(ToString::to_string).unwrap_or_default())
        .with("overlap_seconds", "0");
    ask(&visitor, &authority, place, &account, form).await
}

/// The account; whoever may issue tokens and not read accounts has no business on a page that shows one.
async fn to_see(act: &Act, authority: &Authority, place: Place, wanted: &AccountRef) -> Result<StoredAccount, Problem> {
    authority.demand_also(act, &Permission::known("accounts:read"))?;
    place.account(authority, wanted).await
}

async fn ask(
    visitor: &Visitor<TokensIssue>,
    authority: &Authority,
    place: Place,
    account: &StoredAccount,
    form: Form,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let view = account.view();
    let used = if visit.may("audit:read") && view.token.is_some() {
        // What runs once a week breaks as well.
        Some(Used::of(authority, account.id, visit.now, Window::Week).await?)
    } else {
        None
    };
    let page = place.page(visit, &view, "Generate new authentication token");
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&Generate {
        place,
        now: visit.clock(),
        form_token: &visit.form_token,
        account: &view,
        used,
        form,
        months: months(authority),
        overlaps: OVERLAPS.iter().map(|(seconds, text)| Choice::new(seconds.to_string(), *text)).collect(),
        beyond: !authority.may_dispose_of(visitor, account).await?,
    })
}

/// `POST` of the same: the new token, this once.
pub async fn generate(
    visitor: Visitor<TokensIssue>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = to_see(&visitor, &authority, place, &wanted).await?;
    let mut errors = Vec::new();
    let valid_for_months = fields.read("valid_for_months", &mut errors);
    let overlap_seconds = fields.read("overlap_seconds", &mut errors);
    let (Some(valid_for_months), Some(overlap_seconds)) = (valid_for_months, overlap_seconds) else {
        return ask(&visitor, &authority, place, &account, Form::wrong(&fields, errors)).await;
    };
    let only = fields.unchanged()?;
    let id = AccountRef::Id(account.id);
    match authority.regenerate_token(&visitor, &id, valid_for_months, overlap_seconds, &only).await {
        Ok(issued) => {
            Shown::of_a_new_token(visitor.visit(), &authority, place, &issued, account.state.token_id.is_some())
        }
        Err(Error::PreconditionFailed) if account.state.generation > generation(&fields) => {
            already_generated(visitor.visit(), place, &account.view())
        }
        Err(error) => {
            let form = Form::refused(&fields, error.into());
            ask(&visitor, &authority, place, &account, form).await
        }
    }
}

fn generation(fields: &Fields) -> u64 {
    fields.text("generation").parse().unwrap_or(u64::MAX)
}

/// Sent again, or somebody else was quicker: either way there is a token that is newer than the form.
fn already_generated(visit: &Visit, place: Place, account: &Account) -> Result<Response, Problem> {
    let when = account.token.as_ref().map(|token| visit.clock().relative(token.issued_at));
    let text = format!(
        "A token of generation {} was generated {}, after this form was opened. It was shown then, and can't be shown again. Nothing was \
         changed now.",
        account.generation,
        when.as_deref().unwrap_or("and revoked meanwhile"),
    );
    let empty =
        Empty::new("This was done already", text).action(format!("Go to {}", account.username), place.path(account.id));
    place.page(visit, account, "Already done").telling(Error::PreconditionFailed.into()).answer(&empty)
}

/// A token, this once.
#[derive(Template)]
#[template(path = "console/accounts/shown.html")]
pub struct Shown<'a> {
    place: Place,
    now: Now,
    account: &'a Account,
    secret: Secret<'a>,
    receipt: Option<String>,
    origin: &'a str,
}

impl Shown<'_> {
    /// The first token of an account that was just made.
    pub fn of_a_new_account(
        visit: &Visit,
        authority: &Authority,
        place: Place,
        issued: &Issued,
    ) -> Result<Response, Problem> {
        let page = place.page(visit, &issued.account, "Token");
        let page = page.notice(Notice::done(format!("The account {} was created.", issued.account.username)));
        Self::answer(page, visit, authority, place, issued, None)
    }

    /// The token of a new generation.
    pub fn of_a_new_token(
        visit: &Visit,
        authority: &Authority,
        place: Place,
        issued: &Issued,
        had_a_token: bool,
    ) -> Result<Response, Problem> {
        let page = place.page(visit, &issued.account, "New token");
        let receipt = match &issued.account.previous_token {
            Some(previous) => format!(
                "Both tokens are good now; the older one is refused from {} on.",
                previous.ends_at.format("%-d %b %Y, %H:%M:%S UTC")
            ),
            None if had_a_token => format!(
                "{} Whoever still calls with it is named on the account's page.",
                in_words(&issued.receipt, "The older token is refused")
            ),
            None => in_words(&issued.receipt, "The new token is the only one"),
        };
        Self::answer(page, visit, authority, place, issued, Some(receipt))
    }

    fn answer(
        page: Page<'_>,
        visit: &Visit,
        authority: &Authority,
        place: Place,
        issued: &Issued,
        receipt: Option<String>,
    ) -> Result<Response, Problem> {
        let label = format!("Token of {}", issued.account.username);
        let file = format!("{}.token", issued.account.username);
        let secret = Secret { label: &label, text: &issued.token, file: &file };
        page.answer(&Shown {
            place,
            now: visit.clock(),
            account: &issued.account,
            secret,
            receipt,
            origin: authority.issuer().trim_end_matches('/'),
        })
    }
}

/// `GET /console/service-accounts/{account}/revoke`
pub async fn ask_to_revoke(
    visitor: Visitor<TokensRevoke>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
) -> Result<Response, Problem> {
    let account = to_see(&visitor, &authority, place, &wanted).await?.view();
    revoking(visitor.visit(), place, &account, None)
}

fn revoking(visit: &Visit, place: Place, account: &Account, problem: Option<Problem>) -> Result<Response, Problem> {
    let name = &account.username;
    let path = place.path(account.id);
    let these = vec![
        format!("Every call that is made with a token of {name} is refused from then on, on every node."),
        "There is no new token until somebody generates one.".to_owned(),
    ];
    let consequences = consequences(visit, account, "whoever is signed in with its token is signed out by it", these);
    let page = place.page(visit, account, "Revoke the token");
    let page = match problem {
        Some(problem) => page.notice(Notice::failed(&problem)).telling(problem),
        None => page,
    };
    page.answer(&Confirm {
        form_token: &visit.form_token,
        action: &format!("{path}/revoke"),
        version: &account.version.to_string(),
        consequences: &consequences,
        sends: &[],
        typed: None,
        error: None,
        button: &format!("Revoke the token of {name}"),
        back: &path,
    })
}

/// `POST` of the same.
pub async fn revoke(
    visitor: Visitor<TokensRevoke>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = to_see(&visitor, &authority, place, &wanted).await?;
    let only = fields.unchanged()?;
    match authority.revoke_token(&visitor, &AccountRef::Id(account.id), &only).await {
        Ok(receipt) => {
            let said = in_words(&receipt, "The token is refused");
            Ok(Notice::done(said).on(&place.path(account.id)))
        }
        Err(error) => revoking(visitor.visit(), place, &account.view(), Some(error.into())),
    }
}
