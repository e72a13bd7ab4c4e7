//! What the commands ask for, and what they make of the answers.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Fake, problem};
use crate::cli::answer::Exit;
use crate::cli::client::Call;
use crate::cli::secret::BearerToken;
use crate::cli::verify::VerifyArgs;
use crate::cli::{Output, verify};

const ID: &str = "0197f0a0-0000-7000-8000-0000deadbeef";
const ACCOUNT: &str = "/api/v1/accounts/0197f0a0-0000-7000-8000-0000deadbeef";

fn account() -> Value {
    json!({"id": ID, "kind": "service", "username": "ci", "description": "old", "role": "deployer", "teams": {"web": "admin"},
        "audiences": [], "allowed_networks": [], "status": "active", "generation": 1, "token": null,
        "created_at": "2027-05-23T14:00:00Z", "updated_at": "2027-05-23T14:00:00Z", "version": "1-5"})
}

fn receipt() -> Value {
    json!({"epoch": "1-6", "effective_at": "2027-05-23T14:00:00Z", "nodes_acknowledged": 2, "nodes_expired": 0, "replicas": 0,
        "waited_ms": 7})
}

#[tokio::test]
async fn an_update_names_the_version_it_was_made_for() {
    let server = Fake::start(vec![
        ("GET /api/v1/accounts/ci", 200, vec![("ETag", "\"1-5\"")], account()),
        (
            concat!("PATCH ", "/api/v1/accounts/0197f0a0-0000-7000-8000-0000deadbeef"),
            200,
            vec![],
            json!({"account": account(), "receipt": receipt()}),
        ),
    ])
    .await;
    let answer = server.run("account update ci --description new --no-teams", Output::Table).await.unwrap();
    assert_eq!(answer.text, "Updated ci.\neffective on 2 of 2 nodes after 7 ms");
    let patch = server.seen().pop().unwrap();
    assert_eq!(patch.header("if-match"), Some("\"1-5\""));
    assert_eq!(patch.body, json!({"description": "new", "teams": {}}));
    // Nothing to change, and a version that is gone: in neither case is anything sent.
    assert!(server.run("account update ci --description old --team web=admin", Output::Table).await.is_ok());
    assert!(server.fails("account update ci --role x --if-match 1-4").await.contains("at version 1-5"));
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("PATCH")).count(), 1);
    // Shutting out does not wait for anybody's version.
    assert!(server.run(&format!("account disable {ID}"), Output::Table).await.is_ok());
    let patch = server.seen().pop().unwrap();
    assert_eq!((patch.line.as_str(), patch.header("if-match")), (format!("PATCH {ACCOUNT}").as_str(), None));
    assert_eq!(patch.body, json!({"status": "disabled"}));
}

#[tokio::test]
async fn an_existing_out_file_stops_the_command_before_the_server_is_asked() {
    let server = Fake::start(vec![]).await;
    let path = server.home.path().join("ci.token");
    std::fs::write(&path, "older").unwrap();
    let said = server.fails(&format!("account create ci --role r --months 6 --out {}", path.display())).await;
    assert!(said.contains("nothing was issued"), "{said}");
    assert!(server.seen().is_empty());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "older");
}

