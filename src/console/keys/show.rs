//! A key: its facts, what can be done with it, who needs it; of a revoked one, who has a new token by now and who has not.

use askama::Template;
use axum::response::Response;

use super::super::menu::Section;
use super::super::notice::Notice;
use super::super::parts::{Badge, Copy, Now, Tone};
use super::super::shell::Page;
use super::super::visit::{Visit, Visitor};
use super::{badge, path, short};
use crate::account::Status;
use crate::authority::{Act, Authority, KeyDetail, KeyUser};
use crate::http::Problem;
use crate::http::extract::{KeyId, Ready};
use crate::http::permissions::KeysRead;
use crate::verify::KeyState;

#[derive(Template)]
#[template(path = "console/keys/show.html")]
struct Show<'a> {
    visit: &'a Visit,
    now: Now,
    detail: &'a KeyDetail,
    path: String,
    may_rotate: bool,
}

impl Show<'_> {
    fn badge(&self) -> Badge {
        badge(self.detail.key.state)
    }

    fn copy(&self) -> Copy<'static> {
        Copy { id: "key-id", what: "the key's id" }
    }

    fn is_revoked(&self) -> bool {
        self.detail.key.state == KeyState::Revoked
    }

    fn is_retiring(&self) -> bool {
        self.detail.key.state == KeyState::Retiring
    }

    /// It waits, and whether its time has come.
    fn waits(&self) -> Option<bool> {
        let step = self.detail.key.next_step.as_ref()?;
        (self.detail.key.state == KeyState::Pending).then(|| self.now.is_past(step.possible_at))
    }

    /// Of a revoked key: tokens in whose place there is a new one, and all that died.
    fn progress(&self) -> Option<(u64, u64)> {
        let died = self.detail.key.tokens_revoked.filter(|_| self.is_revoked())?;
        Some((died.saturating_sub(self.detail.key.live_tokens), died))
    }

    /// Who still tries the dead one, the last first, and who is silent.
    fn trying(&self) -> Vec<&KeyUser> {
        let mut trying: Vec<&KeyUser> =
            self.detail.accounts.iter().filter(|user| user.last_refused_at.is_some()).collect();
        trying.sort_by_key(|user| std::cmp::Reverse(user.last_refused_at));
        trying
    }

    fn silent(&self) -> Vec<&KeyUser> {
        self.detail.accounts.iter().filter(|user| user.last_refused_at.is_none()).collect()
    }

    fn status(&self, user: &KeyUser) -> Badge {
        match user.status {
            Status::Active => Badge::of_status(Status::Active),
            // It needs no new token before it is enabled again.
            Status::Disabled => Badge::new(Tone::Plain, "Disabled"),
        }
    }
}

/// `GET /console/keys/{kid}`
pub async fn page(visitor: Visitor<KeysRead>, Ready(authority): Ready, KeyId(kid): KeyId) -> Result<Response, Problem> {
    answer(&visitor, visitor.visit(), &authority, &kid, None).await
}

/// The page, with why what was asked of it was refused.
pub async fn answer(
    act: &Act,
    visit: &Visit,
    authority: &Authority,
    kid: &str,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    let detail = authority.key_detail(act, kid).await?;
    let may_rotate = visit.may("keys:rotate");
    let page = Page::new(visit, Section::Keys, short(&detail.key.id));
    let page = match may_rotate && detail.key.state != KeyState::Revoked {
        true => page.action("Revoke …", format!("{}/revoke", path(&detail.key.id))),
        false => page,
    };
    let page = match problem {
        Some(problem) => page.notice(Notice::failed(&problem)).telling(problem),
        None => page,
    };
    page.answer(&Show { visit, now: visit.clock(), path: path(&detail.key.id), detail: &detail, may_rotate })
}
