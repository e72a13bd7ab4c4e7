//! A signature of ES256 has a twin, (r, n - s), that is as good: whoever holds a token can write it in a second way. Both are
//! accepted, as RFC 7515 and every other library in use do, and it is harmless because nothing goes by the text of a token:
//! it is named by its `jti`, counted by its account, and ended by its generation.

use serde_json::json;

use super::bench::{Bench, Row};
use super::signature::malleated;
use crate::app::App;

#[tokio::test]
async fn the_twin_of_a_signature_is_as_good() {
    let bench = Bench::new().await;
    let forge = bench.spare().await;
    let twin = forge.with_signature(malleated(&forge.signature()));
    assert_ne!(twin, forge.token);
    assert_eq!(malleated(&malleated(&forge.signature())), forge.signature());
    bench.stand(vec![Row::allowed("n - s", twin)]).await;
}

#[tokio::test]
async fn a_token_and_its_twin_are_one_token_and_die_together() {
    let bench = Bench::new().await;
    let app: &App = &bench.app;
    for spent in [false, true] {
        let forge = bench.spare().await;
        let twin = forge.with_signature(malleated(&forge.signature()));
        let (genuine, twin) = (app.bearer(&forge.token), app.bearer(&twin));
        // Seen once does not make it stale, and neither is seen as another one.
        for _ in 0..2 {
            let ids = [&genuine, &twin].map(|actor| actor.door("GET", "/verify", 200));
            let [one, two] = ids;
            let (one, two) = (one.await, two.await);
            assert_eq!(one.header("x-countermark-token-id"), two.header("x-countermark-token-id"));
            assert_eq!(one.header("x-countermark-generation"), two.header("x-countermark-generation"));
        }
        // Ending either ends both, in either way.
        if spent {
            app.nobody().form("/oauth2/revoke", &format!("token={}", twin.token()), 200).await;
            assert_eq!((genuine.verdict().await, twin.verdict().await), ("revoked".into(), "revoked".into()));
        } else {
            let id = forge.claim("sub").as_str().unwrap().to_owned();
            let change = json!({ "valid_for_months": 12 });
            app.admin().post(&format!("/accounts/{id}/token"), change, 201).await;
            assert_eq!((genuine.verdict().await, twin.verdict().await), ("superseded".into(), "superseded".into()));
        }
    }
}
