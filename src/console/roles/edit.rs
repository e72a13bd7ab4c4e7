//! A role is changed. Who gains and loses what is shown before.

use askama::Template;
use axum::response::Response;

use super::super::form::Form;
use super::super::named::description;
use super::super::notice::Notice;
use super::super::parts::in_words;
use super::super::visit::{Sent, Visitor};
use super::new::{permissions, refused};
use super::page_of;
use crate::authority::{AffectedAccount, Authority, Error, GrantChange, RolePreview};
use crate::epoch::Epoch;
use crate::http::Problem;
use crate::http::extract::{Name, Ready};
use crate::http::permissions::RolesWrite;
use crate::name::RoleName;
use crate::permission::{Permission, Role, is_built_in};
use crate::store::Named;

#[derive(Template)]
#[template(path = "console/roles/edit.html")]
struct Edit<'a> {
    form_token: &'a str,
    name: &'a RoleName,
    version: Epoch,
    form: Form,
    preview: Option<Preview>,
}

/// What a change would come to, as it is shown.
struct Preview {
    told: RolePreview,
    /// Whether he may see who has it.
    shows_accounts: bool,
    /// What it is a preview of.
    of: String,
}

impl Preview {
    fn changes_nothing(&self) -> bool {
        self.told.change.is_none()
    }
}

/// What an account gains or loses, and where.
fn changes(account: &AffectedAccount) -> Vec<(String, &GrantChange)> {
    let by_default = account.by_default.iter().map(|change| ("everywhere".to_owned(), change));
    by_default.chain(account.in_teams.iter().map(|(team, change)| (format!("in {team}"), change))).collect()
}

/// The role that is to be changed. Whoever may write roles and not read them changes them over the API, where nothing is shown.
async fn to_change(
    visitor: &Visitor<RolesWrite>,
    authority: &Authority,
    name: &RoleName,
) -> Result<Named<Role>, Problem> {
    authority.demand_also(visitor, &Permission::known("roles:read"))?;
    if is_built_in(name) {
        return Err(Error::BuiltIn.into());
    }
    Ok(authority.role(name).await?)
}

/// `GET /console/roles/{name}/edit`
pub async fn page(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<RoleName>,
) -> Result<Response, Problem> {
    let role = to_change(&visitor, &authority, &name).await?;
    let lines: Vec<String> = role.definition.permissions.iter().map(ToString::to_string).collect();
    let form =
        Form::new().with("description", role.definition.description.as_str()).with("permissions", lines.join("\n"));
    editing(&visitor, &name, role.version, form, None)
}

fn editing(
    visitor: &Visitor<RolesWrite>,
    name: &RoleName,
    version: Epoch,
    form: Form,
    preview: Option<Preview>,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let page = page_of(visit, name, "Edit the role");
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&Edit { form_token: &visit.form_token, name, version, form, preview })
}

/// `POST` of the same: shows what it would come to, and makes it once that was shown.
pub async fn save(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<RoleName>,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let role = to_change(&visitor, &authority, &name).await?;
    let only = fields.unchanged()?;
    let mut errors = Vec::new();
    let description = description(&fields, &mut errors);
    let permissions = permissions(&fields, &mut errors);
    let (Some(description), Some(permissions)) = (description, permissions) else {
        return editing(&visitor, &name, role.version, Form::wrong(&fields, errors), None);
    };
    let of = permissions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let told = match authority.preview_role(&name, &permissions).await {
        Ok(told) => told,
        Err(error) => return editing(&visitor, &name, role.version, refused(&fields, error)?, None),
    };
    let may_save = fields.text("step") == "save" && (told.change.is_none() || fields.text("previewed") == of);
    if !may_save {
        let preview = Preview { told, shows_accounts: visitor.visit().may("accounts:read"), of };
        // Of the version that was opened: what others have changed meanwhile is not to be undone.
        let version = fields.text("version").parse().unwrap_or(role.version);
        return editing(&visitor, &name, version, Form::sent(&fields), Some(preview));
    }
    let wanted = Role { name: name.clone(), description, permissions };
    match authority.set_role(&visitor, wanted, &only).await {
        Ok(changed) => {
            let said = format!("The role {name} was changed; it holds");
            Ok(Notice::done(in_words(&changed.receipt, &said)).on(&super::path(&name)))
        }
        // Whoever sends it again has been told, and sees first what it comes to now.
        Err(error) => {
            let version = to_change(&visitor, &authority, &name).await?.version;
            editing(&visitor, &name, version, refused(&fields, error)?, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_account_gains_and_loses_is_told() {
        let change = GrantChange { gains: ["a:b".parse().unwrap()].into(), loses: [].into() };
        let account = AffectedAccount {
            id: crate::account::AccountId::nobody(),
            username: "ci".parse().unwrap(),
            status: crate::account::Status::Active,
            by_default: Some(change.clone()),
            in_teams: [("ops".parse().unwrap(), change.clone())].into(),
        };
        let places: Vec<String> = changes(&account).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, ["everywhere", "in ops"]);
    }
}
