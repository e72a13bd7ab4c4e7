//! A store of several servers: any of them may be the primary tomorrow, and what is true of one must be true of all.

mod cluster;
mod failover;
mod loss;
mod resync;
mod sentinels;
mod servers;

use std::time::Duration;

use super::Entry;
use crate::config::{Config, StoreSource};
use crate::store::{Asked, Examiner, Facts, HostPort, ServerFacts, Servers};

const UNASKED: &str = "ask as an administrator of Redis, or whoever runs it for you";

/// What there is, besides the primary that was asked already.
struct Found {
    servers: Vec<Asked<ServerFacts>>,
    /// Replicas that may take the place of the server that has the state. `None`: nobody knows.
    promotable: Option<usize>,
    /// How soon a silent primary is given up. `None`: nobody knows.
    gives_up: Option<GivesUp>,
    /// Whether a primary that was cut off from the others stops by itself.
    stops_by_itself: bool,
}

impl Found {
    fn said(&self) -> impl Iterator<Item = (&HostPort, &ServerFacts)> {
        self.servers.iter().filter_map(|one| Some((&one.at, one.said.as_ref().ok()?)))
    }

    /// The settings of those that let us ask.
    fn settings(&self) -> impl Iterator<Item = (&HostPort, &Facts)> {
        self.said().filter_map(|(at, facts)| Some((at, facts.settings.as_ref()?)))
    }

    /// The highest of a setting that is a number.
    fn highest(&self, setting: &str) -> Option<u64> {
        self.settings().filter_map(|(_, settings)| number(settings, setting)).max()
    }

    /// Of such a store nothing is known, and nothing can be said.
    fn nobody_answers(&self) -> bool {
        self.said().next().is_none()
    }
}

fn nobody_says(check: &'static str) -> Entry {
    Entry::unchecked(check, "no server says", "see servers.reachable")
}

struct GivesUp {
    after: Duration,
    /// Which setting says so.
    setting: &'static str,
}

/// Nothing, of a store that is one server.
pub(super) async fn look(config: &Config, examiner: &mut Examiner) -> Vec<Entry> {
    let StoreSource::Url(url) = &config.store.source else { return Vec::new() };
    let (mut entries, found) = match &url.servers {
        Servers::One(_) => return Vec::new(),
        Servers::Sentinels { sentinels, .. } => sentinels::look(sentinels, examiner).await,
        Servers::Cluster(_) => cluster::look(examiner).await,
    };
    entries.extend(servers::look(config, &found));
    entries.extend(loss::look(config, &found));
    entries.extend(failover::look(config, &found));
    entries.push(resync::look(&found));
    entries
}

fn text<'a>(facts: &'a Facts, name: &str) -> &'a str {
    facts.get(name).map(String::as_str).unwrap_or_default()
}

fn number(facts: &Facts, name: &str) -> Option<u64> {
    facts.get(name)?.parse().ok()
}

fn address(facts: &Facts, host: &str, port: &str) -> Option<HostPort> {
    Some(HostPort { host: facts.get(host)?.clone(), port: facts.get(port)?.parse().ok()? })
}

/// Those that are not as they should be, for a sentence; nothing where there are none.
fn listed(some: &[String]) -> Option<String> {
    (!some.is_empty()).then(|| some.join("; "))
}
