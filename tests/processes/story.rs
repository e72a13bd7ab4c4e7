//! The story that everything is for: a machine gets a token, uses it, gets another, and the first one is dead.

use std::process::Command;

use serde_json::json;

use crate::machine::{Ended, Machine, finish, tool};
use crate::server::Server;
use crate::until::{lives, soon};

fn text_of(machine: &Machine, name: &str) -> String {
    std::fs::read_to_string(machine.path(name)).unwrap().trim_end().to_owned()
}

#[test]
fn a_token_works_until_the_moment_its_successor_is_issued() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let admin = server.admin();
    let body = json!({"username": "ci-deploy", "description": "Deploys", "role": "auditor", "valid_for_months": 12});
    let made = server.call("POST", "/api/v1/accounts").bearer(&admin).json(&body).send().expect(201);
    assert_eq!(made.header("Cache-Control"), Some("no-store"));
    let made = made.json();
    let (id, first) = (made["account"]["id"].as_str().unwrap(), made["token"].as_str().unwrap());

    let good = server.verify(first).expect(200);
    assert_eq!(good.header("X-Countermark-Username"), Some("ci-deploy"));
    assert_eq!(good.header("X-Countermark-Account"), Some(id));
    assert_eq!(good.header("X-Countermark-Generation"), Some("1"));
    assert_eq!(good.body, "");

    let second = server.regenerate(&admin, id).expect(201).json();
    assert!(second["receipt"]["epoch"].is_string() || second["receipt"]["epoch"].is_number(), "{second}");
    let refused = server.verify(first).expect(401);
    assert_eq!(refused.reason(), "superseded");
    assert!(refused.header("WWW-Authenticate").unwrap().contains("error=\"invalid_token\""));
    server.verify(second["token"].as_str().unwrap()).expect(200);

    let introspect = |token: &str| {
        let call = server.call("POST", "/oauth2/introspect").bearer(&admin).option("--data", &format!("token={token}"));
        call.send().expect(200).json()
    };
    assert_eq!(introspect(first), json!({"active": false}));
    assert_eq!(introspect(second["token"].as_str().unwrap())["username"], "ci-deploy");

    // Its activity tells of both.
    soon("the activity", || {
        let list = server.call("GET", &format!("/api/v1/accounts/{id}/activity")).bearer(&admin).send().expect(200);
        let outcomes: Vec<_> =
            list.json()["items"].as_array().unwrap().iter().map(|event| event["reason"].clone()).collect();
        outcomes.contains(&json!("superseded"))
    });
    server.call("DELETE", &format!("/api/v1/accounts/{id}/token")).bearer(&admin).send().expect(200);
    let revoked = server.verify(second["token"].as_str().unwrap()).expect(401);
    assert_eq!(revoked.reason(), "revoked");
    server.stop();
}

const PYJWT: &str = r#"
import json, ssl, sys, urllib.request
import jwt
ca, base, token = sys.argv[1], sys.argv[2], sys.stdin.read().strip()
context = ssl.create_default_context(cafile=ca)
metadata = json.load(urllib.request.urlopen(base + "/.well-known/oauth-authorization-server", context=context))
issuer = metadata["issuer"]
keys = jwt.PyJWKClient(metadata["jwks_uri"], ssl_context=context)
key = keys.get_signing_key_from_jwt(token)
required = ["iss", "aud", "exp", "iat", "sub", "jti"]
def decode(text, **changed):
    wanted = dict(algorithms=["ES256"], audience=issuer, issuer=issuer, options={"require": required})
    wanted.update(changed)
    return jwt.decode(text, key, **wanted)
claims = decode(token)
def refused(error, text, **changed):
    try:
        decode(text, **changed)
    except error:
        return
    sys.exit("not refused: " + error.__name__)
refused(jwt.InvalidAudienceError, token, audience="https://other.example")
refused(jwt.InvalidIssuerError, token, issuer="https://other.example")
refused(jwt.InvalidAlgorithmError, token, algorithms=["EdDSA", "RS256", "HS256"])
head, body, signature = token.split(".")
refused(jwt.InvalidSignatureError, head + "." + body + "." + ("A" if signature[0] != "A" else "B") + signature[1:])
print(json.dumps({"claims": claims, "header": jwt.get_unverified_header(token)}))
"#;

