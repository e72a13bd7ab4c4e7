//! Each call another account, of a million.

use super::super::figures::{Figure, Part};
use super::super::load::{Contestant, Requests, contest, costs, rates};
use super::super::node::Node;
use super::super::peers::Peer;
use super::{Bench, COLD_TOKENS, SHORT_STREAMS};

/// Memory for all signatures and next to no account, or the other way round.
const KNOWN: &str = "[cache]\nsignature_bytes = 2147483648\naccount_bytes = 1048576\n";
const UNKNOWN: &str = "[cache]\nsignature_bytes = 0\naccount_bytes = 1048576\n";

/// What the node is shown of each account before it is measured, each time so many seconds long.
const SHOW: u64 = 2;

pub fn run(bench: &Bench) -> Part {
    let dataset = bench.large();
    let asks = Peer::state(bench.directory(), &bench.certificate, &dataset.redis.url());
    let requests =
        |path: &str| Requests::Cold { tokens: dataset.tokens.clone(), path: path.to_owned(), line: dataset.line };
    let redis = dataset.redis.process.pid();
    let of_node = |server: &str, node: &Node| {
        Contestant::new(server, &node.plain, &requests("/verify"), &[node.process.pid(), redis])
    };
    let of_peer =
        || Contestant::new("one GET a request", &asks.plain, &requests("/state/ACCOUNT"), &[asks.process.pid(), redis]);
    let mut part = Part { case: "cold".to_owned(), ..Part::default() };

    let name = "cold, signatures known";
    let node = bench.node(dataset, "cold-known", &format!("{SHORT_STREAMS}{KNOWN}"));
    let before = node.process.resident_kb();
    let (mut ours, mut theirs) = (of_node("Countermark", &node), of_peer());
    while ours.sent() < COLD_TOKENS as u64 {
        ours.warm(SHOW);
    }
    let bytes = (node.process.resident_kb() - before) * 1024.0 / COLD_TOKENS as f64;
    contest(&mut [&mut theirs, &mut ours], bench.rounds, bench.seconds);
    part.loads.extend([&theirs, &ours].map(|one| one.load(name)));
    part.figures.push(rates(&format!("{name}: rate to one GET a request"), &ours, &theirs).at_least(0.9));
    part.figures.push(costs(&format!("{name}: CPU a request to one GET a request"), &ours, &theirs));
    part.figures.push(
        Figure::new("memory of the process for a token whose signature is known", bytes, "bytes")
            .of(format!("{COLD_TOKENS} tokens")),
    );
    drop(node);

    let name = "cold, signatures not known";
    let node = bench.node(dataset, "cold-unknown", &format!("{SHORT_STREAMS}{UNKNOWN}"));
    let (mut ours, mut theirs) = (of_node("Countermark", &node), of_peer());
    contest(&mut [&mut theirs, &mut ours], bench.rounds, bench.seconds);
    part.loads.extend([&theirs, &ours].map(|one| one.load(name)));
    part.figures.push(rates(&format!("{name}: rate to one GET a request"), &ours, &theirs));
    part
}
