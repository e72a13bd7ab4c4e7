//! Exported keys, as openssl reads them: a verifier that knows neither the key set nor JOSE.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::machine::Machine;

/// An ECDSA signature of a JWS (two numbers of 32 bytes) as openssl wants it (SEQUENCE of two INTEGER).
fn as_der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap();
        let mut digits = number[start..].to_vec();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        [vec![2, u8::try_from(digits.len()).unwrap()], digits].concat()
    };
    let numbers = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [vec![0x30, u8::try_from(numbers.len()).unwrap()], numbers].concat()
}

fn openssl_verifies(machine: &Machine, key: &Path, algorithm: &str, token: &str) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    std::fs::write(machine.path("signed"), signed).unwrap();
    let signature = if algorithm == "ES256" { as_der(&signature) } else { signature };
    std::fs::write(machine.path("signature"), signature).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-rawin", "-sigfile"]).arg(machine.path("signature"));
    openssl.arg("-in").arg(machine.path("signed")).arg("-inkey").arg(key);
    match algorithm {
        "EdDSA" => {}
        "PS256" => {
            openssl.args(["-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:32"]);
        }
        _ => {
            openssl.args(["-digest", "sha256"]);
        }
    }
    let output = openssl.stdin(Stdio::null()).output().expect("openssl is needed");
    output.status.success()
}

#[test]
fn openssl_reads_an_exported_key_and_verifies_a_token_with_it() {
    for algorithm in ["ES256", "EdDSA", "RS256", "PS256"] {
        let machine = Machine::new();
        let server = machine.serve().config(&format!("[signing]\nalgorithm = \"{algorithm}\"\n")).ready();
        let published = server.call("GET", "/.well-known/jwks.json").send().expect(200).json()["keys"][0].clone();
        let id = published["kid"].as_str().unwrap();
        let token = server.admin();
        // Public keys are for everybody: no token is needed, and none is sent.
        std::fs::remove_file(server.data("admin.token")).unwrap();

        let single = machine.run(&["key", "export"]).expect(0);
        assert!(single.out.starts_with("-----BEGIN PUBLIC KEY-----\n") && single.err.is_empty(), "{single:?}");
        assert_eq!(machine.run(&["key", "export", id]).expect(0).out, single.out);
        machine.run(&["key", "export", id, "--out", "one.pem"]).expect(0);
        machine.run(&["key", "export", "--out", "keys"]).expect(0);
        let file = machine.path(&format!("keys/{id}.pem"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), single.out);
        assert_eq!(std::fs::read_to_string(machine.path("one.pem")).unwrap(), single.out);
        assert!(openssl_verifies(&machine, &file, algorithm, &token), "{algorithm}");
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(!openssl_verifies(&machine, &file, algorithm, &format!("other.text.{signature}")), "{algorithm}");

        assert_eq!(machine.run(&["key", "export", "--format", "jwk"]).expect(0).json(), published);
        machine.run(&["key", "export", id, "--format", "jwk", "--out", "keys"]).expect(0);
        let jwk = std::fs::read_to_string(machine.path(&format!("keys/{id}.jwk"))).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&jwk).unwrap(), published);
        server.stop();
    }
}

#[test]
fn a_key_that_is_not_published_and_a_server_that_is_away_are_named() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let unknown = machine.run(&["key", "export", &"-".repeat(43)]).expect(2);
    assert!(unknown.err.contains("is not published") && unknown.err.contains("published are: "), "{unknown:?}");
    let wrong = machine.run(&["key", "export", "mykey"]).expect(2);
    assert!(wrong.err.contains("43 letters"), "{wrong:?}");
    let address = server.address(0).to_owned();
    server.stop();
    let away = machine.run(&["key", "export", "--server", &address]).expect(2);
    assert!(away.err.contains("error: ") && away.out.is_empty(), "{away:?}");
}
