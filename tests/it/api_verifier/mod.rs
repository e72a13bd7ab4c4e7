//! What the library's verifier believes: of keys, of their copy, of a store, of settings.

mod keys;
mod start;

use std::path::Path;
use std::time::Duration;

use countermark::Verifier;
use countermark::api_node::Builder;
use countermark::clock::Clock as _;
use countermark::keyring::KeyEntry;
use countermark::store::schema::Schema;
use countermark::token::{Algorithm, SigningKey};
use countermark::verify::KeyState;

use crate::app::{Actor, App, ISSUER};

/// Where nobody listens.
const NOWHERE: &str = "https://127.0.0.1:1/jwks";

/// A builder for this service's store, with its key set in a file, as a user with a verifier's rights.
async fn of(app: &App, keys: &Path) -> Builder {
    publish(app, keys).await;
    allow(app, &Schema::new(&app.prefix).verifier_rules()).await;
    for_issuer(ISSUER, app).key_set_file(keys)
}

fn for_issuer(issuer: &str, app: &App) -> Builder {
    Verifier::builder(issuer)
        .redis(format!("unix:{}", app.redis.socket().display()))
        .redis_user(user(app))
        .redis_password("only-for-verifiers")
        .prefix(&app.prefix)
        .node_name("orders-api")
}

fn user(app: &App) -> String {
    format!("verifier-{}", app.prefix)
}

/// The user of the verifier has these rights and no others.
async fn allow(app: &App, rules: &[String]) {
    let user = user(app);
    let mut command = vec!["ACL", "SETUSER", &user, "reset", ">only-for-verifiers"];
    command.extend(rules.iter().map(String::as_str));
    app.redis.run::<()>(&command).await;
}

/// Writes the key set as it is published now to a file.
async fn publish(app: &App, keys: &Path) {
    let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    std::fs::write(keys, &set.text).unwrap();
}

/// The first key is in this state from now on; `new`: and a further one is active.
async fn change_keys(app: &App, state: KeyState, new: bool) {
    let mut read = app.authority.keys().document().await.unwrap();
    read.document.keys[0].state = state;
    if new {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        read.document.keys.push(KeyEntry::active(&key, app.clock.now()));
    }
    crate::keys::replace(app.authority.as_ref(), &read).await;
}

async fn verdict(verifier: &Verifier, token: &str) -> String {
    let call = verifier.call(verifier.request_id(), "GET", "/", None, None);
    match verifier.verify(&call, token, None, None).await {
        Ok(_) => "let in".to_owned(),
        Err(refused) => refused.refusal.reason.to_string(),
    }
}

async fn is_ready(verifier: &Verifier) -> bool {
    verifier.ready(Duration::from_secs(10)).await.is_ok()
}

/// A token that the service knows to be good.
async fn an_account(app: &App) -> Actor {
    app.account("ci", &[]).await
}
