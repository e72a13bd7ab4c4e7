//! What goes wrong, for somebody who is signed in: a page with the menu, from which he finds on.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::menu::Section;
use super::shell::problem_within;
use super::visit::Visit;
use crate::http::{InPage, Problem};
use crate::node::Call;

/// Who was let in, for the time of a request: a problem that comes out of it knows nobody any more.
#[derive(Clone, Default)]
pub struct LetIn(Arc<Mutex<Option<Visit>>>);

impl LetIn {
    /// This is he.
    pub fn note(&self, visit: &Visit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(visit.clone());
    }

    fn take(&self) -> Option<Visit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Around all pages. Whoever was not let in gets the page that the outermost layer makes.
pub async fn within_the_menu(mut request: Request, next: Next) -> Response {
    let let_in = LetIn::default();
    request.extensions_mut().insert(let_in.clone());
    let section = Section::of(request.uri().path());
    let call = request.extensions().get::<Call>().cloned();
    let response = next.run(request).await;
    let told = response.extensions();
    let problem = told.get::<Problem>().filter(|_| told.get::<InPage>().is_none());
    // Whoever was signed out meanwhile has no menu any more.
    let problem = problem.filter(|problem| problem.status() != 401);
    match (problem, let_in.take(), call) {
        (Some(problem), Some(visit), Some(call)) => {
            problem_within(&visit, section, problem, call.request_id()).unwrap_or(response)
        }
        _ => response,
    }
}
