//! What stands between the network and the router: TLS, versions of HTTP, proxies, limits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::call::Call;
use crate::certificates::{Authority, shown_at};
use crate::machine::Machine;
use crate::server::Server;
use crate::until::{soon, until};

/// TLS first, plain HTTP on the loopback second.
fn both(machine: &Machine, config: &str) -> Server {
    machine.serve().listen("127.0.0.1:0").listen("http://127.0.0.1:0").config(config).ready()
}

#[test]
fn both_versions_of_http_are_spoken_over_tls() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let reply = server.call("GET", "/api/v1/self").bearer(&server.admin()).flag(flag).send().expect(200);
        assert_eq!(reply.version, version);
        assert!(reply.header("Strict-Transport-Security").is_some());
    }
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let body = json!({"username": "x", "description": "y".repeat(20_000)});
    for version in ["--http1.1", "--http2"] {
        for _ in 0..10 {
            let call = server.call("POST", "/api/v1/accounts").flag(version).bearer("e30.e30.e30").json(&body);
            call.send().expect(401);
        }
    }
}

#[test]
fn versions_of_tls_before_1_2_are_refused() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let with = |least: &str, most: &str| {
        let call = server.call("GET", "/.well-known/jwks.json").flag(least).option("--tls-max", most);
        call.option("--ciphers", "DEFAULT:@SECLEVEL=0").attempt()
    };
    for good in ["1.2", "1.3"] {
        with("--tlsv1.2", good).unwrap().expect(200);
    }
    for old in ["1.0", "1.1"] {
        let refused = with("--tlsv1.0", old).unwrap_err();
        assert!(refused.contains(" alert "), "{refused}");
    }
}

#[test]
fn plain_http_is_served_on_the_loopback_and_refused_on_a_network() {
    let machine = Machine::new();
    let server = both(&machine, "");
    assert!(server.address(1).starts_with("http://127.0.0.1:"));
    let reply = server.call_at(1, "GET", "/api/v1/self").bearer(&server.admin()).send().expect(200);
    assert_eq!(reply.version, "1.1");
    let open = machine.serve_in("other").listen("http://0.0.0.0:0").ends().expect(2);
    assert!(open.err.contains("plain text") && open.err.contains("trusted_proxies"), "{open:?}");
}

#[test]
fn what_is_for_operators_and_what_is_for_callers_are_apart() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    let metrics = server.operations("/metrics").send().expect(200);
    assert!(metrics.header("Content-Type").unwrap().contains("openmetrics"));
    assert!(!metrics.body.contains(&token) && metrics.body.ends_with("# EOF\n"), "{metrics:?}");
    server.call("GET", "/metrics").bearer(&server.admin()).send().expect(404);
    server.operations("/api/v1/self").bearer(&server.admin()).send().expect(404);
    server.operations("/verify").bearer(&token).send().expect(404);
}

#[test]
fn a_token_that_a_proxy_received_in_plain_text_is_refused_and_noted_as_exposed() {
    let machine = Machine::new();
    let server = both(&machine, "trusted_proxies = [\"127.0.0.0/8\"]\n");
    let (id, token) = server.create("ci", "auditor");
    let call = |listener: usize, path: &str, protocols: &[&str]| {
        let call = server.call_at(listener, "GET", path).bearer(&token);
        protocols.iter().fold(call, |call, protocol| call.header("X-Forwarded-Proto", protocol)).send()
    };
    // Whatever it speaks to us itself.
    for listener in [0, 1] {
        for good in [&["https"][..], &["HTTPS"], &[]] {
            call(listener, "/api/v1/self", good).expect(200);
            call(listener, "/verify", good).expect(200);
        }
        for bad in [&["http"][..], &["https", "http"], &["https,http"]] {
            let refused = call(listener, "/api/v1/self", bad).expect(400);
            assert_eq!(refused.reason(), "invalid_request");
            assert!(refused.json()["detail"].as_str().unwrap().contains("plain text"), "{refused:?}");
            assert!(refused.header("Location").is_none());
            call(listener, "/verify", bad).expect(401);
            call(listener, "/verify/deep/path", bad).expect(401);
        }
    }
    // Not answered either when there is no token, so that nobody sends one next time.
    Call::new("GET", server.address(1), None).header("X-Forwarded-Proto", "http").send().expect(400);
    let exposed = until(Duration::from_secs(10), "events of the exposed token", || {
        let path = format!("/api/v1/audit?kind=token.exposed&account={id}&limit=100");
        let list = server.call("GET", &path).bearer(&server.admin()).send().expect(200).json();
        let items = list["items"].as_array().unwrap().clone();
        (items.len() == 18).then_some(items)
    });
    for event in exposed {
        assert_eq!(event["outcome"], "refused");
        assert_eq!(event["username"], "ci");
    }
    // It goes on working: whether to replace it is for people to decide.
    server.verify(&token).expect(200);
}

