//! The pages of the console with 100,000 accounts and ten million entries of the audit; and how all of those are taken along.

use std::time::Instant;

use super::super::api::Connection;
use super::super::figures::{Figure, Part, median};
use super::super::load::{Contestant, Requests};
use super::Bench;

const ACCOUNTS: usize = 100_000;
/// Accounts that make calls.
const CALLERS: usize = 200;
const ENTRIES: u64 = 10_000_000;
/// Times that each page is asked for.
const TIMES: usize = 25;
/// Of a load, in seconds.
const LOAD: u64 = 20;

pub fn run(bench: &Bench) -> Part {
    let dataset = bench.filled(ACCOUNTS, CALLERS);
    let node = bench.node(&dataset, "console", "");
    let requests = Requests::Hot { tokens: dataset.tokens.clone(), path: "/verify".to_owned() };
    let mut callers =
        Contestant::new("Countermark", &node.plain, &requests, &[node.process.pid(), dataset.redis.process.pid()]);
    while callers.sent() < ENTRIES {
        callers.warm(LOAD);
    }

    let mut browser = Connection::to(&node.plain);
    let session = sign_in(&mut browser, &dataset.admin);
    let account = browser.call("GET", "/api/v1/accounts/account-0000000", &dataset.admin, None).expect(200);
    let keys = browser.call("GET", "/api/v1/keys", &dataset.admin, None).expect(200);
    let of_key = format!("/console/keys/{}", keys["items"][0]["id"].as_str().unwrap());
    let of_account = format!("/console/service-accounts/{}", account["id"].as_str().unwrap());
    let pages = [
        "/console".to_owned(),
        "/console/service-accounts".to_owned(),
        "/console/service-accounts?query=99999".to_owned(),
        "/console/service-accounts?query=the+build".to_owned(),
        // Nothing is found in what is looked at for a page.
        "/console/service-accounts?query=nothing+of+the+kind".to_owned(),
        "/console/service-accounts?status=disabled".to_owned(),
        "/console/service-accounts?expires=7".to_owned(),
        "/console/service-accounts?role=runner".to_owned(),
        "/console/service-accounts?role=runner&status=disabled".to_owned(),
        "/console/service-accounts/new".to_owned(),
        format!("{of_account}/token"),
        format!("{of_account}/edit"),
        format!("{of_account}/activity"),
        of_account,
        "/console/users".to_owned(),
        "/console/roles".to_owned(),
        "/console/roles/runner".to_owned(),
        "/console/roles/runner/edit".to_owned(),
        "/console/keys".to_owned(),
        format!("{of_key}/revoke"),
        of_key,
        "/console/audit".to_owned(),
        "/console/audit?outcome=refused".to_owned(),
        "/console/audit/status".to_owned(),
        "/console/nodes".to_owned(),
        "/console/me".to_owned(),
    ];
    let mut part = Part { case: "console".to_owned(), ..Part::default() };
    let from = format!("{ACCOUNTS} accounts, {} calls on record", callers.sent());
    let mut time = |path: &str| {
        let (mut took, mut bytes) = (Vec::new(), 0);
        for _ in 0..TIMES {
            let began = Instant::now();
            bytes = page(&mut browser, path, &session);
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        (median(took), bytes)
    };
    // What a request takes of which no page comes.
    let (floor, _) = time("/healthz");
    for path in pages {
        let (took, bytes) = time(&path);
        let name = path.split('/').map(|word| if word.len() == 36 { "ID" } else { word }).collect::<Vec<_>>().join("/");
        part.figures.push(Figure::new(format!("{name}: median"), took, "ms").of(from.clone()).at_most(20.0));
        part.figures.push(Figure::new(format!("{name}: to `/healthz`"), took / floor, "times").of(from.clone()));
        part.figures
            .push(Figure::new(format!("{name}: HTML"), bytes as f64 / 1e3, "kB").of(from.clone()).at_most(60.0));
    }
    part.figures.extend(super::export::figures(&node, &dataset, bench.directory()));
    part
}

/// Signs in with a token, as a browser does; the cookie of the session.
fn sign_in(browser: &mut Connection, token: &str) -> String {
    let form = format!("token={token}");
    let request = format!(
        "POST /console/sign-in HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let (status, cookies, _) = browser.exchange(&request).unwrap();
    assert_eq!(status, 303, "signed in");
    cookies.into_iter().next().unwrap()
}

/// A page, as long as it is.
fn page(browser: &mut Connection, path: &str, cookie: &str) -> usize {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    let (status, _, body) = browser.exchange(&request).unwrap();
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    body.len()
}
