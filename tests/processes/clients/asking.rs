//! Introspection (RFC 7662), revocation (RFC 7009) and metadata (RFC 8414), asked for by libraries.

use std::process::Command;

use serde_json::{Value, json};

use super::{account, client, outcomes};
use crate::machine::{Machine, finish};
use crate::server::Server;

/// What introspection and revocation come to, for a library that asks by HTTP Basic. `refusal` is how it names a 401 and a 403.
fn asked_by(library: impl Fn(&Machine, &Server) -> Command, refusal: [&str; 2]) {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (api, secret) = account(&server, "api", &["tokens:introspect"]);
    let (ci, first) = account(&server, "ci", &["deployments:create", "deployments:read"]);
    let (_, other) = account(&server, "other", &["deployments:read"]);
    let ask = |cases: &[Value]| outcomes(&mut library(&machine, &server), cases);
    let introspect = |token: &str, id: &str, secret: &str| json!({"do": "introspect", "token": token, "client_id": id, "client_secret": secret});
    let by_api = |token: &str| introspect(token, &api, &secret);

    let told = ask(&[
        by_api(&first),
        // A good token under another account's name, no token at all, and an account that may not ask.
        introspect(&first, &ci, &secret),
        introspect(&first, &api, "no token, but: signs + that & need % encoding"),
        introspect(&first, &ci, &first),
    ]);
    let active = &told[0]["ok"];
    assert_eq!((&active["active"], &active["username"]), (&json!(true), &json!("ci")), "{told:?}");
    assert_eq!((&active["sub"], &active["client_id"]), (&json!(ci), &json!(ci)));
    assert_eq!((&active["iss"], &active["aud"]), (&json!(server.issuer()), &json!([server.issuer()])));
    assert_eq!(active["scope"], "deployments:create deployments:read");
    let refused: Vec<_> = told[1..].iter().map(|outcome| outcome["refused"].as_str().unwrap_or("no")).collect();
    assert_eq!(refused, [refusal[0], refusal[0], refusal[1]], "{told:?}");

    // Dead when the answer to the regenerating came.
    let made = server.regenerate(&server.admin(), &ci).expect(201).json();
    let second = made["token"].as_str().unwrap();
    let told = ask(&[by_api(&first), by_api(second), by_api("e30.e30.e30")]);
    is_inactive(&told[0]);
    assert_eq!(told[1]["ok"]["gen"], 2, "{told:?}");
    is_inactive(&told[2]);

    let revoke = |token: &str, id: &str| json!({"do": "revoke", "token": token, "client_id": id});
    let told = ask(&[revoke(second, &ci), by_api(second), revoke(second, &ci), by_api(&other)]);
    assert_eq!((&told[0]["ok"], &told[2]["ok"]), (&json!(200), &json!(200)), "{told:?}");
    is_inactive(&told[1]);
    assert_eq!(told[3]["ok"]["username"], "other", "{told:?}");
    assert_eq!(server.verify(second).expect(401).reason(), "revoked");
}

/// `{"active": false}` and nothing else, or the protector's refusal of that.
#[track_caller]
fn is_inactive(outcome: &Value) {
    let inactive = outcome["ok"] == json!({"active": false}) || outcome["refused"] == "InvalidTokenError";
    assert!(inactive, "{outcome}");
}

#[test]
fn oauth4webapi_asks_and_revokes() {
    let library = |machine: &Machine, server: &Server| {
        client(machine, server, "oauth4webapi_introspect.mjs", &[&server.issuer()])
    };
    asked_by(library, ["OAUTH_WWW_AUTHENTICATE_CHALLENGE", "OAUTH_WWW_AUTHENTICATE_CHALLENGE"]);
}

#[test]
fn openid_client_asks_and_revokes_after_discovery_by_both_documents() {
    for document in ["oidc", "oauth2"] {
        let library = |machine: &Machine, server: &Server| {
            client(machine, server, "openid_client_introspect.mjs", &[&server.issuer(), document])
        };
        asked_by(library, ["OAUTH_WWW_AUTHENTICATE_CHALLENGE", "OAUTH_WWW_AUTHENTICATE_CHALLENGE"]);
    }
}