#[test]
fn a_library_that_knows_nothing_of_us_verifies_the_token_by_the_published_keys() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (id, token) = server.create("ci", "auditor");
    let script = machine.write("check.py", PYJWT);
    let mut check = Command::new(tool("clients/bin/python"));
    check.arg(script).arg(server.ca()).arg(format!("https://localhost:{}", server.port(0)));
    let told = finish(&mut check, &token).expect(0).json();
    let (claims, header) = (&told["claims"], &told["header"]);
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header.as_object().unwrap().len(), 3);
    assert_eq!(claims["sub"], json!(id));
    assert_eq!(claims["client_id"], json!(id));
    assert_eq!(claims["aud"], json!([server.issuer()]));
    assert_eq!(claims["gen"], 1);
    assert_eq!(claims["role"], "auditor");
}

#[test]
fn the_story_is_told_on_the_command_line_too() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let run = |arguments: &[&str]| machine.run(arguments);
    let says = |ended: Ended, words: &[&str]| {
        for word in words {
            assert!(ended.out.contains(word), "{word}: {ended:?}");
        }
    };
    // The server of ./data is found, and so is the first admin's token.
    run(&["account", "create", "ci", "--role", "auditor", "--months", "12", "--out", "first"]).expect(0);
    let again = run(&["account", "create", "other", "--role", "auditor", "--months", "12", "--out", "first"]).expect(2);
    assert!(again.err.contains("nothing was issued"), "{again:?}");
    let taken = run(&["account", "create", "ci", "--role", "auditor", "--months", "12"]).expect(2);
    assert!(taken.err.contains("error:"), "{taken:?}");
    says(run(&["token", "verify", "--file", "first"]).expect(0), &["yes", "ci", "auditor"]);

    let asked = run(&["token", "regenerate", "ci", "--months", "6"]).expect(2);
    assert!(asked.err.contains("--yes"), "{asked:?}");
    run(&["token", "regenerate", "ci", "--months", "6", "--yes", "--out", "second"]).expect(0);
    says(run(&["token", "verify", "--file", "first"]).expect(1), &["no: superseded"]);
    run(&["token", "verify", "--file", "second"]).expect(0);
    says(machine.run_with(&["token", "verify"], &text_of(&machine, "second")).expect(0), &["yes"]);
    let garbage = machine.run_with(&["token", "verify"], "e30.e30.e30").expect(1);
    says(garbage, &["no: invalid_token"]);

    let inspected = machine.run_with(&["token", "inspect", "--output", "json"], &text_of(&machine, "second")).expect(0);
    assert!(!inspected.out.contains(&text_of(&machine, "second")));
    says(inspected, &["at+jwt", "auditor"]);

    run(&["role", "set", "deployer", "--permission", "deployments:create"]).expect(0);
    run(&["team", "set", "web", "--description", "The web team"]).expect(0);
    let create = ["account", "create", "web-ci", "--role", "auditor", "--team", "web=deployer", "--months", "6"];
    run(&[&create[..], &["--out", "web"]].concat()).expect(0);
    let demand = ["token", "verify", "--file", "web", "--permission", "deployments:create"];
    run(&[&demand[..], &["--team", "web"]].concat()).expect(0);
    says(run(&demand).expect(1), &["no: insufficient_permission"]);
    says(
        run(&["token", "verify", "--file", "web", "--audience", "https://other.example"]).expect(1),
        &["wrong_audience"],
    );

    let accounts = run(&["account", "list", "--output", "json"]).expect(0).json();
    let names: Vec<_> = accounts["items"].as_array().unwrap().iter().map(|account| &account["username"]).collect();
    assert_eq!(names, ["admin", "ci", "web-ci"]);
    soon("the activity", || run(&["account", "activity", "ci"]).expect(0).out.contains("superseded"));
    says(run(&["audit", "tail"]).expect(0), &["token.regenerate", "ci"]);
    says(run(&["key", "list"]).expect(0), &["ES256", "active"]);
    soon("the node", || run(&["node", "list"]).expect(0).out.contains(server.address(0)));

    run(&["account", "disable", "ci"]).expect(0);
    says(run(&["token", "verify", "--file", "second"]).expect(1), &["no: disabled"]);
    run(&["account", "enable", "ci"]).expect(0);
    run(&["token", "verify", "--file", "second"]).expect(0);
    run(&["token", "revoke", "ci", "--yes"]).expect(0);
    says(run(&["token", "verify", "--file", "second"]).expect(1), &["no: revoked"]);
    let unknown = run(&["account", "show", "nobody"]).expect(2);
    assert!(unknown.err.contains("error:"), "{unknown:?}");
    run(&["account", "lst"]).expect(2);
}

