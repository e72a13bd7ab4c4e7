//! A small API with three permissions and two teams, as somebody would write it around Countermark's layer.
//!
//! Who may `deployments:read`, `deployments:create` or `deployments:delete` by his default role may so everywhere; by his role in
//! `payments` or `search`, in that team. With a server running as README describes it, and in its directory:
//!
//! ```sh
//! countermark acl verifier   # the rules of the user in Redis, where it is not the private one
//! REDIS=unix:data/redis/redis.sock ISSUER=https://localhost:8443 CA_FILE=data/tls/ca.pem \
//!   cargo run --example deployments_api --no-default-features --features tower
//! curl -H "Authorization: Bearer $(cat ci.token)" http://127.0.0.1:8080/payments/deployments
//! ```
//!
//! An API that others can reach listens on TLS; this one listens on the loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use axum::{Json, Router};
use countermark::layer::{Denied, authorize};
use countermark::name::TeamName;
use countermark::{Permission, Verified, Verifier};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// How long calls that are under way have when it ends.
const DRAIN: Duration = Duration::from_secs(10);

const TEAMS: [&str; 2] = ["payments", "search"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setting = |name: &str| std::env::var(name).map_err(|_| format!("set {name}; see the head of this example"));
    let mut builder = Verifier::builder(setting("ISSUER")?).redis(setting("REDIS")?);
    if let Ok(path) = std::env::var("CA_FILE") {
        builder = builder.ca_pem(std::fs::read(path)?);
    }
    let verifier = builder.start().await?;
    if let Err(error) = verifier.ready(Duration::from_secs(5)).await {
        // It goes on, and answers 503 until it is ready.
        eprintln!("{error}");
    }

    let deployments =
        Router::new()
            .route("/{team}/deployments", get(list).post(create))
            .route("/{team}/deployments/{name}", delete(remove))
            .with_state(Deployments::default())
            .layer(verifier.layer().peer(|extensions| {
                extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
            }));
    let counted = verifier.clone();
    // Outside of the layer: whoever watches over the API has no token.
    let app = deployments.route("/metrics", get(move || async move { counted.counts().to_prometheus() }));

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move { stopped.await.unwrap_or_default() });
    let mut serving = tokio::spawn(served.into_future());
    tokio::select! {
        ended = &mut serving => ended??,
        told = told_to_end() => {
            told?;
            let _ = stopping.send(());
            // Calls that are under way are answered first, as long as that takes no longer than this.
            if tokio::time::timeout(DRAIN, &mut serving).await.is_err() {
                eprintln!("some calls are not answered yet");
            }
        }
    }
    // Says goodbye, and writes the events that wait.
    verifier.stop().await;
    Ok(())
}

/// Ctrl-C, or what a supervisor sends.
async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Somebody who may do `P` in the team that the path names. It stands in a handler's signature, so that none is without.
struct May<P>(Verified, TeamName, std::marker::PhantomData<P>);

trait Demand {
    const PERMISSION: &'static str;
}

macro_rules! demands {
    ($($name:ident = $permission:literal),*) => { $(
        struct $name;
        impl Demand for $name {
            const PERMISSION: &'static str = $permission;
        }
    )* };
}

demands!(Read = "deployments:read", Create = "deployments:create", Delete = "deployments:delete");

impl<P: Demand, S: Send + Sync> FromRequestParts<S> for May<P> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
        let named = path.ok().and_then(|Path(path)| path.get("team").cloned()).unwrap_or_default();
        // A team that is not there is nobody's.
        let team = TEAMS.iter().find(|team| **team == named).and_then(|team| team.parse::<TeamName>().ok());
        let team = team.ok_or(Refusal::NoSuchTeam)?;
        let permission: Permission = P::PERMISSION.parse().map_err(|_| Refusal::NoSuchTeam)?;
        let verified = authorize(&parts.extensions, &permission, Some(&team)).map_err(Refusal::Denied)?;
        Ok(Self(verified, team, std::marker::PhantomData))
    }
}

enum Refusal {
    NoSuchTeam,
    Denied(Denied),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        match self {
            Self::NoSuchTeam => StatusCode::NOT_FOUND.into_response(),
            Self::Denied(denied) => denied.response(),
        }
    }
}

#[derive(Clone, Serialize)]
struct Deployment {
    name: String,
    version: String,
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDeployment {
    name: String,
    version: String,
}

type Key = (TeamName, String);

#[derive(Clone, Default)]
struct Deployments(Arc<Mutex<BTreeMap<Key, Deployment>>>);

impl Deployments {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Key, Deployment>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn list(May(_, team, _): May<Read>, State(deployments): State<Deployments>) -> Json<Vec<Deployment>> {
    let of_the_team = |all: &mut BTreeMap<Key, Deployment>| {
        all.iter().filter(|((owner, _), _)| *owner == team).map(|(_, deployment)| deployment.clone()).collect()
    };
    Json(deployments.with(of_the_team))
}

async fn create(
    May(verified, team, _): May<Create>,
    State(deployments): State<Deployments>,
    Json(new): Json<NewDeployment>,
) -> (StatusCode, Json<Deployment>) {
    let deployment = Deployment { name: new.name, version: new.version, by: verified.username().to_string() };
    deployments.with(|all| all.insert((team, deployment.name.clone()), deployment.clone()));
    (StatusCode::CREATED, Json(deployment))
}

async fn remove(
    May(_, team, _): May<Delete>,
    State(deployments): State<Deployments>,
    Path((_, name)): Path<(String, String)>,
) -> StatusCode {
    let removed = deployments.with(|all| all.remove(&(team, name)));
    if removed.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}