#[tokio::test]
async fn usage_tells_who_uses_dead_tokens_and_how_sure_that_is() {
    let seen = |value: &str, too_high_by: u64| json!({"value": value, "count": 7, "too_high_by": too_high_by, "too_low_by": 0, "refused": 1, "last_seen_at": "2027-05-23T14:00:05Z"});
    let usage = json!({
        "from": "2027-05-23T14:00:00Z", "to": "2027-05-23T15:30:00Z", "complete": false,
        "calls_by_hour": [{"hour": "2027-05-23T14:00:00Z", "allowed": 5, "refused": 1}, {"hour": "2027-05-23T15:00:00Z", "allowed": 1, "refused": 0}],
        "refusals": [seen("superseded", 0)], "addresses": [seen("192.0.2.1", 2)], "user_agents": [seen("curl\u{1b}", 0)], "paths": [],
        "dead_tokens": [{"token_id": "00112233445566778899aabbccddeeff", "generation": 1, "reason": "superseded", "count": 3,
            "first_seen_at": "2027-05-23T14:00:00Z", "last_seen_at": "2027-05-23T14:00:05Z", "client_address": "192.0.2.9", "user_agent": null}],
    });
    let mut found = account();
    found["dead_tokens"] = json!({"tokens": 1, "calls": 3, "last_used_at": "2027-05-23T14:00:05Z"});
    let asked =
        concat!("GET /api/v1/accounts/0197f0a0-0000-7000-8000-0000deadbeef/usage", "?from=2027-05-23T00%3A00%3A00Z");
    let server =
        Fake::start(vec![("GET /api/v1/accounts/ci", 200, vec![], found), (asked, 200, vec![], usage.clone())]).await;
    let answer = server.run("account usage ci --from 2027-05-23 --by-hour", Output::Table).await.unwrap();
    assert_eq!(
        answer.text,
        "2027-05-23 14:00:00 to 2027-05-23 15:30:00 (UTC): 6 calls let through, 1 refused.\n\
         \n\
         DEAD TOKEN                        GENERATION  REASON      CALLS  LAST (UTC)           FROM       AGENT\n\
         00112233445566778899aabbccddeeff  1           superseded  3      2027-05-23 14:00:05  192.0.2.9  -\n\
         \n\
         REFUSED     CALLS  LAST (UTC)\n\
         superseded  7      2027-05-23 14:00:05\n\
         \n\
         CALLS  REFUSED  LAST (UTC)           FROM\n\
         ≥5     1        2027-05-23 14:00:05  192.0.2.1\n\
         \n\
         CALLS  REFUSED  LAST (UTC)           AGENT\n\
         7      1        2027-05-23 14:00:05  curl\u{fffd}\n\
         \n\
         HOUR (UTC)           ALLOWED  REFUSED\n\
         2027-05-23 14:00:00  5        1\n\
         2027-05-23 15:00:00  1        0"
    );
    assert!(answer.note.unwrap().contains("not counted"));
    let answer = server.run("account usage ci --from 2027-05-23", Output::Json).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer.text).unwrap(), usage);
    let shown = server.run("account show ci", Output::Table).await.unwrap().text;
    assert!(
        shown.contains("dead tokens  1 still used, in 3 calls, last 2027-05-23T14:00:05Z: see `account usage`"),
        "{shown}"
    );
}

#[tokio::test]
async fn deleting_without_a_terminal_needs_yes() {
    let server = Fake::start(vec![
        ("GET /api/v1/accounts/ci", 200, vec![], account()),
        (
            concat!("DELETE ", "/api/v1/accounts/0197f0a0-0000-7000-8000-0000deadbeef"),
            200,
            vec![],
            json!({"receipt": receipt()}),
        ),
    ])
    .await;
    assert!(server.fails("account delete ci").await.contains("--yes"));
    assert_eq!(server.lines(), ["GET /api/v1/accounts/ci"]);
    assert!(server.run("account delete ci --yes", Output::Table).await.unwrap().text.starts_with("Deleted ci"));
}

#[tokio::test]
async fn a_short_page_is_not_the_last_one() {
    let item = |name: &str| json!({"username": name, "role": "r", "status": "active", "teams": {}, "token": null});
    let server = Fake::start(vec![
        ("GET /api/v1/accounts?status=active", 200, vec![], json!({"items": [item("a")], "next_cursor": "c/1"})),
        (
            "GET /api/v1/accounts?status=active&limit=49&cursor=c%2F1",
            200,
            vec![],
            json!({"items": [], "next_cursor": "c2"}),
        ),
        (
            "GET /api/v1/accounts?status=active&limit=49&cursor=c2",
            200,
            vec![],
            json!({"items": [item("b")], "next_cursor": null}),
        ),
        (
            "GET /api/v1/accounts?limit=1",
            200,
            vec![],
            json!({"items": [item("z")], "next_cursor": "more", "extra": 1.50}),
        ),
    ])
    .await;
    let answer = server.run("account list --status active", Output::Table).await.unwrap();
    assert_eq!(
        answer.text,
        "NAME  ROLE  STATUS  EXPIRES  LAST USED  TEAMS\na     r     active  -        -          -\nb     r     active  -        -          -"
    );
    let answer = server.run("account list --limit 1", Output::Table).await.unwrap();
    assert!(answer.note.unwrap().contains("--all"));
    let answer = server.run("account list --limit 1", Output::Json).await.unwrap();
    let body: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(body, json!({"items": [item("z")], "next_cursor": "more", "extra": 1.5}));
}

