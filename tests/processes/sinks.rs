//! The audit is sent on, whoever is killed meanwhile.

#[path = "../it/audit_sinks/receivers.rs"]
#[allow(dead_code, reason = "each binary uses its part of them")]
mod receivers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::effort::rounds;
use crate::machine::{Machine, finish, tool};
use crate::redis::{Redis, free_port};
use crate::server::Server;
use crate::until::{signal, until};
use receivers::{Authenticity, Deed, Receiver, Speech};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A right to deliver that was left by somebody who was killed, and the longest pause after failures in these tests.
const LONG: Duration = Duration::from_secs(60);

fn ids<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    events.into_iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The ids of all that is in the audit.
fn exported(machine: &Machine, name: &str) -> BTreeSet<String> {
    machine.run(&["audit", "export", "--out", name]).expect(0);
    ids(&lines(&machine.path(name)))
}

fn calls(server: &Server, token: &str, count: usize) {
    for _ in 0..count {
        // Until it is killed.
        if server.call("GET", "/verify").bearer(token).attempt().is_err() {
            return;
        }
    }
}

#[test]
fn issuers_that_are_killed_leave_nothing_undelivered_and_no_secret_in_the_log() {
    let machine = Machine::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let tls = Authenticity::new();
    let (hook, syslog) = runtime.block_on(async {
        (
            Receiver::new(Speech::Http, Some(Arc::clone(&tls))).await,
            Receiver::new(Speech::Syslog, Some(Arc::clone(&tls))).await,
        )
    });
    let secret = machine.write("hook.secret", &format!("{SECRET}\n"));
    let ca = tls.ca_file.display();
    let config = format!(
        "[audit.sinks.hook]\ntype = \"webhook\"\nurl = \"https://localhost:{}/PATH-OF-THE-HOOK\"\nsecret_file = \"{}\"\n\
         ca_file = \"{ca}\"\nfrom = \"beginning\"\n\
         [audit.sinks.siem]\ntype = \"syslog\"\naddress = \"localhost:{}\"\nca_file = \"{ca}\"\nfrom = \"beginning\"\n\
         [audit.sinks.disk]\ntype = \"file\"\npath = \"{}\"\nfrom = \"beginning\"\n",
        hook.address.port(),
        secret.display(),
        syslog.address.port(),
        machine.path("sent.jsonl").display(),
    );
    let redis = Redis::start(&machine, &[("--appendonly", "yes")]);
    let one = || machine.serve_in("data").option("--store", redis.url()).config(&config);
    let mut first = one().ready();
    let master = first.data("keys/master.key");
    let second =
        || machine.serve_in("two").option("--store", redis.url()).option("--master-key-file", &master).config(&config);
    let mut other = second().ready();
    let (_, token) = first.create("ci", "auditor");
    for round in 0..rounds(4, 20) {
        hook.plans(&[Deed::Answers(503), Deed::DiesAfterReading]);
        // One that dies twice in a row can't be told from one that never ends TLS.
        if syslog.has_done_all() {
            syslog.plans(&[if round % 2 == 0 { Deed::DiesAfterReading } else { Deed::DiesAfterKeeping }]);
        }
        let dies = if round % 2 == 0 { &first } else { &other };
        std::thread::scope(|scope| {
            scope.spawn(|| calls(&first, &token, 40));
            scope.spawn(|| calls(&other, &token, 40));
            let before = hook.tries() + syslog.tries();
            until(LONG, "something is being delivered", || (hook.tries() + syslog.tries() > before).then_some(()));
            dies.signal(Signal::KILL);
        });
        if round % 2 == 0 {
            first.end();
            first = one().ready();
        } else {
            other.end();
            other = second().ready();
        }
    }
    let written = exported(&machine, "all.jsonl");
    assert!(written.len() > 40, "{}", written.len());
    let sent = machine.path("sent.jsonl");
    until(LONG, "the file has all of it", || ids(&lines(&sent)).is_superset(&written).then_some(()));
    until(LONG, "the webhook has all of it", || ids(&hook.events()).is_superset(&written).then_some(()));
    until(LONG, "the receiver of syslog has all of it", || ids(&syslog.events()).is_superset(&written).then_some(()));

    let metrics = [&first, &other].map(|server| server.operations("/metrics").send().expect(200).body).concat();
    for sink in ["hook", "siem", "disk"] {
        for name in
            ["delivered_events_total", "failures_total", "missed_entries_total", "lag_seconds", "behind_entries"]
        {
            assert!(
                metrics.contains(&format!("countermark_audit_sink_{name}{{sink=\"{sink}\"}}")),
                "{name}: {metrics}"
            );
        }
    }
    let logs = [&first, &other].map(Server::log).concat();
    assert!(
        logs.contains("events of the audit can't be delivered to a sink") && logs.contains("sink=\"hook\""),
        "{logs}"
    );
    for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "PATH-OF-THE-HOOK"] {
        assert!(!logs.contains(secret) && !metrics.contains(secret), "{logs}");
    }
    // By the library of those who wrote the specification.
    let messages = hook.messages();
    let of = |message: &receivers::Message| {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: Value = headers.map(|name| (name.to_owned(), json!(message.header(name)))).into_iter().collect();
        json!({"headers": headers, "body": message.body})
    };
    let all: Vec<Value> = messages.iter().map(of).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/standardwebhooks_verify.py");
    let verify = |messages: &[Value]| {
        let mut python = Command::new(tool("webhooks/bin/python"));
        finish(python.arg("-B").arg(&script).arg(SECRET), &json!(messages).to_string())
    };
    assert!(verify(&all).expect(0).json()["events"].as_u64().unwrap() as usize >= written.len());
    let mut changed = all[0].clone();
    changed["body"] =
        json!(changed["body"].as_str().unwrap().replacen("\"call\"", "\"CALL\"", 1).replacen("done", "d0ne", 1));
    assert!(verify(&[changed]).expect(1).err.contains("No matching signature found"));
}

