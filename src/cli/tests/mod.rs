//! The client against a small real server: what is sent where, and what becomes of the answers.

mod commands;
mod export;
mod sending;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::answer::{Answer, Failure};
use super::client::{Client, Session};
use super::connect::{self, ConnectionArgs, Surroundings};
use super::{AuditCommand, Cli, ClientCommand, Command, Output, accounts, audit, roles};

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
            ClientCommand::Audit(AuditCommand::Tail(args)) => audit::tail(args, &session).await,
            ClientCommand::Audit(_) => unreachable!("tested with a server"),
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
    assert_eq!(args.service.listen.len(), 2);
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
