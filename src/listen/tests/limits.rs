//! What a connection may cost.

use super::*;

#[tokio::test]
async fn a_head_that_is_too_large_is_the_services_to_refuse_and_beyond_that_answered_431() {
    let change = |limits: &mut Limits| (limits.head_bytes, limits.head_fields) = (8192, 20);
    let server = start("http://127.0.0.1:0", limits(change)).await;
    let with = async |fields: usize, length: usize| {
        let mut stream = server.connect().await;
        let field = format!("x: {}\r\n", "x".repeat(length));
        let head = format!("GET /head HTTP/1.1\r\nhost: a\r\n{}\r\n", field.repeat(fields));
        stream.write_all(head.as_bytes()).await.unwrap();
        answer(&mut stream).await
    };
    for (fields, length, wanted) in [(1, 8000, "fits"), (19, 10, "fits"), (1, 9000, "too large"), (20, 10, "too large")]
    {
        let answer = with(fields, length).await;
        assert!(answer.ends_with(wanted), "{fields} of {length}: {answer}");
    }
    for (fields, length) in [(40, 10), (1, 60_000)] {
        let answer = with(fields, length).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{fields} of {length}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_at_the_head_time_out() {
    let server = start("http://127.0.0.1:0", limits(|limits| limits.head_timeout = Duration::from_secs(1))).await;
    let mut stream = server.connect().await;
    ask(&mut stream, "/").await;
    let began = Instant::now();
    while stream.write_all(b"G").await.is_ok() && server.connections.open() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "never cut off");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // And who says nothing at all.
    assert!(is_closed(&mut server.connect().await).await);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_has_the_idle_time_out_and_not_the_shorter_one_of_heads() {
    let change = |limits: &mut Limits| {
        limits.head_timeout = Duration::from_secs(1);
        limits.idle_timeout = Duration::from_secs(2);
    };
    let server = start("http://127.0.0.1:0", limits(change)).await;
    let mut stream = server.connect().await;
    ask(&mut stream, "/").await;
    let began = Instant::now();
    assert!(is_closed(&mut stream).await);
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn frames_without_requests_do_not_keep_an_http2_connection() {
    let server = start("https://127.0.0.1:0", limits(|limits| limits.idle_timeout = Duration::from_secs(1))).await;
    let (mut reading, mut writing) = tokio::io::split(server.connect_tls(b"h2").await);
    writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (pong, mut pings) = tokio::sync::mpsc::unbounded_channel();
    let reader = tokio::spawn(async move {
        let mut head = [0; 9];
        while reading.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
            reading.read_exact(&mut payload).await.unwrap();
            if (head[3], head[4]) == (6, 0) {
                pong.send(payload).unwrap();
            }
        }
    });
    let began = Instant::now();
    while server.connections.open() > 0 || began.elapsed() < Duration::from_millis(200) {
        assert!(began.elapsed() < Duration::from_secs(10), "never cut off");
        // The window of the connection grows by one.
        let mut frames = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01".to_vec();
        while let Ok(payload) = pings.try_recv() {
            frames.extend(b"\0\0\x08\x06\x01\0\0\0\0");
            frames.extend(payload);
        }
        let _ = writing.write_all(&frames).await;
        let _ = writing.flush().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    reader.await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn http2_pings_do_not_keep_an_idle_connection() {
    let server = start("https://127.0.0.1:0", limits(|limits| limits.idle_timeout = Duration::from_secs(1))).await;
    let (mut send, connection) = server.http2().await;
    send.send_request(Request::get("https://localhost/").body(String::new()).unwrap()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), connection).await.expect("still open").unwrap().ok();
    server.stop().await;
}

#[tokio::test]
async fn when_all_places_are_taken_the_oldest_stranger_makes_room() {
    let server = start("http://127.0.0.1:0", limits(|limits| limits.connections = 2)).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    ask(&mut first, "/").await;
    ask(&mut second, "/").await;
    let mut third = server.connect().await;
    ask(&mut third, "/").await;
    assert!(is_closed(&mut first).await);
    ask(&mut second, "/prove").await;
    ask(&mut third, "/").await;
    // The second is older, and no stranger any more.
    let mut fourth = server.connect().await;
    ask(&mut fourth, "/").await;
    assert!(is_closed(&mut third).await);
    ask(&mut second, "/").await;
    assert_eq!((server.connections.open(), server.connections.refused(), server.connections.displaced()), (2, 0, 2));
    server.stop().await;
}

#[tokio::test]
async fn where_nobody_is_a_stranger_the_idlest_makes_room_and_who_is_busy_stays() {
    let server = start("http://127.0.0.1:0", limits(|limits| limits.connections = 2)).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    ask(&mut second, "/prove").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    ask(&mut first, "/prove").await;
    let mut third = server.connect().await;
    ask(&mut third, "/prove").await;
    assert!(is_closed(&mut second).await);
    for busy in [&mut first, &mut third] {
        busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        server.reached.notified().await;
    }
    assert!(is_closed(&mut server.connect().await).await);
    assert_eq!((server.connections.open(), server.connections.refused(), server.connections.displaced()), (2, 1, 1));
    for busy in [&mut first, &mut third] {
        server.go.notify_one();
        assert!(answer(busy).await.ends_with("waited"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_stops_is_dropped_and_a_stream_that_ticks_is_not() {
    let server = start("http://127.0.0.1:0", limits(|limits| limits.idle_timeout = Duration::from_millis(300))).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut ticking = server.connect().await;
    ticking.write_all(b"GET /ticks HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.until_open(2).await;
    let began = Instant::now();
    let mut buffer = [0; 256];
    while began.elapsed() < Duration::from_millis(900) {
        assert!(ticking.read(&mut buffer).await.unwrap() > 0, "the stream ended");
    }
    server.until_open(1).await;
    drop(ticking);
    server.until_open(0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_come_is_dropped() {
    let change = |limits: &mut Limits| limits.handshake_timeout = Duration::from_millis(100);
    let server = start("https://127.0.0.1:0", limits(change)).await;
    assert!(is_closed(&mut server.connect().await).await);
    server.stop().await;
}
