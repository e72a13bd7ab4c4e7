//! A `countermark serve` under test: a release build, on one processor with one thread.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::api::Connection;
use super::processes::{Process, SERVER, free_port, pinned};

pub const ISSUER: &str = "https://localhost";

/// The certificate that all servers show.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub together: PathBuf,
}

impl Certificate {
    pub fn make(directory: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        Self {
            chain: write("cert.pem", &chain),
            key: write("key.pem", &key),
            together: write("both.pem", &format!("{chain}{key}")),
        }
    }
}

pub struct Node {
    pub process: Process,
    pub plain: String,
    pub tls: String,
    operations: String,
    /// From its start to its first verification, where it was asked for one.
    pub took: Duration,
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    pub directory: &'a Path,
    pub name: &'a str,
    pub store: &'a str,
    pub certificate: &'a Certificate,
    pub settings: &'a str,
}

impl Node {
    /// Ready.
    pub fn start(start: &Start<'_>) -> Self {
        let mut node = Self::begin(start);
        node.process.until("node that is ready", || {
            let mut connection = Connection::try_to(&node.operations).ok()?;
            (connection.try_call("GET", "/readyz", "-", None).ok()?.status == 200).then_some(())
        });
        node
    }

    /// Started, and asked about the token until it says yes.
    pub fn start_and_verify(start: &Start<'_>, token: &str) -> Self {
        let began = Instant::now();
        let mut node = Self::begin(start);
        node.process.until("node that verifies", || {
            let mut connection = Connection::try_to(&node.plain).ok()?;
            (connection.try_call("GET", "/verify", token, None).ok()?.status == 200).then_some(())
        });
        node.took = began.elapsed();
        node
    }

    fn begin(start: &Start<'_>) -> Self {
        let [plain, tls, operations] = [free_port(), free_port(), free_port()];
        let data = start.directory.join(start.name);
        let config = start.directory.join(format!("{}.toml", start.name));
        std::fs::write(&config, start.settings).unwrap();
        let mut command = pinned(SERVER, env!("CARGO_BIN_EXE_countermark"));
        command.env("TOKIO_WORKER_THREADS", "1").args(["serve", "--issuer", ISSUER, "--store", start.store]);
        command.args(["--listen", &format!("http://127.0.0.1:{plain}")]);
        command.args(["--listen", &format!("https://127.0.0.1:{tls}")]);
        command.args(["--operations-listen", &format!("127.0.0.1:{operations}"), "--node-name", start.name]);
        command.arg("--config").arg(config).arg("--data-dir").arg(data);
        command.arg("--master-key-file").arg(start.directory.join("master.key"));
        command.arg("--tls-cert").arg(&start.certificate.chain).arg("--tls-key").arg(&start.certificate.key);
        Self {
            process: Process::start(command, start.directory, start.name),
            plain: format!("http://127.0.0.1:{plain}"),
            tls: format!("https://127.0.0.1:{tls}"),
            operations: format!("http://127.0.0.1:{operations}"),
            took: Duration::ZERO,
        }
    }

    pub fn keys(&self) -> Value {
        Connection::to(&self.plain).call("GET", "/.well-known/jwks.json", "-", None).expect(200)
    }

    /// Whether a node would start with these settings.
    pub fn knows(directory: &Path, settings: &str) -> bool {
        let config = directory.join("knows.toml");
        std::fs::write(&config, settings).unwrap();
        let mut command = pinned(SERVER, env!("CARGO_BIN_EXE_countermark"));
        command.args(["serve", "--check", "--config"]).arg(config).arg("--data-dir").arg(directory.join("none"));
        command.output().unwrap().status.success()
    }
}
