//! The same service over IPv6, and over both on one socket.

use std::time::Duration;

use serde_json::json;

use crate::call::Call;
use crate::machine::Machine;
use crate::server::Server;
use crate::until::until;

/// Where the account's newest call came from.
#[track_caller]
fn address_of_the_call(server: &Server, id: &str, path: &str) -> String {
    let activity = format!("/api/v1/accounts/{id}/activity?limit=20");
    until(Duration::from_secs(10), "the call in the activity log", || {
        let items = server.call("GET", &activity).bearer(&server.admin()).send().expect(200).json();
        let items = items["items"].as_array().unwrap().clone();
        let call = items.iter().find(|event| event["path"] == json!(path))?;
        Some(call["client_address"].as_str().unwrap().to_owned())
    })
}

#[test]
fn over_ipv6_everything_is_as_over_ipv4() {
    let machine = Machine::new();
    let server =
        machine.serve().listen("[::1]:0").listen("http://[::1]:0").config("trusted_proxies = [\"::1/128\"]").ready();
    assert!(server.address(0).starts_with("https://[::1]:"), "{}", server.address(0));
    let (id, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    assert_eq!(address_of_the_call(&server, &id, "/verify"), "::1");
    let forwarded = |value: &str, path: &str| {
        let call = server.call_at(1, "GET", path).header("X-Forwarded-For", value).header("X-Forwarded-Proto", "https");
        call.bearer(&token).send().expect(200);
    };
    forwarded("2001:db8::7", "/verify/plain");
    assert_eq!(address_of_the_call(&server, &id, "/plain"), "2001:db8::7");
    forwarded("10.0.0.9, ::ffff:192.0.2.1", "/verify/mapped");
    assert_eq!(address_of_the_call(&server, &id, "/mapped"), "192.0.2.1");
    // The command line finds its way from serve.json.
    machine.run(&["account", "show", "ci"]).expect(0);
    server.stop();
}

#[test]
fn a_socket_for_both_sees_an_ipv4_client_as_such() {
    let machine = Machine::new();
    let server = machine.serve().listen("127.0.0.1:0").listen("[::]:0").ready();
    let (id, _) = server.create("ci", "auditor");
    let path = format!("/api/v1/accounts/{id}");
    let narrowed = json!({"allowed_networks": ["127.0.0.0/8"]});
    server.call("PATCH", &path).bearer(&server.admin()).json(&narrowed).send().expect(200);
    let token = server.regenerate(&server.admin(), &id).expect(201).json()["token"].as_str().unwrap().to_owned();
    let verify = |host: &str| {
        let url = format!("https://{host}:{}/verify", server.port(1));
        Call::new("GET", &url, Some(&server.ca())).bearer(&token).send()
    };
    verify("127.0.0.1").expect(200);
    assert_eq!(verify("[::1]").expect(401).reason(), "network_not_allowed");
    server.stop();
}
