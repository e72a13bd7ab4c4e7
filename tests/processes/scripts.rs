//! Scripts that Node runs, with the packages of `tests/tools/node`.

use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, tool};

/// A script of a folder, run beside the others of it.
pub fn node(machine: &Machine, folder: &Path, script: &str) -> Command {
    node_modules(machine);
    for entry in std::fs::read_dir(folder).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|kind| kind == "mjs") {
            std::fs::copy(&from, machine.path(from.file_name().unwrap().to_str().unwrap())).unwrap();
        }
    }
    let mut command = clean(Path::new("node"));
    command.arg(machine.path(script));
    command
}

/// Packages are looked for beside the script, and so it runs where they can be put.
pub fn node_modules(machine: &Machine) {
    let link = machine.path("node_modules");
    if !link.exists() {
        std::os::unix::fs::symlink(tool("node/node_modules"), link).unwrap();
    }
}

/// With nothing of the test's own environment: a proxy or a CA that is set there would decide.
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}
