//! The shell: a body becomes a page, with menu, breadcrumbs and notices, and with the headers that all pages have.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::assets;
use super::menu::{self, Group, Section};
use super::notice::Notice;
use super::visit::Visit;
use crate::http::{InPage, Problem};

const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Nothing from elsewhere, nothing inline, nobody around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page that is about to be answered.
pub struct Page<'a> {
    visit: &'a Visit,
    section: Section,
    title: String,
    above: Vec<Crumb>,
    actions: Vec<Action>,
    notices: Vec<Notice>,
    status: StatusCode,
    told: Option<Problem>,
}

/// A page above this one.
struct Crumb {
    title: String,
    href: String,
}

/// What can be done from a page; stands beside its heading.
struct Action {
    title: &'static str,
    href: String,
    primary: bool,
}

impl<'a> Page<'a> {
    /// A page of a section. The section's own page has the section's title.
    pub fn new(visit: &'a Visit, section: Section, title: impl Into<String>) -> Self {
        Self {
            visit,
            section,
            title: title.into(),
            above: Vec::new(),
            actions: Vec::new(),
            notices: Vec::new(),
            status: StatusCode::OK,
            told: None,
        }
    }

    /// Below this page, which is below those that were named before.
    #[must_use]
    pub fn under(mut self, title: impl Into<String>, href: impl Into<String>) -> Self {
        self.above.push(Crumb { title: title.into(), href: href.into() });
        self
    }

    /// With a link beside its heading.
    #[must_use]
    pub fn action(mut self, title: &'static str, href: impl Into<String>) -> Self {
        self.actions.push(Action { title, href: href.into(), primary: false });
        self
    }

    /// With a link beside its heading, for what is done there most.
    #[must_use]
    pub fn primary(mut self, title: &'static str, href: impl Into<String>) -> Self {
        self.actions.push(Action { title, href: href.into(), primary: true });
        self
    }

    /// With something to say at its top.
    #[must_use]
    pub fn notice(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }

    /// It tells of this problem itself: its status is the problem's, and the call is recorded as one that was refused.
    #[must_use]
    pub fn telling(mut self, problem: Problem) -> Self {
        self.status = problem.status();
        self.told = Some(problem);
        self
    }

    /// The answer.
    pub fn answer(self, body: &impl Template) -> Result<Response, Problem> {
        let mut crumbs = Vec::new();
        let is_the_sections_own = self.above.is_empty() && self.title == self.section.title();
        if !is_the_sections_own {
            crumbs.push(Crumb { title: self.section.title().into(), href: self.section.href().into() });
        }
        crumbs.extend(self.above);
        let notices: Vec<&Notice> = self.visit.notice.iter().chain(&self.notices).collect();
        let shell = Shell {
            head: Head::new(if is_the_sections_own {
                self.title.clone()
            } else {
                format!("{} · {}", self.title, self.section.title())
            }),
            visit: self.visit,
            section: self.section,
            groups: menu::of(self.visit),
            crumbs,
            title: &self.title,
            actions: &self.actions,
            notices: &notices,
            body: Body(body),
        };
        let mut response = html(self.status, &shell)?;
        if self.visit.notice.is_some() {
            Notice::was_said(&mut response);
        }
        if let Some(problem) = self.told {
            response.extensions_mut().insert(InPage(problem));
        }
        Ok(response)
    }
}

/// A page with nothing special about it.
pub fn page(visit: &Visit, section: Section, title: &str, body: &impl Template) -> Result<Response, Problem> {
    Page::new(visit, section, title).answer(body)
}

/// A page for those who are not signed in: brand, heading, body.
pub fn bare_page(status: StatusCode, title: &str, body: &impl Template) -> Result<Response, Problem> {
    html(status, &Bare { head: Head::new(title.to_owned()), title, body: Body(body) })
}

/// A problem as a page. For the outermost layer, which knows the request's id.
pub fn problem_page(problem: &Problem, request_id: &str) -> Response {
    let is_over = matches!(problem.reason(), "missing_token" | "session_ended");
    let title = if is_over { "You are signed out" } else { problem.title() };
    let page = bare_page(problem.status(), title, &Failed::of(problem, request_id));
    // There is nothing in it that could fail.
    with_headers(page.unwrap_or_else(|_| problem.status().into_response()), problem)
}

/// The same for somebody who is signed in, with the menu around it.
pub fn problem_within(
    visit: &Visit,
    section: Section,
    problem: &Problem,
    request_id: &str,
) -> Result<Response, Problem> {
    let page = Page::new(visit, section, problem.title()).telling(problem.clone());
    Ok(with_headers(page.answer(&Failed::of(problem, request_id))?, problem))
}

fn with_headers(mut response: Response, problem: &Problem) -> Response {
    for (name, value) in [(header::RETRY_AFTER, problem.retry_after()), (header::ALLOW, problem.told().allow.clone())] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn html(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    let text = page.render().map_err(|error| Problem::internal(format!("a page: {error}")))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        // A page that a link leads to has a secret in its address, which no `Referer` may carry on. Under no-referrer, browsers would
        // send forms with `Origin: null` (Fetch, section 3.2), and nobody could tell whose they are.
        (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin")),
        (COOP, HeaderValue::from_static("same-origin")),
        (CORP, HeaderValue::from_static("same-origin")),
    ];
    Ok((status, headers, text).into_response())
}

/// What stands in the head of all pages.
struct Head {
    title: String,
    css: String,
    js: String,
    icon: String,
}

impl Head {
    fn new(title: String) -> Self {
        let [css, js, icon] = ["console.css", "console.js", "icon.svg"].map(assets::url);
        Self { title, css, js, icon }
    }
}

#[derive(Template)]
#[template(path = "console/shell.html")]
struct Shell<'a, B: Template> {
    head: Head,
    visit: &'a Visit,
    section: Section,
    groups: Vec<Group>,
    crumbs: Vec<Crumb>,
    title: &'a str,
    actions: &'a [Action],
    notices: &'a [&'a Notice],
    body: Body<'a, B>,
}

#[derive(Template)]
#[template(path = "console/bare.html")]
struct Bare<'a, B: Template> {
    head: Head,
    title: &'a str,
    body: Body<'a, B>,
}

#[derive(Template)]
#[template(path = "console/problem.html")]
struct Failed<'a> {
    detail: &'a str,
    errors: Vec<(&'a str, &'a str)>,
    status: u16,
    reason: &'a str,
    request_id: &'a str,
}

impl<'a> Failed<'a> {
    fn of(problem: &'a Problem, request_id: &'a str) -> Self {
        let told = problem.told();
        Self {
            detail: &told.detail,
            errors: told.errors.iter().map(|error| (error.field.as_str(), error.message.as_str())).collect(),
            status: problem.status().as_u16(),
            reason: problem.reason(),
            request_id,
        }
    }
}

/// A template within a template: it has escaped what it was given.
struct Body<'a, B>(&'a B);

impl<B: Template> fmt::Display for Body<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render_into(f).map_err(|_| fmt::Error)
    }
}

impl<B: Template> HtmlSafe for Body<'_, B> {}

/// The version in the footer.
const VERSION: &str = env!("CARGO_PKG_VERSION");
