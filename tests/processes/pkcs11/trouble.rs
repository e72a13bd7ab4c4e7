//! A token that is not there, or does not do: nothing is signed, everything is said, and tokens are checked all the same.

use std::time::{Duration, Instant};

use super::soft_hsm::SoftHsm;
use super::{PIN, activate, prepare, signs_in_token};
use crate::machine::{Machine, write_private};
use crate::server::Server;
use crate::until::soon;

/// It checks tokens, issues none, and says why: in the log, and to whoever looks at `/readyz`.
#[track_caller]
fn only_checks(server: &Server, token: &str, account: &str, why: &str) {
    server.verify(token).expect(200);
    let refused = server.regenerate(&server.admin(), account).expect(503);
    assert_eq!(refused.reason(), "hardware_token_away");
    assert!(!refused.body.contains(why) && refused.body.contains("The log says why"), "{refused:?}");
    server.verify(token).expect(200);
    assert!(server.log().contains(why), "{}", server.log());
    let ready = server.operations("/readyz").send().expect(200).json();
    assert!(ready["warnings"][0].as_str().unwrap().contains(why), "{ready}");
    for secret in [PIN, "wrong-4711"] {
        assert!(!server.log().contains(secret) && !ready.to_string().contains(secret));
    }
}

#[test]
fn without_its_token_a_service_checks_tokens_issues_none_and_says_why() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    let server = hsm.of(machine.serve()).ready();
    let (id, _) = server.create("ci", "auditor");
    signs_in_token(&server, "ES256");
    let issued = server.regenerate(&server.admin(), &id).expect(201).json();
    let token = issued["token"].as_str().unwrap().to_owned();
    server.stop();
    let pin = machine.path("hsm/pin");
    let start = |settings: &str| hsm.with(machine.serve(), settings).ready();

    let no_module = start(&hsm.settings_of("/nowhere/module.so", "signing", &pin));
    only_checks(&no_module, &token, &id, "signing.pkcs11.module /nowhere/module.so can't be loaded");
    assert_eq!(prepare(&no_module, "ES256").expect(503).reason(), "hardware_token_away");
    no_module.stop();

    let strange = start(&hsm.settings_of("/etc/hostname", "signing", &pin));
    only_checks(&strange, &token, &id, "signing.pkcs11.module /etc/hostname can't be loaded");
    strange.stop();

    let other = start(&hsm.settings_of(hsm.module, "another", &pin));
    only_checks(&other, &token, &id, "signing.pkcs11.token_label is another");
    assert!(other.log().contains("token_label could be one of [signing]"), "{}", other.log());
    other.stop();

    let wrong = start(&hsm.settings("signing", "wrong-4711"));
    only_checks(&wrong, &token, &id, "it refused the PIN. That is not tried again");
    assert!(wrong.log().contains("C_Login says PinIncorrect"), "{}", wrong.log());
    // Nothing has to be started again once it is right.
    write_private(&pin, PIN);
    wrong.regenerate(&wrong.admin(), &id).expect(201);
    assert!(wrong.log().contains("the hardware token can be used again"), "{}", wrong.log());
    let issued = wrong.regenerate(&wrong.admin(), &id).expect(201).json();
    let token = issued["token"].as_str().unwrap().to_owned();
    wrong.stop();

    hsm.remove("signing");
    let gone = start(&hsm.settings("signing", PIN));
    only_checks(&gone, &token, &id, "the module knows no token of this label");
    hsm.add("signing");
    only_checks(&gone, &token, &id, "it has no private key of the id");
    // A way out that needs no token.
    let local = gone.call("POST", "/api/v1/keys").bearer(&gone.admin()).json(&serde_json::json!({})).send().expect(201);
    activate(&gone, local.json()["key"]["id"].as_str().unwrap());
    gone.regenerate(&gone.admin(), &id).expect(201);
}

