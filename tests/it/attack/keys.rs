//! Keys that had their time: whatever they sign is not believed, and says so.

use std::sync::Arc;

use countermark::keyring::KeyEntry;
use countermark::token::{Algorithm, SigningKey};
use countermark::verify::KeyState;

use super::bench::{Bench, Row};
use super::forge::{Forge, StolenKey};

/// Further keys in these states, and the forge of each: a living token's claims, signed by that key.
async fn forges(bench: &Bench, states: &[KeyState]) -> Vec<Forge> {
    let keys = bench.app.authority.keys();
    let mut read = keys.document().await.unwrap();
    let known = read.document.keys.len();
    for state in states {
        let now = countermark::clock::Clock::now(bench.app.clock.as_ref());
        let mut entry = KeyEntry::active(&SigningKey::generate(Algorithm::ES256).unwrap(), now);
        entry.state = *state;
        read.document.keys.push(entry);
    }
    crate::keys::replace(&bench.app.authority, &read).await;
    keys.at_least(read.version + 1).await.unwrap();
    let mut forges = Vec::new();
    for number in known..read.document.keys.len() {
        let key = Arc::new(StolenKey::from(&read.document, number));
        let spare = bench.spare().await;
        let kid = format!("\"{}\"", key.id);
        let token = Forge { key: Arc::clone(&key), ..spare }.with_header("kid", Some(&kid));
        forges.push(Forge { key, token });
    }
    forges
}

#[tokio::test]
async fn a_key_that_was_revoked_or_retired_signs_nothing_that_lives() {
    let bench = Bench::new().await;
    let [revoked, retired, retiring, pending] =
        forges(&bench, &[KeyState::Revoked, KeyState::Retired, KeyState::Retiring, KeyState::Pending])
            .await
            .try_into()
            .unwrap_or_else(|_| panic!("four keys"));
    let mut rows = Vec::new();
    for (name, forge) in [("revoked", &revoked), ("retired", &retired)] {
        rows.push(Row::refused(format!("a {name} key"), "revoked_key", forge.token.clone()));
        let altered = forge.with_signature([1; 64]);
        rows.push(Row::refused(format!("a {name} key, not its signature"), "bad_signature", altered));
    }
    // Nothing else is told of what a revoked key signed: its thief may have written it.
    for (name, raw) in [("iss", "\"https://attacker.example\""), ("exp", "1"), ("gen", "99")] {
        let token = revoked.with_claim(name, Some(raw));
        rows.push(Row::refused(format!("a revoked key, {name}: {raw}"), "revoked_key", token));
    }
    // A retired key's tokens are dead for another reason as a rule, and that is what their holders are told.
    for (name, raw, reason) in [("exp", "1", "expired"), ("jti", "\"AAAAAAAAAAAAAAAAAAAAAA\"", "superseded")] {
        let token = retired.with_claim(name, Some(raw));
        rows.push(Row::refused(format!("a retired key, {name}: {raw}"), reason, token));
    }
    rows.push(Row::allowed("a retiring key", retiring.token.clone()));
    rows.push(Row::allowed("a pending key", pending.token.clone()));
    bench.stand(rows).await;
}
