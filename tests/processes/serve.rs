//! Starting, starting again, starting a second one.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::machine::Machine;
use crate::redis::Redis;

#[test]
fn the_first_start_makes_keys_certificates_a_store_and_the_first_admin() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let mode = |name: &str| std::fs::metadata(server.data(name)).unwrap().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for secret in ["admin.token", "keys/master.key", "tls/ca.key", "tls/server.key"] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    assert_eq!(server.document()["ca_file"], json!(server.ca()));
    assert_eq!(server.issuer(), format!("https://localhost:{}", server.port(0)));
    let me = server.call("GET", "/api/v1/self").bearer(&server.admin()).send().expect(200).json();
    assert_eq!(me["account"]["username"], "admin");
    assert_eq!(me["account"]["role"], "admin");
    let keys = server.call("GET", "/.well-known/jwks.json").send().expect(200).json();
    // One that signs tokens, one that signs the audit.
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let log = server.log();
    assert!(log.contains("Countermark is running.") && log.contains(server.address(0)), "{log}");
    assert!(!log.contains(&server.admin()), "the token is on the screen");
    server.stop();
}

#[test]
fn a_second_start_goes_on_with_what_the_first_one_made() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let issuer = server.issuer();
    let admin = server.admin();
    let (_, token) = server.create("ci", "auditor");
    let file = |name: &str| std::fs::read(machine.path("data").join(name)).unwrap();
    let names = ["admin.token", "keys/master.key", "tls/ca.pem", "tls/ca.key", "tls/server.pem", "node-name"];
    let before: Vec<_> = names.iter().map(|name| file(name)).collect();
    let written = std::fs::metadata(server.data("admin.token")).unwrap().mtime_nsec();
    let key = server.call("GET", "/.well-known/jwks.json").send().json();
    server.stop();

    let server = machine.serve().ready();
    for (name, before) in names.iter().zip(before) {
        assert_eq!(file(name), before, "{name}");
    }
    assert_eq!(std::fs::metadata(server.data("admin.token")).unwrap().mtime_nsec(), written);
    assert_eq!(server.call("GET", "/.well-known/jwks.json").send().json(), key);
    server.verify(&token).expect(200);
    server.verify(&admin).expect(200);
    // The port is another one; what every token says stays.
    assert_eq!(server.issuer(), issuer);
    server.stop();
}

#[test]
fn a_first_admins_token_that_was_taken_away_is_not_made_again() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let path = server.data("admin.token");
    let admin = server.admin();
    server.stop();
    std::fs::remove_file(&path).unwrap();
    let server = machine.serve().ready();
    assert!(!path.exists());
    server.verify(&admin).expect(200);
    server.stop();
}

#[test]
fn a_second_serve_on_the_same_directory_says_so_and_ends() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let refused = machine.serve().ends().expect(2);
    let expected = format!("another countermark (pid {}) is using", server.pid());
    assert!(refused.err.contains(&expected), "{refused:?}");
    assert!(server.is_ready());
    server.verify(&server.admin()).expect(200);
}

#[test]
fn check_says_whether_the_configuration_is_usable_and_touches_nothing() {
    let machine = Machine::new();
    let good = machine.serve().config("max_staleness = \"2s\"\n[limits]\nconnections = 5\n").flag("--check").ends();
    assert!(good.expect(0).out.contains("valid"));
    let bad = "max_staleness = \"2h\"\n[limits]\nconnection = 5\n";
    let bad = machine.serve().config(bad).flag("--check").ends().expect(2);
    assert!(bad.err.contains("max_staleness") && bad.err.contains("line 1"), "{bad:?}");
    assert!(bad.err.contains("limits.connection ") && bad.err.contains("no such setting"), "{bad:?}");
    assert!(!machine.path("data").exists());
}

#[test]
fn an_unknown_setting_is_refused_wherever_it_comes_from() {
    let machine = Machine::new();
    let file = machine.serve().config("lisen = \"127.0.0.1:1\"\n").ends().expect(2);
    assert!(file.err.contains("lisen") && file.err.contains("no such setting"), "{file:?}");
    let variable = machine.serve_in("other").env("COUNTERMARK_LISEN", "127.0.0.1:1").ends().expect(2);
    assert!(variable.err.contains("COUNTERMARK_LISEN"), "{variable:?}");
}

#[test]
fn a_port_in_use_is_named() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let taken = format!("127.0.0.1:{}", server.port(0));
    let refused = machine.serve_in("other").listen(&taken).ends().expect(2);
    assert!(refused.err.contains(&format!("can't listen on https://{taken}")), "{refused:?}");
}

