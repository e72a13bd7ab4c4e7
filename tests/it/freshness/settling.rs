//! R4: leases that this server knows nothing of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countermark::store::{Twins, with_drift};

use super::{LEASE, Pair, joining, regenerating, waits};
use crate::app::{App, Setup};
use crate::wire::Sent;

/// The longest lease.
const CEILING: Duration = Duration::from_secs(5);

/// How long such a lease may last by another clock.
fn the_wait() -> Duration {
    with_drift(CEILING)
}

fn with_twins(journal: Option<PathBuf>, setup: Setup) -> Setup {
    Setup { twins: Twins::Possible, journal, ..setup }
}

#[tokio::test]
async fn r4_a_fresh_issuer_gives_no_receipt_while_a_lease_of_the_old_primary_may_be_left() {
    let pair = Pair::start().await;
    // The copy was made before: its table knows nothing of this node.
    let promoted = pair.redis.copy().await;
    promoted.run::<()>(&["DEL", &pair.issuer.key("leases")]).await;
    let setup = Setup { store: Some(pair.wire.socket()), node: "node-3", max_staleness: CEILING, ..Setup::default() };
    let node = App::with(Setup { max_staleness: CEILING, node: "node-3", ..joining(&pair.issuer, setup) }).await;
    node.has_lease().await;
    let old = node.bearer(pair.ci.token());
    assert_eq!(old.verdict().await, "allowed");
    // From here on the old primary is out of reach.
    pair.wire.close();

    let fresh = with_twins(None, Setup { redis: Arc::clone(&promoted), ..joining(&pair.issuer, Setup::default()) });
    let fresh = App::with(fresh).await;
    fresh.has_lease().await;
    let asked = regenerating(&fresh, &pair.ci).await;
    for _ in 0..CEILING.as_millis() / LEASE.as_millis() - 1 {
        pair.advance(LEASE);
        assert_eq!(old.verdict().await, "allowed", "under a lease that the promoted one knows nothing of");
        waits(&asked).await;
    }
    pair.advance(LEASE - Duration::from_millis(1));
    assert_eq!(old.verdict().await, "allowed");
    waits(&asked).await;
    pair.advance(Duration::from_millis(1));
    assert_eq!(old.verdict().await, "store_unavailable");
    // Its clock may be slower than the issuer's.
    pair.advance(the_wait() - CEILING - Duration::from_millis(1));
    waits(&asked).await;
    pair.advance(Duration::from_millis(1));
    assert_eq!(asked.await.unwrap().expect(201)["receipt"]["nodes_expired"], 0);
}

#[tokio::test]
async fn r4_the_wait_is_behind_an_issuer_whose_journal_names_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Some(directory.path().join("journal"));
    // Nobody can hold a lease of a dataset that was made just now.
    let redis = crate::redis_server::RedisServer::start();
    let setup = Setup { redis, ..Setup::default() };
    let first = App::with(with_twins(journal.clone(), setup)).await;
    let ci = first.account("ci", &[]).await;
    first.goes().await;
    first.admin().regenerate("ci").await;
    // Started again.
    let again = App::with(with_twins(journal.clone(), joining(&first, Setup::default()))).await;
    again.admin().regenerate("ci").await;
    again.goes().await;
    // Another one does not know that; and a journal that names another server says nothing of this one.
    let copy = first.redis.copy().await;
    for (redis, journal, settles) in
        [(&first.redis, None, true), (&copy, journal.clone(), true), (&copy, journal, false)]
    {
        let setup = Setup { redis: Arc::clone(redis), ..joining(&first, Setup::default()) };
        let app = App::with(with_twins(journal, setup)).await;
        let asked = regenerating(&app, &ci).await;
        if settles {
            app.clock.advance(the_wait() - Duration::from_millis(1));
            waits(&asked).await;
            app.clock.advance(Duration::from_millis(1));
        }
        asked.await.unwrap().expect(201);
        app.goes().await;
    }
}

#[tokio::test]
async fn r4_an_issuer_that_finds_itself_at_another_server_without_a_sign_waits() {
    let pair = Pair::start().await;
    let promoted = pair.redis.copy().await;
    promoted.run::<()>(&["DEL", &pair.issuer.key("leases")]).await;
    // Somebody else has met it, so that it takes changes.
    let other = App::with(Setup { redis: Arc::clone(&promoted), ..joining(&pair.issuer, Setup::default()) }).await;
    other.has_lease().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    // It has settled where it is.
    let setup = Setup { store: Some(pair.wire.socket()), ..joining(&pair.issuer, Setup::default()) };
    let issuer = App::with(with_twins(Some(path), Setup { node: "node-3", ..setup })).await;
    pair.advance(the_wait());
    assert!(issuer.store.settles_in().is_none());
    pair.node.goes().await;
    issuer.goes().await;
    for what in [Sent::Change, Sent::Table] {
        pair.wire.rehome(what, &promoted);
    }
    let (admin, ci) = (issuer.admin(), format!("/accounts/{}/token", pair.ci.id));
    let asked =
        tokio::spawn(async move { admin.send("POST", &ci, Some(serde_json::json!({ "valid_for_months": 12 }))).await });
    crate::app::eventually("it is committed there", || async { other.look("ci").await["generation"] == 2 }).await;
    waits(&asked).await;
    pair.advance(the_wait() - Duration::from_millis(1));
    waits(&asked).await;
    pair.advance(Duration::from_millis(1));
    asked.await.unwrap().expect(201);
}
