//! R1 while a cluster puts one primary in place of another, and slots move from one to the other.

use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use super::cluster::{Cluster, Set};
use super::failovers::{ALL, BOUNDS, LAG, SOON, Strike, more_receipts, over_cluster, race};
use super::net::Side;
use crate::machine::Machine;
use crate::race::dice::Dice;
use crate::race::scene::Scene;

const IMPATIENT: Set = Set { node_timeout: Duration::from_secs(1), least: 1, lag: LAG };

type Of<'a> = (&'static str, &'a dyn Fn(&mut Cluster, &Scene, &'static str));

fn races(strikes: &[Of<'_>]) {
    let machine = Machine::new();
    let all = Cluster::start(&machine, IMPATIENT);
    let scene = over_cluster(machine, &all);
    let all = Mutex::new(all);
    let whole = |strike: &dyn Fn(&mut Cluster, &Scene, &'static str), scene: &Scene, what| {
        let mut all = all.lock().unwrap();
        all.is_whole(SOON);
        strike(&mut all, scene, what);
    };
    let strikes: Vec<_> = strikes
        .iter()
        .map(|(what, strike)| {
            (*what, move |scene: &Scene, what: &'static str, _: &mut Dice| whole(strike, scene, what))
        })
        .collect();
    let strikes: Vec<Strike<'_>> = strikes.iter().map(|(what, strike)| Strike { what, strike }).collect();
    race(&scene, &BOUNDS, &strikes);
}

/// Who has the state of accounts.
fn primary(all: &Cluster) -> usize {
    all.serves(all.state_slot()).unwrap()
}

/// One of its replicas is told to take its place.
fn replaced(all: &Cluster, scene: &Scene, what: &'static str, how: &[&str]) {
    let primary = primary(all);
    let replica = all.replicas(primary)[0];
    let _disturbed = scene.disturbs(&ALL, what);
    all.members[replica].told::<()>(&[&["CLUSTER", "FAILOVER"], how].concat());
    all.replaced(all.state_slot(), primary, SOON);
}

#[test]
fn r1_holds_while_a_primary_of_a_cluster_is_killed_or_stands_still_and_goes_on() {
    races(&[
        ("the primary is killed", &|all, scene, what| {
            let primary = primary(all);
            let disturbed = scene.disturbs(&ALL, what);
            all.members[primary].end();
            all.replaced(all.state_slot(), primary, SOON);
            drop(disturbed);
            more_receipts(scene);
            all.members[primary].begin();
            all.members[primary].has_begun();
        }),
        ("the primary stands still", &|all, scene, what| {
            let primary = primary(all);
            let disturbed = scene.disturbs(&ALL, what);
            all.members[primary].stands_still();
            all.replaced(all.state_slot(), primary, SOON);
            drop(disturbed);
            more_receipts(scene);
            all.members[primary].signal(Signal::CONT);
        }),
    ]);
}

#[test]
fn r1_holds_while_a_primary_of_a_cluster_is_cut_off_with_some_of_its_clients() {
    let cut = |all: &mut Cluster, scene: &Scene, what, replaces: &dyn Fn(&Cluster, usize)| {
        let primary = primary(all);
        let replica = all.replicas(primary)[0];
        let (with_it, disturbed) = (scene.disturbs(&[0], what), scene.disturbs(&ALL[1..], what));
        all.net.cut(all.members[primary].joins(Side::default()).and(scene.pid(0), &[]));
        replaces(all, replica);
        all.replaced(all.state_slot(), primary, SOON);
        // It may have ended something that the new one lacks, and can't say so.
        scene.forgets(0, 1);
        drop(disturbed);
        more_receipts(scene);
        all.net.heal();
        drop(with_it);
    };
    races(&[
        ("the primary is cut off", &|all, scene, what| cut(all, scene, what, &|_, _| {})),
        // Nobody waits for anything, nor asks the others.
        ("the primary is cut off, and its place taken at once", &|all, scene, what| {
            cut(all, scene, what, &|all, replica| all.members[replica].told(&["CLUSTER", "FAILOVER", "TAKEOVER"]));
        }),
    ]);
}

#[test]
fn r1_holds_while_a_primary_of_a_cluster_is_replaced_by_word() {
    races(&[
        ("CLUSTER FAILOVER", &|all, scene, what| replaced(all, scene, what, &[])),
        ("CLUSTER FAILOVER FORCE", &|all, scene, what| replaced(all, scene, what, &["FORCE"])),
        ("CLUSTER FAILOVER TAKEOVER", &|all, scene, what| replaced(all, scene, what, &["TAKEOVER"])),
    ]);
}

#[test]
fn r1_holds_while_the_slots_of_the_state_and_of_the_audit_move_to_another_primary() {
    races(&[
        ("the slot of the state moves", &|all, scene, what| {
            let _disturbed = scene.disturbs(&ALL, what);
            all.moves(all.state_slot());
        }),
        // Nobody who verifies notices.
        ("the slot of a shard of the audit moves", &|all, _, _| all.moves(all.slot("{cm:a0}:log"))),
    ]);
}

#[test]
fn r1_and_r2_hold_while_the_whole_cluster_is_started_again() {
    races(&[("everything is started again", &|all, scene, what| {
        let _disturbed = scene.disturbs(&ALL, what);
        all.members.iter_mut().for_each(|member| member.end());
        all.members.iter_mut().for_each(|member| member.begin());
        all.is_whole(SOON);
    })]);
}
