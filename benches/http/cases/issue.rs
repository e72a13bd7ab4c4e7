//! New tokens, each written to disk with its audit before it is answered.

use super::super::api::Connection;
use super::super::dataset::{Dataset, OTHER};
use super::super::figures::Part;
use super::super::load::{Contestant, Requests, contest, costs, rates};
use super::super::node::Node;
use super::super::peers::Peer;
use super::{Bench, SHORT_STREAMS};

pub fn run(bench: &Bench) -> Part {
    let dataset = bench.small();
    let mut node = bench.node(dataset, "issuer", SHORT_STREAMS);
    let naive = Peer::naive(bench.directory(), &bench.certificate, &dataset.redis.url(), &dataset.keys);
    ready_to_issue(dataset, &mut node);
    let redis = dataset.redis.process.pid();
    let mut ours = regenerates(dataset, &node, "Countermark");
    let mut theirs =
        Contestant::new("naive", &naive.plain, &posts(dataset, "/issue/ACCOUNT"), &[naive.process.pid(), redis]);
    contest(&mut [&mut theirs, &mut ours], bench.rounds, bench.seconds);
    let name = "regenerate, durable";
    Part {
        case: "issue".to_owned(),
        loads: [&theirs, &ours].map(|one| one.load(name)).into(),
        figures: vec![
            rates(&format!("{name}, audit and receipt included: rate to naive issue"), &ours, &theirs).at_least(0.5),
            costs(&format!("{name}: CPU a request to naive issue"), &ours, &theirs),
        ],
    }
}

fn posts(dataset: &Dataset, path: &str) -> Requests {
    Requests::Post { tokens: dataset.others.clone(), path: path.to_owned(), line: OTHER, bearer: dataset.admin.clone() }
}

/// Regenerations of one account after the other.
pub fn regenerates(dataset: &Dataset, node: &Node, name: &str) -> Contestant {
    let pids = [node.process.pid(), dataset.redis.process.pid()];
    Contestant::new(name, &node.plain, &posts(dataset, "/api/v1/accounts/ACCOUNT/token"), &pids)
}

/// An issuer that has just met a store gives no receipt until leases of a former one are over (R4).
pub fn ready_to_issue(dataset: &Dataset, node: &mut Node) {
    let body = serde_json::json!({"valid_for_months": 6});
    node.process.until("receipt", || {
        let mut api = Connection::to(&node.plain);
        let answer = api.call("POST", "/api/v1/accounts/example/token", &dataset.admin, Some(&body));
        (answer.status == 201).then_some(())
    });
}
