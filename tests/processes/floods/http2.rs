//! What HTTP/2 lets a single connection do to a server. Whoever is thrown out comes back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NO_WINDOW, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, begun,
    field, frame, head, indexed, remembered, request, stream,
};
use super::scene::Scene;
use super::wire::{Attacker, Connection, FOREVER, until_closed};
use crate::effort::rounds;

/// Those who hold something.
fn holders() -> usize {
    rounds(50, 150)
}

/// Those who keep the server busy.
fn busy() -> usize {
    rounds(4, 32)
}

/// A request with an invalid token.
fn guess(number: u32) -> Vec<u8> {
    let fields = [head("GET", "/verify"), field("authorization", "Bearer e30.e30.e30")].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &fields)
}

/// Writes one thing after the other until the other side ends it, and reads whatever comes.
async fn pours(connection: Connection, attacker: &Attacker, thing: impl Fn(u32) -> Vec<u8>) -> io::Result<()> {
    let (reading, mut writing) = tokio::io::split(connection);
    tokio::select! {
        closed = until_closed(reading) => closed,
        failed = async {
            for number in 0..u32::MAX / 4 {
                writing.write_all(&thing(number)).await?;
                if number == 200 {
                    attacker.is_there();
                }
            }
            Ok(())
        } => failed,
    }
}

/// The same without ever reading.
async fn pours_unread(connection: Connection, attacker: &Attacker, thing: impl Fn() -> Vec<u8>) -> io::Result<()> {
    let mut connection = connection;
    for number in 0..u32::MAX {
        // From some moment on nothing is taken any more.
        let bytes = thing();
        match tokio::time::timeout(Duration::from_secs(1), connection.write_all(&bytes)).await {
            Ok(written) => written?,
            Err(_) => {
                attacker.is_there();
                tokio::time::sleep(FOREVER).await;
            }
        }
        if number == 1_000 {
            attacker.is_there();
        }
    }
    Ok(())
}

#[test]
fn streams_that_are_opened_and_left() {
    let requests = rounds(1_000, 2_000);
    let scene = Scene::start(&format!("[limits]\nrequests = {requests}\n"));
    let open: Vec<u8> = (0..100).flat_map(|number| begun(number, "/oauth2/revoke")).collect();
    // Many times as many streams as there may be requests.
    scene.endures(holders(), rounds(28, 50) as u64, move |attacker: Arc<Attacker>| {
        let open = open.clone();
        async move {
            let mut connection = attacker.http2(&[]).await?;
            connection.write_all(&open).await?;
            connection.flush().await?;
            attacker.is_there();
            until_closed(connection).await
        }
    });
    scene.was_full();
}

#[test]
fn answers_that_are_never_taken() {
    let scene = Scene::start("");
    let ask: Vec<u8> =
        (0..100).flat_map(|number| request(number, ["/docs", "/api/v1/openapi.json"][number as usize % 2])).collect();
    scene.endures(holders(), rounds(64, 150) as u64, move |attacker: Arc<Attacker>| {
        let ask = ask.clone();
        async move {
            let mut connection = attacker.http2(&NO_WINDOW).await?;
            connection.write_all(&ask).await?;
            connection.flush().await?;
            attacker.is_there();
            // It does not even read what they are about.
            tokio::time::sleep(FOREVER).await;
            connection.read_u8().await.map(drop)
        }
    });
}

#[test]
fn a_head_that_goes_on_for_ever() {
    let scene = Scene::start("").without_pause();
    let ends = scene.endures(busy(), 32, async |attacker: Arc<Attacker>| {
        let mut connection = attacker.http2(&[]).await?;
        connection.write_all(&frame(HEADERS, 0, 1, &head("GET", "/verify"))).await?;
        attacker.is_there();
        // Long fields, and empty frames, which cost nothing but are frames.
        pours(connection, &attacker, |number| match number % 2 {
            0 => frame(CONTINUATION, 0, 1, &field("x-long", &"x".repeat(1_000))),
            _ => frame(CONTINUATION, 0, 1, &[]),
        })
        .await
    });
    assert!(ends > 0, "nobody was thrown out");
}

#[test]
fn empty_continuations() {
    let scene = Scene::start("").without_pause();
    let ends = scene.endures(busy(), 32, async |attacker: Arc<Attacker>| {
        let mut connection = attacker.http2(&[]).await?;
        connection.write_all(&frame(HEADERS, 0, 1, &head("GET", "/verify"))).await?;
        attacker.is_there();
        pours(connection, &attacker, |_| frame(CONTINUATION, 0, 1, &[])).await
    });
    assert!(ends > 0, "nobody was thrown out");
}

#[test]
fn pings_whose_answers_nobody_reads() {
    let scene = Scene::start("").without_pause();
    let many = frame(PING, 0, 0, b"whatever").repeat(1_000);
    scene.endures(busy(), 32, move |attacker: Arc<Attacker>| {
        let many = many.clone();
        async move { pours_unread(attacker.http2(&[]).await?, &attacker, || many.clone()).await }
    });
}