#[test]
fn a_login_is_remembered_for_its_server_alone() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let elsewhere = Machine::new();
    let none = elsewhere.run(&["account", "list"]).expect(2);
    assert!(none.err.contains("no server is known"), "{none:?}");

    let ca = server.ca();
    let login = ["login", "--server", server.address(0), "--ca-file", ca.to_str().unwrap()];
    let wrong = elsewhere.run_with(&login, "e30.e30.e30");
    assert_eq!(wrong.code, 2, "{wrong:?}");
    elsewhere.run_with(&login, &server.admin()).expect(0);
    let me = elsewhere.run(&["account", "show", "admin", "--output", "json"]).expect(0).json();
    assert_eq!(me["username"], "admin");

    let other = machine.serve_in("other").ready();
    let refused = elsewhere.run(&["account", "list", "--server", other.address(0)]).expect(2);
    assert!(refused.err.contains("there is no token for"), "{refused:?}");
    let untrusted = ["token", "verify", "--server", other.address(0), "--ca-file", ca.to_str().unwrap()];
    elsewhere.run_with(&untrusted, &server.admin()).expect(2);

    server.stop();
    let away = elsewhere.run(&["account", "list"]).expect(2);
    assert!(away.err.contains("error:"), "{away:?}");
}

#[test]
fn a_lost_admin_comes_back_by_the_master_key_whether_the_server_runs_or_not() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let first = server.admin();
    let (_, other) = server.create("ci", "auditor");
    std::fs::remove_file(server.data("admin.token")).unwrap();
    machine.run(&["recover", "--data-dir", "data"]).expect(0);
    let second = server.admin();
    assert_ne!(first, second);
    assert_eq!(server.verify(&first).expect(401).reason(), "superseded");
    server.call("GET", "/api/v1/accounts").bearer(&second).send().expect(200);
    server.verify(&other).expect(200);

    let not_admin = machine.run(&["recover", "--data-dir", "data", "--account", "ci", "--out", "x"]).expect(2);
    assert!(not_admin.err.contains("does not have the role admin"), "{not_admin:?}");
    server.verify(&other).expect(200);
    let precious = machine.write("precious", "of somebody else");
    let taken = machine.run(&["recover", "--data-dir", "data", "--out", "precious"]).expect(2);
    assert!(taken.err.contains("exists; nothing was changed"), "{taken:?}");
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "of somebody else");
    // A place that can't be written to is found out before the token dies.
    let nowhere = machine.run(&["recover", "--data-dir", "data", "--out", "no/such/place"]).expect(2);
    assert!(nowhere.err.contains("nothing was changed"), "{nowhere:?}");
    server.verify(&second).expect(200);
    server.stop();

    machine.run(&["recover", "--data-dir", "data", "--out", "third", "--months", "6"]).expect(0);
    let third = text_of(&machine, "third");
    assert!(!machine.path("third.new").exists());
    let mut server = machine.serve().ready();
    assert_eq!(server.verify(&second).expect(401).reason(), "superseded");
    server.verify(&third).expect(200);
    let events = server.call("GET", "/api/v1/audit?limit=500").bearer(&third).send().expect(200).json();
    let recovered = |event: &&serde_json::Value| event["kind"].as_str().unwrap().contains("recover");
    assert_eq!(events["items"].as_array().unwrap().iter().filter(recovered).count(), 2, "{events}");
    end(&mut server);

    // Nothing is done without the key.
    std::fs::rename(machine.path("data/keys/master.key"), machine.path("master.key")).unwrap();
    let refused = machine.run(&["recover", "--data-dir", "data", "--out", "fourth"]).expect(2);
    assert!(refused.err.contains("there is no master key"), "{refused:?}");
    assert!(!machine.path("fourth").exists() && !machine.path("data/keys/master.key").exists());
}

fn end(server: &mut Server) {
    let redis = server.redis_pid().unwrap();
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end().code(), Some(0));
    assert!(!lives(redis));
}
