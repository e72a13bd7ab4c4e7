//! Against keys as openssl writes them.

mod arbitrary;
mod forms;
mod refusals;
mod sound;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::Decode as _;
use der::asn1::UintRef;

use super::{ImportError, PrivateKey, form, read_private};

const PASSPHRASE: &str = "correct-horse";
const EC: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const RSA: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const ED25519: &str = "genpkey -algorithm ed25519";

/// openssl, and a place for its files.
struct Openssl(tempfile::TempDir);

impl Openssl {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, what: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), what).unwrap();
    }

    /// What it writes to its output.
    fn run(&self, arguments: &str) -> String {
        self.try_run(arguments).unwrap_or_else(|error| panic!("openssl {arguments}: {error}"))
    }

    fn try_run(&self, arguments: &str) -> Result<String, String> {
        let mut command = Command::new("openssl");
        let command = command.current_dir(&self.0).args(arguments.split_whitespace()).stdin(Stdio::null());
        let output = command.output().expect("openssl is needed");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The same key, written otherwise.
    fn rewritten(&self, key: &str, arguments: &str) -> String {
        self.write("key.pem", key);
        self.run(&format!("{arguments} -in key.pem"))
    }

    fn public(&self, key: &str) -> String {
        self.rewritten(key, "pkey -pubout")
    }
}

/// The error, which shows nothing of what it is about.
#[track_caller]
fn refused(text: &str, passphrase: Option<&str>) -> ImportError {
    let error = read_private(text, passphrase).and_then(|key| key.signing_key(None)).expect_err(text);
    shows_nothing_of(text, passphrase, error);
    error
}

#[track_caller]
fn shows_nothing_of(text: &str, passphrase: Option<&str>, error: ImportError) {
    let told = format!("{error} {error:?}");
    if let Some(passphrase) = passphrase.filter(|passphrase| passphrase.len() > 3) {
        assert!(!told.contains(passphrase), "{told}");
    }
    let in_base64 = |line: &&str| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    for line in text.lines().filter(in_base64) {
        for window in line.as_bytes().windows(8) {
            assert!(!told.as_bytes().windows(8).any(|told| told == window), "{told} of {text}");
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn der(pem: &str) -> Vec<u8> {
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let length = match length {
        0..0x80 => vec![length as u8],
        0x80..0x100 => vec![0x81, length as u8],
        _ => vec![0x82, (length >> 8) as u8, length as u8],
    };
    [&[tag], &length[..], content].concat()
}

fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    element(2, &[sign, bytes].concat())
}

/// The nine numbers of PKCS#1.
fn numbers(pkcs1: &str) -> Vec<Vec<u8>> {
    form::whole(&der(pkcs1), |reader| {
        (0..9).map(|_| Ok(UintRef::decode(reader)?.as_bytes().to_vec())).collect::<Result<Vec<_>, ImportError>>()
    })
    .unwrap()
}

fn of_numbers(numbers: &[Vec<u8>]) -> String {
    pem("RSA PRIVATE KEY", &sequence(&numbers.iter().map(|number| integer(number)).collect::<Vec<_>>()))
}

/// PKCS#8 version 2, with this public key beside the private one.
fn second_version(pkcs8: &str, public: &[u8]) -> String {
    let (algorithm, key) = form::whole(&der(pkcs8), |reader| {
        use der::Reader as _;
        form::version(reader, 0..=0)?;
        Ok((reader.tlv_bytes()?.to_vec(), reader.tlv_bytes()?.to_vec()))
    })
    .unwrap();
    let public = element(0x81, &[&[0], public].concat());
    pem("PRIVATE KEY", &sequence(&[integer(&[1]), algorithm, key, public]))
}

/// What the BIT STRING of a public key holds.
fn public_bytes(public: &str) -> Vec<u8> {
    form::whole(&der(public), |reader| {
        form::algorithm_identifier(reader)?;
        Ok(der::asn1::BitStringRef::decode(reader)?.raw_bytes().to_vec())
    })
    .unwrap()
}

fn taken(text: &str, passphrase: Option<&str>) -> PrivateKey {
    read_private(text, passphrase).unwrap_or_else(|error| panic!("{error}: {text}"))
}
