//! Heads of requests: who calls, from where, with what, for what.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use super::super::accounts::Cursor;
use super::super::edge::{Edge, NamedDemand};
use super::super::extract::{Only, is_media_type};
use super::super::verify::{demanded, is_gateway_path, original};
use super::told;
use crate::account::AccountId;
use crate::audit::printable;
use crate::authority::{Metrics, Versions};
use crate::clock::SystemClock;
use crate::listen::{Peer, Transport};
use crate::name::Username;
use crate::store::AuditCursor;
use crate::web::credential::{Credential, id_and_token};
use crate::web::given_id;

const POLICY: &str = "deploy";

static EDGE: LazyLock<Arc<Edge>> = LazyLock::new(|| {
    let proxies: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|text| text.parse().ok()).collect();
    let demand = NamedDemand { permission: "deployments:create".parse().ok(), ..NamedDemand::default() };
    Edge::new(
        Arc::new(Metrics::new()),
        Arc::new(SystemClock),
        proxies,
        BTreeMap::from([(POLICY.to_owned(), demand)]),
        vec![12],
        1024,
        Duration::from_secs(1),
    )
});

/// Lines: a digit for the peer, the target of the request, then headers.
pub fn headers(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (Some(&[peer]), Some(target)) = (lines.next(), lines.next()) else { return };
    let (Some(peer), Ok(target)) = (peer_of(peer), Uri::try_from(target)) else { return };
    let Ok(request) = Request::builder().uri(target).body(()) else { return };
    let (mut parts, ()) = request.into_parts();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            parts.headers.append(name, value);
        }
    }
    credential(&parts);
    request_id(&parts);
    client_address(&peer, &parts);
    privacy(&peer, &parts);
    gateway(&parts);
    conditions(&parts);
    texts(&parts);
}

fn peer_of(digit: u8) -> Option<Peer> {
    let (address, transport) = match digit {
        b'0' => (Some("192.0.2.9"), Transport::Tls),
        b'1' => (Some("192.0.2.9"), Transport::Plain),
        b'2' => (Some("10.0.0.1"), Transport::Plain),
        b'3' => (Some("::ffff:10.0.0.1"), Transport::Tls),
        b'4' => (Some("127.0.0.1"), Transport::Plain),
        b'5' => (None, Transport::Unix),
        _ => return None,
    };
    let address = address.and_then(|text| text.parse().ok());
    Some(Peer { address, transport, listener: "".into(), server_name: None })
}

fn trusted(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().first() == Some(&10),
        IpAddr::V6(address) => address.octets().first() == Some(&0xfd),
    }
}

fn credential(parts: &Parts) {
    let values: Vec<&[u8]> = parts.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    let in_query = parts.uri.query().is_some_and(|query| {
        form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "token" || name == "access_token")
    });
    let found = Credential::of(&parts.headers, parts.uri.query());
    assert!(found.is_err() || !in_query, "a token in the query");
    match found {
        Ok(Credential::Missing) => assert!(values.iter().all(|value| value.is_empty()) && values.len() < 2),
        Ok(Credential::Bearer(token)) => {
            let [value] = values.as_slice() else { unreachable!("two credentials") };
            let text = String::from_utf8_lossy(value);
            assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
            assert_eq!(text.split_whitespace().collect::<Vec<_>>().len(), 2);
            assert!(text.to_ascii_lowercase().starts_with("bearer ") && text.ends_with(token));
        }
        Ok(Credential::Basic(encoded)) => {
            let [value] = values.as_slice() else { unreachable!("two credentials") };
            let text = String::from_utf8_lossy(value);
            assert_eq!(text.split_whitespace().nth(1), Some(encoded));
            let (id, secret) = match id_and_token(encoded) {
                Ok(both) => both,
                Err(problem) => return told(&problem, &[StatusCode::UNAUTHORIZED]),
            };
            let bytes = STANDARD.decode(encoded).unwrap_or_default();
            assert_eq!(STANDARD.encode(&bytes), *encoded, "another spelling of Basic was accepted");
            // What is not encoded stands for itself.
            let plain = |half: &str| half.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if plain(&id) && plain(&secret) && !bytes.contains(&b'%') {
                assert_eq!(format!("{}:{}", id.as_str(), secret.as_str()).as_bytes(), bytes);
            }
        }
        Err(problem) => told(&problem, &[StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED]),
    }
}

fn request_id(parts: &Parts) {
    let Some(id) = given_id(&parts.headers) else { return };
    assert_eq!(parts.headers.get_all("x-request-id").iter().count(), 1);
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(id.split('.').count() < 3, "a token may be in it");
    assert!(HeaderValue::from_str(id).is_ok());
}

fn client_address(peer: &Peer, parts: &Parts) {
    let found = EDGE.client_address(peer, &parts.headers);
    let Some(address) = peer.address.map(|address| address.to_canonical()) else {
        assert_eq!(found, None, "nobody knows who is behind a socket");
        return;
    };
    if !trusted(address) {
        assert_eq!(found, Some(address), "whoever is not trusted chose an address");
        return;
    }
    // Whatever a client writes stands to the left of what proxies add.
    let mut longer = parts.headers.clone();
    longer.remove("x-forwarded-for");
    longer.append("x-forwarded-for", HeaderValue::from_static("203.0.113.66"));
    for value in parts.headers.get_all("x-forwarded-for") {
        longer.append("x-forwarded-for", value.clone());
    }
    let then = EDGE.client_address(peer, &longer);
    match found {
        Some(found) if found != address => {
            assert!(!trusted(found));
            assert_eq!(then, Some(found), "a client chose its address");
        }
        Some(_) => assert_eq!(then, "203.0.113.66".parse().ok()),
        None => assert_eq!(then, None, "a client chose its address"),
    }
    if let Some(found) = found {
        assert_eq!(found.to_canonical(), found);
    }
}

