//! How soon a node is of use, and what it takes up while it is of none.

use std::time::Duration;

use super::super::figures::{Figure, Part, median};
use super::super::node::{Node, Start};
use super::Bench;

const STARTS: usize = 5;

pub fn run(bench: &Bench) -> Part {
    let dataset = bench.large();
    let token = dataset.first_tokens(1).remove(0);
    let store = dataset.redis.url();
    let mut resident = Vec::new();
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|number| {
            let name = format!("start-{number}");
            let start = Start {
                directory: &dataset.directory,
                name: &name,
                store: &store,
                certificate: &bench.certificate,
                settings: "",
            };
            let node = Node::start_and_verify(&start, &token);
            // What it only needs to start is given back, or not, within moments.
            std::thread::sleep(Duration::from_secs(2));
            resident.push(node.process.resident_kb() / 1024.0);
            node.took
        })
        .collect();
    times.sort();
    let (seconds, most) = (median(times.iter().map(Duration::as_secs_f64)), times[times.len() - 1].as_secs_f64());
    let first =
        Figure::new("from a node's start to its first verification, 1,000,000 accounts in the store", seconds, "s")
            .of(format!("{STARTS} starts, the slowest {most:.3} s"));
    Part {
        case: "start".to_owned(),
        loads: Vec::new(),
        figures: vec![first.at_most(1.0), Figure::new("idle node, resident", median(resident), "MB").at_most(30.0)],
    }
}
