//! Countermark over HTTP beside its peers, real processes on two processors: the server under test alone on one of them with
//! one thread, its clients and Redis on the other. `scripts/bench` runs it; `docs/performance.md` says what each case is.
//!
//! `cargo bench --bench http -- [--rounds N] [--seconds N] [--out DIRECTORY] CASE…` measures; `… report FILE… [--write PAGE]`
//! makes one document and one table of what was.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers"
)]

mod api;
mod cases;
mod costs;
mod dataset;
mod figures;
mod load;
mod node;
mod peers;
mod processes;
mod reading;
mod redis_server;
mod report;
mod simulation;

use std::path::{Path, PathBuf};

use clap::Parser;

use cases::{Bench, Case};
use figures::Part;

#[derive(Debug, Parser)]
#[command(name = "http")]
struct Arguments {
    /// Times that each server of a case is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Of each load.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Where a JSON file for each case is written to.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Makes a report of these files instead, one document of them all in the first place.
    #[arg(long, num_args = 1.., conflicts_with_all = ["cases", "rounds", "seconds", "out"])]
    report: Vec<PathBuf>,
    /// Writes the report's tables into this page, too.
    #[arg(long, requires = "report")]
    write: Option<PathBuf>,
    /// All, where none is named.
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    // `cargo test --all-targets` runs benches, too, with this flag missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let arguments = Arguments::parse();
    if let Some((whole, parts)) = arguments.report.split_first() {
        return report(whole, parts, arguments.write.as_deref());
    }
    let mut cases = arguments.cases;
    if cases.is_empty() {
        cases = Case::all();
    }
    let bench = Bench::new(arguments.rounds, arguments.seconds);
    for case in cases {
        let part = bench.run(case);
        println!("{}", report::tables(std::slice::from_ref(&part)));
        if let Some(out) = &arguments.out {
            std::fs::create_dir_all(out).unwrap();
            let text = serde_json::to_string_pretty(&part).unwrap();
            std::fs::write(out.join(format!("http-{}.json", part.case)), text).unwrap();
        }
    }
}

fn report(whole: &Path, parts: &[PathBuf], page: Option<&Path>) {
    let read = |path: &PathBuf| -> Part {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        report::part(&name, &serde_json::from_str(&text).unwrap())
    };
    let parts: Vec<Part> = parts.iter().map(read).collect();
    std::fs::write(whole, serde_json::to_string_pretty(&report::document(&parts)).unwrap()).unwrap();
    let tables = report::tables(&parts);
    match page {
        None => println!("{tables}"),
        Some(path) => {
            let page = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, report::page_with(&page, &tables).unwrap()).unwrap();
        }
    }
}
