//! curl, as people type it.

use serde_json::json;

use super::account;
use crate::machine::Machine;

#[test]
fn curl_has_more_than_one_way_to_carry_a_token() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (api, secret) = account(&server, "api", &["tokens:introspect"]);
    let (_, token) = account(&server, "ci", &["deployments:read"]);
    let header = machine.write("header", &format!("Authorization: Bearer {token}\n"));
    let header = format!("@{}", header.display());
    let netrc = machine.write("netrc", &format!("machine localhost login {api} password {secret}\n"));
    for version in ["--http1.1", "--http2"] {
        // A file does not show in the list of processes.
        for (option, value) in [("--oauth2-bearer", token.as_str()), ("--header", &header)] {
            let call = server.call("GET", "/verify?permission=deployments:read").flag(version).option(option, value);
            assert_eq!(call.send().expect(200).header("X-Countermark-Username"), Some("ci"));
        }
        let basic = format!("{api}:{secret}");
        for (option, value) in [("--user", basic.as_str()), ("--netrc-file", netrc.to_str().unwrap())] {
            let url = format!("{}/oauth2/introspect", server.issuer());
            let call = crate::call::Call::new("POST", &url, Some(&server.ca())).flag(version);
            let told = call.option(option, value).option("--data-urlencode", &format!("token={token}")).send();
            assert_eq!(told.expect(200).json()["username"], "ci", "{option}");
        }
    }
    let other = machine.write("other.netrc", "machine localhost login x password y\n");
    let url = format!("{}/oauth2/introspect", server.issuer());
    let call = crate::call::Call::new("POST", &url, Some(&server.ca())).option("--data", "token=x");
    let refused = call.option("--netrc-file", other.to_str().unwrap()).send().expect(401);
    assert!(refused.header("WWW-Authenticate").unwrap().starts_with("Basic "), "{refused:?}");
    assert_eq!(refused.json()["error"], "invalid_client");
}

/// `GET` by another name, without its body; and what else there is at a door.
#[test]
fn head_and_options_are_answered_at_every_door() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    for version in ["--http1.1", "--http2"] {
        let ask = |method: &str, path: &str| server.call(method, path).flag(version).bearer(&token).send();
        for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/api/v1/openapi.json", "/healthz"]
        {
            let (whole, head) = (ask("GET", path).expect(200), ask("HEAD", path).expect(200));
            for name in ["Content-Type", "Content-Length", "Cache-Control", "ETag"] {
                assert_eq!(head.header(name), whole.header(name), "{path}: {name}");
            }
            assert!(head.body.trim().is_empty() && whole.header("Content-Length").is_some(), "{path}: {head:?}");
            let options = ask("OPTIONS", path).expect(405);
            assert_eq!(
                (options.header("Allow"), options.reason()),
                (Some("GET,HEAD"), "method_not_allowed".to_owned())
            );
        }
        for path in ["/oauth2/introspect", "/oauth2/revoke"] {
            for method in ["HEAD", "GET", "OPTIONS", "PUT"] {
                assert_eq!(ask(method, path).expect(405).header("Allow"), Some("POST"), "{method} {path}");
            }
        }
        // A gateway asks with the method of its client.
        for method in ["HEAD", "OPTIONS", "GET", "POST", "DELETE", "PROPFIND"] {
            let good = ask(method, "/verify").expect(200);
            assert_eq!(good.header("X-Countermark-Username"), Some("ci"), "{method}");
            let without = server.call(method, "/verify").flag(version).send().expect(401);
            assert_eq!(without.header("WWW-Authenticate"), Some("Bearer realm=\"countermark\""), "{method}");
        }
    }
}

#[test]
fn answers_say_what_they_are_and_whether_they_may_be_kept() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let admin = server.admin();
    let kept = Some("public, max-age=300, must-revalidate");
    for (path, kind, cache) in [
        ("/.well-known/jwks.json", "application/jwk-set+json", kept),
        ("/.well-known/oauth-authorization-server", "application/json", kept),
        ("/.well-known/openid-configuration", "application/json", kept),
        ("/api/v1/self", "application/json", Some("no-store")),
        ("/api/v1/openapi.json", "application/json", None),
    ] {
        let answer = server.call("GET", path).bearer(&admin).send().expect(200);
        assert_eq!(answer.header("Content-Type"), Some(kind), "{path}");
        if cache.is_some() {
            assert_eq!(answer.header("Cache-Control"), cache, "{path}");
        }
    }
    let ask = |path: &str, form: &str| server.call("POST", path).bearer(&admin).option("--data", form).send();
    let (_, token) = server.create("ci", "auditor");
    for (answer, status, kind) in [
        (ask("/oauth2/introspect", &format!("token={token}")), 200, Some("application/json")),
        (ask("/oauth2/introspect", "token=e30.e30.e30"), 200, Some("application/json")),
        (ask("/oauth2/introspect", ""), 400, Some("application/problem+json")),
        (ask("/oauth2/revoke", &format!("token={token}")), 200, None),
    ] {
        let answer = answer.expect(status);
        assert_eq!(answer.header("Content-Type"), kind, "{answer:?}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer:?}");
    }
    assert_eq!(ask("/oauth2/introspect", &format!("token={token}")).json(), json!({"active": false}));
}

/// Without the CA nobody gets a token across: that it is needed is no formality.
#[test]
fn without_the_ca_no_client_speaks_to_the_server() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let url = format!("{}/.well-known/jwks.json", server.issuer());
    let refused = crate::call::Call::new("GET", &url, None).attempt().unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let cases = [json!({"token": "x", "issuer": "x", "audience": "https://x.example", "algorithms": ["ES256"]})];
    let issuer = server.issuer();
    for (script, arguments) in [
        ("jose_verify.mjs", &[issuer.as_str()][..]),
        ("oauth4webapi_verify.mjs", &[&issuer, "oauth2"]),
        ("joserfc_verify.py", &[&issuer]),
    ] {
        let mut command = super::client(&machine, &server, script, arguments);
        command.env_remove("NODE_EXTRA_CA_CERTS").env_remove("REQUESTS_CA_BUNDLE");
        let ended = crate::machine::finish(&mut command, &json!(cases).to_string()).expect(1);
        let said =
            ended.err.contains("UNABLE_TO_VERIFY_LEAF_SIGNATURE") || ended.err.contains("CERTIFICATE_VERIFY_FAILED");
        assert!(said, "{script}: {ended:?}");
    }
}
