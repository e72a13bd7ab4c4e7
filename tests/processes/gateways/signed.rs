//! Tokens that Countermark's own key signed, and that are not good all the same: what each check of a gateway is there for.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark::clock::{Clock as _, SystemClock};
use countermark::keyring::{KeyringDocument, MasterKey};
use serde_json::{Value, json};

use super::Kind;
use super::scene::Scene;
use crate::server::Server;

pub fn check(kind: &'static Kind) {
    let scene = Scene::new(kind);
    let writer = scene.writer();
    let signer = Signer::of(scene.server());
    let (header, claims) = parts(&writer.token);
    let get = |token: &str| scene.call("GET", "/orders").bearer(token);
    let with = |of: &Value, name: &str, value: Value| {
        let mut changed = of.clone();
        changed[name] = value;
        changed
    };
    let without = |of: &Value, name: &str| {
        let mut changed = of.clone();
        changed.as_object_mut().unwrap().remove(name).unwrap();
        changed
    };

    // What the others differ from.
    assert_eq!(get(&signer.token(&header, &claims)).send().status, 200);
    scene.is_sound(&scene.backend.take(), &writer.id);

    let now = SystemClock.now().timestamp();
    let mut refused = vec![
        ("expired long ago", header.clone(), with(&claims, "exp", json!(1))),
        // More than the leeway of Countermark.
        ("expired", header.clone(), with(&claims, "exp", json!(now - 10))),
        ("no exp", header.clone(), without(&claims, "exp")),
        ("another issuer", header.clone(), with(&claims, "iss", json!("https://other.example"))),
        ("no issuer", header.clone(), without(&claims, "iss")),
        ("no audience", header.clone(), without(&claims, "aud")),
        (
            "audiences of others",
            header.clone(),
            with(&claims, "aud", json!(["billing", "orders2", "order", "xorders"])),
        ),
        ("another algorithm", with(&header, "alg", json!("RS256")), claims.clone()),
        ("another algorithm of the same curve", with(&header, "alg", json!("ES384")), claims.clone()),
        ("an unknown key", with(&header, "kid", json!("A".repeat(43))), claims.clone()),
    ];
    // Envoy tries all keys where none is named, and does not look at the type. Countermark signs nothing else with these keys.
    if kind.name != "envoy jwt_authn" {
        refused.push(("no key", without(&header, "kid"), claims.clone()));
        refused.push(("another type", with(&header, "typ", json!("JWT")), claims.clone()));
        refused.push(("no type", without(&header, "typ"), claims.clone()));
    }
    for (name, header, claims) in refused {
        let reply = get(&signer.token(&header, &claims)).send();
        let seen = scene.backend.take();
        let foreign = name.contains("audience") && reply.status == kind.foreign_audience;
        assert!(seen.is_empty() && (reply.status == 401 || foreign), "{name}: {reply:?} {seen:?}");
    }

    // What everybody knows, for a secret (HAProxy takes the file's name for one where the algorithm is of that kind).
    let public = format!("{}/{}.pem", scene.variable("AUTH_KEYS_DIR"), scene.variable("AUTH_KID"));
    let text = std::fs::read_to_string(&public).unwrap();
    for (algorithm, name) in [(hmac::HMAC_SHA256, "HS256"), (hmac::HMAC_SHA384, "HS384"), (hmac::HMAC_SHA512, "HS512")]
    {
        for secret in [&*public, &*text, text.trim_end(), ""] {
            let signed = unsigned(&with(&header, "alg", json!(name)), &claims);
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), signed.as_bytes());
            scene.refuses(get(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))), 401);
        }
    }

    // One audience among as many as each gateway looks at.
    let many = ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "orders"];
    for position in 0..many.len() {
        let mut audiences = many[..=position].to_vec();
        audiences[position] = "orders";
        let name = format!("many{position}");
        let holder = scene.account(&name, "writer", &json!({ "audiences": audiences }));
        assert_eq!(parts(&holder.token).1["aud"][position], "orders");
        scene.passes(scene.call("GET", "/orders"), &holder);
    }
}

/// Header and claims.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// The signing key, out of the sealed keyring.
struct Signer {
    pair: EcdsaKeyPair,
}

impl Signer {
    fn of(server: &Server) -> Self {
        let client = redis::Client::open(format!("unix://{}", server.socket().display())).unwrap();
        let mut connection = client.get_connection().unwrap();
        let dataset: String = redis::cmd("HGET").arg("{cm}:meta").arg("dataset").query(&mut connection).unwrap();
        let mut read = redis::cmd("HMGET");
        let (version, sealed): (u64, String) =
            read.arg("{cm}:keyring").arg("version").arg("document").query(&mut connection).unwrap();
        let master = MasterKey::parse(&std::fs::read_to_string(server.data("keys/master.key")).unwrap()).unwrap();
        let document = master.open(&dataset, version, &sealed).unwrap();
        let document: KeyringDocument = serde_json::from_slice(&document.text).unwrap();
        let written = serde_json::to_value(&document.keys[0]).unwrap();
        let private = STANDARD.decode(written["private"].as_str().unwrap()).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private).unwrap() }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