fn in_network(server: &Server) -> String {
    let body = json!({"username": "ci", "description": "", "role": "auditor", "valid_for_months": 6,
        "allowed_networks": ["192.0.2.0/24", "2001:db8::/32"]});
    let made = server.call("POST", "/api/v1/accounts").bearer(&server.admin()).json(&body).send().expect(201);
    made.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn behind_a_trusted_proxy_the_client_is_the_rightmost_address_that_is_none() {
    let machine = Machine::new();
    let server = both(&machine, "trusted_proxies = [\"127.0.0.0/8\"]\n");
    let token = in_network(&server);
    let from = |listener: usize, said: &[&str]| {
        let call = server.call_at(listener, "GET", "/verify").bearer(&token);
        said.iter().fold(call, |call, said| call.header("X-Forwarded-For", said)).send()
    };
    for listener in [0, 1] {
        for good in [
            &["192.0.2.7"][..],
            &["192.0.2.7:4711"],
            &["[2001:db8::1]:80"],
            &["::ffff:192.0.2.7"],
            &["198.51.100.1, 192.0.2.7"],
            &["198.51.100.1", "192.0.2.7"],
            &["nonsense, 192.0.2.7"],
            &["192.0.2.7, 127.0.0.1"],
            &["192.0.2.7, 127.0.0.1, 127.8.8.8"],
        ] {
            assert_eq!(from(listener, good).status, 200, "{good:?}");
        }
        for bad in [
            &[][..],
            &["198.51.100.1"],
            &["192.0.2.7, 198.51.100.1"],
            &["192.0.2.7", "198.51.100.1"],
            &["192.0.2.7, nonsense"],
            &["192.0.2.7, nonsense, 127.0.0.1"],
            &["192.0.2.7,"],
            &["127.0.0.1"],
        ] {
            assert_eq!(from(listener, bad).expect(401).reason(), "network_not_allowed", "{bad:?}");
        }
    }
}

#[test]
fn what_somebody_else_says_of_the_client_is_not_believed() {
    let machine = Machine::new();
    let server = both(&machine, "trusted_proxies = [\"192.0.2.0/24\"]\n");
    let token = in_network(&server);
    for listener in [0, 1] {
        let call = server.call_at(listener, "GET", "/verify").bearer(&token).header("X-Forwarded-For", "192.0.2.7");
        assert_eq!(call.send().expect(401).reason(), "network_not_allowed");
    }
}

#[test]
fn a_unix_socket_is_served_and_goes_with_the_server() {
    let machine = Machine::new();
    let socket = machine.path("api.sock");
    let server = machine.serve().listen("127.0.0.1:0").listen(&format!("unix:{}", socket.display())).ready();
    assert_eq!(server.address(1), format!("unix:{}", socket.display()));
    let metadata = std::fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.mode() & 0o777, 0o660);
    let reply = Call::new("GET", "http://localhost/api/v1/self", None)
        .option("--unix-socket", socket.to_str().unwrap())
        .bearer(&server.admin());
    assert_eq!(reply.send().expect(200).json()["account"]["username"], "admin");
    server.stop();
    assert!(!socket.exists());
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port(1))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Everything up to the end of the connection, and whether that came before the time-out.
fn rest(mut stream: &TcpStream) -> (String, bool) {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let ended = match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    (String::from_utf8_lossy(&bytes).into_owned(), ended)
}

