//! `man`: the manual, one page for each command.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::Cli;
use super::answer::{Answer, Failure};
use crate::durable;

/// What stands in the manual and not in the help texts.
const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "Yes: done; the token is good; nothing was found."),
    ("1", "No: the token was refused; a check found something."),
    ("2", "It could not be done: wrong usage, no server, no permission. Standard error says what to do."),
];
const ENVIRONMENT: [(&str, &str); 4] = [
    ("COUNTERMARK_SERVER", "The server that the administrative commands talk to, unless --server names one."),
    ("COUNTERMARK_CA_FILE", "The only CA to trust for that server, PEM."),
    ("COUNTERMARK_TOKEN", "The token to act with. It is sent to that server and to no other."),
    (
        "COUNTERMARK_…",
        "Every setting of the service: store.ca_file of the configuration file is COUNTERMARK_STORE_CA_FILE.",
    ),
];
const FILES: [(&str, &str); 4] = [
    ("countermark.toml", "The configuration of the service, in the directory where it is started."),
    ("data/serve.json", "The addresses of the running service, written by it. Commands run beside it find it here."),
    ("data/admin.token", "The first admin's token. Move it to where secrets are kept."),
    ("~/.config/countermark/credentials.json", "What `countermark login` remembers (mode 0600)."),
];

/// `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this directory, such as /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The page of the program, or all pages into a directory.
pub fn run(args: &ManArgs) -> Result<Answer, Failure> {
    // `countermark help …` says the same again, once for each command.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    match &args.out {
        None => {
            let page = page(&program, true).map_err(|error| Failure::new(format!("no manual page: {error}")))?;
            let page = String::from_utf8(page).map_err(|_| Failure::new("the manual page is not text"))?;
            Ok(Answer::yes(page.trim_end()))
        }
        Some(directory) => {
            let failed = |error: io::Error| {
                Failure::new(format!("the manual can't be written to {}: {error}", directory.display()))
                    .next("name a directory that you may write to, with --out")
            };
            fs::create_dir_all(directory).map_err(failed)?;
            let count = write(&program, true, directory).map_err(failed)?;
            Ok(Answer::yes(format!(
                "{count} pages were written to {}; `man -l {}` reads the first.",
                directory.display(),
                directory.join("countermark.1").display()
            )))
        }
    }
}

fn write(command: &Command, is_program: bool, directory: &Path) -> io::Result<usize> {
    let name = Man::new(command.clone()).get_filename();
    durable::write(&directory.join(name), &page(command, is_program)?, 0o644)?;
    let mut count = 1;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        count += write(command, false, directory)?;
    }
    Ok(count)
}

fn page(command: &Command, is_program: bool) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("Countermark").render(&mut page)?;
    let mut more = Roff::new();
    section(&mut more, "EXIT STATUS", &EXIT_STATUS);
    if is_program {
        section(&mut more, "ENVIRONMENT", &ENVIRONMENT);
        section(&mut more, "FILES", &FILES);
    }
    more.to_writer(&mut page)?;
    let page = String::from_utf8(page).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(in_ascii(&page).into_bytes())
}

/// troff reads Latin-1 unless something is put before it.
fn in_ascii(page: &str) -> String {
    let mut ascii = String::with_capacity(page.len());
    for character in page.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            ascii.push_str(&format!("\\[u{:04X}]", u32::from(character)));
        }
    }
    ascii
}

fn section(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
}
