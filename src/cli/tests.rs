//! The client against a small real server: what is sent where, and what becomes of the answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use clap::{CommandFactory, Parser};
use reqwest::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::answer::{Answer, Exit, Failure};
use super::client::{Call, Client, Session};
use super::connect::{self, ConnectionArgs, Surroundings};
use super::secret::BearerToken;
use super::verify::VerifyArgs;
use super::{Cli, ClientCommand, Command, Output, accounts, audit, login, roles, verify};

#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server that answers from a list of `(method path, status, headers, body)` and remembers what it was asked.
struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    home: tempfile::TempDir,
}

type Script = Vec<(&'static str, u16, Vec<(&'static str, &'static str)>, Value)>;

impl Fake {
    async fn start(script: Script) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let answers: BTreeMap<_, _> =
            script.into_iter().map(|(line, status, headers, body)| (line, (status, headers, body))).collect();
        let answers = Arc::new(answers);
        let router = Router::new().fallback(move |request: Request| {
            let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let headers = request.headers().clone();
                let body = axum::body::to_bytes(request.into_body(), 65_536).await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                log.lock().unwrap().push(Seen { line: line.clone(), headers, body });
                let Some((status, headers, body)) = answers.get(line.as_str()) else {
                    return Response::builder().status(404).body(Body::from("no such page")).unwrap();
                };
                let mut response = Response::builder().status(*status);
                for (name, value) in headers {
                    response = response.header(*name, *value);
                }
                let body = if body.is_null() { String::new() } else { body.to_string() };
                response.body(Body::from(body)).unwrap()
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, seen, home: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn args(&self) -> ConnectionArgs {
        ConnectionArgs { server: Some(self.url()), ..ConnectionArgs::default() }
    }

    fn around(&self) -> Surroundings {
        Surroundings {
            server: None,
            ca_file: None,
            token: Some(Zeroizing::new("admin.token.signature".to_owned())),
            login: Some(self.home.path().join("countermark/credentials.json")),
            data_dir: self.home.path().join("data"),
        }
    }

    fn session(&self, output: Output) -> Session {
        let target = connect::target(&self.args(), &self.around()).unwrap();
        let credential = connect::credential(&target, &self.args(), &self.around()).unwrap();
        let mut session = Session::new(Client::new(&target, Some(credential)).unwrap(), output);
        session.interactive = false;
        session
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    async fn run(&self, line: &str, output: Output) -> Result<Answer, Failure> {
        let words = ["countermark"].into_iter().chain(line.split_whitespace());
        let Command::Client(command) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not a client command")
        };
        let session = self.session(output);
        match command {
            ClientCommand::Account(command) => accounts::run(command, &session).await,
            ClientCommand::Role(command) => roles::run(command, &session).await,
            ClientCommand::Audit(command) => audit::run(command, &session).await,
            other => panic!("not prepared for {other:?}"),
        }
    }

    async fn fails(&self, line: &str) -> String {
        self.run(line, Output::Table).await.err().unwrap().to_string()
    }
}

fn problem(status: u16, reason: &str, detail: &str) -> Value {
    json!({"type": "about:blank", "title": "Title", "status": status, "detail": detail, "reason": reason, "request_id": "r-1"})
}

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

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn serve_takes_what_the_contract_says() {
    let line = "countermark serve --config c.toml --data-dir d --listen 127.0.0.1:1 --listen unix:/x --operations-listen 127.0.0.1:2 \
        --issuer https://i --store redis://s --max-staleness 0 --tls-cert c --tls-key k --public-name a --public-name b \
        --node-name n --master-key-file m --check";
    let Command::Serve(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!() };
    assert_eq!(args.listen.len(), 2);
    assert!(args.check);
    let Command::Recover(args) = Cli::try_parse_from(["countermark", "recover"]).unwrap().command else { panic!() };
    assert_eq!(args.account, "admin");
    assert!(Cli::try_parse_from(["countermark", "acl", "verifier", "--user", "node", "--prefix", "p"]).is_ok());
}

#[test]
fn a_usage_error_ends_with_2() {
    assert_eq!(Cli::try_parse_from(["countermark", "account", "create", "ci"]).unwrap_err().exit_code(), 2);
    assert!(Cli::try_parse_from("countermark account create ci --role r --months 6 --team web".split(' ')).is_err());
}

#[tokio::test]
async fn every_refusal_says_what_to_do_next() {
    let server = Fake::start(vec![
        ("GET /api/v1/accounts/a401", 401, vec![], problem(401, "superseded", "a newer token exists")),
        ("GET /api/v1/accounts/a403", 403, vec![], problem(403, "insufficient_permission", "this needs accounts:read")),
        ("GET /api/v1/accounts/a404", 404, vec![], problem(404, "not_found", "there is no such account")),
        ("GET /api/v1/accounts/a429", 429, vec![("Retry-After", "9")], problem(429, "rate_limited", "too many")),
        (
            "GET /api/v1/accounts/a503",
            503,
            vec![("Retry-After", "1")],
            problem(503, "store_unavailable", "the change may or may not have been made"),
        ),
        (
            "GET /api/v1/accounts/a422",
            422,
            vec![],
            json!({"detail": "a field is wrong", "reason": "invalid_field", "errors": [{"field": "role", "message": "un\u{1b}known"}]}),
        ),
        ("GET /api/v1/accounts/a302", 302, vec![("Location", "https://elsewhere.example.com/")], Value::Null),
        ("GET /api/v1/accounts/a500", 500, vec![], problem(500, "internal", "something broke")),
        ("GET /api/v1/accounts/a200", 200, vec![], json!("unused")),
    ])
    .await;
    for (name, what, next) in [
        (
            "a401",
            "the token from COUNTERMARK_TOKEN: a newer token exists (401, superseded)",
            "countermark login --server http",
        ),
        ("a403", "this needs accounts:read (403", "ask an administrator"),
        ("a404", "there is no such account (404", "check the name or id"),
        ("a429", "too many (429", "try again in 9 s"),
        ("a503", "the change may or may not have been made (503", "try again in 1 s"),
        ("a422", "a field is wrong; role: un\u{fffd}known (422", "change the command"),
        ("a302", "the server answered 302", "points at https://elsewhere.example.com/"),
        ("a500", "something broke (500", "under request r-1"),
        ("a-page", "the server answered 404", "check the name or id"),
    ] {
        let said = server.fails(&format!("account show {name}")).await;
        assert!(said.starts_with("error: ") && said.contains(what), "{said}");
        assert!(said.lines().nth(1).unwrap().contains(next), "{said}");
        assert!(!said.contains("admin.token.signature"), "{said}");
    }
    // Nothing was repeated and no redirection followed.
    assert_eq!(server.seen().len(), 9);
    let agent = format!("countermark/{}", env!("CARGO_PKG_VERSION"));
    assert!(server.seen().iter().all(|seen| seen.header("user-agent") == Some(agent.as_str())));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let server = Fake::start(vec![]).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let asking = |url: String| {
        let args = ConnectionArgs { server: Some(url), ..ConnectionArgs::default() };
        let target = connect::target(&args, &server.around()).unwrap();
        let credential = connect::credential(&target, &args, &server.around()).unwrap();
        async move { Client::new(&target, Some(credential)).unwrap().get(&["self"]).await.unwrap_err().to_string() }
    };
    let said = asking(format!("http://{free}")).await;
    assert!(said.contains("refused the connection") && said.contains("scripts/run"), "{said}");
    let said = asking(format!("https://{}", server.address)).await;
    assert!(said.contains("does not speak TLS"), "{said}");
}

#[tokio::test]
async fn an_unknown_certificate_leads_to_the_ca_file() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let home = tempfile::tempdir().unwrap();
    // The CA of another server.
    let other = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
    let ca_file = home.path().join("ca.pem");
    std::fs::write(&ca_file, other.cert.pem()).unwrap();
    let around =
        Surroundings { server: None, ca_file: None, token: None, login: None, data_dir: home.path().to_owned() };
    let args = ConnectionArgs { server: Some(format!("https://{address}")), ca_file: Some(ca_file), token_file: None };
    let target = connect::target(&args, &around).unwrap();
    let said = Client::new(&target, None).unwrap().get(&["self"]).await.unwrap_err().to_string();
    assert!(said.contains("not trusted here") && said.contains("--ca-file"), "{said}");
}

#[tokio::test]
async fn credentials_of_one_source_are_never_sent_to_another_server() {
    let answer = || vec![("GET /api/v1/self", 200, vec![], json!({"account": {"username": "admin", "role": "admin"}}))];
    let (mine, other) = (Fake::start(answer()).await, Fake::start(answer()).await);
    let mut around = mine.around();
    around.token = None;
    let token = BearerToken::parse("login.token.signature".to_owned()).unwrap();
    login::log_in(token, &mine.args(), &around, Output::Table).await.unwrap();
    // A data directory of the same server, with a token of its own.
    std::fs::create_dir_all(&around.data_dir).unwrap();
    std::fs::write(around.data_dir.join("serve.json"), json!({"addresses": [mine.url()]}).to_string()).unwrap();
    std::fs::write(around.data_dir.join("admin.token"), "local.token.signature").unwrap();
    let target = connect::target(&other.args(), &around).unwrap();
    let failure = connect::credential(&target, &other.args(), &around).unwrap_err();
    assert!(failure.to_string().contains("there is no token for"), "{failure}");
    assert!(other.seen().is_empty());
    // The one that was logged in to does get it, without being named.
    let nothing = ConnectionArgs::default();
    let target = connect::target(&nothing, &around).unwrap();
    let credential = connect::credential(&target, &nothing, &around).unwrap();
    Client::new(&target, Some(credential)).unwrap().get(&["self"]).await.unwrap();
    let sent = mine.seen().last().unwrap().header("authorization").map(str::to_owned);
    assert_eq!(sent.as_deref(), Some("Bearer login.token.signature"));
}

#[tokio::test]
async fn a_login_that_the_server_refuses_is_not_stored() {
    let server = Fake::start(vec![("GET /api/v1/self", 401, vec![], problem(401, "expired", "it expired"))]).await;
    let token = BearerToken::parse("old.token.signature".to_owned()).unwrap();
    let said = login::log_in(token, &server.args(), &server.around(), Output::Table).await.err().unwrap().to_string();
    assert!(said.contains("it expired") && !said.contains("old.token"), "{said}");
    assert!(!server.around().login.unwrap().exists());
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