#[test]
fn settings_without_end() {
    let scene = Scene::start("").without_pause();
    let many = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0]).repeat(1_000);
    scene.endures(busy(), 32, move |attacker: Arc<Attacker>| {
        let many = many.clone();
        async move { pours_unread(attacker.http2(&[]).await?, &attacker, || many.clone()).await }
    });
}

#[test]
fn requests_that_are_taken_back_at_once() {
    let scene = Scene::start("").without_pause();
    let ends = scene.endures(busy(), 48, async |attacker: Arc<Attacker>| {
        let connection = attacker.http2(&[]).await?;
        attacker.is_there();
        pours(connection, &attacker, |number| {
            // CVE-2023-44487: reason 8, cancelled.
            [guess(number), frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])].concat()
        })
        .await
    });
    assert!(ends > 0, "nobody was thrown out");
}

#[test]
fn requests_that_are_taken_back_a_little_later() {
    let scene = Scene::start("").without_pause();
    // So few at once, and so late, that each has been looked at: for h2 there is nothing wrong with them.
    scene.endures(busy(), 48, async |attacker: Arc<Attacker>| {
        let (reading, mut writing) = tokio::io::split(attacker.http2(&[]).await?);
        attacker.is_there();
        let asking = async {
            for batch in 0.. {
                let numbers = batch * 15..(batch + 1) * 15;
                let asks: Vec<u8> = numbers.clone().flat_map(guess).collect();
                let resets = numbers.flat_map(|number| frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8]));
                writing.write_all(&asks).await?;
                writing.flush().await?;
                tokio::time::sleep(Duration::from_millis(2)).await;
                writing.write_all(&resets.collect::<Vec<u8>>()).await?;
            }
            Ok(())
        };
        tokio::select! {
            closed = until_closed(reading) => closed,
            failed = asking => failed,
        }
    });
}

#[test]
fn requests_that_we_are_made_to_take_back() {
    let scene = Scene::start("").without_pause();
    let ends = scene.endures(busy(), 48, async |attacker: Arc<Attacker>| {
        let connection = attacker.http2(&[]).await?;
        attacker.is_there();
        // CVE-2025-8671: a window that grows beyond what is possible is an error of the stream, which the server has to reset.
        pours(connection, &attacker, |number| {
            let grows = frame(WINDOW_UPDATE, 0, stream(number), &[0x7f, 0xff, 0xff, 0xff]);
            [begun(number, "/oauth2/revoke"), grows].concat()
        })
        .await
    });
    assert!(ends > 0, "nobody was thrown out");
}

#[test]
fn a_few_bytes_that_mean_many() {
    let scene = Scene::start("");
    let great = remembered("x", &"x".repeat(4_000));
    let small = remembered("y", "");
    let of = |number: u32, fields: &[u8], times: usize| {
        let fields = [head("GET", "/verify"), fields.to_vec(), indexed(62).repeat(times)].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &fields)
    };
    // Heads of 40 kB and of 8 MB out of 2 kB, and a thousand fields of nothing.
    let bombs = [of(0, &great, 0), of(1, &[], 9), of(2, &small, 1_000), of(3, &great, 2_000)];
    let ends = scene.endures(holders(), rounds(64, 150) as u64, move |attacker: Arc<Attacker>| {
        let bombs = bombs.concat();
        async move {
            let mut connection = attacker.http2(&[]).await?;
            connection.write_all(&bombs).await?;
            attacker.is_there();
            until_closed(connection).await
        }
    });
    assert!(ends > 0, "nobody was thrown out");
}

#[test]
fn great_heads_on_every_stream_whose_bodies_do_not_come() {
    let scene = Scene::start("");
    let form = field("content-type", "application/x-www-form-urlencoded");
    let fields = [head("POST", "/oauth2/revoke"), form, field("x-long", &"x".repeat(15_000))].concat();
    let open: Vec<u8> = (0..100).flat_map(|number| frame(HEADERS, END_HEADERS, stream(number), &fields)).collect();
    // A request that waits keeps its head: a hundred times 15 kB for each of them, and no more than that came.
    let sent = (holders() * open.len() / 1_000_000) as u64;
    scene.endures(holders(), 2 * sent, move |attacker: Arc<Attacker>| {
        let open = open.clone();
        async move {
            let mut connection = attacker.http2(&[]).await?;
            connection.write_all(&open).await?;
            attacker.is_there();
            until_closed(connection).await
        }
    });
}

#[test]
fn bodies_in_crumbs() {
    let scene = Scene::start("").without_pause();
    let ends = scene.endures(busy(), 48, async |attacker: Arc<Attacker>| {
        let mut connection = attacker.http2(&[]).await?;
        connection.write_all(&begun(0, "/oauth2/revoke")).await?;
        attacker.is_there();
        pours(connection, &attacker, |number| frame(DATA, 0, 1, if number % 2 == 0 { b"x" } else { b"" })).await
    });
    assert!(ends > 0, "nobody was thrown out");
}
