//! TLS, users and client certificates, with sentinels and with a cluster.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::certificates::Authority;
use crate::machine::Machine;
use crate::redis::{Redis, free_port};
use crate::until::until;

/// Ends when it is dropped.
struct Sentinel(Child);

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who lets in only those that have a certificate of the one authority, and the user's password.
struct Secured {
    machine: Machine,
    certificate: String,
    key: String,
    ca: String,
    client: [String; 2],
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Secured {
    fn new() -> Self {
        let machine = Machine::new();
        let authority = Authority::new(&machine, "ca");
        let (certificate, key) = authority.issue("redis", "IP:127.0.0.1");
        let (client, client_key) = authority.issue("client", "DNS:countermark");
        machine.write("users.acl", "user default off\nuser countermark on >secret ~* &* +@all\n");
        machine.write("secret", "secret\n");
        machine.write("sesame", "sesame\n");
        Self {
            certificate: text(&certificate),
            key: text(&key),
            ca: text(&authority.pem()),
            client: [text(&client), text(&client_key)],
            machine,
        }
    }

    fn redis(&self, more: &[(&str, &str)]) -> Redis {
        let users = text(&self.machine.path("users.acl"));
        let settings = [
            ("--tls-port", ""),
            ("--tls-cert-file", self.certificate.as_str()),
            ("--tls-key-file", self.key.as_str()),
            ("--tls-ca-cert-file", self.ca.as_str()),
            ("--tls-auth-clients", "yes"),
            ("--aclfile", users.as_str()),
        ];
        Redis::start(&self.machine, &[&settings, more].concat())
    }

    fn sentinel(&self, primary: u16) -> (Sentinel, u16) {
        let port = free_port();
        let directory = self.machine.path("sentinel");
        std::fs::create_dir_all(&directory).unwrap();
        let Self { certificate, key, ca, .. } = self;
        let settings = format!(
            "port 0\ntls-port {port}\nbind 127.0.0.1\ndir {}\ntls-cert-file {certificate}\ntls-key-file {key}\n\
             tls-ca-cert-file {ca}\ntls-auth-clients yes\ntls-replication yes\n\
             user default off\nuser watcher on >sesame ~* &* +@all\n\
             sentinel monitor cm 127.0.0.1 {primary} 1\nsentinel auth-user cm countermark\nsentinel auth-pass cm secret\n",
            directory.display()
        );
        std::fs::write(directory.join("sentinel.conf"), settings).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(directory.join("sentinel.conf")).arg("--sentinel");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(Duration::from_secs(10), "a sentinel that listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        (Sentinel(child), port)
    }

    fn config(&self, url: &str, more: &str) -> String {
        let [client, key] = &self.client;
        let password = text(&self.machine.path("secret"));
        format!(
            "[store]\nurl = {url:?}\nuser = \"countermark\"\npassword_file = {password:?}\nca_file = {:?}\n\
             client_cert_file = {client:?}\nclient_key_file = {key:?}\n{more}",
            self.ca
        )
    }
}

#[test]
fn sentinels_and_their_primary_are_reached_over_tls_with_users_and_certificates() {
    let secured = Secured::new();
    let redis = secured.redis(&[]);
    let (_sentinel, port) = secured.sentinel(redis.port);
    let url = format!("rediss+sentinel://127.0.0.1:{port}/cm");
    let sesame = text(&secured.machine.path("sesame"));
    let as_watcher = format!("sentinel_user = \"watcher\"\nsentinel_password_file = {sesame:?}\n");
    let server = secured.machine.serve().config(&secured.config(&url, &as_watcher)).ready();
    server.verify(&server.admin()).expect(200);
    assert!(!server.log().contains("sesame"));
    server.stop();

    let other = format!("rediss+sentinel://127.0.0.1:{port}/other");
    let unknown = secured.machine.serve().config(&secured.config(&other, &as_watcher)).ends().expect(2);
    assert!(unknown.err.contains("knows no primary by the name other"), "{unknown:?}");
    let stranger = secured.machine.serve().config(&secured.config(&url, "")).ends().expect(2);
    assert!(
        stranger.err.contains("the sentinel 127.0.0.1") && stranger.err.contains("refuses the user"),
        "{stranger:?}"
    );
}

#[test]
fn a_cluster_is_reached_over_tls_with_a_user_and_a_certificate() {
    let secured = Secured::new();
    let bus = free_port().to_string();
    let redis =
        secured.redis(&[("--cluster-enabled", "yes"), ("--tls-cluster", "yes"), ("--cluster-port", bus.as_str())]);
    let mut all_slots = Command::new("redis-cli");
    all_slots.args(["--tls", "--cert", &secured.client[0], "--key", &secured.client[1], "--cacert", &secured.ca]);
    all_slots.args(["--user", "countermark", "--pass", "secret", "--no-auth-warning", "-p", &redis.port.to_string()]);
    let all_slots = all_slots.args(["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&all_slots.stdout).trim(), "OK", "{all_slots:?}");
    let url = format!("rediss+cluster://127.0.0.1:{}", redis.port);
    let server = secured.machine.serve().config(&secured.config(&url, "")).ready();
    let (id, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    let activity = format!("/api/v1/accounts/{id}/activity");
    until(Duration::from_secs(10), "the call in the activity of the account", || {
        let answer = server.call("GET", &activity).bearer(&server.admin()).send().expect(200).json();
        answer["items"].as_array()?.iter().any(|event| event["outcome"] == "allowed").then_some(())
    });
    server.stop();
}
