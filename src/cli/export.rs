//! `key export`: the published keys as files, for verifiers that don't read a key set over the network.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Output;
use super::answer::{Answer, Failure};
use super::client::Client;
use super::connect::{self, ConnectionArgs, Surroundings};
use super::problem::Problem;
use super::table::table;
use crate::durable;
use crate::token::{Algorithm, VerificationKey};

/// Everybody may read a public key, and a proxy that verifies with it mostly runs as another user.
const MODE: u32 = 0o644;
/// An RFC 7638 SHA-256 thumbprint in base64url.
const ID_LENGTH: usize = 43;

/// `key export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The key (default: all that are published)
    // An id may begin with a hyphen.
    #[arg(value_name = "KID", value_parser = key_id, allow_hyphen_values = true)]
    pub key: Option<String>,
    /// PEM (SubjectPublicKeyInfo) or JWK
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: Form,
    /// Write there: one KID to this file; all keys into this directory, each as KID.pem or KID.jwk
    #[arg(long, value_name = "FILE|DIR")]
    pub out: Option<PathBuf>,
}

/// How a public key is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// `-----BEGIN PUBLIC KEY-----`: what HAProxy, OpenSSL and most others read.
    #[default]
    Pem,
    /// RFC 7517, with `kid`, `alg` and `use`.
    Jwk,
}

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Self::Pem => "pem",
            Self::Jwk => "jwk",
        }
    }

    fn write(self, key: &VerificationKey) -> Result<String, Failure> {
        let unusable = || Failure::new(format!("the key {} can't be written down", key.key_id()));
        match self {
            Self::Pem => key.to_pem().map_err(|_| unusable()),
            Self::Jwk => serde_json::to_string_pretty(key.jwk())
                .map(|mut text| {
                    text.push('\n');
                    text
                })
                .map_err(|_| unusable()),
        }
    }
}

/// Asks for the key set, which needs no token, and writes what was asked for.
pub async fn run(args: ExportArgs, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    let target = connect::target(connection, &Surroundings::of_process())?;
    export(args, &Client::new(&target, None)?, output).await
}

/// Exports from a client's server.
pub async fn export(args: ExportArgs, client: &Client, output: Output) -> Result<Answer, Failure> {
    let published = published(client).await?;
    let Some(wanted) = &args.key else {
        return match &args.out {
            Some(directory) => into_directory(&published, args.format, directory, output),
            None => the_only_one(&published, args.format),
        };
    };
    let key = published.iter().find(|key| key.key_id() == wanted).ok_or_else(|| {
        Failure::new(format!("the key {wanted} is not published"))
            .next(format!("published are: {}; `countermark key list` shows all keys and their states", ids(&published)))
    })?;
    match args.out {
        None => Ok(Answer::yes(args.format.write(key)?.trim_end())),
        Some(out) => {
            let file = if out.is_dir() { named(&out, key, args.format) } else { out };
            write(key, args.format, &file)?;
            told(&[(key, file)], output).map(Answer::yes)
        }
    }
}

fn the_only_one(published: &[VerificationKey], form: Form) -> Result<Answer, Failure> {
    match published {
        [key] => Ok(Answer::yes(form.write(key)?.trim_end())),
        _ => Err(Failure::new(format!("{} keys are published: {}", published.len(), ids(published)))
            .next("name one of them, or have each written to a file of its own with --out DIR")),
    }
}

fn into_directory(
    published: &[VerificationKey],
    form: Form,
    directory: &Path,
    output: Output,
) -> Result<Answer, Failure> {
    fs::create_dir_all(directory).map_err(|error| {
        Failure::new(format!("the directory {} can't be made: {error}", directory.display()))
            .next("without a KID, --out names a directory; name one that you may write to")
    })?;
    let mut written = Vec::new();
    for key in published {
        let file = named(directory, key, form);
        write(key, form, &file)?;
        written.push((key, file));
    }
    let answer = Answer::yes(told(&written, output)?);
    let left = left_over(directory, published, form).map_err(|error| cant_be_written(directory, &error))?;
    if left.is_empty() {
        return Ok(answer);
    }
    // Whoever trusts every file in there goes on to trust a key that was retired, or revoked because it was stolen.
    Ok(answer.with_note(format!(
        "No longer published, but still in {}: {}. Remove them and have the verifier load its keys anew.",
        directory.display(),
        left.join(", ")
    )))
}

/// Files of earlier exports whose keys are not published any more.
fn left_over(directory: &Path, published: &[VerificationKey], form: Form) -> io::Result<Vec<String>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some((id, extension)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        if extension == form.extension() && key_id(id).is_ok() && published.iter().all(|key| key.key_id() != id) {
            left.push(format!("{id}.{extension}"));
        }
    }
    left.sort();
    Ok(left)
}

fn named(directory: &Path, key: &VerificationKey, form: Form) -> PathBuf {
    directory.join(format!("{}.{}", key.key_id(), form.extension()))
}

fn write(key: &VerificationKey, form: Form, file: &Path) -> Result<(), Failure> {
    durable::write(file, form.write(key)?.as_bytes(), MODE).map_err(|error| cant_be_written(file, &error))
}

fn cant_be_written(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} can't be written: {error}", path.display()))
        .next("name a place that you may write to, with --out")
}

fn told(written: &[(&VerificationKey, PathBuf)], output: Output) -> Result<String, Failure> {
    let facts = written.iter().map(|(key, file)| (key.key_id(), key.algorithm().as_str(), file.display().to_string()));
    match output {
        Output::Table => {
            let rows = facts.map(|(id, algorithm, file)| vec![id.to_owned(), algorithm.to_owned(), file]);
            Ok(table(&["KEY", "ALG", "FILE"], rows.collect()))
        }
        Output::Json => {
            let items: Vec<Value> =
                facts.map(|(id, algorithm, file)| json!({"id": id, "algorithm": algorithm, "file": file})).collect();
            super::json::indent(&json!({ "items": items }).to_string())
        }
    }
}

fn ids(keys: &[VerificationKey]) -> String {
    match keys {
        [] => "none".to_owned(),
        keys => keys.iter().map(VerificationKey::key_id).collect::<Vec<_>>().join(", "),
    }
}

/// The published keys; a set in which one key is not what its id and algorithm say is refused as a whole.
async fn published(client: &Client) -> Result<Vec<VerificationKey>, Failure> {
    let raw = client.key_set().await?;
    let strange = || {
        Failure::new(format!("{} answered with something that is no key set", client.server()))
            .next("is that really a Countermark server? check --server")
    };
    match raw.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(strange()),
        _ => return Err(Problem::read(&raw).into_failure(client.server(), None)),
    }
    let set: Value = serde_json::from_slice(&raw.body).map_err(|_| strange())?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or_else(strange)?;
    // Those of the audit sign no tokens.
    keys.iter().filter(|jwk| jwk.get("key_ops").is_none()).map(|jwk| read(jwk).ok_or_else(strange)).collect()
}

fn read(jwk: &Value) -> Option<VerificationKey> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let algorithm: Algorithm = member("alg")?.parse().ok()?;
    let key = VerificationKey::from_jwk(algorithm, serde_json::from_value(jwk.clone()).ok()?).ok()?;
    (member("kid") == Some(key.key_id())).then_some(key)
}

pub(super) fn key_id(text: &str) -> Result<String, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if plain && text.len() == ID_LENGTH {
        Ok(text.to_owned())
    } else {
        Err("a key's id has 43 letters, digits, - and _")
    }
}
