//! What was made and not noted, so that its caller was told nothing, is noted before a repetition says that it is done.

use std::path::PathBuf;

use countermark::store::Journal;

use super::Issuers;
use crate::app::App;

/// As long as this is held, the issuer finds no journal.
struct NoJournal {
    there: PathBuf,
    away: PathBuf,
}

impl NoJournal {
    fn of(issuers: &Issuers, name: &str) -> Self {
        let (there, away) = (issuers.journal(name), issuers.journal(&format!("{name}-away")));
        std::fs::rename(&there, &away).unwrap();
        Self { there, away }
    }
}

impl Drop for NoJournal {
    fn drop(&mut self) {
        std::fs::rename(&self.away, &self.there).unwrap();
    }
}

async fn revoke(app: &App, token: &str, expected: u16) -> String {
    let answer = app.nobody().form("/oauth2/revoke", &format!("token={token}"), expected).await;
    if expected == 200 { String::new() } else { answer.reason().to_owned() }
}

/// Whether the process that made the change still runs makes no difference.
async fn once_more(issuers: &Issuers, one: App, is_restarted: bool) -> App {
    if !is_restarted {
        return one;
    }
    let redis = std::sync::Arc::clone(&one.redis);
    drop(one);
    issuers.start("one", &redis).await
}

#[tokio::test]
async fn r2_a_revocation_that_was_made_and_not_noted_is_noted_before_a_repetition_is_told_that_it_is_done() {
    for is_restarted in [false, true] {
        let (issuers, one) = Issuers::begin("one").await;
        let ci = one.account("ci", &[]).await;
        let promoted = one.redis.copy().await;
        let away = NoJournal::of(&issuers, "one");
        assert_eq!(revoke(&one, ci.token(), 503).await, "unconfirmed");
        assert_eq!(ci.verdict().await, "revoked", "it was made");
        assert_eq!(revoke(&one, ci.token(), 503).await, "journal_stuck");
        drop(away);
        let one = once_more(&issuers, one, is_restarted).await;
        revoke(&one, ci.token(), 200).await;
        drop(one);
        let one = issuers.start("one", &promoted).await;
        assert_eq!(one.bearer(ci.token()).verdict().await, "revoked", "restarted: {is_restarted}");
    }
}

#[tokio::test]
async fn r2_a_deletion_that_was_made_and_not_noted_is_noted_before_a_repetition_is_told_that_there_is_none() {
    for (by_name, is_restarted) in [(false, false), (false, true), (true, false), (true, true)] {
        let (issuers, one) = Issuers::begin("one").await;
        let ci = one.account("ci", &[]).await;
        let path = format!("/accounts/{}", if by_name { "ci" } else { &ci.id });
        let promoted = one.redis.copy().await;
        let away = NoJournal::of(&issuers, "one");
        assert_eq!(one.admin().delete(&path, 503).await.reason(), "unconfirmed");
        assert_eq!(ci.verdict().await, "unknown_account", "it was made");
        assert_eq!(one.admin().delete(&path, 503).await.reason(), "journal_stuck");
        drop(away);
        let one = once_more(&issuers, one, is_restarted).await;
        assert_eq!(one.admin().delete(&path, 404).await.reason(), "not_found");
        drop(one);
        let one = issuers.start("one", &promoted).await;
        assert_eq!(one.bearer(ci.token()).verdict().await, "unknown_account", "by name: {by_name}, {is_restarted}");
    }
}

/// Holding a dead token is enough to ask.
#[tokio::test]
async fn what_is_found_done_time_and_again_is_noted_once() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    revoke(&one, ci.token(), 200).await;
    let one = once_more(&issuers, one, true).await;
    let before = Journal::check(&issuers.journal("one")).unwrap();
    for _ in 0..3 {
        revoke(&one, ci.token(), 200).await;
        one.admin().delete("/accounts/nobody", 404).await;
    }
    assert_eq!(Journal::check(&issuers.journal("one")).unwrap(), before + 1);
}

/// One at a time waits for replicas.
#[tokio::test]
async fn whoever_asks_time_and_again_whether_something_is_done_keeps_nobody_waiting_who_changes_something() {
    let (issuers, one) = Issuers::begin("one").await;
    let (ci, gone) = (one.account("ci", &[]).await, one.account("gone", &[]).await);
    one.admin().delete("/accounts/gone", 200).await;
    // Where it is asked for on the connection for changes, the table of issuers is looked at.
    let asked = async || {
        let stats: String = one.redis.run(&["INFO", "commandstats"]).await;
        stats.lines().find_map(|line| Some(line.strip_prefix("cmdstat_hexists:calls=")?.split(',').next()?.to_owned()))
    };
    let again = async || {
        revoke(&one, ci.token(), 200).await;
        one.admin().delete(&format!("/accounts/{}", gone.id), 404).await;
    };
    for _ in 0..2 {
        again().await;
    }
    one.redis.run::<()>(&["CONFIG", "RESETSTAT"]).await;
    for _ in 0..5 {
        again().await;
    }
    assert_eq!(asked().await, None);
    // Another change has to be known everywhere as well.
    one.admin().regenerate("ci").await;
    one.redis.run::<()>(&["CONFIG", "RESETSTAT"]).await;
    again().await;
    assert_eq!(asked().await.as_deref(), Some("1"));
    drop(issuers);
}

/// Another issuer may have asked for it, and be waited for by the copies that lack it, or by none.
#[tokio::test]
async fn r2_an_issuer_that_was_taken_for_gone_is_known_again_when_it_says_that_something_is_done() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let ci = one.account("ci", &[]).await;
    one.admin().delete("/accounts/ci/token", 200).await;
    assert!(two.store.withdraw().await.unwrap());
    revoke(&two, ci.token(), 200).await;
    let known = one.store.issuers().await.unwrap();
    assert_eq!(known.iter().map(|issuer| issuer.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

/// Each restart of Redis begins a term.
#[tokio::test]
async fn what_was_done_in_a_term_that_nobody_remembers_any_more_is_found_done() {
    let (issuers, one) = Issuers::begin("one").await;
    let (ci, gone) = (one.account("ci", &[]).await, one.account("gone", &[]).await);
    revoke(&one, ci.token(), 200).await;
    one.admin().delete("/accounts/gone", 200).await;
    let meta = one.key("meta");
    for term in 2..1_203 {
        let (identity, ended) = (format!("identity:{term}"), format!("ended:{term}"));
        one.redis.run::<()>(&["HSET", &meta, &identity, "a server", &ended, "1"]).await;
    }
    one.redis.run::<()>(&["HSET", &meta, "term", "1203"]).await;
    one.redis.changes_identity().await;
    let one = once_more(&issuers, one, true).await;
    assert_eq!(one.redis.run::<u64>(&["HEXISTS", &meta, "identity:1"]).await, 0);
    revoke(&one, ci.token(), 200).await;
    assert_eq!(one.admin().delete(&format!("/accounts/{}", gone.id), 404).await.reason(), "not_found");
}
