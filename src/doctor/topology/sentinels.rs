//! What the sentinels know, and whether they can do what they are there for.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Found, GivesUp, address, listed, number, text};
use crate::doctor::Entry;
use crate::store::{Asked, Examiner, Facts, HostPort, SentinelFacts};

/// Fewer can't outvote one that is cut off, or do without one.
const FEWEST: usize = 3;

pub(super) async fn look(named: &[HostPort], examiner: &mut Examiner) -> (Vec<Entry>, Found) {
    let asked = examiner.sentinels().await;
    let said: Vec<(&HostPort, &SentinelFacts)> =
        asked.iter().filter_map(|one| Some((&one.at, one.said.as_ref().ok()?))).collect();
    let entries = vec![reachable(&asked), agree(&said), quorum(named, &said), patience(&said)];
    // Who knows the latest failover knows the servers as well.
    let latest = said.iter().max_by_key(|(_, facts)| number(&facts.primary, "config-epoch")).map(|(_, facts)| *facts);
    let all: Vec<HostPort> = latest.map(servers).unwrap_or_default();
    let may_lead = |replica: &&Facts| text(replica, "slave-priority") != "0";
    let promotable = latest.map(|facts| facts.replicas.iter().filter(may_lead).count());
    let after = said.iter().filter_map(|(_, facts)| number(&facts.primary, "down-after-milliseconds")).min();
    let gives_up = after.map(|after| GivesUp {
        after: Duration::from_millis(after),
        setting: "down-after-milliseconds of the sentinels",
    });
    let servers = examiner.servers(&all).await;
    (entries, Found { servers, promotable, gives_up, stops_by_itself: false })
}

fn servers(facts: &SentinelFacts) -> Vec<HostPort> {
    let all = [&facts.primary].into_iter().chain(&facts.replicas);
    all.filter_map(|one| address(one, "ip", "port")).collect()
}

fn reachable(asked: &[Asked<SentinelFacts>]) -> Entry {
    const CHECK: &str = "sentinels.reachable";
    let away: Vec<String> =
        asked.iter().filter_map(|one| Some(format!("{}: {}", one.at, one.said.as_ref().err()?))).collect();
    match listed(&away) {
        None => Entry::ok(CHECK, format!("{} sentinels answer", asked.len())),
        Some(away) => Entry::finding(
            CHECK,
            away,
            "they are what says which server is the primary: when the last one that is named is away, nobody finds a new one",
            "start it, correct its address in store.url, or let the user ask (store.sentinel_user, store.sentinel_password_file: \
             +sentinel|master +sentinel|get-master-addr-by-name +sentinel|replicas +sentinel|sentinels)",
        ),
    }
}

fn agree(said: &[(&HostPort, &SentinelFacts)]) -> Entry {
    const CHECK: &str = "sentinels.agree";
    let primaries: BTreeSet<HostPort> =
        said.iter().filter_map(|(_, facts)| address(&facts.primary, "ip", "port")).collect();
    let down: Vec<String> = said
        .iter()
        .filter(|(_, facts)| text(&facts.primary, "flags") != "master")
        .map(|(at, facts)| format!("{at} says of the primary: {}", text(&facts.primary, "flags")))
        .collect();
    let names: Vec<String> = primaries.iter().map(HostPort::to_string).collect();
    match (names.as_slice(), listed(&down)) {
        ([one], None) => Entry::ok(CHECK, format!("{one} is the primary")),
        ([] | [_], Some(down)) => Entry::finding(
            CHECK,
            down,
            "a failover is due, or the sentinel can't see what we see",
            "look at the primary, and at the network between it and the sentinel",
        ),
        ([], None) => Entry::unchecked(CHECK, "no sentinel says", "see sentinels.reachable"),
        (several, _) => Entry::finding(
            CHECK,
            format!("they name different primaries: {}", several.join(", ")),
            "one of them knows nothing of a failover: whoever asks it alone is sent to a server that was replaced",
            "look at the network between the sentinels; `SENTINEL RESET NAME` on the one that is wrong lets it look anew",
        ),
    }
}

fn quorum(named: &[HostPort], said: &[(&HostPort, &SentinelFacts)]) -> Entry {
    const CHECK: &str = "sentinels.quorum";
    let Some(known) = said.iter().map(|(_, facts)| facts.others.len() + 1).max() else {
        return Entry::unchecked(CHECK, "no sentinel says", "see sentinels.reachable");
    };
    let quorums: BTreeSet<u64> = said.iter().filter_map(|(_, facts)| number(&facts.primary, "quorum")).collect();
    let shown = quorums.iter().map(u64::to_string).collect::<Vec<_>>().join(" or ");
    let seen = format!("there are {known} sentinels, {} of them in store.url; their quorum is {shown}", named.len());
    if known < FEWEST {
        return Entry::finding(
            CHECK,
            seen,
            "when one is gone with the primary, the rest is no majority: nobody is promoted, and everything is answered with 503",
            "run at least three sentinels, on machines that don't fail together",
        );
    }
    let majority = known as u64 / 2 + 1;
    if quorums.iter().any(|quorum| *quorum < majority) || quorums.len() > 1 {
        return Entry::finding(
            CHECK,
            seen,
            "fewer than half may declare the primary down: a failover that nobody needs loses what no replica has",
            format!("SENTINEL SET NAME quorum {majority}, on each"),
        );
    }
    if quorums.iter().any(|quorum| *quorum > majority) {
        return Entry::notice(
            CHECK,
            seen,
            format!("quorum {majority} would do: with more, fewer sentinels may be away"),
        );
    }
    if named.len() < known.min(FEWEST) {
        return Entry::notice(
            CHECK,
            seen,
            "name at least three of them in store.url: whoever starts needs one that is there",
        );
    }
    Entry::ok(CHECK, seen)
}

/// They need not agree on it, and then the most impatient one counts.
fn patience(said: &[(&HostPort, &SentinelFacts)]) -> Entry {
    const CHECK: &str = "sentinels.settings";
    let all: BTreeSet<u64> =
        said.iter().filter_map(|(_, facts)| number(&facts.primary, "down-after-milliseconds")).collect();
    let shown = all.iter().map(u64::to_string).collect::<Vec<_>>().join(" or ");
    match all.len() {
        0 => Entry::unchecked(CHECK, "no sentinel says", "see sentinels.reachable"),
        1 => Entry::ok(CHECK, format!("down-after-milliseconds is {shown}")),
        _ => Entry::finding(
            CHECK,
            format!("down-after-milliseconds is {shown}"),
            "how soon a primary is given up depends on which sentinels are there",
            "SENTINEL SET NAME down-after-milliseconds, the same on each",
        ),
    }
}
