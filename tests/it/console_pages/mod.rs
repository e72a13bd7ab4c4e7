//! The console's pages: who sees them, what stands in them, and what their forms do.

mod roles;
mod seen;
mod teams;

use crate::app::App;
use crate::browser::Browser;

/// Somebody who has signed in with an account that may do this.
async fn visitor(app: &App, name: &str, permissions: &[&str]) -> Browser {
    let actor = app.account(name, permissions).await;
    app.signed_in(actor.token()).await
}

/// The admin at a browser.
async fn admin(app: &App) -> Browser {
    app.signed_in(app.admin().token()).await
}
