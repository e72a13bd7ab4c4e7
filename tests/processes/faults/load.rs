//! A thousand calls that meet a store which does not answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::footprint::Footprint;
use super::proxy::Wire;
use super::scene::Scene;
use crate::effort::rounds;
use crate::until::leases_end;

const CALLS: usize = 1_000;
/// What is promised, and what sending and reading so many from one thread takes on a busy machine.
const BOUND: Duration = Duration::from_secs(2);
const NOISE: Duration = Duration::from_secs(1);
/// Kilobytes that so many calls may take.
const ROOM: u64 = 320 * 1024;

fn connect(scene: &Scene) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", scene.server.port(0))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn a_thousand_calls_at_once_are_all_refused_in_time_and_cost_little() {
    let scene = Scene::on_redis(&[]);
    let before = Footprint::at_rest(&scene);
    let request =
        format!("GET /verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n", scene.good);
    for round in 0..rounds(2, 20) {
        let mut calls: Vec<TcpStream> = (0..CALLS).map(|_| connect(&scene)).collect();
        if round % 2 == 0 {
            scene.redis.stands_still();
        } else {
            scene.proxy.becomes(Wire::Endless(b"+words without an end "));
        }
        leases_end(Instant::now());
        let began = Instant::now();
        for call in &mut calls {
            call.write_all(request.as_bytes()).unwrap();
        }
        for (number, call) in calls.iter_mut().enumerate() {
            let mut answer = String::new();
            call.read_to_string(&mut answer).unwrap();
            let head = answer.to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 503 ") && head.contains("retry-after: 1\r\n"), "{number}: {answer}");
            assert!(head.contains("\"store_unavailable\""), "{number}: {answer}");
        }
        assert!(began.elapsed() < BOUND + NOISE, "{:?}", began.elapsed());
        println!("{CALLS} refused within {:?}", began.elapsed());
        scene.redis.signal(Signal::CONT);
        scene.proxy.becomes(Wire::Sound);
        let took = scene.recovers(Duration::from_secs(3), "a thousand calls");
        println!("well after {took:?}");
    }
    let peak = Footprint::peak(&scene);
    println!("{before:?}, at the most {peak} kB");
    assert!(peak < before.memory + ROOM, "{before:?}, at the most {peak} kB");
    before.is_reached_again(&scene);
}
