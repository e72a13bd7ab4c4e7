//! What a decision costs in one process, with all that it consults in memory: time, allocations, bytes and instructions, beside
//! the floors below it and what anyone would write. `scripts/bench` runs it; it prints a table, and writes a JSON file where
//! `COUNTERMARK_BENCH_OUT` names one.
//!
//! `cargo bench --bench memory -- [--rounds N] [--tokens N]` measures; `… --instructions` only counts instructions.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers"
)]

mod cases;
mod counting;
#[path = "../http/figures.rs"]
#[allow(dead_code, reason = "the other parts' as well")]
mod figures;
mod instructions;
mod issuing;
mod naive;
mod node;
mod refusals;
#[path = "../http/report.rs"]
#[allow(dead_code, reason = "the other parts' as well")]
mod report;
mod room;
mod rounds;
mod signers;

use clap::Parser;

use figures::Part;
use node::Node;
use signers::Signers;

#[global_allocator]
static COUNTING: counting::Counting = counting::Counting;

#[derive(Debug, Parser)]
#[command(name = "memory")]
struct Arguments {
    /// Times that each case is measured.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Tokens of the large set.
    #[arg(long, default_value_t = 1_000_000)]
    tokens: usize,
    /// Counts instructions, and measures nothing else.
    #[arg(long)]
    instructions: bool,
    /// What valgrind is given to run: one case, so many times.
    #[arg(long, hide = true, num_args = 2, value_names = ["CASE", "TIMES"])]
    counted: Option<Vec<String>>,
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
    if let Some(counted) = &arguments.counted {
        return instructions::run(&counted[0], counted[1].parse().unwrap());
    }
    let mut part = Part { case: "memory".to_owned(), ..Part::default() };
    if !arguments.instructions {
        let signers = Signers::new();
        let node = Node::new(&signers);
        let large = room::fill(&node, &signers.eddsa, arguments.tokens);
        part.figures.extend(cases::measured(&node, &signers, &large, arguments.rounds));
        part.figures.extend(large.figures());
    }
    part.figures.extend(instructions::figures());
    println!("{}", report::tables(std::slice::from_ref(&part)));
    if let Some(path) = std::env::var_os("COUNTERMARK_BENCH_OUT") {
        std::fs::write(path, serde_json::to_string_pretty(&part).unwrap()).unwrap();
    }
}