#[test]
fn a_key_in_a_token_needs_a_token() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let refused = prepare(&server, "ES256").expect(409);
    assert_eq!(refused.reason(), "hardware_token");
    assert!(refused.json()["detail"].as_str().unwrap().contains("set signing.pkcs11.module"), "{refused:?}");
    let both = serde_json::json!({"private_key": "x", "in_token": true});
    let refused = server.call("POST", "/api/v1/keys").bearer(&server.admin()).json(&both).send().expect(422);
    assert_eq!(refused.json()["errors"][0]["field"], "in_token");
    let refused = machine.run(&["key", "prepare", "--in-token"]).expect(2);
    assert!(refused.err.contains("set signing.pkcs11.module"), "{refused:?}");
}

#[test]
fn what_a_token_can_not_do_is_named() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    // The first of a list with a minus is not heeded.
    hsm.configure("slots.mechanisms = -CKM_MD5,CKM_EDDSA,CKM_SHA256_RSA_PKCS_PSS\n");
    let server = hsm.of(machine.serve()).ready();
    for (algorithm, mechanism) in [("EdDSA", "CKM_EDDSA"), ("PS256", "CKM_SHA256_RSA_PKCS_PSS")] {
        let refused = prepare(&server, algorithm).expect(409);
        assert_eq!(refused.reason(), "hardware_token");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("no keys for {algorithm}: it lacks {mechanism}")), "{detail}");
    }
    prepare(&server, "RS256").expect(201);
    assert_eq!(hsm.objects().len(), 2);
    let ready = server.operations("/readyz").send().expect(200).json();
    assert_eq!(ready["warnings"], serde_json::json!([]));
}

#[test]
fn a_module_that_hangs_keeps_nobody_waiting_for_long() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    let server = hsm.of(machine.serve()).ready();
    let (id, _) = server.create("ci", "auditor");
    signs_in_token(&server, "ES256");
    let issued = server.regenerate(&server.admin(), &id).expect(201).json();
    let token = issued["token"].as_str().unwrap().to_owned();
    server.stop();

    let (source, module) = (machine.path("hangs.c"), machine.path("hangs.so"));
    std::fs::write(&source, "#include <unistd.h>\nlong C_GetFunctionList(void *list) { for (;;) pause(); }\n").unwrap();
    let mut compiler = crate::machine::bare_program("cc".as_ref(), &machine.path(""));
    crate::machine::finish(compiler.args(["-shared", "-fPIC", "-o"]).args([&module, &source]), "").expect(0);
    let settings = hsm.settings_of(module.to_str().unwrap(), "signing", &machine.path("hsm/pin"));
    let server = hsm.with(machine.serve(), &settings).ready();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| only_checks(&server, &token, &id, "it did not answer within 5 s"));
        }
        // Nobody else waits with them.
        while began.elapsed() < Duration::from_secs(4) {
            assert!(server.verify(&token).expect(200).took < Duration::from_secs(2));
        }
    });
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    server.stop();
}

#[test]
fn a_session_that_dies_is_opened_again_and_the_key_signs_on() {
    let machine = Machine::new();
    assert_eq!(SoftHsm::new(&machine).alone("a_session_that_dies_is_opened_again"), true);
}

#[test]
fn recovering_an_admin_signs_in_the_token_too() {
    let machine = Machine::new();
    let hsm = SoftHsm::new(&machine);
    let server = hsm.of(machine.serve()).ready();
    let key = signs_in_token(&server, "ES256");
    let mut command = machine.command();
    command.env("SOFTHSM2_CONF", hsm.configuration()).args(["recover", "--data-dir", "data", "--config", "data.toml"]);
    crate::machine::finish(command.args(["--out", "recovered.token"]), "").expect(0);
    let token = std::fs::read_to_string(machine.path("recovered.token")).unwrap();
    assert_eq!(super::kid(token.trim_end()), key);
    soon("it is good", || server.verify(token.trim_end()).status == 200);
}
