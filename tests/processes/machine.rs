//! A machine of its own for each test: a directory, and the binary that is run in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::server::Start;
use crate::until::ended;

pub const BINARY: &str = env!("CARGO_BIN_EXE_countermark");

/// A directory with a short name: the paths of Unix sockets have to be short.
pub struct Machine {
    directory: tempfile::TempDir,
}

/// A command that ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Machine {
    pub fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("cm").tempdir_in("/tmp").unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file for its owner alone.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        write_private(&path, text);
        path
    }

    /// `countermark serve`, not started yet, on free ports and with the data directory `data`.
    pub fn serve(&self) -> Start {
        Start::new(self.directory.path(), "data")
    }

    /// The same with another data directory: another machine, as it were.
    pub fn serve_in(&self, data: &str) -> Start {
        Start::new(self.directory.path(), data)
    }

    /// `countermark …` in this directory.
    pub fn command(&self) -> Command {
        bare(self.directory.path())
    }

    /// Runs `countermark …` to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "")
    }

    #[track_caller]
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command();
        finish(command.args(arguments), input)
    }
}

impl Ended {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// A program that `scripts/setup test` installs below the target directory, such as `clients/bin/python`.
pub fn tool(name: &str) -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map(|target| manifest.join(target));
    // The binary lies in `<target directory>/<profile>`.
    let built = Path::new(BINARY).ancestors().nth(2).map(PathBuf::from);
    let places = [target, built, Some(manifest.join("target"))];
    let found = places.into_iter().flatten().map(|place| place.join("tools").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run `scripts/setup test`"))
}

/// The binary with nothing of the test's own environment.
pub fn bare(directory: &Path) -> Command {
    bare_program(Path::new(BINARY), directory)
}

/// Another program, the same way.
pub fn bare_program(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", directory).current_dir(directory);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs to the end, which has to come.
#[track_caller]
pub fn finish(command: &mut Command, input: &str) -> Ended {
    finish_within(command, input, Duration::from_secs(30))
}

/// The same of one that may take longer.
#[track_caller]
pub fn finish_within(command: &mut Command, input: &str, limit: Duration) -> Ended {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that reads nothing has closed its side.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    // Less is said than fits into a pipe.
    let in_time = ended(&mut child, limit).is_some();
    if !in_time {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ended = Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
    assert!(in_time, "it does not end: {ended:?}");
    ended
}

pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
