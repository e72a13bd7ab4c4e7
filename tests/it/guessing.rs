//! The limit of invalid signatures: whom it counts, whom it doesn't, and what it says (contract, section 2; protocols, section 7).

use std::time::Duration;

use axum::body::Body;
use countermark::listen::Transport;

use crate::app::{Actor, Answer, App, Client, Setup, a_peer};

/// Three invalid signatures at once, and one a minute; 192.0.2.0/24 and fd00::/8 are proxies.
async fn app() -> App {
    let trusted_proxies = vec!["192.0.2.0/24".parse().unwrap(), "fd00::/8".parse().unwrap()];
    App::with(Setup { guessing: (1, 3), trusted_proxies, ..Setup::default() }).await
}

/// A request that comes from `peer`, which says `forwarded`, one header line each.
async fn from(who: &Actor, peer: &str, forwarded: &[&str]) -> Answer {
    let who = who.at(peer);
    let mut request = who.request("GET", "/verify");
    for line in forwarded {
        request = request.header("x-forwarded-for", *line);
    }
    who.client.answer(request.body(Body::empty()).unwrap()).await
}

/// So many guesses in a row: how many were looked at before there were too many.
async fn looked_at(app: &App, guesses: impl IntoIterator<Item = (String, Vec<String>)>) -> usize {
    let guesser = app.bearer("e30.e30.e30");
    let mut looked_at = 0;
    for (peer, forwarded) in guesses {
        let forwarded: Vec<&str> = forwarded.iter().map(String::as_str).collect();
        match from(&guesser, &peer, &forwarded).await.status.as_u16() {
            401 => looked_at += 1,
            status => assert_eq!(status, 429, "{peer} {forwarded:?}"),
        }
    }
    looked_at
}

fn ten(peer: &str, forwarded: impl Fn(usize) -> Vec<String>) -> Vec<(String, Vec<String>)> {
    (0..10).map(|number| (peer.to_owned(), forwarded(number))).collect()
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_is_counted_and_not_what_he_pretends() {
    let app = app().await;
    let pretended = |client: &'static str| move |number: usize| vec![format!("198.51.100.{number}, {client}")];
    assert_eq!(looked_at(&app, ten("192.0.2.1", pretended("203.0.113.1"))).await, 3);
    // By another proxy, with a port, in IPv6 form, on a line of its own, with a proxy behind him: it is still he.
    for written in ["203.0.113.1:4711", "::ffff:203.0.113.1", "[::ffff:203.0.113.1]:80", "64:ff9b::203.0.113.1"] {
        assert_eq!(looked_at(&app, ten("fd00::7", |_| vec![written.to_owned()])).await, 0, "{written}");
    }
    let lines = |number: usize| vec![format!("198.51.100.{number}"), "203.0.113.1, 192.0.2.9".to_owned()];
    assert_eq!(looked_at(&app, ten("192.0.2.2", lines)).await, 0);
    assert_eq!(looked_at(&app, ten("203.0.113.1", |_| vec![])).await, 0);
    // Another client of the same proxy, and the proxy itself, are others.
    assert_eq!(looked_at(&app, ten("192.0.2.1", pretended("203.0.113.2"))).await, 3);
    assert_eq!(looked_at(&app, ten("192.0.2.1", |_| vec![])).await, 3);
}

#[tokio::test]
async fn what_somebody_else_says_of_himself_is_not_believed() {
    let app = app().await;
    let pretended = |number: usize| vec![format!("203.0.113.{number}")];
    assert_eq!(looked_at(&app, ten("198.51.100.1", pretended)).await, 3);
    // And falls on nobody else.
    assert_eq!(looked_at(&app, ten("203.0.113.0", |_| vec![])).await, 3);
}

#[tokio::test]
async fn an_ipv6_network_of_64_bits_is_one_client_and_those_without_an_address_are_one_too() {
    let app = app().await;
    let each = |number: usize| (format!("2001:db8:0:1:{number:x}::1"), vec![]);
    assert_eq!(looked_at(&app, (0..10).map(each)).await, 3);
    let behind = |number: usize| vec![format!("[2001:db8:0:1::{number:x}]:443")];
    assert_eq!(looked_at(&app, ten("192.0.2.1", behind)).await, 0);
    assert_eq!(looked_at(&app, [("2001:db8:0:2::1".to_owned(), vec![])]).await, 1);
    // Whatever stands there that is no address.
    let garbage =
        ["unknown", "", "_hidden", "203.0.113.7.", "203.0.113.256", "fe80::1%eth0", "é", "0x7f.1", "\"::1\"", "-"];
    assert_eq!(looked_at(&app, ten("192.0.2.1", |number| vec![garbage[number].to_owned()])).await, 3);
    let guesser = app.bearer("e30.e30.e30");
    let client = Client { peer: a_peer(Transport::Unix, None), ..app.client.clone() };
    let local = Actor { client, ..guesser };
    let request = local.request("GET", "/verify").header("x-forwarded-for", "203.0.113.9");
    local.client.answer(request.body(Body::empty()).unwrap()).await.expect(429);
}

#[tokio::test]
async fn a_limited_address_lets_good_tokens_in_and_tells_dead_ones_why() {
    let app = app().await;
    let dead = app.account("ci", &[]).await;
    let live = dead.holding(&app.admin().regenerate("ci").await);
    // Genuine tokens are no guesses, however many.
    for _ in 0..20 {
        assert_eq!(from(&dead, "198.51.100.1", &[]).await.reason(), "superseded");
        from(&live, "198.51.100.1", &[]).await.expect(200);
    }
    assert_eq!(looked_at(&app, ten("198.51.100.1", |_| vec![])).await, 3);
    from(&live, "198.51.100.1", &[]).await.expect(200);
    assert_eq!(from(&dead, "198.51.100.1", &[]).await.reason(), "superseded");
    app.nobody().at("198.51.100.1").door("GET", "/verify", 401).await;
    // What is close to a good token is told no more than what is far from one.
    let mut close = live.token().to_owned();
    let last = if close.pop() == Some('A') { 'Q' } else { 'A' };
    close.push(last);
    let told = |answer: Answer| {
        let mut body = answer.json.clone();
        body.as_object_mut().unwrap().remove("request_id");
        (answer.status, body, answer.header("retry-after").to_owned(), answer.header("www-authenticate").to_owned())
    };
    let far = told(from(&app.bearer("e30.e30.e30"), "198.51.100.1", &[]).await);
    assert_eq!(told(from(&app.bearer(&close), "198.51.100.1", &[]).await), far);
    assert_eq!(far.0.as_u16(), 429);
}

#[tokio::test]
async fn whoever_waits_as_long_as_told_may_try_once() {
    let app = app().await;
    let guesser = app.bearer("e30.e30.e30");
    let guess = async || from(&guesser, "198.51.100.1", &[]).await;
    for _ in 0..3 {
        guess().await.expect(401);
    }
    app.clock.advance(Duration::from_millis(500));
    let refused = guess().await.expect(429);
    assert_eq!((refused.reason(), refused.header("retry-after")), ("rate_limited", "60"));
    app.clock.advance(Duration::from_secs(59));
    // A second is the least that can be said.
    assert_eq!(guess().await.expect(429).header("retry-after"), "1");
    app.clock.advance(Duration::from_secs(1));
    guess().await.expect(401);
    assert_eq!(guess().await.expect(429).header("retry-after"), "60");
}
