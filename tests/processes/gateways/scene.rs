//! Countermark, a gateway before a backend, and those who come to it.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Kind;
use super::backend::{Backend, Seen};
use super::gateway::{Gateway, Place, Variables};
use super::raw;
use crate::call::{Call, Reply};
use crate::certificates::Authority;
use crate::machine::Machine;
use crate::redis::free_port;
use crate::server::Server;
use crate::until::until;

pub struct Scene {
    pub kind: &'static Kind,
    pub gateway: Gateway,
    pub backend: Backend,
    /// None while Countermark is away.
    pub server: Option<Server>,
    variables: Variables,
    port: u16,
    ca: PathBuf,
    config: String,
    machine: Machine,
}

/// An account and its token.
#[derive(Debug, Clone)]
pub struct Holder {
    pub id: String,
    pub token: String,
}

const CONFIG: &str = r#"
trusted_proxies = ["127.0.0.1/32"]

[policies.orders]
permission = "orders:write"
audience = "orders"

# Demands less, so that a client would like to choose it.
[policies.open]
audience = "orders"
"#;

impl Scene {
    pub fn new(kind: &'static Kind) -> Self {
        Self::with(kind, "")
    }

    /// With further settings of Countermark.
    pub fn with(kind: &'static Kind, settings: &str) -> Self {
        let machine = Machine::new();
        let (port, config) = (free_port(), format!("{CONFIG}{settings}"));
        let server = serve(&machine, port, &config);
        let admin = server.admin();
        for (role, permissions) in [
            ("writer", json!(["orders:write"])),
            ("reader", json!(["orders:read"])),
            ("gateway", json!(["tokens:introspect"])),
        ] {
            let body = json!({ "description": "", "permissions": permissions });
            server.call("PUT", &format!("/api/v1/roles/{role}")).bearer(&admin).json(&body).send().expect(201);
        }
        let (client_id, client_token) = server.create("gateway", "gateway");

        let place = Place::new();
        std::fs::copy(server.ca(), place.path("countermark-ca.pem")).unwrap();
        let keys = place.path("keys");
        machine.run(&["key", "export", "--out", keys.to_str().unwrap()]).expect(0);
        let listed = server.call("GET", "/.well-known/jwks.json").send().expect(200).json();
        let certificates = Authority::new(&machine, "gateways");
        let (certificate, key) = certificates.issue("gateway", "DNS:localhost,IP:127.0.0.1");
        // Where HAProxy looks for it too.
        std::fs::copy(certificate, place.path("gateway.pem")).unwrap();
        std::fs::copy(key, place.path("gateway.pem.key")).unwrap();

        let backend = Backend::start();
        let gateway_port = free_port();
        let text = |name: &str| place.path(name).to_str().unwrap().to_owned();
        let variables: Variables = vec![
            ("GATEWAY_ADDRESS", "127.0.0.1".to_owned()),
            ("GATEWAY_PORT", gateway_port.to_string()),
            ("GATEWAY_CERT_FILE", text("gateway.pem")),
            ("GATEWAY_KEY_FILE", text("gateway.pem.key")),
            ("AUTH_HOST", "127.0.0.1".to_owned()),
            ("AUTH_PORT", port.to_string()),
            ("AUTH_NAME", "localhost".to_owned()),
            ("AUTH_CA_FILE", text("countermark-ca.pem")),
            ("AUTH_ISSUER", server.issuer()),
            ("AUTH_KEYS_DIR", text("keys")),
            ("AUTH_KID", listed["keys"][0]["kid"].as_str().unwrap().to_owned()),
            ("AUTH_CLIENT_ID", client_id),
            ("AUTH_CLIENT_TOKEN", client_token),
            ("API_HOST", "127.0.0.1".to_owned()),
            ("API_PORT", backend.port.to_string()),
            ("API_AUDIENCE", "orders".to_owned()),
        ];
        let gateway = Gateway::start(kind, Rc::new(place), &variables, gateway_port);
        let ca = certificates.pem();
        Self { kind, gateway, backend, server: Some(server), variables, port, ca, config, machine }
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("Countermark")
    }

    /// The server, again, where it was.
    pub fn serve_again(&mut self) {
        self.server = Some(serve(&self.machine, self.port, &self.config));
    }

    /// Where Countermark listens.
    pub fn server_port(&self) -> u16 {
        self.port
    }

    pub fn variable(&self, name: &str) -> String {
        self.variables.iter().find(|(found, _)| *found == name).expect("a variable").1.clone()
    }

