//! The topologies do by themselves what the other tests rely on.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::net::Side;
use super::sentinels::Sentinels;
use super::{cluster, sentinels};
use crate::machine::Machine;
use crate::until::until;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_primary_that_is_cut_off_is_replaced_by_sentinels_refuses_and_follows_when_it_is_back() {
    let machine = Machine::new();
    let set = sentinels::Set { down_after: Duration::from_secs(1), least: 1, lag: 1 };
    let all = Sentinels::start(&machine, set);
    let primary = all.is_whole(SOON);
    let began = Instant::now();
    all.net.cut(all.servers[primary].joins(Side::default()));
    let next = all.replaced(primary, SOON);
    println!("replaced after {:?}", began.elapsed());
    until(SOON, "a fence", || {
        let error = all.servers[primary].ask::<String>(&["SET", "x", "y"]);
        error.is_none().then_some(())
    });
    println!("refuses after {:?}", began.elapsed());
    assert!(all.servers[primary].is_primary(), "nobody could tell it");
    all.net.heal();
    assert_eq!(all.is_whole(SOON), next);
    println!("whole after {:?}", began.elapsed());
}

#[test]
fn a_primary_that_is_cut_off_is_replaced_by_the_cluster_and_follows_when_it_is_back() {
    let machine = Machine::new();
    let set = cluster::Set { node_timeout: Duration::from_secs(1), least: 1, lag: 1 };
    let all = Cluster::start(&machine, set);
    let slot = all.slot("{cm}:meta");
    let primary = all.serves(slot).unwrap();
    let began = Instant::now();
    all.net.cut(all.members[primary].joins(Side::default()));
    let next = all.replaced(slot, primary, SOON);
    println!("replaced after {:?}", began.elapsed());
    all.net.heal();
    all.is_whole(SOON);
    assert_eq!(all.serves(slot), Some(next));
    println!("whole after {:?}", began.elapsed());
}
