//! What `countermark doctor` finds on disk, and in a server that runs there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::doctor::doctor;
use crate::machine::{BINARY, Machine, finish, write_private};
use crate::until::{ended, signal, soon, stand_still};

const DATA: [&str; 2] = ["--data-dir", "data"];

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn rights_owners_and_keys_of_the_data_directory_are_found() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let at = |name: &str| server.data(name);
    let table: [(&str, u32, u32, &str, &str); 5] = [
        ("", 0o755, 0o700, "data_directory.rights", "chmod 700"),
        ("admin.token", 0o644, 0o600, "data_directory.secrets", "chmod 600"),
        ("tls/server.key", 0o640, 0o600, "data_directory.secrets", "tls/server.key has mode 0640"),
        ("redis", 0o750, 0o700, "data_directory.secrets", "chmod 700"),
        ("keys/master.key", 0o644, 0o600, "master_key.file", "chmod 600"),
    ];
    for (name, wrong, right, check, word) in table {
        mode(&at(name), wrong);
        doctor(&machine, &DATA).finds(check, &[word]);
        mode(&at(name), right);
    }
    let key = fs::read_to_string(at("keys/master.key")).unwrap();
    write_private(&at("keys/master.key"), &"A".repeat(43));
    doctor(&machine, &DATA).finds("master_key.opens", &["don't open"]);
    write_private(&at("keys/master.key"), "too short");
    let said = doctor(&machine, &DATA);
    said.finds("master_key.file", &["43 characters"]);
    assert!(!said.text.contains("too short"));
    if rustix::process::geteuid().is_root() {
        write_private(&at("keys/master.key"), &key);
        std::os::unix::fs::chown(at("keys/master.key"), Some(65_534), None).unwrap();
        let said = doctor(&machine, &DATA);
        said.finds("master_key.file", &["belongs to user 65534", "chown 0"]);
        said.finds("data_directory.secrets", &["belongs to user 65534"]);
    }
    fs::remove_file(at("keys/master.key")).unwrap();
    doctor(&machine, &DATA).finds("master_key.file", &["backup"]);
    write_private(&at("keys/master.key"), &key);

    let dataset = fs::read(at("dataset")).unwrap();
    fs::write(at("dataset"), "another\n").unwrap();
    doctor(&machine, &DATA).finds("store.dataset", &["belongs to another"]);
    fs::write(at("dataset"), dataset).unwrap();
    doctor(&machine, &["--data-dir", "data", "--issuer", "https://new.example"])
        .finds("store.dataset", &["also_accept_issuers"]);
    doctor(&machine, &DATA).healthy();
    server.stop();
}

#[test]
fn what_is_no_directory_no_program_or_lies_in_memory_is_told() {
    let machine = Machine::new();
    machine.write("file", "");
    doctor(&machine, &["--data-dir", "file"]).finds("data_directory.rights", &["not a directory"]);
    machine.write("countermark.toml", "[store]\nredis_server = \"/no/redis-server\"\n");
    doctor(&machine, &[]).finds("store.program", &["/no/redis-server", "7.0"]);
    if Path::new("/dev/shm").is_dir() {
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let machine = Machine::new();
        let said = doctor(&machine, &["--data-dir", memory.path().to_str().unwrap()]);
        assert_eq!(said.status("data_directory.file_system"), "notice", "{}", said.text);
    }
}

#[test]
fn a_server_that_stands_still_or_has_too_few_files_is_found_in_time() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(500), maximum: Some(500) }).unwrap();
    doctor(&machine, &DATA).finds("server.open_files", &["500", "LimitNOFILE"]);

    let client = redis::Client::open(format!("unix://{}", server.socket().display())).unwrap();
    let mut store = client.get_connection().unwrap();
    stand_still(server.pid());
    // An entry of long ago, in a shard that was empty: nobody takes it up.
    let added = (0..4).any(|shard| {
        redis::cmd("XADD").arg(format!("{{cm:a{shard}}}:log")).arg(&["1000-0", "e", ""]).exec(&mut store).is_ok()
    });
    assert!(added);
    let began = std::time::Instant::now();
    let said = doctor(&machine, &DATA);
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    server.signal(Signal::CONT);
    said.finds("server.alive", &["does not answer"]);
    said.finds("server.ready", &[]);
    said.finds("certificate.served", &["handshake"]);
    said.finds("store.activity_logs", &["1970"]);
    server.stop();
}

/// By another process: one that is forked beside us might still have ours open for writing, and then it can't be run.
fn copy_of_the_binary(to: &Path) {
    assert!(std::process::Command::new("cp").arg(BINARY).arg(to).status().unwrap().success());
}

#[test]
fn another_user_is_told_to_be_the_services() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let machine = Machine::new();
    let (program, data) = (machine.path("countermark"), machine.path("data"));
    copy_of_the_binary(&program);
    fs::create_dir(&data).unwrap();
    mode(&data, 0o700);
    mode(&machine.path(""), 0o755);
    let mut command = std::process::Command::new(program);
    command.args(["doctor", "--data-dir"]).arg(&data).current_dir("/").env_clear().uid(65_534).gid(65_534);
    let ended = finish(&mut command, "").expect(2);
    assert!(ended.err.contains("run doctor as the user of the service") && ended.out.is_empty(), "{ended:?}");
}

