//! What is sent where, and what is said when it fails.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Fake, problem};
use crate::cli::client::Client;
use crate::cli::connect::{self, ConnectionArgs, Surroundings};
use crate::cli::secret::BearerToken;
use crate::cli::{Output, login};

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
            problem(503, "unconfirmed", "the change may or may not have been made"),
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
    let around =
        Surroundings { server: None, ca_file: None, token: None, login: None, data_dir: home.path().to_owned() };
    let asking = async |pem: String| {
        let ca_file = home.path().join("ca.pem");
        std::fs::write(&ca_file, pem).unwrap();
        let args =
            ConnectionArgs { server: Some(format!("https://{address}")), ca_file: Some(ca_file), token_file: None };
        let target = connect::target(&args, &around).unwrap();
        Client::new(&target, None).unwrap().get(&["self"]).await.unwrap_err().to_string()
    };
    // The CA of another server, which by default has the same name, and then one with another name.
    let other = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["third.example.com".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "third");
    let third = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    for pem in [other.cert.pem(), third.pem()] {
        let said = asking(pem).await;
        assert!(said.contains("not trusted here") && said.contains("--ca-file"), "{said}");
    }
    // No certificate at all.
    let ca_file = home.path().join("ca.pem");
    std::fs::write(&ca_file, "nothing").unwrap();
    let args = ConnectionArgs { server: Some(format!("https://{address}")), ca_file: Some(ca_file), token_file: None };
    assert!(Client::new(&connect::target(&args, &around).unwrap(), None).is_err());
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
