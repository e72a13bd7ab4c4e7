//! A role is deleted.

use axum::response::Response;

use super::super::notice::Notice;
use super::super::parts::{Confirm, Empty, in_words};
use super::super::visit::{Sent, Visitor};
use super::{page_of, path};
use crate::authority::{Authority, Error};
use crate::http::Problem;
use crate::http::extract::{Name, Ready};
use crate::http::permissions::RolesWrite;
use crate::name::RoleName;
use crate::permission::{Permission, is_built_in};

/// `GET /console/roles/{name}/delete`
pub async fn page(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<RoleName>,
) -> Result<Response, Problem> {
    deleting(&visitor, &authority, &name, None).await
}

async fn deleting(
    visitor: &Visitor<RolesWrite>,
    authority: &Authority,
    name: &RoleName,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    authority.demand_also(visitor, &Permission::known("roles:read"))?;
    if is_built_in(name) {
        return Err(Error::BuiltIn.into());
    }
    let role = authority.role(name).await?;
    let visit = visitor.visit();
    let page = page_of(visit, name, "Delete the role");
    let page = match problem {
        Some(problem) => page.notice(Notice::failed(&problem)).telling(problem),
        None => page,
    };
    let accounts = authority.count_of_roles([name]).await?.into_iter().next().flatten();
    if accounts.is_some_and(|accounts| accounts > 0) {
        let text = "A role that somebody has can't be deleted. Give those who have it another one first.";
        return page.answer(&Empty::new("Accounts have this role", text).action("Show who has it", path(name)));
    }
    let grants: Vec<String> = role.definition.permissions.iter().map(ToString::to_string).collect();
    let grants = if grants.is_empty() { "nothing".to_owned() } else { grants.join(", ") };
    page.answer(&Confirm {
        form_token: &visit.form_token,
        action: &format!("{}/delete", path(name)),
        version: &role.version.to_string(),
        consequences: &[
            format!("Nobody can be given the role {name} any more. It grants {grants}."),
            match accounts {
                Some(_) => "No account has it now.".to_owned(),
                None => "It is deleted only if no account has it.".to_owned(),
            },
        ],
        sends: &[],
        typed: None,
        error: None,
        button: &format!("Delete {name}"),
        back: &path(name),
    })
}

/// `POST` of the same.
pub async fn delete(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<RoleName>,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    authority.demand_also(&visitor, &Permission::known("roles:read"))?;
    let only = fields.unchanged()?;
    match authority.delete_role(&visitor, &name, &only).await {
        Ok(receipt) => {
            let said = format!("The role {name} was deleted; it holds");
            Ok(Notice::done(in_words(&receipt, &said)).on("/console/roles"))
        }
        Err(error @ (Error::PreconditionFailed | Error::RoleInUse(_) | Error::Lacking(_))) => {
            deleting(&visitor, &authority, &name, Some(error.into())).await
        }
        Err(error) => Err(error.into()),
    }
}
