//! A gateway: its documented configuration, run by its own program.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use super::Kind;
use crate::until::{ended, signal, until};

/// What a configuration asks for, by the names that `deploy/gateways/README.md` gives.
pub type Variables = Vec<(&'static str, String)>;

/// Ends when it is dropped.
pub struct Gateway {
    pub port: u16,
    pub place: Rc<Place>,
    child: Child,
}

/// A directory that the user may read as whom a gateway runs.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("cmgw").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A configuration of `deploy/gateways`.
    pub fn deployed(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gateways").join(name)
    }

    /// One with `${…}` filled in, by the very command that it names itself.
    pub fn filled_in(&self, name: &str, to: &str, variables: &Variables) -> PathBuf {
        let template = Self::deployed(name);
        let text = std::fs::read_to_string(&template).unwrap();
        let command = text.lines().find_map(|line| line.strip_prefix("#   envsubst ")).expect("a command");
        let (command, _) = command.split_once('<').unwrap();
        let path = self.path(to);
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("envsubst {command} <\"$1\" >\"$2\""), "bash"]).arg(&template).arg(&path);
        let output = shell.envs(variables.iter().map(|(name, value)| (name, value))).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        path
    }
}

impl Gateway {
    #[track_caller]
    pub fn start(kind: &Kind, place: Rc<Place>, variables: &Variables, port: u16) -> Self {
        let mut command = (kind.command)(&place, variables);
        let log = File::create(place.path("log")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", format!("{path}:/usr/sbin:/sbin")).env("HOME", place.root());
        command.envs(variables.iter().map(|(name, value)| (name, value))).current_dir(place.root());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: run `scripts/setup test` ({error})", kind.name));
        let mut gateway = Self { port, place, child };
        until(Duration::from_secs(20), "a gateway that listens", || {
            let early = gateway.child.try_wait().unwrap();
            assert!(early.is_none(), "{early:?}: {}", gateway.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())
        });
        gateway
    }

    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.place.path(name)).unwrap_or_default();
        read("log") + &read("error.log")
    }
}

impl Gateway {
    /// Ended, and its port free.
    pub fn end(&mut self) {
        signal(self.child.id(), Signal::TERM);
        if ended(&mut self.child, Duration::from_secs(5)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}
