//! What is done to nodes, to Redis and to the wires between them.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::callers::Queue;
use super::dice::Dice;
use super::history::Verification;
use super::scene::{NODES, Scene};
use crate::faults::proxy::{Way, Wire};
use crate::until::stand_still;

pub struct Fault {
    pub what: &'static str,
    /// Begins, lasts, and ends; what callers heard whom it had wait meanwhile.
    pub strike: fn(&Scene, &mut Dice) -> Vec<Verification>,
    /// How long it takes until there are receipts again.
    pub settles: Duration,
}

const fn fault(what: &'static str, strike: fn(&Scene, &mut Dice) -> Vec<Verification>) -> Fault {
    Fault { what, strike, settles: Duration::from_secs(3) }
}

pub const OF_NODES: [Fault; 2] = [fault("a node is paused", node_is_paused), fault("a node is killed", node_is_killed)];

pub const OF_REDIS: [Fault; 3] = [
    fault("Redis pauses its clients", redis_pauses_its_clients),
    fault("Redis is stopped", redis_is_stopped),
    // Whoever meets another Redis than before lets all leases run out that there may be (R4).
    Fault { settles: Duration::from_secs(6), ..fault("Redis is killed", redis_is_killed) },
];

pub const OF_WIRES: [Fault; 6] = [
    fault("all connections of a node are cut", connections_are_cut),
    fault("a node is refused", node_is_refused),
    fault("one connection is cut", one_connection_is_cut),
    fault("answers are late", answers_are_late),
    fault("a node is in a black hole", node_is_in_a_black_hole),
    fault("one connection is in a black hole", one_connection_is_in_a_black_hole),
];

pub const ANYTHING: Fault = fault("anything", anything);

const ALL: [usize; NODES] = [0, 1, 2];

/// Longer than a lease, or just as long, or shorter.
fn a_while(dice: &mut Dice) -> Duration {
    dice.between(200, 1_600)
}

fn anything(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    let all: Vec<&Fault> = OF_NODES.iter().chain(&OF_REDIS).chain(&OF_WIRES).collect();
    (dice.of(&all).strike)(scene, dice)
}

fn node_is_paused(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    let number = dice.below(NODES);
    let server = scene.nodes[number].server.lock().unwrap();
    let queue = {
        let _disturbed = scene.disturbs(&[number], "paused");
        stand_still(server.pid());
        let queue = Queue::fill(scene, number, 60, a_while(dice), dice);
        server.signal(Signal::CONT);
        queue
    };
    queue.read(scene)
}

fn node_is_killed(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    let number = dice.below(NODES);
    let mut server = scene.nodes[number].server.lock().unwrap();
    let _disturbed = scene.disturbs(&[number], "killed, or stopped");
    // One that is told to stop says goodbye.
    server.signal(if dice.one_in(3) { Signal::TERM } else { Signal::KILL });
    server.end();
    sleep(dice.between(0, 1_000));
    *server = scene.start(number).ready();
    Vec::new()
}

fn redis_pauses_its_clients(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    let redis = scene.redis();
    let _disturbed = scene.disturbs(&ALL, "Redis pauses its clients");
    let lasts = a_while(dice);
    let whom = dice.of(&["ALL", "WRITE"]);
    let mut command = redis::cmd("CLIENT");
    command.arg("PAUSE").arg(lasts.as_millis() as u64).arg(whom).exec(&mut redis.connection()).unwrap();
    sleep(lasts);
    Vec::new()
}

fn redis_is_stopped(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    let redis = scene.redis();
    let _disturbed = scene.disturbs(&ALL, "Redis is stopped");
    redis.signal(Signal::STOP);
    sleep(a_while(dice));
    redis.signal(Signal::CONT);
    Vec::new()
}

fn redis_is_killed(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    let mut redis = scene.redis();
    let _disturbed = scene.disturbs(&ALL, "Redis is killed");
    redis.end();
    sleep(dice.between(0, 800));
    redis.again(&[]);
    Vec::new()
}