#[test]
fn a_server_whose_program_was_replaced_is_found() {
    let machine = Machine::new();
    let program = machine.path("countermark");
    copy_of_the_binary(&program);
    // As of any command of these tests: nothing of their own environment.
    let mut child = std::process::Command::new(&program)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--operations-listen", "127.0.0.1:0"])
        .current_dir(machine.path(""))
        .stdout(std::process::Stdio::null())
        .stderr(fs::File::create(machine.path("log")).unwrap())
        .spawn()
        .unwrap();
    fs::remove_file(&program).unwrap();
    soon("it serves", || {
        let early = child.try_wait().unwrap();
        assert!(early.is_none(), "{early:?}: {}", fs::read_to_string(machine.path("log")).unwrap());
        machine.path("data/serve.json").exists()
    });
    doctor(&machine, &DATA).finds("server.binary", &[]);
    signal(child.id(), Signal::TERM);
    assert!(ended(&mut child, std::time::Duration::from_secs(15)).is_some());
}

/// A CA and what it signs, as PEM.
struct Signer(CertifiedIssuer<'static, KeyPair>);

impl Signer {
    fn new() -> Self {
        Self::lasting(3_650)
    }

    fn lasting(days: i64) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, days: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

#[test]
fn certificates_that_clients_would_refuse_are_found() {
    let machine = Machine::new();
    let (ca, other) = (Signer::new(), Signer::new());
    let good = ca.sign("a.example", 90);
    let chain = |leaf: &str, ca: &Signer| format!("{leaf}{}", ca.0.pem());
    let files = |certificate: &str, key: &str| -> (PathBuf, PathBuf) {
        (machine.write("cert.pem", certificate), machine.write("cert.key", key))
    };
    let look = |certificate: &str, key: &str, issuer: &str| {
        let (certificate, key) = files(certificate, key);
        let (certificate, key) = (certificate.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned());
        doctor(&machine, &["--tls-cert", &certificate, "--tls-key", &key, "--issuer", issuer])
    };
    let issuer = "https://a.example";
    let said = look(&chain(&good.0, &ca), &good.1, issuer).healthy();
    for check in ["certificate.files", "certificate.names", "certificate.expiry", "certificate.chain"] {
        assert_eq!(said.status(check), "ok", "{check}: {}", said.text);
    }
    assert_eq!(look(&good.0, &good.1, issuer).healthy().status("certificate.chain"), "unchecked");

    let (ended, key) = ca.sign("a.example", -1);
    look(&chain(&ended, &ca), &key, issuer).finds("certificate.expiry", &["it ended on"]);
    let (soon, key) = ca.sign("a.example", 20);
    look(&chain(&soon, &ca), &key, issuer).finds("certificate.expiry", &["it ends on"]);
    look(&chain(&good.0, &ca), &good.1, "https://b.example").finds("certificate.names", &["b.example"]);
    machine.write("countermark.toml", "trusted_proxies = [\"127.0.0.1\"]\n");
    look(&chain(&good.0, &ca), &good.1, "https://b.example").healthy();
    fs::remove_file(machine.path("countermark.toml")).unwrap();
    look(&chain(&good.0, &other), &good.1, issuer).finds("certificate.chain", &["don't follow each other"]);
    look(&chain(&good.0, &ca), &soon_key(&ca), issuer).finds("certificate.files", &["not the key"]);
    look("no certificate", &good.1, issuer).finds("certificate.files", &["holds no certificate"]);
    let (_, key) = files(&good.0, &good.1);
    mode(&key, 0o644);
    let (certificate, key) = (machine.path("cert.pem"), machine.path("cert.key"));
    doctor(&machine, &["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()])
        .finds("configuration.settings", &["chmod 600"]);
}

fn soon_key(ca: &Signer) -> String {
    ca.sign("a.example", 20).1
}

#[test]
fn a_local_ca_that_is_another_and_a_server_that_shows_another_certificate_are_found() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let other = Signer::new();
    let (leaf, key) = other.sign("localhost", 90);
    let certificate = machine.write("other.pem", &format!("{leaf}{}", other.0.pem()));
    let key = machine.write("other.key", &key);
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    doctor(&machine, &["--data-dir", "data", "--tls-cert", certificate, "--tls-key", key])
        .finds("certificate.served", &["another certificate"]);
    doctor(&machine, &["--data-dir", "data", "--public-name", "b.example"]).finds("certificate.names", &["b.example"]);
    let ca = fs::read(server.ca()).unwrap();
    fs::write(server.ca(), other.0.pem()).unwrap();
    doctor(&machine, &DATA).finds("certificate.chain", &["is not the CA"]);
    fs::remove_file(server.ca()).unwrap();
    doctor(&machine, &DATA).finds("certificate.chain", &["restore it"]);
    fs::write(server.ca(), ca).unwrap();
    doctor(&machine, &DATA).healthy();
    let (ca, leaf) = (server.ca(), server.data("tls/server.pem"));
    server.stop();
    let old = Signer::lasting(100);
    fs::write(ca, old.0.pem()).unwrap();
    fs::write(leaf, old.sign("localhost", 20).0).unwrap();
    let said = doctor(&machine, &DATA);
    said.finds("certificate.chain", &["the local CA ends on", "hand out the new"]);
    said.finds("certificate.expiry", &["thirty days ahead"]);
}
