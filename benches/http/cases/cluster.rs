//! A million accounts on a Redis Cluster of three primaries with a replica each, and what ten million accounts with a thousand
//! nodes would cost, by what was measured.

use std::time::Instant;

use serde_json::json;

use super::super::api::Connection;
use super::super::costs;
use super::super::dataset::Dataset;
use super::super::figures::{Figure, Part, median, number};
use super::super::load::{Contestant, Requests};
use super::super::node::Node;
use super::super::redis_server::{Redis, info_of};
use super::super::simulation::{Scene, simulate};
use super::issue::{ready_to_issue, regenerates};
use super::{Bench, COLD_TOKENS, MANY, SHORT_STREAMS};

/// Accounts that are created over HTTP.
const CREATED: usize = 2_000;
/// Who create them at once.
const CREATORS: usize = 8;
/// Pages of lists, and changes of a role that all accounts have.
const TIMES: usize = 50;

const FEW_CACHED: &str =
    "[cache]\nsignature_bytes = 2147483648\naccount_bytes = 1048576\n[store]\nreplicas_required = 1\n";

pub fn run(bench: &Bench) -> Part {
    let dataset =
        Dataset::on(&bench.directory().join("cluster"), &bench.certificate, MANY, COLD_TOKENS, Redis::cluster);
    let mut part = Part { case: "cluster".to_owned(), ..Part::default() };
    let whole = dataset.redis.info("memory", "used_memory") / MANY as f64;
    part.figures.push(
        Figure::new(
            "cluster: bytes of an account, all that belongs to it, on the server that has the state",
            whole,
            "bytes",
        )
        .of(format!("{} accounts", number(MANY as f64))),
    );
    part.figures.push(Figure::new("cluster: of those, of its state record", dataset.bytes_of_all, "bytes"));

    let mut node = bench.node(&dataset, "cluster", &format!("{SHORT_STREAMS}{FEW_CACHED}"));
    ready_to_issue(&dataset, &mut node);
    part.figures.push(created(&node, &dataset));
    part.figures.extend(pages(&node, &dataset));
    part.figures.push(rotated(&node, &dataset));
    verified(bench, &dataset, &node, &mut part);

    let mut regenerating = regenerates(&dataset, &node, "Countermark, Cluster");
    regenerating.warm(bench.seconds);
    let before = costs::of(&dataset);
    for _ in 0..bench.rounds {
        regenerating.measure(bench.seconds);
    }
    let commit_us = (costs::of(&dataset) - before) * 1e6 / regenerating.requests();
    part.loads.push(regenerating.load("regenerate, one replica confirms"));
    drop(node);

    let costs = costs::measure(&dataset, commit_us);
    part.figures.extend(costs.figures());
    for scene in Scene::all() {
        part.figures.extend(simulate(&scene, &costs).figures(&scene));
    }
    part
}

/// Cold: each verification another account's, looked up.
fn verified(bench: &Bench, dataset: &Dataset, node: &Node, part: &mut Part) {
    let requests = Requests::Cold { tokens: dataset.tokens.clone(), path: "/verify".to_owned(), line: dataset.line };
    let pids = [node.process.pid(), dataset.redis.process.pid()];
    let mut cold = Contestant::new("Countermark, Cluster", &node.plain, &requests, &pids);
    while cold.sent() < COLD_TOKENS as u64 {
        cold.warm(2);
    }
    let ports: Vec<u16> = dataset.redis.shards.iter().map(|(_, port)| *port).collect();
    let counted = |port: &u16| info_of(*port, "stats", "total_commands_processed");
    let state_before = dataset.redis.info("stats", "total_commands_processed");
    let before: Vec<f64> = ports.iter().map(counted).collect();
    let began = Instant::now();
    for _ in 0..bench.rounds {
        cold.measure(bench.seconds);
    }
    let took = began.elapsed().as_secs_f64();
    part.loads.push(cold.load("cold, signatures known"));
    let rate = number(median(cold.rates()));
    let of_state = (dataset.redis.info("stats", "total_commands_processed") - state_before) / took;
    part.figures.push(
        Figure::new("cluster: commands of the server that has the state, those in scripts too", of_state, "1/s")
            .of(format!("{rate} cold verifications a second while it was under load")),
    );
    for (number, (port, before)) in ports.iter().zip(before).enumerate() {
        let what = format!("cluster: commands of another primary ({})", number + 1);
        part.figures.push(Figure::new(what, (counted(port) - before) / took, "1/s"));
        let bytes = info_of(*port, "memory", "used_memory") / 1e6;
        part.figures.push(Figure::new(format!("cluster: memory of another primary ({})", number + 1), bytes, "MB"));
    }
}

fn created(node: &Node, dataset: &Dataset) -> Figure {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for creator in 0..CREATORS {
            scope.spawn(move || {
                let mut api = Connection::to(&node.plain);
                for number in 0..CREATED / CREATORS {
                    let name = format!("created-{creator}-{number}");
                    let body = json!({"username": name, "role": "runner", "valid_for_months": 6});
                    api.call("POST", "/api/v1/accounts", &dataset.admin, Some(&body)).expect(201);
                }
            });
        }
    });
    let rate = CREATED as f64 / began.elapsed().as_secs_f64();
    Figure::new("cluster: accounts created over HTTP, one replica confirms each", rate, "1/s")
        .of(format!("{CREATED} by {CREATORS} at once"))
}

fn pages(node: &Node, dataset: &Dataset) -> Vec<Figure> {
    let mut api = Connection::to(&node.plain);
    [("the first page of 50", "?limit=50"), ("a search for a name", "?query=account-0500000&limit=50")]
        .into_iter()
        .map(|(what, query)| {
            let times = (0..TIMES).map(|_| {
                let began = Instant::now();
                api.call("GET", &format!("/api/v1/accounts{query}"), &dataset.admin, None).expect(200);
                began.elapsed().as_secs_f64() * 1e3
            });
            Figure::new(format!("cluster: {what} of a million accounts"), median(times), "ms")
        })
        .collect()
}

/// A role that all accounts have: from the call to the receipt.
fn rotated(node: &Node, dataset: &Dataset) -> Figure {
    let mut api = Connection::to(&node.plain);
    let times = (0..TIMES).map(|number| {
        let body = json!({"permissions": ["jobs:run", format!("jobs:stop-{number}")]});
        let began = Instant::now();
        api.call("PUT", "/api/v1/roles/runner", &dataset.admin, Some(&body)).expect(200);
        began.elapsed().as_secs_f64() * 1e3
    });
    Figure::new("cluster: a role that a million accounts have, changed, until the receipt", median(times), "ms")
}
