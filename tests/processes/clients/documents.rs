//! What the documentation tells people to type, typed: the five minutes of the README, and the examples for clients.

use std::path::Path;
use std::process::Command;

use crate::machine::{BINARY, Machine, finish, tool};
use crate::scripts::{clean, node_modules};
use crate::server::Server;
use crate::until::soon;

/// A fenced block: its language (`""` for what is printed) and its text.
struct Block {
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                inside = true;
                blocks.push(Block { language: language.to_owned(), text: String::new() });
            }
            (Some(_), true) => inside = false,
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// What is the same each time: words with digits in them are ids, times and versions.
fn shape(text: &str) -> Vec<String> {
    let word = |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

/// Whether this was printed. `…` stands for whatever follows.
fn is_printed(told: &str, printed: &str) -> bool {
    let (told, printed) = (shape(told), shape(printed));
    match told.split_last() {
        Some((last, before)) if last == "…" => printed.starts_with(before),
        _ => told == printed,
    }
}

fn command(machine: &Machine, block: &Block, server: &Server) -> Option<Command> {
    let text = block.text.replace("8443", &server.port(0).to_string());
    let mut command = match block.language.as_str() {
        "sh" => {
            // Its environment of Python is there already.
            let text = text.replace("/tmp/try/bin/python", tool("clients/bin/python").to_str().unwrap());
            let lines = text.lines().filter(|line| !line.starts_with("python3 -m venv"));
            let mut shell = clean(Path::new("sh"));
            shell.arg("-ec").arg(lines.collect::<Vec<_>>().join("\n"));
            shell
        }
        "python" => {
            let mut python = clean(&tool("clients/bin/python"));
            python.arg(machine.write("example.py", &text));
            python
        }
        "js" => {
            node_modules(machine);
            let mut node = clean(Path::new("node"));
            node.arg(machine.write("example.mjs", &text)).env("NODE_EXTRA_CA_CERTS", "data/tls/ca.pem");
            node
        }
        _ => return None,
    };
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", Path::new(BINARY).parent().unwrap().display()));
    command.env("HOME", machine.path("")).current_dir(machine.path(""));
    Some(command)
}

/// Runs what stands there, in order, and compares what it prints with what is said that it does.
fn holds(document: &str) {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let blocks = blocks(document);
    let mut run = 0;
    for (number, block) in blocks.iter().enumerate() {
        let Some(mut typed) = command(&machine, block, &server) else { continue };
        let told = blocks.get(number + 1).filter(|next| next.language.is_empty());
        let printed = finish(&mut typed, "").expect(0);
        run += 1;
        match told {
            // The log is written a moment after the call.
            Some(told) if block.text.contains("activity") => soon(&format!("{printed:?}"), || {
                let again = finish(&mut command(&machine, block, &server).unwrap(), "").expect(0);
                is_printed(&told.text, &again.out)
            }),
            Some(told) => assert!(is_printed(&told.text, &printed.out), "{}\n{printed:?}", block.text),
            None => {}
        }
    }
    assert!(run >= 5, "{run} were run");
}

#[test]
fn the_five_minutes_of_the_readme_go_as_it_says() {
    let readme = include_str!("../../../README.md");
    let from = readme.split_once("\n## Five minutes\n").expect("the five minutes").1;
    holds(from.split("\n## ").next().unwrap());
}

#[test]
fn the_examples_for_clients_go_as_they_say() {
    holds(include_str!("../../../docs/clients.md"));
}
