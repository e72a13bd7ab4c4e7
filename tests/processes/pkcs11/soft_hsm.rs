//! SoftHSM, with tokens of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::PIN;
use crate::machine::{Machine, bare_program, finish, write_private};
use crate::server::Start;

/// Where packages put it.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// A module and its tokens.
pub struct SoftHsm {
    directory: PathBuf,
    pub module: &'static str,
}

impl SoftHsm {
    /// With one token, `signing`.
    pub fn new(machine: &Machine) -> Self {
        let module = MODULES.into_iter().find(|path| Path::new(path).exists());
        let module = module.expect("SoftHSM is missing: run `scripts/setup test`");
        let hsm = Self { directory: machine.path("hsm"), module };
        std::fs::create_dir_all(hsm.directory.join("tokens")).unwrap();
        hsm.configure("");
        hsm.add("signing");
        hsm
    }

    /// With further settings of its own.
    pub fn configure(&self, settings: &str) {
        let tokens = self.directory.join("tokens");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n{settings}", tokens.display());
        std::fs::write(self.configuration(), text).unwrap();
    }

    pub fn configuration(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }

    fn util(&self, arguments: &[&str]) {
        let mut command = bare_program(Path::new("softhsm2-util"), &self.directory);
        finish(command.env("SOFTHSM2_CONF", self.configuration()).args(arguments), "").expect(0);
    }

    pub fn add(&self, label: &str) {
        self.util(&["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so-4711"]);
    }

    pub fn remove(&self, label: &str) {
        self.util(&["--delete-token", "--token", label]);
    }

    /// The settings for it.
    pub fn settings(&self, label: &str, pin: &str) -> String {
        let file = self.directory.join("pin");
        write_private(&file, &format!("{pin}\n"));
        self.settings_of(self.module, label, &file)
    }

    pub fn settings_of(&self, module: &str, label: &str, pin_file: &Path) -> String {
        let file = pin_file.display();
        format!("[signing.pkcs11]\nmodule = {module:?}\ntoken_label = {label:?}\npin_file = \"{file}\"\n")
    }

    /// A server that has it.
    pub fn of(&self, start: Start) -> Start {
        self.with(start, &self.settings("signing", PIN))
    }

    pub fn with(&self, start: Start, settings: &str) -> Start {
        start.env("SOFTHSM2_CONF", self.configuration().to_str().unwrap()).config(settings)
    }

    /// Runs one test of `alone` in a process of its own: the module reads where its tokens are from the environment. What it tells.
    #[track_caller]
    pub fn alone(&self, test: &str) -> Value {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("pkcs11::alone::{test}"), "--nocapture"]);
        command.env("SOFTHSM2_CONF", self.configuration()).env("ALONE_WITH_MODULE", self.module);
        let ended = finish(&mut command, "").expect(0);
        let told = ended.out.lines().find_map(|line| line.split_once("TOLD ")).map(|(_, told)| told);
        serde_json::from_str(told.unwrap_or_else(|| panic!("it told nothing: {ended:?}"))).unwrap()
    }

    /// All that lies in the token: `class`, `label`, and what can be read of private keys.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        self.alone("a_look_into_the_token").as_array().unwrap().clone()
    }
}
