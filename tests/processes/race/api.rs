//! An API that takes its decisions with the library, beside the nodes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countermark::Verifier;
use tokio::runtime::Runtime;

use super::scene::{Door, MAX_STALENESS};

/// Ends when it is dropped.
pub struct Api {
    pub door: Door,
    _runtime: Runtime,
}

impl Api {
    /// Ready. `store`: the URL of the store; `key_set`: a file with the issuer's key set.
    pub fn start(issuer: &str, store: &str, key_set: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let address = runtime.block_on(async {
            let builder = Verifier::builder(issuer).redis(store).key_set_file(key_set).node_name("api");
            let verifier = builder.max_staleness(MAX_STALENESS).start().await.unwrap();
            verifier.ready(Duration::from_secs(20)).await.unwrap();
            let api = Router::new().route("/verify", get(async || "let in")).layer(verifier.layer());
            let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                // It has to live as long as it is asked.
                let _verifier = verifier;
                axum::serve(listener, api).await.unwrap();
            });
            address
        });
        Self { door: Door::at(address), _runtime: runtime }
    }
}