#[test]
fn authlib_protects_by_introspection_and_revokes() {
    let library =
        |machine: &Machine, server: &Server| client(machine, server, "authlib_introspect.py", &[&server.issuer()]);
    asked_by(library, ["HTTPError", "HTTPError"]);
}

#[test]
fn authlib_demands_scopes_that_follow_the_role() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (api, secret) = account(&server, "api", &["tokens:introspect"]);
    let (_, token) = account(&server, "ci", &["deployments:create", "deployments:read"]);
    let case = json!({"do": "introspect", "token": token, "client_id": api, "client_secret": secret,
        "scopes": ["deployments:create"]});
    let ask = || {
        outcomes(
            &mut client(&machine, &server, "authlib_introspect.py", &[&server.issuer()]),
            std::slice::from_ref(&case),
        )
    };
    assert_eq!(ask()[0]["ok"]["username"], "ci");
    let narrower = json!({"description": "", "permissions": ["deployments:read"]});
    server.call("PUT", "/api/v1/roles/ci").bearer(&server.admin()).json(&narrower).send().expect(200);
    assert_eq!(ask()[0]["refused"], "InsufficientScopeError");
}

#[test]
fn requests_asks_by_bearer_and_by_basic() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (api, secret) = account(&server, "api", &["tokens:introspect"]);
    let (_, token) = account(&server, "ci", &["deployments:read"]);
    let introspect = |basic: bool| json!({"do": "introspect", "token": token, "client_id": api, "client_secret": secret, "basic": basic});
    let cases = [introspect(false), introspect(true), json!({"do": "revoke", "token": token}), introspect(false)];
    let told = outcomes(&mut client(&machine, &server, "requests_introspect.py", &[&server.issuer()]), &cases);
    assert_eq!(told[0], told[1]);
    assert_eq!((&told[0]["ok"]["active"], &told[2]["ok"]), (&json!(true), &json!(200)), "{told:?}");
    is_inactive(&told[3]);
}

/// What stands for whom a client takes the server: its metadata has to say the same.
#[test]
fn discovery_under_another_name_is_refused_by_the_client() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let address = server.address(0);
    assert!(address.starts_with("https://127.0.0.1:") && server.issuer().starts_with("https://localhost:"));
    let case = json!({"do": "introspect", "token": "x", "client_id": "x", "client_secret": "x"});
    let mut elsewhere = client(&machine, &server, "openid_client_introspect.mjs", &[address, "oauth2"]);
    assert_eq!(outcomes(&mut elsewhere, &[case])[0]["refused"], "OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED");
    for document in ["oidc", "oauth2"] {
        let mut elsewhere = client(&machine, &server, "oauth4webapi_verify.mjs", &[address, document]);
        let refused = finish(&mut elsewhere, "[]").expect(1);
        assert!(refused.err.contains("OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED"), "{refused:?}");
    }
}

/// Nobody signs in here and no token is got by a grant, so what belongs to that is missing, and no other thing.
#[test]
fn the_metadata_is_as_authlib_wants_it_but_for_what_belongs_to_grants_and_signing_in() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let found = finish(&mut client(&machine, &server, "authlib_metadata.py", &[&server.issuer()]), "").expect(0).json();
    // RFC 8414, section 2, wants both of everybody; there is no endpoint for grants, and there are no response types.
    let grants = ["\"token_endpoint\" is required", "\"response_types_supported\" is required"];
    assert_eq!(found["oauth"], json!(grants));
    // No ID token is issued; what signs tokens is ES256 here.
    let rs256 = "\"RS256\" MUST be included in \"id_token_signing_alg_values_supported\"";
    assert_eq!(found["openid"], json!([grants[0], grants[1], rs256]));
}