fn connections_are_cut(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    at_a_node(scene, dice, "all its connections are cut", |number, _| {
        let wire = scene.nodes[number].wire();
        wire.cut(&wire.ports());
    })
}

fn node_is_refused(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    at_a_node(scene, dice, "its store refuses it", |number, dice| {
        scene.nodes[number].wire().becomes(Wire::Refusing);
        sleep(a_while(dice));
        scene.nodes[number].wire().becomes(Wire::Sound);
    })
}

fn one_connection_is_cut(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    at_a_node(scene, dice, "one of its connections is cut", |number, dice| {
        let one = one_connection(scene, number, dice);
        scene.nodes[number].wire().cut(one.as_slice());
    })
}

fn answers_are_late(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    at_a_node(scene, dice, "its answers are late", |number, dice| {
        let (wire, by) = (scene.nodes[number].wire(), dice.between(20, 900));
        match dice.below(3) {
            0 => wire.becomes(Wire::Late(by)),
            1 => one_connection(scene, number, dice).iter().for_each(|port| wire.one_becomes(*port, Wire::Late(by))),
            // Without a lease, what is looked up comes after the changes that followed it.
            _ => {
                let feed = feed_readers(scene);
                let others = wire.ports().into_iter().filter(|port| !feed.contains(port));
                others.for_each(|port| wire.one_becomes(port, Wire::Late(by)));
            }
        }
        sleep(dice.between(500, 2_000));
        wire.becomes(Wire::Sound);
    })
}

fn node_is_in_a_black_hole(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    at_a_node(scene, dice, "a black hole", |number, dice| {
        let wire = scene.nodes[number].wire();
        wire.becomes(Wire::Held(dice.of(&[Way::There, Way::Back, Way::Both])));
        end_hold(scene, number, dice);
    })
}

fn one_connection_is_in_a_black_hole(scene: &Scene, dice: &mut Dice) -> Vec<Verification> {
    at_a_node(scene, dice, "a black hole on one connection", |number, dice| {
        let Some(port) = one_connection(scene, number, dice) else { return };
        scene.nodes[number].wire().one_becomes(port, Wire::Held(dice.of(&[Way::There, Way::Back, Way::Both])));
        end_hold(scene, number, dice);
    })
}

/// What is held comes late, or never.
fn end_hold(scene: &Scene, number: usize, dice: &mut Dice) {
    let wire = scene.nodes[number].wire();
    sleep(a_while(dice));
    if dice.one_in(3) {
        wire.cut(&wire.ports());
    }
    wire.becomes(Wire::Sound);
}

fn at_a_node(
    scene: &Scene,
    dice: &mut Dice,
    what: &'static str,
    strike: impl Fn(usize, &mut Dice),
) -> Vec<Verification> {
    let number = dice.below(NODES);
    let _server = scene.nodes[number].server.lock().unwrap();
    let _disturbed = scene.disturbs(&[number], what);
    strike(number, dice);
    Vec::new()
}

/// Any connection of a node, and every other time the one on which it follows the feed.
fn one_connection(scene: &Scene, number: usize, dice: &mut Dice) -> Option<u16> {
    let mut ports = scene.nodes[number].wire().ports();
    if dice.one_in(2) {
        let readers = feed_readers(scene);
        let reading: Vec<u16> = ports.iter().filter(|port| readers.contains(port)).copied().collect();
        if !reading.is_empty() {
            ports = reading;
        }
    }
    (!ports.is_empty()).then(|| dice.of(&ports))
}

/// The ports by which Redis knows those who wait for the feed.
fn feed_readers(scene: &Scene) -> Vec<u16> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", scene.feeds()[0])).unwrap();
    let Ok(mut connection) = client.get_connection_with_timeout(Duration::from_millis(100)) else { return Vec::new() };
    connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection).unwrap_or_default();
    let port =
        |line: &str| line.split(' ').find_map(|word| word.strip_prefix("addr="))?.rsplit(':').next()?.parse().ok();
    list.lines().filter(|line| line.contains(" cmd=xread ")).filter_map(port).collect()
}
