//! More connections than there are places, which do nothing, or something very slowly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::Scene;
use super::wire::{Attacker, Stream, until_closed, verifies_on};
use crate::effort::rounds;

/// A tenth more attackers than places.
fn crowd() -> (usize, Scene) {
    let places = rounds(2_000, 18_000);
    // It takes longer to open many than a server is patient.
    let patience =
        "head_timeout = \"200s\"\nhandshake_timeout = \"200s\"\nbody_timeout = \"200s\"\nidle_timeout = \"200s\"\n";
    (places + places / 10, Scene::start(&format!("[limits]\nconnections = {places}\n{patience}")))
}

/// So many megabytes for each thousand of them.
fn megabytes(attackers: usize, each_thousand: u64) -> u64 {
    u64::try_from(attackers.div_ceil(1_000)).unwrap() * each_thousand
}

/// One byte after the other, for ever.
async fn drips(stream: impl Stream) -> std::io::Result<()> {
    let (reading, mut writing) = tokio::io::split(stream);
    tokio::select! {
        closed = until_closed(reading) => closed,
        failed = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                writing.write_all(b"x").await?;
                writing.flush().await?;
            }
        } => failed,
    }
}

#[test]
fn idle_connections_from_one_address() {
    let (attackers, scene) = crowd();
    scene.endures(attackers, megabytes(attackers, 36), async |attacker: Arc<Attacker>| {
        let stream = attacker.plain().await?;
        attacker.is_there();
        until_closed(stream).await
    });
    scene.was_full();
}

#[test]
fn idle_connections_over_tls_from_many_addresses() {
    let (attackers, scene) = crowd();
    let from = Arc::new(AtomicU8::new(0));
    scene.endures(attackers, megabytes(attackers, 52), move |attacker: Arc<Attacker>| {
        let attacker = attacker.at([127, 0, 1, from.fetch_add(1, Ordering::Relaxed)]);
        async move {
            let stream = attacker.http1().await?;
            attacker.is_there();
            until_closed(stream).await
        }
    });
    scene.was_full();
}

#[test]
fn half_a_handshake() {
    let (attackers, scene) = crowd();
    scene.endures(attackers, megabytes(attackers, 36), async |attacker: Arc<Attacker>| {
        let mut stream = attacker.before_tls().await?;
        // A ClientHello of 512 bytes, of which a few come.
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?;
        attacker.is_there();
        drips(stream).await
    });
    scene.was_full();
}

#[test]
fn heads_that_drip() {
    let (attackers, scene) = crowd();
    scene.endures(attackers, megabytes(attackers, 36), async |attacker: Arc<Attacker>| {
        let mut stream = attacker.plain().await?;
        stream.write_all(b"GET /verify HTTP/1.1\r\nHost: localhost\r\nX-Long: ").await?;
        attacker.is_there();
        drips(stream).await
    });
    scene.was_full();
}

#[test]
fn bodies_that_drip() {
    let (attackers, scene) = crowd();
    scene.endures(attackers, megabytes(attackers, 52), async |attacker: Arc<Attacker>| {
        let mut stream = attacker.plain().await?;
        let head = "POST /oauth2/revoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=";
        stream.write_all(head.as_bytes()).await?;
        attacker.is_there();
        drips(stream).await
    });
    scene.was_full();
}

#[test]
fn great_heads_that_do_not_end() {
    let places = rounds(1_000, 10_000);
    let scene = Scene::start(&format!("[limits]\nconnections = {places}\n"));
    let head = Arc::new(format!("GET /verify HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(32_000)));
    // What was sent is kept until the time for a head is over: that, and a buffer that may be twice as large.
    scene.endures(places + places / 10, megabytes(places, 120), move |attacker: Arc<Attacker>| {
        let head = Arc::clone(&head);
        async move {
            let mut stream = attacker.plain().await?;
            stream.write_all(head.as_bytes()).await?;
            attacker.is_there();
            until_closed(stream).await
        }
    });
    scene.was_full();
}

#[test]
fn who_connects_and_goes_at_once() {
    let scene = Scene::start("[limits]\nconnections = 200\n");
    scene.endures(200, 48, async |attacker: Arc<Attacker>| {
        for _ in 0..20 {
            drop(attacker.before_tls().await?);
            let mut stream = attacker.plain().await?;
            stream.write_all(b"GET /verify HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        }
        attacker.is_there();
        let mut stream = attacker.plain().await?;
        stream.write_all(b"\0").await?;
        stream.read_u8().await.map(drop)
    });
}

#[test]
fn guesses_as_fast_as_they_are_answered() {
    let scene = Scene::start("");
    let forged = Arc::new(scene.forged());
    scene.endures(100, 32, move |attacker: Arc<Attacker>| {
        let forged = Arc::clone(&forged);
        async move {
            let mut stream = attacker.http1().await?;
            for number in 0_u64.. {
                let status = verifies_on(&mut stream, &forged).await?;
                assert!(status == 401 || status == 429, "{status}");
                if number == 10 {
                    attacker.is_there();
                }
            }
            Ok(())
        }
    });
}

#[test]
fn idle_connections_on_the_operations_port() {
    let scene = Scene::start("");
    let address = scene.server.document()["operations"].as_str().unwrap().replace("http://", "");
    // It has a hundred places of its own, and whoever asks whether all is well is as much a stranger as anybody else there.
    let held: Vec<_> = (0..150).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    for _ in 0..5 {
        scene.is_well();
    }
    drop(held);
}