fn privacy(peer: &Peer, parts: &Parts) {
    let private = EDGE.is_private(peer, &parts.headers);
    let said: Vec<&[u8]> = parts.headers.get_all("x-forwarded-proto").iter().map(HeaderValue::as_bytes).collect();
    let believed = peer.address.is_none_or(trusted) && !said.is_empty();
    let expected = if believed {
        matches!(said.as_slice(), [protocol] if protocol.eq_ignore_ascii_case(b"https"))
    } else {
        peer.transport != Transport::Plain || peer.address.is_some_and(|address| address.is_loopback())
    };
    assert_eq!(private, expected);
}

fn gateway(parts: &Parts) {
    if let Some(original) = original(parts) {
        for text in [&original.method, &original.path] {
            assert!(text.chars().count() <= 512 && !text.chars().any(char::is_control));
        }
        let quoted = parts.headers.contains_key("x-original-uri") || parts.headers.contains_key("x-forwarded-uri");
        assert!(!quoted || !original.path.starts_with('/') || !original.path.contains(['?', '#']) || decodes(parts));
    }
    let path = parts.uri.path();
    if !is_gateway_path(path) {
        return;
    }
    let (demand, query) = match demanded(&EDGE, path, parts.uri.query()) {
        Ok(demanded) => demanded,
        Err(problem) => {
            told(&problem.clone(), &[StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY]);
            assert_eq!(problem.for_gateway().status(), StatusCode::UNAUTHORIZED);
            return;
        }
    };
    if let Some(named) = path.strip_prefix("/verify/~") {
        assert!(named == POLICY || named.starts_with(&format!("{POLICY}/")), "{path}");
        assert!(demand.permission.is_some() && query.is_none());
    } else if path == "/verify" {
        assert!(demand.team.is_none() || demand.permission.is_some());
        let given = |name: &str| {
            let query = parts.uri.query().unwrap_or_default();
            form_urlencoded::parse(query.as_bytes())
                .find(|(given, _)| given == name)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(demand.permission.map(|permission| permission.to_string()), given("permission"));
        assert_eq!(demand.team.map(|team| team.to_string()), given("team"));
        assert_eq!(demand.audience.map(|audience| audience.to_string()), given("audience"));
    } else {
        let first = path.split('/').filter(|segment| !segment.is_empty()).nth(1).unwrap_or_default();
        let meant = first.starts_with('~') || first.to_ascii_lowercase().starts_with("%7e");
        assert!(!meant, "somebody meant a policy and demands nothing: {path}");
        assert!(demand.permission.is_none() && demand.audience.is_none() && query.is_none(), "a client demands");
    }
}

/// Whether a token was taken out: then the rest is shown decoded.
fn decodes(parts: &Parts) -> bool {
    original(parts).is_some_and(|original| original.path.contains("(token)"))
}

fn conditions(parts: &Parts) {
    let given: Vec<String> = parts
        .headers
        .get_all(header::IF_MATCH)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    match Only::of(&parts.headers).0.is {
        None => assert!(given.is_empty()),
        Some(Versions::Any) => assert!(given.iter().any(|text| text.contains('*'))),
        Some(Versions::These(versions)) => {
            assert!(!given.is_empty());
            for version in versions {
                let strong = format!("\"{version}\"");
                let at = given.iter().flat_map(|text| text.split(',')).any(|tag| tag.trim() == strong);
                assert!(at, "a version that nobody named: {version}");
            }
        }
    }
    let json = is_media_type(&parts.headers, "application/json");
    let said = parts.headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
    assert!(!json || said.is_some_and(|said| said.starts_with(b"application/json")));
}

/// Each piece of text as what it might be.
fn texts(parts: &Parts) {
    let values = parts.headers.values().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    for text in values.chain([parts.uri.to_string()]) {
        assert!(text.parse::<AccountId>().is_err() || text.parse::<Username>().is_err(), "both an id and a name");
        if let Ok(id) = text.parse::<AccountId>() {
            assert_eq!(id.to_string(), text);
        }
        if let Ok(Cursor(name)) = text.parse::<Cursor>() {
            assert!(name.parse::<Username>().is_ok());
        }
        if let Some(cursor) = AuditCursor::decode(&text) {
            assert_eq!(AuditCursor::decode(&cursor.encode()), Some(cursor));
        }
        let shown = printable(&text, 40);
        assert!(shown.chars().count() <= 40 && !shown.chars().any(char::is_control));
        let shown = printable(&text, usize::MAX);
        assert_eq!(printable(&shown, usize::MAX), shown);
        let token = shown
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .find(|word| word.find("eyJ").is_some_and(|start| word.len() - start > 32));
        assert_eq!(token, None, "a token is shown");
    }
}