#[test]
fn a_second_process_joins_and_refuses_at_once_what_the_first_one_superseded() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let first = machine.serve_in("one").option("--store", redis.url()).ready();
    let master = first.data("keys/master.key");
    let second = machine.serve_in("two").option("--store", redis.url()).option("--master-key-file", &master).ready();
    assert!(!second.data("admin.token").exists());
    assert!(!second.data("keys/master.key").exists());
    assert_eq!(second.issuer(), first.issuer());

    let (id, mut token) = first.create("ci", "auditor");
    for round in 0..10 {
        let (asked, other) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
        other.verify(&token).expect(200);
        let fresh = asked.regenerate(&first.admin(), &id).expect(201).json();
        let refused = other.verify(&token).expect(401);
        assert_eq!(refused.reason(), "superseded");
        token = fresh["token"].as_str().unwrap().to_owned();
        other.verify(&token).expect(200);
    }
}

#[test]
fn two_processes_that_start_together_on_an_empty_store_make_one_admin() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let master = machine.write("master.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
    let start = |data| machine.serve_in(data).option("--store", redis.url()).option("--master-key-file", &master);
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| start("one").ready());
        let two = scope.spawn(|| start("two").ready());
        (one.join().unwrap(), two.join().unwrap())
    });
    let with_token: Vec<_> = [&one, &two].into_iter().filter(|server| server.data("admin.token").exists()).collect();
    assert_eq!(with_token.len(), 1);
    assert_eq!(one.issuer(), two.issuer());
    for server in [&one, &two] {
        server.verify(&with_token[0].admin()).expect(200);
    }
}

#[test]
fn another_issuer_is_refused_and_moving_to_it_works_as_the_refusal_says() {
    let machine = Machine::new();
    let server = machine.serve().option("--issuer", "https://old.example").ready();
    let old = server.admin();
    server.stop();

    let refused = machine.serve().option("--issuer", "https://new.example").ends().expect(2);
    assert!(refused.err.contains("this dataset's issuer is https://old.example"), "{refused:?}");
    assert!(refused.err.contains("also_accept_issuers = [\"https://old.example\"]"), "{refused:?}");

    let server = machine
        .serve()
        .option("--issuer", "https://new.example")
        .config("also_accept_issuers = [\"https://old.example\"]\n")
        .ready();
    assert_eq!(server.issuer(), "https://new.example");
    let metadata = server.call("GET", "/.well-known/oauth-authorization-server").send().expect(200).json();
    assert_eq!(metadata["issuer"], "https://new.example");
    // Tokens of before go on as they were, new ones come from the new issuer.
    server.verify(&old).expect(200);
    server.call("GET", "/api/v1/accounts").bearer(&old).send().expect(200);
    let (_, new) = server.create("ci", "auditor");
    server.call("GET", "/verify?audience=https://new.example").bearer(&new).send().expect(200);
    server.stop();
}

#[test]
fn a_world_readable_key_of_a_certificate_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let ca = crate::certificates::Authority::new(&machine, "ca");
    let (certificate, key) = ca.issue("server", "DNS:localhost,IP:127.0.0.1");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = machine.serve().option("--tls-cert", certificate).option("--tls-key", &key).ends().expect(2);
    assert!(refused.err.contains(&format!("chmod 600 {}", key.display())), "{refused:?}");
}

#[test]
fn the_link_of_the_first_start_is_told_until_it_is_used() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let file = server.data("setup.url");
    let link = std::fs::read_to_string(&file).unwrap().trim_end().to_owned();
    let (path, secret) = (link.strip_prefix(&server.issuer()).unwrap(), link.split_once("?link=").unwrap().1);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap()) & 0o777, 0o600);
    // Of all starts together.
    let times_told = |server: &crate::server::Server| server.log().matches(&link).count();
    assert_eq!(times_told(&server), 1, "{}", server.log());
    server.call("GET", path).send().expect(200);
    server.stop();

    let server = machine.serve().ready();
    assert_eq!(times_told(&server), 2, "{}", server.log());
    let password = "violet harbour teacup nine".replace(' ', "+");
    let form = format!("link={secret}&username=ada&password={password}&repeated={password}");
    let sent = server.call("POST", "/console/setup").header("sec-fetch-site", "same-origin");
    sent.option("--data", &form).send().expect(303);
    server.stop();

    let server = machine.serve().ready();
    assert!(times_told(&server) == 2 && !file.exists(), "it is of no use any more: {}", server.log());
    server.call("GET", path).send().expect(410);
    server.stop();
}
