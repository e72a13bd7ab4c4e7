//! The end comes in time, whatever goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use super::frames::begun;
use super::scene::Scene;
use super::wire::{Attacker, FOREVER, until_closed};

/// Everything that can be left half done, on connections that stay open.
async fn clings(attacker: &Attacker) -> std::io::Result<()> {
    let mut handshake = attacker.before_tls().await?;
    handshake.write_all(b"\x16\x03\x01\x02\x00").await?;
    let mut head = attacker.plain().await?;
    head.write_all(b"GET /verify HTTP/1.1\r\nHost:").await?;
    let mut body = attacker.plain().await?;
    let half = b"POST /oauth2/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=";
    body.write_all(half).await?;
    let silent = attacker.http2(&[]).await?;
    let mut streams = attacker.http2(&[]).await?;
    let open: Vec<u8> = (0..20).flat_map(|number| begun(number, "/oauth2/revoke")).collect();
    streams.write_all(&open).await?;
    streams.flush().await?;
    attacker.is_there();
    tokio::time::sleep(FOREVER).await;
    drop((handshake, head, body, silent, streams));
    Ok(())
}

#[test]
fn whatever_is_half_done_does_not_outlast_the_drain_timeout() {
    let mut scene = Scene::start("[limits]\ndrain_timeout = \"3s\"\n");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let attacker = Arc::new(Attacker::of(&scene.server));
    let there = Arc::new(tokio::sync::Semaphore::new(0));
    for _ in 0..20 {
        let attacker = attacker.begins(&there);
        runtime.spawn(async move { clings(&attacker).await });
    }
    let all = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), there.acquire_many(20)).await });
    all.unwrap().unwrap().forget();
    let began = Instant::now();
    scene.server.signal(Signal::TERM);
    assert_eq!(scene.server.end().code(), Some(0), "{}", scene.server.log());
    // The store and the audit take a moment of their own; unless it is told, the server gives 20 s.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    runtime.shutdown_background();
}

#[test]
fn who_is_only_there_is_not_waited_for() {
    let mut scene = Scene::start("[limits]\ndrain_timeout = \"20s\"\n");
    let operations = scene.server.document()["operations"].as_str().unwrap().replace("http://", "");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let attacker = Attacker::of(&scene.server);
    let held = runtime.block_on(async {
        let mut head = attacker.plain().await.unwrap();
        head.write_all(b"GET /verify HTTP/1.1\r\nHost:").await.unwrap();
        let mut scrape = tokio::net::TcpStream::connect(operations).await.unwrap();
        scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
        let silent = attacker.http2(&[]).await.unwrap();
        (head, scrape, silent)
    });
    // Asked and answered behind them, so they are there.
    scene.is_well();
    let began = Instant::now();
    scene.server.signal(Signal::TERM);
    assert_eq!(scene.server.end().code(), Some(0), "{}", scene.server.log());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    runtime.block_on(async { until_closed(held.0).await.ok() });
}