#[test]
fn a_sink_that_can_t_be_used_is_refused_before_anything_is_served() {
    let machine = Machine::new();
    let check = |config: &str| machine.serve().config(config).flag("--check").ends();
    let wrong =
        check("[audit.sinks.siem]\ntype = \"syslog\"\naddress = \"siem.example.com:514\"\ntransport = \"plain\"\n");
    assert!(wrong.expect(2).err.contains("danger_plain"));
    let secret = "[audit.sinks.h]\ntype = \"webhook\"\nurl = \"https://h.example.com/\"\nsecret = \"whsec_short\"\n";
    let wrong = check(secret).expect(2);
    assert!(wrong.err.contains("openssl rand") && !wrong.err.contains("whsec_short"), "{wrong:?}");
    let sound = format!("[audit.sinks.disk]\ntype = \"file\"\npath = \"{}\"\n", machine.path("a.jsonl").display());
    check(&sound).expect(0);
    let ca = machine.write("ca.pem", "no certificate");
    let siem =
        format!("[audit.sinks.siem]\ntype = \"syslog\"\naddress = \"localhost:1\"\nca_file = \"{}\"\n", ca.display());
    let refused = machine.serve().config(&siem).ends().expect(2);
    assert!(refused.err.contains("the sink siem of the audit is not usable: no certificate in PEM"), "{refused:?}");
}

/// `rsyslogd`, with nothing of the machine's.
struct Rsyslog {
    child: Child,
    port: u16,
    file: PathBuf,
}

impl Rsyslog {
    fn start(machine: &Machine, driver: &str, tls: &Authenticity) -> Self {
        let (port, directory) = (free_port(), machine.path(driver));
        std::fs::create_dir(&directory).unwrap();
        let (file, here) = (directory.join("received"), directory.display());
        let config = format!(
            "global(workDirectory=\"{here}\" maxMessageSize=\"64k\" defaultNetstreamDriver=\"{driver}\"\n\
             defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\")\n\
             module(load=\"imtcp\" streamDriver.name=\"{driver}\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
             template(name=\"message\" type=\"string\" string=\"%hostname% %app-name% %msgid% %msg%\\n\")\n\
             input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"message\")\n",
            tls.ca_file.display(),
            tls.certificate_file.display(),
            tls.key_file.display(),
            file.display(),
        );
        let config = machine.write(&format!("{driver}.conf"), &config);
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(config).arg("-i").arg(directory.join("pid"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, port, file }
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let json = |line: &str| line.splitn(4, ' ').nth(3).and_then(|json| serde_json::from_str(json).ok());
        text.lines().filter_map(json).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn rsyslog_takes_events_over_tls_and_says_when_it_has_them() {
    let machine = Machine::new();
    let tls = Authenticity::new();
    let receivers = ["gtls", "ossl"].map(|driver| Rsyslog::start(&machine, driver, &tls));
    let sink = |receiver: &Rsyslog| {
        format!(
            "[audit.sinks.to-{}]\ntype = \"syslog\"\naddress = \"localhost:{}\"\nca_file = \"{}\"\nfrom = \"beginning\"\n",
            receiver.port,
            receiver.port,
            tls.ca_file.display()
        )
    };
    let server = machine.serve().config(&receivers.each_ref().map(sink).concat()).ready();
    let (_, token) = server.create("ci", "auditor");
    calls(&server, &token, 30);
    let written = exported(&machine, "all.jsonl");
    for receiver in &receivers {
        until(LONG, "rsyslog has all of it", || ids(&receiver.events()).is_superset(&written).then_some(()));
        let text = std::fs::read_to_string(&receiver.file).unwrap();
        assert!(text.lines().any(|line| line.contains(" countermark call {")), "{text}");
    }
    // It was taken for delivered: nothing came twice.
    server.stop();
    for receiver in &receivers {
        assert_eq!(receiver.events().len(), ids(&receiver.events()).len());
    }
}
