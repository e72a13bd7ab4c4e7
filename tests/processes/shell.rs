//! Completions as a shell uses them, and the manual as `man` reads it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::{BINARY, Machine};

/// The script for a shell, in a file: it is longer than a pipe holds.
fn script(machine: &Machine, shell: &str) -> PathBuf {
    let path = machine.path(&format!("completions.{shell}"));
    let file = std::fs::File::create(&path).unwrap();
    assert!(machine.command().args(["completions", shell]).stdout(file).status().unwrap().success());
    path
}

/// What bash would offer after these words.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let listed = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // What `complete -F` registered is called as bash calls it.
    let ask = format!(
        "source {0}; f=$(complete -p countermark | sed 's/.*-F \\([^ ]*\\).*/\\1/'); COMP_WORDS=({listed}); \
         COMP_CWORD={1}; $f countermark '{2}' '{3}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete_commands_and_flags() {
    let machine = Machine::new();
    let bash = script(&machine, "bash");
    assert_eq!(offered(&bash, &["countermark", "acc"]), ["account"]);
    assert_eq!(offered(&bash, &["countermark", "key", "ex"]), ["export"]);
    assert!(offered(&bash, &["countermark", "serve", "--data"]).contains(&"--data-dir".to_owned()));
    assert_eq!(offered(&bash, &["countermark", "key", "export", "--format", "j"]), ["jwk"]);
    for shell in ["zsh", "fish"] {
        let file = script(&machine, shell);
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["account", "regenerate", "data-dir", "serve"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
        assert!(Command::new(shell).arg("-n").arg(file).status().unwrap().success(), "{shell}");
    }
    let fish = "source completions.fish; complete --do-complete 'countermark acc'; complete --do-complete 'countermark key ex'";
    let offered = said(&machine, "fish", &["--no-config", "--command", fish]);
    assert!(offered.starts_with("account\t") && offered.contains("\nexport\t"), "{offered}");
    let zsh =
        "autoload -U compinit && compinit -u -d compdump && source ./completions.zsh && print $_comps[countermark]";
    assert_eq!(said(&machine, "zsh", &["--no-rcs", "-c", zsh]), "_countermark\n");
    let unknown = machine.run(&["completions", "tcsh"]).expect(2);
    assert!(unknown.err.contains("bash, zsh, fish"), "{unknown:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let piped = format!("{BINARY} man | head -n 1; exit ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &piped]).output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// What this shell says, in the directory of the scripts.
fn said(machine: &Machine, shell: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(shell);
    command.args(arguments).current_dir(machine.path("")).env("HOME", machine.path("")).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whatever troff has to say against a page.
fn complaints(page: &Path) -> String {
    let groff = Command::new("groff").args(["-ww", "-man", "-Tutf8", "-z"]).arg(page).output().unwrap();
    let man = Command::new("man").args(["--warnings", "-E", "UTF-8", "-l", "-P", "cat"]).arg(page).output().unwrap();
    assert!(groff.status.success() && man.status.success(), "{groff:?} {man:?}");
    format!("{}{}", String::from_utf8_lossy(&groff.stderr), String::from_utf8_lossy(&man.stderr))
}

#[test]
fn every_command_has_a_page_that_troff_takes_without_a_word() {
    let machine = Machine::new();
    let told = machine.run(&["man", "--out", "man1"]).expect(0);
    let mut names: Vec<String> = std::fs::read_dir(machine.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(told.out.starts_with(&format!("{} pages", names.len())), "{told:?}");
    for page in ["countermark.1", "countermark-serve.1", "countermark-account-create.1", "countermark-key-export.1"] {
        assert!(names.iter().any(|name| name == page), "{page}: {names:?}");
    }
    let program = std::fs::read_to_string(machine.path("man1/countermark.1")).unwrap();
    assert_eq!(machine.run(&["man"]).expect(0).out.trim_end(), program.trim_end());
    for section in [".SH NAME", ".SH SYNOPSIS", ".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH FILES"] {
        assert!(program.contains(section), "{section}");
    }
    for name in names {
        let path = machine.path(&format!("man1/{name}"));
        assert!(std::fs::read(&path).unwrap().is_ascii(), "{name}");
        assert_eq!(complaints(&path), "", "{name}");
    }
}
