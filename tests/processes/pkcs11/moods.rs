//! A token that is there and does something else than it was asked for.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::soft_hsm::SoftHsm;
use super::{PIN, kid, prepare, signs_in_token};
use crate::machine::{Machine, bare_program, finish};
use crate::server::{Server, Start};
use crate::until::soon;

/// SoftHSM behind a module of moods: see `moody.c`.
struct Moody {
    hsm: SoftHsm,
    directory: PathBuf,
    module: PathBuf,
}

impl Moody {
    fn new(machine: &Machine) -> Self {
        let (hsm, directory, module) = (SoftHsm::new(machine), machine.path("hsm"), machine.path("moody.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/pkcs11/moody.c");
        let mut compiler = bare_program("cc".as_ref(), &directory);
        compiler.args(["-std=gnu11", "-shared", "-fPIC", "-o"]).arg(&module).args([source, "-ldl"]);
        finish(&mut compiler, "").expect(0);
        Self { hsm, directory, module }
    }

    fn of(&self, start: Start, pin: &str, more: &str) -> Start {
        self.hsm.settings("signing", pin);
        let settings = self.hsm.settings_of(self.module.to_str().unwrap(), "signing", &self.directory.join("pin"));
        self.hsm
            .with(start, &format!("{more}{settings}"))
            .env("MOODY_MODULE", self.hsm.module)
            .env("MOODY_DIRECTORY", self.directory.to_str().unwrap())
    }

    fn is(&self, mood: &str) {
        std::fs::write(self.directory.join("mood"), mood).unwrap();
    }

    fn calls(&self, of: &str) -> usize {
        let calls = std::fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        calls.lines().filter(|call| *call == of).count()
    }
}

fn states(server: &Server) -> Vec<String> {
    let keys = server.call("GET", "/api/v1/keys").bearer(&server.admin()).send().expect(200).json();
    keys["items"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_that_does_not_sign_as_it_should_is_not_activated_and_signs_no_token() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    let server = token.of(machine.serve(), PIN, "").ready();
    let (id, _) = server.create("ci", "auditor");
    let key = prepare(&server, "ES256").expect(201).json()["key"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/keys/{key}/activate");
    let activate = || server.call("POST", &path).bearer(&server.admin()).json(&json!({"force": true})).send();
    for (mood, why) in [
        ("signs not", "C_Sign says FunctionFailed".to_owned()),
        ("signs otherwise", format!("does not sign as the key {key}")),
    ] {
        token.is(mood);
        let asked = token.calls("C_Sign");
        assert_eq!(activate().expect(503).reason(), "hardware_token_away");
        assert!(token.calls("C_Sign") > asked, "{mood}");
        assert!(server.log().contains(&why), "{}", server.log());
        assert_eq!(states(&server), ["active", "pending"], "{mood}");
        // The one before it signs on.
        server.regenerate(&server.admin(), &id).expect(201);
    }
    token.is("");
    activate().expect(200);
    for mood in ["signs not", "signs otherwise"] {
        token.is(mood);
        assert_eq!(server.regenerate(&server.admin(), &id).expect(503).reason(), "hardware_token_away", "{mood}");
    }
    token.is("");
    let issued = server.regenerate(&server.admin(), &id).expect(201).json();
    assert_eq!(kid(issued["token"].as_str().unwrap()), key);
    // What was not signed as it should was shown to nobody, and used up nothing.
    assert_eq!(issued["account"]["generation"], 4);
}

#[test]
fn a_token_that_lets_keys_out_gets_none() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    let server = token.of(machine.serve(), PIN, "").ready();
    token.is("lets keys out");
    let refused = prepare(&server, "ES256").expect(409);
    assert_eq!(refused.reason(), "hardware_token");
    let why = "it does not keep private keys to itself, Extractable(false) is not so";
    assert!(refused.json()["detail"].as_str().unwrap().contains(why), "{refused:?}");
    assert_eq!(token.calls("C_GenerateKeyPair"), 1);
    assert_eq!(token.hsm.objects(), Vec::<Value>::new(), "destroyed again");
    assert_eq!(states(&server), ["active"]);
}

#[test]
fn a_key_that_was_made_when_the_session_was_lost_is_not_left_behind() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    let server = token.of(machine.serve(), PIN, "").ready();
    signs_in_token(&server, "ES256");
    token.is("is lost once");
    prepare(&server, "ES256").expect(201);
    assert_eq!(token.calls("C_GenerateKeyPair"), 3, "tried again");
    assert_eq!(token.hsm.objects().len(), 4);
}

#[test]
fn a_token_that_takes_no_label_makes_keys_all_the_same() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    let server = token.of(machine.serve(), PIN, "").ready();
    let (id, _) = server.create("ci", "auditor");
    token.is("changes nothing");
    let key = signs_in_token(&server, "ES256");
    assert!(server.log().contains("does not take another label"), "{}", server.log());
    let issued = server.regenerate(&server.admin(), &id).expect(201).json();
    assert_eq!(kid(issued["token"].as_str().unwrap()), key);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    let server = token.of(machine.serve(), "wrong-4711", "").ready();
    for _ in 0..5 {
        assert_eq!(prepare(&server, "ES256").expect(503).reason(), "hardware_token_away");
    }
    assert_eq!(token.calls("C_Login"), 1, "{}", server.log());
}

#[test]
fn a_login_that_fails_for_another_reason_than_the_pin_is_tried_again() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    token.is("lets nobody in");
    let server = token.of(machine.serve(), PIN, "").ready();
    for _ in 0..5 {
        assert_eq!(prepare(&server, "ES256").expect(503).reason(), "hardware_token_away");
    }
    assert!(token.calls("C_Login") <= 2, "not at once");
    token.is("");
    soon("it is logged in", || prepare(&server, "ES256").status == 201);
    assert!(server.log().contains("the hardware token can be used again"), "{}", server.log());
    assert!(!server.log().contains("may be left in the hardware token"), "nothing was made: {}", server.log());
}

#[test]
fn keys_in_the_token_rotate_by_themselves() {
    let machine = Machine::new();
    let token = Moody::new(&machine);
    let signing = "[signing]\npublish_ahead = \"1s\"\nrotate_every = \"5s\"\n";
    let server = token.of(machine.serve(), PIN, signing).ready();
    let (id, _) = server.create("ci", "auditor");
    let first = signs_in_token(&server, "ES256");
    let mut next = String::new();
    soon("another key of the token signs", || {
        let issued = server.regenerate(&server.admin(), &id).expect(201).json();
        next = kid(issued["token"].as_str().unwrap());
        next != first
    });
    let shown = machine.run(&["key", "show", &next]).expect(0);
    assert!(shown.out.lines().any(|line| line.starts_with("in hardware token") && line.ends_with("yes")), "{shown:?}");
    assert!(token.calls("C_GenerateKeyPair") >= 2);
}
