//! A running `countermark serve`, and what a test does to it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::machine::{Ended, bare, bare_program, finish, write_private};
use crate::until::{ended, lives, signal, until};

const STARTS_WITHIN: Duration = Duration::from_secs(20);
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// `countermark serve`, before it is started.
pub struct Start {
    command: Command,
    directory: PathBuf,
    data: PathBuf,
    /// In front of the data directory's path, for us: a server may have another view of the disks.
    view: PathBuf,
    listens: bool,
}

/// Ends, with its private Redis, when it is dropped.
pub struct Server {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    document: Value,
}

impl Start {
    pub fn new(directory: &Path, data: &str) -> Self {
        let mut command = bare(directory);
        let data = directory.join(data);
        command.args(["serve", "--operations-listen", "http://127.0.0.1:0", "--data-dir"]).arg(&data);
        Self { command, directory: directory.to_owned(), data, view: PathBuf::new(), listens: false }
    }

    pub fn listen(mut self, address: &str) -> Self {
        self.listens = true;
        self.option("--listen", address)
    }

    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.arg(name).arg(value);
        self
    }

    /// Started by another command, of which this one is the last part; the data directory lies below `view` for us.
    pub fn by(self, mut command: Command, view: PathBuf) -> Self {
        command.arg(self.command.get_program()).args(self.command.get_args());
        command.env_clear().envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self { command, view, ..self }
    }

    pub fn flag(mut self, name: &str) -> Self {
        self.command.arg(name);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With this text as its configuration file.
    pub fn config(self, text: &str) -> Self {
        let name = format!("{}.toml", self.data.file_name().unwrap().to_string_lossy());
        let path = self.directory.join(name);
        write_private(&path, text);
        self.option("--config", path)
    }

    /// With these limits of open files, soft and hard.
    pub fn open_files(mut self, soft: u32, hard: u32) -> Self {
        let mut limited = bare_program(Path::new("sh"), &self.directory);
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        limited.args(["-c", &script]).arg(self.command.get_program()).args(self.command.get_args());
        self.command = limited;
        self
    }

    /// With room for a core file, in its folder.
    pub fn core_files(mut self) -> Self {
        let mut limited = bare_program(Path::new("sh"), &self.directory);
        limited.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]);
        limited.arg(self.command.get_program()).args(self.command.get_args());
        self.command = limited;
        self
    }

    fn ready_made(self) -> Self {
        if self.listens { self } else { self.listen("127.0.0.1:0") }
    }

    /// Started and ready.
    #[track_caller]
    pub fn ready(self) -> Server {
        let server = self.listening();
        server.becomes_ready();
        server
    }

    /// Started, and ready or not.
    #[track_caller]
    pub fn listening(self) -> Server {
        let mut server = self.begun();
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(server.data.join("serve.json")).unwrap_or_default();
            if let Ok(document) = serde_json::from_str::<Value>(&text)
                && document["pid"] == json!(server.pid())
            {
                server.document = document;
                return server;
            }
            let early = server.child.try_wait().unwrap();
            assert!(early.is_none() && began.elapsed() < STARTS_WITHIN, "{early:?}: {}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Started, and nothing is known of it yet.
    pub fn begun(self) -> Server {
        let Self { mut command, data, view, .. } = self.ready_made();
        let log = data.with_extension("log");
        let mut below = view.into_os_string();
        below.push(&data);
        let data = PathBuf::from(below);
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Server { child, data, log, document: Value::Null }
    }

    /// Refused to start, or was asked for something else than to serve.
    #[track_caller]
    pub fn ends(self) -> Ended {
        finish(&mut self.ready_made().command, "")
    }
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// What it wrote to standard output and standard error, in all runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn document(&self) -> &Value {
        &self.document
    }

    pub fn address(&self, number: usize) -> &str {
        self.document["addresses"][number].as_str().unwrap()
    }

    pub fn port(&self, number: usize) -> u16 {
        self.address(number).rsplit(':').next().unwrap().parse().unwrap()
    }

    pub fn issuer(&self) -> String {
        let text = std::fs::read_to_string(self.data("serve.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["issuer"].as_str().unwrap().to_owned()
    }

    pub fn ca(&self) -> PathBuf {
        self.data("tls/ca.pem")
    }

    /// The first admin's token.
    pub fn admin(&self) -> String {
        std::fs::read_to_string(self.data("admin.token")).unwrap().trim_end().to_owned()
    }

    /// A call to the first address.
    pub fn call(&self, method: &str, path: &str) -> Call {
        self.call_at(0, method, path)
    }

    pub fn call_at(&self, number: usize, method: &str, path: &str) -> Call {
        let address = self.address(number);
        let ca = address.starts_with("https:").then(|| self.ca());
        Call::new(method, &format!("{address}{path}"), ca.as_deref())
    }

    pub fn operations(&self, path: &str) -> Call {
        Call::new("GET", &format!("{}{path}", self.document["operations"].as_str().unwrap()), None)
    }

    /// `/verify` of the token.
    #[track_caller]
    pub fn verify(&self, token: &str) -> Reply {
        self.call("GET", "/verify").bearer(token).send()
    }

    /// Creates an account; its id and its token.
    #[track_caller]
    pub fn create(&self, username: &str, role: &str) -> (String, String) {
        let made = self.try_create(username, role);
        assert_eq!(made.status, 201, "{made:?}\n{}", self.log());
        let made = made.json();
        (made["account"]["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub fn try_create(&self, username: &str, role: &str) -> Reply {
        let body = json!({"username": username, "description": "", "role": role, "valid_for_months": 6});
        self.call("POST", "/api/v1/accounts").bearer(&self.admin()).json(&body).send()
    }

    /// A new token for an account.
    #[track_caller]
    pub fn regenerate(&self, admin: &str, id: &str) -> Reply {
        let path = format!("/api/v1/accounts/{id}/token");
        self.call("POST", &path).bearer(admin).json(&json!({"valid_for_months": 6})).send()
    }

    pub fn is_ready(&self) -> bool {
        self.operations("/readyz").attempt().is_ok_and(|reply| reply.status == 200)
    }

    #[track_caller]
    pub fn becomes_ready(&self) {
        until(STARTS_WITHIN, "ready", || {
            assert!(lives(self.pid()), "it ended: {}", self.log());
            self.is_ready().then_some(())
        });
    }

    pub fn socket(&self) -> PathBuf {
        self.data("redis/redis.sock")
    }

    /// The process of its private Redis, as that says itself.
    pub fn redis_pid(&self) -> Option<u32> {
        let client = redis::Client::open(format!("unix://{}", self.socket().display())).ok()?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let info: String = redis::cmd("INFO").arg("server").query(&mut connection).ok()?;
        info.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.ends_within(STOPS_WITHIN)
    }

    #[track_caller]
    pub fn ends_within(&mut self, within: Duration) -> ExitStatus {
        ended(&mut self.child, within).unwrap_or_else(|| panic!("it does not stop: {}", self.log()))
    }

    /// Stops it as an operator does.
    #[track_caller]
    pub fn stop(mut self) {
        let redis = self.redis_pid();
        self.signal(Signal::TERM);
        let status = self.end();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(!redis.is_some_and(lives), "its private Redis is left");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            // Whatever answers on the socket now is a later server's.
            return;
        }
        let redis = self.redis_pid();
        self.signal(Signal::TERM);
        if ended(&mut self.child, STOPS_WITHIN).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(redis) = redis.filter(|redis| lives(*redis)) {
            signal(redis, Signal::KILL);
        }
    }
}