#[test]
fn a_head_that_takes_too_long_ends_its_connection_however_it_trickles() {
    let machine = Machine::new();
    let server = both(&machine, "[limits]\nhead_timeout = \"1s\"\n");
    let mut stream = connect(&server);
    let began = Instant::now();
    stream.write_all(b"GET /verify HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut trickling = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        while trickling.write_all(b"X-A: b\r\n").is_ok() && began.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(rest(&stream).1);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(8), "{took:?}");
    writer.join().unwrap();
}

#[test]
fn who_connects_and_says_nothing_is_dropped() {
    let machine = Machine::new();
    let server = both(&machine, "[limits]\nhead_timeout = \"500ms\"\nhandshake_timeout = \"500ms\"\n");
    for number in [0, 1] {
        let stream = TcpStream::connect(("127.0.0.1", server.port(number))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (said, ended) = rest(&stream);
        assert!(ended, "listener {number}");
        assert_eq!(said, "");
    }
}

#[test]
fn a_body_of_more_than_64_kib_is_refused() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    for flag in ["--http1.1", "--http2"] {
        let with = |length: usize| {
            let path = machine.write("body", &format!("{{\"x\":\"{}\"}}", "x".repeat(length)));
            server
                .call("POST", "/api/v1/accounts")
                .flag(flag)
                .bearer(&server.admin())
                .header("Content-Type", "application/json")
                .option("--data-binary", &format!("@{}", path.display()))
                .send()
        };
        with(60_000).expect(422);
        let refused = with(70_000).expect(413);
        assert_eq!(refused.reason(), "payload_too_large");
        // Said beforehand or found out on the way.
        let path = machine.path("body");
        let chunked = server
            .call("POST", "/api/v1/accounts")
            .flag("--http1.1")
            .bearer(&server.admin())
            .header("Content-Type", "application/json")
            .header("Transfer-Encoding", "chunked")
            .option("--data-binary", &format!("@{}", path.display()));
        chunked.send().expect(413);
    }
}

#[test]
fn a_gateway_that_sends_the_body_along_gets_its_answer() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    for flag in ["--http1.1", "--http2"] {
        for length in [1_000, 100_000, 900_000] {
            let path = machine.write("body", &"x".repeat(length));
            let call = |token: &str| {
                let call = server.call("POST", "/verify").flag(flag).bearer(token);
                call.option("--data-binary", &format!("@{}", path.display())).send()
            };
            call(&server.admin()).expect(200);
            call("e30.e30.e30").expect(401);
        }
    }
}

#[test]
fn a_body_that_takes_too_long_is_refused() {
    let machine = Machine::new();
    let server = both(&machine, "[limits]\nbody_timeout = \"500ms\"\n");
    let mut stream = connect(&server);
    let head = format!(
        "POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{",
        server.admin()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let (answer, _) = rest(&stream);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

#[test]
fn a_given_public_name_stands_in_the_certificate() {
    let machine = Machine::new();
    let server =
        machine.serve().option("--public-name", "tokens.example.com").option("--public-name", "192.0.2.9").ready();
    let shown = shown_at(server.port(0));
    for name in ["DNS:tokens.example.com", "IP Address:192.0.2.9", "DNS:localhost", "IP Address:127.0.0.1"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    let at = |name: &str| {
        let port = server.port(0);
        Call::new("GET", &format!("https://{name}:{port}/.well-known/jwks.json"), Some(&server.ca()))
            .option("--resolve", &format!("{name}:{port}:127.0.0.1"))
            .attempt()
    };
    at("tokens.example.com").unwrap().expect(200);
    assert!(at("other.example.com").is_err());
    server.stop();
    // Asked for later, it is added under the same CA.
    let server = machine.serve().option("--public-name", "other.example.com").ready();
    assert!(shown_at(server.port(0)).contains("DNS:other.example.com"));
}

#[test]
fn exchanged_certificate_files_are_served_without_a_restart_and_broken_ones_are_not() {
    let machine = Machine::new();
    let ca = Authority::new(&machine, "ca");
    let names = "DNS:localhost,IP:127.0.0.1";
    let (certificate, key) = ca.issue("first", names);
    let server = machine.serve().option("--tls-cert", &certificate).option("--tls-key", &key).ready();
    assert_eq!(server.document()["ca_file"], Value::Null);
    let shows = |name: &str| shown_at(server.port(0)).contains(&format!("Subject: CN = {name}\n"));
    assert!(shows("first"));

    let (other_certificate, other_key) = ca.issue("second", names);
    std::fs::rename(other_certificate, &certificate).unwrap();
    std::fs::rename(other_key, &key).unwrap();
    soon("the second certificate", || shows("second"));

    std::fs::write(&certificate, "nothing of use").unwrap();
    soon("a word about the broken file", || server.log().contains("new certificate refused"));
    assert!(shows("second"));
    let url = format!("{}/.well-known/jwks.json", server.address(0));
    Call::new("GET", &url, Some(&ca.pem())).send().expect(200);

    let (third, third_key) = ca.issue("third", names);
    std::fs::rename(third_key, &key).unwrap();
    std::fs::rename(third, &certificate).unwrap();
    soon("the third certificate", || shows("third"));
}
