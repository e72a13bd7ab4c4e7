//! What a thousand times as many accounts cost: 1,000 beside 1,000,000.

use super::super::dataset::Dataset;
use super::super::figures::{Figure, Part, number};
use super::super::load::{Contestant, Requests, compare, contest};
use super::issue::{ready_to_issue, regenerates};
use super::{Bench, FEW_TOKENS, SHORT_STREAMS};

/// Every verification asks the store.
const NO_MEMORY: &str = "max_staleness = \"0\"\n";

pub fn run(bench: &Bench) -> Part {
    let (small, large) = (bench.small(), bench.large());
    let mut part = Part { case: "flat".to_owned(), ..Part::default() };
    let bytes = Figure::new("state record of one account among 1,000,000", large.bytes_of_all, "bytes")
        .of("used_memory before and after")
        .at_most(240.0);
    part.figures.push(bytes);
    let grown =
        compare("bytes of a state record", "bytes (MEMORY USAGE)", &[large.bytes_of_one], &[small.bytes_of_one]);
    part.figures.push(grown.at_most(1.2));

    let settings = format!("{NO_MEMORY}{SHORT_STREAMS}");
    let mut nodes = [small, large].map(|dataset| (dataset, bench.node(dataset, "flat", &settings)));
    // As many tokens of the one as of the other, so that their signatures are known soon.
    let name = |dataset: &Dataset| format!("Countermark, {} accounts", number(dataset.size as f64));
    let mut asking = nodes.each_ref().map(|(dataset, node)| {
        let requests = Requests::Hot { tokens: dataset.first_lines(FEW_TOKENS), path: "/verify".to_owned() };
        let pids = [node.process.pid(), dataset.redis.process.pid()];
        Contestant::new(&name(dataset), &node.plain, &requests, &pids)
    });
    let [few, many] = &mut asking;
    contest(&mut [few, many], bench.rounds, bench.seconds);
    part.loads.extend(asking.iter().map(|one| one.load("each verification looked up")));
    let [few, many] = &asking;
    let (few, many) = (few.costs_in_the_end(), many.costs_in_the_end());
    part.figures.push(compare("CPU of a verification that asks the store", "µs", &many, &few).at_most(1.2));

    nodes.iter_mut().for_each(|(dataset, node)| ready_to_issue(dataset, node));
    let mut issuing = nodes.each_ref().map(|(dataset, node)| regenerates(dataset, node, &name(dataset)));
    let [few, many] = &mut issuing;
    contest(&mut [few, many], bench.rounds, bench.seconds);
    part.loads.extend(issuing.iter().map(|one| one.load("regenerate")));
    let seconds = |one: &Contestant| one.rates().iter().map(|rate| 1e6 / rate).collect::<Vec<_>>();
    let [few, many] = issuing.each_ref().map(seconds);
    part.figures.push(compare("time of a regeneration", "µs", &many, &few).at_most(1.2));
    part
}
