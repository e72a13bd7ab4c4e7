//! The TLS side, as sslyze sees it: Mozilla's intermediate profile, with each kind of certificate.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::machine::{Ended, Machine, finish, tool};
use crate::scripts::clean;
use crate::server::Server;

fn sslyze(server: &Server, ca: Option<&Path>, report: &Path) -> Ended {
    let mut scan = clean(&tool("sslyze/bin/sslyze"));
    scan.args(["--mozilla_config=intermediate", "--resum", "--early_data", "--http_headers", "--json_out"]).arg(report);
    if let Some(ca) = ca {
        scan.arg("--certinfo_ca_file").arg(ca);
    }
    finish(scan.arg(format!("localhost:{}", server.port(0))), "")
}

/// The moduli of RSA keys stand in the report as numbers of six hundred digits.
fn read(report: &Path) -> Value {
    let mut digits = 0;
    let short = |c: &char| {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        digits <= 15
    };
    let text: String = std::fs::read_to_string(report).unwrap().chars().filter(short).collect();
    serde_json::from_str(&text).unwrap()
}

/// The names of the cipher suites that were taken.
fn suites(results: &Value, version: &str) -> Vec<String> {
    let taken = results[version]["result"]["accepted_cipher_suites"].as_array().unwrap();
    let mut names: Vec<_> =
        taken.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

/// The profile is kept without an exception, and beyond it what it does not ask for. `kind` is that of the certificate's key.
fn keeps_the_profile(machine: &Machine, server: &Server, ca: &Path, kind: &str) {
    let report = machine.path("report.json");
    let scan = sslyze(server, Some(ca), &report).expect(0);
    assert!(scan.out.contains("OK - Compliant."), "{scan:?}");

    let report = read(&report);
    let results = &report["server_scan_results"][0]["scan_result"];
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert!(suites(results, &format!("{old}_cipher_suites")).is_empty(), "{old}");
    }
    let of_1_2 = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"];
    assert_eq!(suites(results, "tls_1_2_cipher_suites"), of_1_2.map(|name| format!("TLS_ECDHE_{kind}_WITH_{name}")));
    assert_eq!(suites(results, "tls_1_3_cipher_suites"), of_1_2.map(|name| format!("TLS_{name}")));
    let result = |name: &str| &results[name]["result"];
    assert_eq!(result("tls_compression")["supports_compression"], false);
    assert_eq!(result("tls_1_3_early_data")["supports_early_data"], false);
    let renegotiation = result("session_renegotiation");
    assert_eq!(renegotiation["client_renegotiations_success_count"], 0);
    assert_eq!(renegotiation["is_vulnerable_to_client_renegotiation_dos"], false);
    // Sessions are resumed from the server's own memory: there is no key of tickets that could be stolen or forgotten to be
    // changed.
    let resumption = result("session_resumption");
    assert_eq!(resumption["session_id_resumption_result"], "FULLY_SUPPORTED");
    assert_eq!(resumption["tls_ticket_resumption_result"], "NOT_SUPPORTED");
    // In the profile, but not checked by sslyze: two years.
    assert_eq!(result("http_headers")["strict_transport_security_header"]["max_age"], json!(63_072_000));
    // OCSP stapling is optional in the profile. A local CA has no responder, and public ones have given theirs up.
    let shown = &result("certificate_info")["certificate_deployments"][0];
    assert_eq!(shown["received_chain_contains_anchor_certificate"], false);
    assert_eq!(shown["received_chain_has_valid_order"], true);
}

#[test]
fn the_local_certificate_keeps_mozillas_intermediate_profile() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    keeps_the_profile(&machine, &server, &server.ca(), "ECDSA");

    // The one deviation there can be: to whoever does not give it, a local CA is nobody.
    let scan = sslyze(&server, None, &machine.path("unknown.json")).expect(1);
    let complaints: Vec<_> =
        scan.out.lines().filter(|line| line.trim_start().starts_with("* ") && line.contains("alid")).collect();
    assert!(scan.out.contains("FAILED - Not compliant."), "{scan:?}");
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("certificate_path_validation"), "{complaints:?}");
}

fn given(machine: &Machine, ca: &Authority<'_>, kind: &str) {
    let (certificate, key) = ca.issue("server", "DNS:localhost");
    let server = machine.serve().option("--tls-cert", certificate).option("--tls-key", key).ready();
    keeps_the_profile(machine, &server, &ca.pem(), kind);
}

#[test]
fn a_given_ecdsa_certificate_keeps_mozillas_intermediate_profile() {
    let machine = Machine::new();
    given(&machine, &Authority::new(&machine, "ca"), "ECDSA");
}

#[test]
fn a_given_rsa_certificate_keeps_mozillas_intermediate_profile() {
    let machine = Machine::new();
    given(&machine, &Authority::rsa(&machine, "ca"), "RSA");
}

/// What openssl agreed upon.
fn handshake(server: &Server, options: &[&str]) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", server.address(0).trim_start_matches("https://"), "-CAfile"]).arg(server.ca());
    client.args(options).stdin(Stdio::null());
    String::from_utf8_lossy(&client.output().unwrap().stdout).into_owned()
}

#[test]
fn the_version_of_http_is_agreed_upon_in_the_handshake() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    for (offered, agreed) in [
        ("h2", "h2"),
        ("http/1.1", "http/1.1"),
        ("http/1.1,h2", "h2"),
        ("h2,http/1.1", "h2"),
        ("spdy/3,http/1.1", "http/1.1"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let told = handshake(&server, &[version, "-alpn", offered]);
            assert!(told.contains(&format!("ALPN protocol: {agreed}\n")), "{offered}: {told}");
        }
    }
    // Nothing in common ends it (RFC 7301, section 3.2); who offers nothing speaks HTTP/1.1.
    let nothing = handshake(&server, &["-alpn", "spdy/3"]);
    assert!(nothing.contains("no peer certificate available"), "{nothing}");
    let silent = handshake(&server, &[]);
    assert!(silent.contains("No ALPN negotiated") && silent.contains("Verify return code: 0 (ok)"), "{silent}");
}

/// What Python demands since 3.13 (`VERIFY_X509_STRICT`), and Go.
#[test]
fn the_local_certificate_passes_a_strict_verification() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let mut strict = Command::new("openssl");
    strict.args(["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "localhost", "-CAfile"]);
    finish(strict.arg(server.ca()).arg(server.data("tls/server.pem")), "").expect(0);
}

#[test]
fn a_session_is_resumed_by_the_process_that_began_it() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let session = machine.path("session");
    let path = session.to_str().unwrap();
    let first = handshake(&server, &["-tls1_2", "-sess_out", path]);
    assert!(first.contains("New, TLSv1.2"), "{first}");
    let second = handshake(&server, &["-tls1_2", "-sess_in", path]);
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
    let other = machine.serve_in("other").ready();
    let elsewhere = handshake(&other, &["-tls1_2", "-sess_in", path]);
    assert!(elsewhere.contains("New, TLSv1.2"), "{elsewhere}");
}