#[tokio::test]
async fn the_audit_is_told_in_the_order_of_time() {
    let event = |id: &str, time: &str| json!({"id": id, "time": time, "kind": id, "outcome": "done"});
    let body = json!({"items": [event("late", "2027-05-23T14:00:02Z"), event("early", "2027-05-23T14:00:01Z")], "next_cursor": "x"});
    let server = Fake::start(vec![("GET /api/v1/audit?kind=k&outcome=done&limit=2", 200, vec![], body)]).await;
    let answer = server.run("audit tail --kind k --outcome done --limit 2", Output::Table).await.unwrap();
    assert!(answer.text.find("early").unwrap() < answer.text.find("late").unwrap());
    assert_eq!(answer.note, None);
}

#[tokio::test]
async fn a_token_is_good_or_refused_or_the_question_could_not_be_asked() {
    let server = Fake::start(vec![
        (
            "GET /verify",
            200,
            vec![
                ("X-Countermark-Account", ID),
                ("X-Countermark-Username", "ci"),
                ("X-Countermark-Expires", "1813000000"),
            ],
            Value::Null,
        ),
        (
            "GET /verify?permission=deployments%3Acreate&team=web",
            403,
            vec![],
            problem(403, "insufficient_permission", "it lacks deployments:create"),
        ),
        ("GET /verify?audience=other", 503, vec![], problem(503, "store_unavailable", "the state is not known")),
        ("GET /verify?audience=blank", 200, vec![], Value::Null),
    ])
    .await;
    let ask = async |permission: Option<&str>, team: Option<&str>, audience: Option<&str>, output| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let args =
            VerifyArgs { file: None, permission: owned(permission), team: owned(team), audience: owned(audience) };
        let token = BearerToken::parse("asked.token.signature".to_owned()).unwrap();
        verify::ask(args, &token, &server.session(output).client, output).await
    };
    let yes = ask(None, None, None, Output::Table).await.unwrap();
    assert_eq!(yes.exit, Exit::Yes);
    assert!(yes.text.starts_with("yes\nname"), "{}", yes.text);
    assert!(yes.text.contains("2027-06-14T"), "{}", yes.text);
    let no = ask(Some("deployments:create"), Some("web"), None, Output::Table).await.unwrap();
    assert_eq!((no.exit, no.text.as_str()), (Exit::No, "no: insufficient_permission\nit lacks deployments:create"));
    let no = ask(Some("deployments:create"), Some("web"), None, Output::Json).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&no.text).unwrap()["valid"], false);
    assert!(ask(None, None, Some("other"), Output::Table).await.err().unwrap().to_string().contains("try again"));
    assert!(ask(None, None, Some("blank"), Output::Table).await.is_err());
    // The token in question is the only credential that is sent.
    assert!(server.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer asked.token.signature")));
}

#[tokio::test]
async fn a_name_from_the_command_line_stays_one_segment() {
    let server = Fake::start(vec![]).await;
    let _ = server.run("role delete ../accounts/ci", Output::Table).await;
    let _ = server.run("role delete ..", Output::Table).await;
    assert_eq!(server.lines(), ["DELETE /api/v1/roles/..%2Faccounts%2Fci"]);
    let session = server.session(Output::Table);
    assert!(session.client.call(Call::new(Method::GET, &["roles", ""])).await.is_err());
}
