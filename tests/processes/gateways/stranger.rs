//! Somebody else where Countermark should be.

use super::Kind;
use super::scene::Scene;
use crate::certificates::Authority;
use crate::machine::Machine;

/// Whoever can't show Countermark's certificate is asked nothing: the very token that is good elsewhere does not pass.
pub fn check(kind: &'static Kind) {
    let mut scene = Scene::new(kind);
    let writer = scene.writer();
    scene.passes(scene.call("GET", "/"), &writer);

    let machine = Machine::new();
    let [right, other] = ["countermark-ca.pem", "other-ca.pem"].map(|name| scene.gateway.place.path(name));
    std::fs::copy(Authority::new(&machine, "other").pem(), &other).unwrap();
    scene.gateway_again(&[("AUTH_CA_FILE", other.to_str().unwrap())]);
    refuses(&scene, &writer.token);

    // It leads to the same place, and stands in no certificate.
    scene.gateway_again(&[("AUTH_CA_FILE", right.to_str().unwrap()), ("AUTH_NAME", "other.localhost")]);
    refuses(&scene, &writer.token);

    scene.gateway_again(&[("AUTH_NAME", "localhost")]);
    scene.passes(scene.call("GET", "/"), &writer);
}

#[track_caller]
fn refuses(scene: &Scene, token: &str) {
    // Without keys, Envoy's own word for it.
    let status = scene.kind.away.unwrap_or(401);
    for _ in 0..2 {
        scene.refuses(scene.call("GET", "/").bearer(token), status);
    }
}
