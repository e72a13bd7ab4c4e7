//! What becomes of a published key set of several keys, and of one that is none.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use serde_json::{Value, json};

use super::Fake;
use crate::cli::answer::{Answer, Failure};
use crate::cli::client::Client;
use crate::cli::connect;
use crate::cli::keys::KeyCommand;
use crate::cli::{Cli, ClientCommand, Command, Output, export};
use crate::token::{Algorithm, SigningKey};

fn key(algorithm: Algorithm) -> Value {
    serde_json::to_value(SigningKey::generate(algorithm).unwrap().public().jwk()).unwrap()
}

async fn serving(set: Value) -> Fake {
    Fake::start(vec![("GET /.well-known/jwks.json", 200, vec![], set)]).await
}

async fn run(server: &Fake, line: &[&str], output: Output) -> Result<Answer, Failure> {
    let words = ["countermark", "key", "export"].iter().chain(line);
    let Command::Client(ClientCommand::Key(KeyCommand::Export(args))) = Cli::try_parse_from(words).unwrap().command
    else {
        panic!()
    };
    let target = connect::target(&server.args(), &server.around()).unwrap();
    export::export(args, &Client::new(&target, None).unwrap(), output).await
}

#[tokio::test]
async fn of_several_keys_one_has_to_be_named_or_all_go_into_a_directory() {
    let keys = [key(Algorithm::ES256), key(Algorithm::EdDSA), key(Algorithm::RS256)];
    let server = serving(json!({ "keys": keys })).await;
    let failure = run(&server, &[], Output::Table).await.err().unwrap().to_string();
    assert!(failure.contains("3 keys are published") && failure.contains("--out DIR"), "{failure}");
    let second = keys[1]["kid"].as_str().unwrap();
    let answer = run(&server, &[second, "--format", "jwk"], Output::Table).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer.text).unwrap(), keys[1]);

    let directory = server.home.path().join("keys");
    let out = directory.to_str().unwrap();
    let answer = run(&server, &["--out", out], Output::Json).await.unwrap();
    assert_eq!(answer.note, None);
    let told: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(told["items"].as_array().unwrap().len(), 3);
    for (key, told) in keys.iter().zip(told["items"].as_array().unwrap()) {
        let file = directory.join(format!("{}.pem", key["kid"].as_str().unwrap()));
        assert_eq!((&told["id"], &told["algorithm"], &told["file"]), (&key["kid"], &key["alg"], &json!(file)));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3);
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_file_of_a_key_that_is_gone_is_pointed_out_and_left_alone() {
    let (gone, there) = (key(Algorithm::ES256), key(Algorithm::ES256));
    let before = serving(json!({ "keys": [gone] })).await;
    let directory = before.home.path().join("keys");
    let out = directory.to_str().unwrap();
    run(&before, &["--out", out], Output::Table).await.unwrap();
    std::fs::write(directory.join("ca.pem"), "another's").unwrap();
    let after = serving(json!({ "keys": [there] })).await;
    let note = run(&after, &["--out", out], Output::Table).await.unwrap().note.unwrap();
    let file = format!("{}.pem", gone["kid"].as_str().unwrap());
    assert!(note.contains(&file) && note.contains("Remove them") && !note.contains("ca.pem"), "{note}");
    assert!(directory.join(file).exists());
}

#[tokio::test]
async fn a_key_whose_id_is_not_its_thumbprint_is_not_exported() {
    let (mut forged, other) = (key(Algorithm::ES256), key(Algorithm::ES256));
    forged["kid"] = other["kid"].clone();
    let mut traversing = key(Algorithm::ES256);
    traversing["kid"] = json!("../../evil");
    for set in [json!({"keys": [forged]}), json!({"keys": [traversing]}), json!({"keys": 1}), json!([])] {
        let server = serving(set).await;
        let out = server.home.path().join("keys");
        let failure = run(&server, &["--out", out.to_str().unwrap()], Output::Table).await.err().unwrap().to_string();
        assert!(failure.contains("no key set"), "{failure}");
        assert!(!out.exists());
    }
}
