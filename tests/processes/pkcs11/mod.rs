//! Signing keys in a hardware token; SoftHSM stands in for one.

mod alone;
mod keys;
mod moods;
mod soft_hsm;
mod trouble;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::call::Reply;
use crate::server::Server;

const PIN: &str = "hunter2-4711";

/// Asks for a key in the token.
fn prepare(server: &Server, algorithm: &str) -> Reply {
    let body = json!({"algorithm": algorithm, "in_token": true});
    server.call("POST", "/api/v1/keys").bearer(&server.admin()).json(&body).send()
}

/// A key in the token that signs from now on: its id.
#[track_caller]
fn signs_in_token(server: &Server, algorithm: &str) -> String {
    let made = prepare(server, algorithm);
    assert_eq!(made.status, 201, "{made:?}\n{}", server.log());
    let id = made.json()["key"]["id"].as_str().unwrap().to_owned();
    activate(server, &id);
    id
}

#[track_caller]
fn activate(server: &Server, id: &str) {
    let path = format!("/api/v1/keys/{id}/activate");
    server.call("POST", &path).bearer(&server.admin()).json(&json!({"force": true})).send().expect(200);
}

/// The key that signed a token.
fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}