    /// A variable that not everybody has, from the next start on.
    pub fn set(&mut self, name: &'static str, value: Option<&str>) {
        self.variables.retain(|(found, _)| *found != name);
        self.variables.extend(value.map(|value| (name, value.to_owned())));
    }

    /// The gateway, again, with other variables.
    pub fn gateway_again(&mut self, changes: &[(&str, &str)]) {
        for (name, value) in changes {
            let (_, variable) = self.variables.iter_mut().find(|(found, _)| found == name).expect("a variable");
            (*value).clone_into(variable);
        }
        self.gateway.end();
        let place = Rc::clone(&self.gateway.place);
        self.gateway = Gateway::start(self.kind, place, &self.variables, self.gateway.port);
    }

    /// An account for the API behind the gateway.
    pub fn account(&self, name: &str, role: &str, more: &Value) -> Holder {
        let server = self.server();
        let mut body = json!({ "username": name, "description": "", "role": role, "audiences": ["orders"], "valid_for_months": 6 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made =
            server.call("POST", "/api/v1/accounts").bearer(&server.admin()).json(&body).send().expect(201).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Holder { id: text(&made["account"]["id"]), token: text(&made["token"]) }
    }

    pub fn writer(&self) -> Holder {
        self.account("ci", "writer", &json!({}))
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.gateway.port)
    }

    /// A call to the gateway.
    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(method, &self.url(path), Some(&self.ca))
            .option("--resolve", &format!("localhost:{}:127.0.0.1", self.gateway.port))
    }

    pub fn raw(&self, bytes: &str) -> Option<u16> {
        raw::send(self.gateway.port, &self.ca, bytes.as_bytes(), Duration::from_secs(10))
    }

    /// The same where it is open whether there is an answer at all.
    pub fn raw_briefly(&self, bytes: &str) -> Option<u16> {
        raw::send(self.gateway.port, &self.ca, bytes.as_bytes(), Duration::from_millis(300))
    }

    /// Sent, let through, and what the backend saw of it.
    #[track_caller]
    pub fn passes(&self, call: Call, holder: &Holder) -> (Reply, Seen) {
        let reply = call.bearer(&holder.token).send().expect(200);
        assert_eq!(reply.header("x-backend"), Some("yes"), "{reply:?}");
        let mut seen = self.backend.take();
        self.is_sound(&seen, &holder.id);
        let last = seen.pop().expect("a request");
        assert!(seen.is_empty(), "{seen:?}");
        (reply, last)
    }

    /// Sent and not let through.
    #[track_caller]
    pub fn refuses(&self, call: Call, status: u16) -> Reply {
        let reply = call.send();
        let seen = self.backend.take();
        assert!(seen.is_empty(), "{reply:?} {seen:?}");
        reply.expect(status)
    }

    /// Whatever came to the backend came with the identity of this account, and with no other word about it.
    #[track_caller]
    pub fn is_sound(&self, seen: &[Seen], account: &str) {
        for request in seen {
            assert_eq!(request.header("x-countermark-account"), account, "{request:?}");
            assert_eq!(request.header("authorization"), "", "{request:?}");
            // Nor the token under another name.
            assert!(request.headers.iter().all(|(_, value)| !value.contains("eyJ")), "{request:?}");
            assert!(!request.header("connection").to_ascii_lowercase().contains("countermark"), "{request:?}");
            let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            names.retain(|name| name.contains("countermark"));
            names.sort();
            let mut expected = self.kind.identity.to_vec();
            // Where there are no teams, some leave the header out.
            expected.retain(|name| *name != "x-countermark-teams" || names.iter().any(|found| found == name));
            expected.sort_unstable();
            assert_eq!(names, expected, "{request:?}");
        }
    }

    /// What the account's activity log says last, of what isn't about tokens and accounts.
    pub fn activity(&self, holder: &Holder, request_id: &str) -> Value {
        let server = self.server();
        until(Duration::from_secs(10), "an event", || {
            let path = format!("/api/v1/accounts/{}/activity", holder.id);
            let page = server.call("GET", &path).bearer(&server.admin()).send().expect(200).json();
            page["items"].as_array().unwrap().iter().find(|event| event["request_id"] == request_id).cloned()
        })
    }
}

fn serve(machine: &Machine, port: u16, config: &str) -> Server {
    machine.serve().listen(&format!("127.0.0.1:{port}")).config(config).ready()
}
