//! All keys: their states over time, the living tokens of each, what comes next.

use askama::Template;
use axum::response::Response;

use super::super::asked::Asked;
use super::super::form::{Choice, Form};
use super::super::menu::Section;
use super::super::named::ROWS;
use super::super::parts::{Badge, Now, Pager};
use super::super::shell::Page;
use super::super::visit::{Visit, Visitor};
use super::timeline::Timeline;
use super::{badge, path, short};
use crate::authority::{Authority, KeyView, NextRotation, RotationStep, SigningOverview};
use crate::http::Problem;
use crate::http::extract::Ready;
use crate::http::permissions::KeysRead;
use crate::token::Algorithm;

#[derive(Template)]
#[template(path = "console/keys/list.html")]
struct List<'a> {
    visit: &'a Visit,
    now: Now,
    signing: SigningOverview,
    timeline: Option<Timeline>,
    keys: Vec<&'a KeyView>,
    pager: Pager,
    prepare: Option<Prepare<'a>>,
}

/// The form that prepares a key.
struct Prepare<'a> {
    form: &'a Form,
    algorithms: Vec<Choice>,
    has_hardware_token: bool,
    /// Of the key set that it was made for.
    version: u64,
}

impl List<'_> {
    fn short(&self, key: &KeyView) -> String {
        short(&key.id)
    }

    fn path(&self, key: &KeyView) -> String {
        path(&key.id)
    }

    fn badge(&self, key: &KeyView) -> Badge {
        badge(key.state)
    }

    /// What comes next, and whether it comes by itself.
    fn next(&self) -> Option<(&NextRotation, &'static str)> {
        let next = self.signing.next.as_ref()?;
        let what = match (next.step, next.is_automatic) {
            (RotationStep::Prepare, _) => "The next key is made and published by itself",
            (RotationStep::Activate, true) => "The next key is published already, and signs by itself",
            (RotationStep::Activate, false) => {
                "The next key is published already. Somebody has to activate it, which is possible"
            }
        };
        Some((next, what))
    }
}

/// `GET /console/keys`
pub async fn page(visitor: Visitor<KeysRead>, Ready(authority): Ready, asked: Asked) -> Result<Response, Problem> {
    answer(visitor.visit(), &authority, &asked, &Form::new()).await
}

/// The page, with what was typed into its form and why it was refused.
pub async fn answer(visit: &Visit, authority: &Authority, asked: &Asked, form: &Form) -> Result<Response, Problem> {
    let (keys, signing) = tokio::try_join!(authority.key_views(), authority.signing_overview())?;
    let newest: Vec<&KeyView> = keys.iter().rev().collect();
    // One that is none of ours leads to the first page.
    let after = newest.iter().position(|key| key.id == asked.text("cursor")).map_or(0, |place| place + 1);
    let some: Vec<&KeyView> = newest.iter().skip(after).take(ROWS).copied().collect();
    let next = some.last().filter(|_| newest.len() > after + some.len()).map(|key| key.id.as_str());
    let algorithms = [Choice::new("", format!("As configured: {}", authority.default_algorithm().as_str()))]
        .into_iter()
        .chain(Algorithm::ALL.iter().map(|algorithm| Choice::plain(algorithm.as_str())));
    let body = List {
        visit,
        now: visit.clock(),
        timeline: Timeline::of(&keys, signing.next.as_ref(), visit.now),
        pager: Pager::new(asked, "/console/keys", &[], next, false),
        keys: some,
        prepare: visit.may("keys:rotate").then(|| Prepare {
            form,
            algorithms: algorithms.collect(),
            has_hardware_token: authority.has_hardware_token(),
            version: authority.keys().set().version(),
        }),
        signing,
    };
    let page = Page::new(visit, Section::Keys, Section::Keys.title());
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&body)
}
