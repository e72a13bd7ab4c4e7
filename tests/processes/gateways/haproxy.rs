use std::process::Command;
use std::rc::Rc;

use super::Kind;
use super::gateway::{Place, Variables};
use super::scene::Scene;
use crate::certificates::Authority;
use crate::machine::Machine;

const IDENTITY: &[&str] =
    &["x-countermark-account", "x-countermark-generation", "x-countermark-token-id", "x-countermark-expires"];
const KIND: Kind = Kind { identity: IDENTITY, ..Kind::alone("haproxy", command) };

fn command(_: &Place, _: &Variables) -> Command {
    let mut command = Command::new("haproxy");
    // Without -db it would be the same with one more process.
    command.args(["-db", "-f"]).arg(Place::deployed("haproxy/haproxy.cfg"));
    command
}

super::tests!();

/// While keys change there are two, each good for what it signed itself.
#[test]
fn two_keys_can_be_in_use() {
    let mut scene = Scene::new(&KIND);
    let (writer, real) = (scene.writer(), scene.variable("AUTH_KID"));
    // A key in the right form that signed nothing of this.
    let machine = Machine::new();
    let place = Rc::clone(&scene.gateway.place);
    let pem = |name: &str| place.path(&format!("keys/{name}.pem"));
    let (_, private) = Authority::new(&machine, "stranger").issue("other", "DNS:other");
    let mut openssl = Command::new("openssl");
    let output = openssl.args(["pkey", "-pubout", "-in"]).arg(private).arg("-out").arg(pem("other")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // And the one that did, under another id, of the kind that could be taken for an option.
    std::fs::copy(pem(&real), pem("-renamed")).unwrap();

    let rows = [
        ("other", None, 401),
        ("other", Some(&*real), 200),
        (&*real, Some("other"), 200),
        // Right is the key's id and the signature, not one of the two.
        ("-renamed", None, 401),
        ("other", Some("-renamed"), 401),
        ("-renamed", Some("other"), 401),
        (&*real, None, 200),
        // From here on the file of this id holds the other key.
        (&*real, None, 401),
        ("other", Some(&*real), 401),
    ];
    for (number, (this, next, status)) in rows.into_iter().enumerate() {
        if number == 7 {
            std::fs::copy(pem("other"), pem(&real)).unwrap();
        }
        scene.set("AUTH_NEXT_KID", next);
        scene.gateway_again(&[("AUTH_KID", this)]);
        if status == 200 {
            scene.passes(scene.call("GET", "/"), &writer);
        } else {
            scene.refuses(scene.call("GET", "/").bearer(&writer.token), status);
        }
    }
}
