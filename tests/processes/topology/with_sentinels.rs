//! R1 while sentinels put one primary in place of another.

use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use super::failovers::{ALL, BOUNDS, LAG, SOON, Strike, more_receipts, over_sentinels, race};
use super::net::Side;
use super::sentinels::{MASTER, Sentinels, Set};
use crate::machine::Machine;
use crate::race::checker::Bounds;
use crate::race::scene::Scene;

/// Sooner than the fence closes: nothing is to rest on that.
const IMPATIENT: Set = Set { down_after: Duration::from_secs(1), least: 1, lag: LAG };

fn races(strike: impl Fn(&mut Sentinels, &Scene, &'static str), what: &'static str) {
    races_within(&BOUNDS, 1, strike, what);
}

/// `required`: how many replicas confirm.
fn races_within(
    bounds: &Bounds,
    required: u32,
    strike: impl Fn(&mut Sentinels, &Scene, &'static str),
    what: &'static str,
) {
    let machine = Machine::new();
    let all = Sentinels::start(&machine, IMPATIENT);
    let scene = over_sentinels(machine, &all, required);
    let all = Mutex::new(all);
    let strike = |scene: &Scene, what, _: &mut _| {
        let mut all = all.lock().unwrap();
        all.is_whole(SOON);
        strike(&mut all, scene, what);
    };
    race(&scene, bounds, &[Strike { what, strike: &strike }]);
}

#[test]
fn r1_holds_while_a_primary_of_sentinels_is_killed() {
    races(
        |all, scene, what| {
            let primary = all.named().unwrap();
            let disturbed = scene.disturbs(&ALL, what);
            all.servers[primary].end();
            all.replaced(primary, SOON);
            drop(disturbed);
            more_receipts(scene);
            // It comes back as the primary that it was.
            all.servers[primary].begin();
            all.servers[primary].has_begun();
        },
        "the primary is killed",
    );
}

#[test]
fn r1_holds_while_a_primary_of_sentinels_stands_still_and_goes_on() {
    races(
        |all, scene, what| {
            let primary = all.named().unwrap();
            let disturbed = scene.disturbs(&ALL, what);
            all.servers[primary].stands_still();
            all.replaced(primary, SOON);
            drop(disturbed);
            more_receipts(scene);
            all.servers[primary].signal(Signal::CONT);
            more_receipts(scene);
        },
        "the primary stands still",
    );
}

#[test]
fn r1_holds_while_a_primary_of_sentinels_is_cut_off_with_some_of_its_clients() {
    races(
        |all, scene, what| {
            let primary = all.named().unwrap();
            let (with_it, disturbed) = (scene.disturbs(&[0], what), scene.disturbs(&ALL[1..], what));
            all.net.cut(all.servers[primary].joins(Side::default()).and(scene.pid(0), &[]));
            all.replaced(primary, SOON);
            // It may have ended something that the new one lacks, and can't say so.
            scene.forgets(0, 1);
            drop(disturbed);
            // Of those that go with the new one, while one node is still with the old one.
            more_receipts(scene);
            all.net.heal();
            drop(with_it);
            more_receipts(scene);
        },
        "the primary is cut off",
    );
}

fn replaced_by_word(all: &Sentinels, scene: &Scene, what: &'static str) {
    let primary = all.named().unwrap();
    let _disturbed = scene.disturbs(&ALL, what);
    all.sentinels[0].told::<()>(&["SENTINEL", "FAILOVER", MASTER]);
    all.replaced(primary, SOON);
}

#[test]
fn r1_holds_while_a_primary_is_replaced_by_word_to_its_sentinels_where_all_that_may_follow_it_confirm() {
    races_within(&BOUNDS, 2, |all, scene, what| replaced_by_word(all, scene, what), "the primary is replaced by word");
}

/// One replica confirms, and the sentinels may choose the other one.
#[test]
fn r1_exception_a_primary_is_replaced_by_word_to_its_sentinels_and_what_was_given_may_be_lost() {
    let bounds = Bounds { receipts_may_be_lost: true, ..BOUNDS };
    races_within(&bounds, 1, |all, scene, what| replaced_by_word(all, scene, what), "the primary is replaced by word");
}

#[test]
fn r1_and_r2_hold_while_all_servers_and_sentinels_are_started_again() {
    races(
        |all, scene, what| {
            let _disturbed = scene.disturbs(&ALL, what);
            let Sentinels { servers, sentinels, .. } = all;
            servers.iter_mut().chain(sentinels.iter_mut()).for_each(|member| member.end());
            servers.iter_mut().chain(sentinels.iter_mut()).for_each(|member| member.begin());
            let began = scene.now();
            all.is_whole(SOON);
            println!("servers and sentinels are whole after {:.1?}", scene.now() - began);
        },
        "everything is started again",
    );
}
