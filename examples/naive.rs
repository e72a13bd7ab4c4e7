//! What anyone would write in an afternoon: axum, `jsonwebtoken`, and one look at Redis for every request. `scripts/bench`
//! measures it beside Countermark. With `--answer` it does less: `nothing` is the floor that no server on axum gets below,
//! `state` a server that does nothing but ask Redis once a request.
//!
//! `cargo run --release --example naive -- --listen 127.0.0.1:8080 --redis redis://127.0.0.1 --issuer URL --keys jwks.json`

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{any, get, post};
use axum::serve::{Listener, ListenerExt as _};
use axum::{Json, Router};
use clap::{Parser, ValueEnum};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[derive(Debug, Parser)]
struct Arguments {
    /// How much it does for an answer.
    #[arg(long, value_enum, default_value = "token")]
    answer: Answer,
    /// Where it listens in plain text.
    #[arg(long)]
    listen: SocketAddr,
    /// Where it listens with TLS.
    #[arg(long, requires = "tls_cert", requires = "tls_key")]
    listen_tls: Option<SocketAddr>,
    #[arg(long)]
    tls_cert: Option<PathBuf>,
    #[arg(long)]
    tls_key: Option<PathBuf>,
    #[arg(long, default_value = "redis://127.0.0.1")]
    redis: String,
    /// The `iss` of good tokens, which is their `aud` as well.
    #[arg(long, default_value = "https://localhost")]
    issuer: String,
    /// The JWKS with the key of good tokens.
    #[arg(long, required_if_eq("answer", "token"))]
    keys: Option<PathBuf>,
    /// One thread for everything.
    #[arg(long)]
    single_threaded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answer {
    /// 204.
    Nothing,
    /// `GET /state/ACCOUNT`: one GET, then 204.
    State,
    /// `/verify` of a token, and `POST /issue/ACCOUNT` of a new one.
    Token,
}

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let mut runtime = if arguments.single_threaded {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<(), Failure> {
    let routes = match arguments.answer {
        Answer::Nothing => Router::new().fallback(async || StatusCode::NO_CONTENT),
        Answer::State => Router::new().route("/state/{account}", get(state)).with_state(connect(&arguments).await?),
        Answer::Token => Router::new()
            .route("/verify", any(verify))
            .route("/issue/{account}", post(issue))
            .with_state(Arc::new(Naive::new(&arguments).await?)),
    };
    let plain = TcpListener::bind(arguments.listen).await?.tap_io(|stream| {
        // A small answer would wait for the other side's ACK.
        let _ = stream.set_nodelay(true);
    });
    let plain = axum::serve(plain, routes.clone());
    match (arguments.listen_tls, arguments.tls_cert, arguments.tls_key) {
        (Some(address), Some(cert), Some(key)) => {
            let tls = axum::serve(Tls::bind(address, &cert, &key).await?, routes);
            tokio::try_join!(async { plain.await }, async { tls.await })?;
        }
        _ => plain.await?,
    }
    Ok(())
}

async fn connect(arguments: &Arguments) -> Result<MultiplexedConnection, Failure> {
    Ok(redis::Client::open(arguments.redis.as_str())?.get_multiplexed_async_connection().await?)
}

/// One connection, on which the commands of concurrent requests follow each other without waiting.
async fn state(Path(account): Path<String>, State(mut redis): State<MultiplexedConnection>) -> StatusCode {
    match redis.get(format!("gen:{account}")).await {
        Ok(Some::<u64>(_)) => StatusCode::NO_CONTENT,
        Ok(None) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

struct Naive {
    redis: MultiplexedConnection,
    issuer: String,
    verifies: DecodingKey,
    validation: Validation,
    signs: EncodingKey,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    iat: u64,
    exp: u64,
    jti: String,
    role: String,
    #[serde(rename = "gen")]
    generation: u64,
}

impl Naive {
    async fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let keys = arguments.keys.as_ref().ok_or("no keys to verify with")?;
        let keys: JwkSet = serde_json::from_slice(&std::fs::read(keys)?)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&arguments.issuer]);
        validation.set_audience(&[&arguments.issuer]);
        validation.validate_nbf = true;
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self {
            redis: connect(arguments).await?,
            issuer: arguments.issuer.clone(),
            verifies: DecodingKey::from_jwk(keys.keys.first().ok_or("the key set is empty")?)?,
            validation,
            signs: EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref()),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "it is what one would call in an afternoon")]
async fn verify(State(naive): State<Arc<Naive>>, headers: HeaderMap) -> StatusCode {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = token.and_then(|value| value.strip_prefix("Bearer ")) else {
        return StatusCode::UNAUTHORIZED;
    };
    let Ok(token) = jsonwebtoken::decode::<Claims>(token, &naive.verifies, &naive.validation) else {
        return StatusCode::UNAUTHORIZED;
    };
    let mut redis = naive.redis.clone();
    match redis.get(format!("gen:{}", token.claims.sub)).await {
        Ok(Some::<u64>(generation)) if generation == token.claims.generation => StatusCode::NO_CONTENT,
        Ok(_) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn issue(
    Path(account): Path<String>,
    State(naive): State<Arc<Naive>>,
) -> Result<(StatusCode, Json<serde_json::Value>), StatusCode> {
    let away = |_| StatusCode::SERVICE_UNAVAILABLE;
    let mut redis = naive.redis.clone();
    let generation: Option<u64> = redis.get(format!("gen:{account}")).await.map_err(away)?;
    let generation = generation.ok_or(StatusCode::NOT_FOUND)? + 1;
    let now = jsonwebtoken::get_current_timestamp();
    let claims = Claims {
        iss: naive.issuer.clone(),
        sub: account,
        aud: vec![naive.issuer.clone()],
        iat: now,
        exp: now + 180 * 24 * 3600,
        jti: uuid::Uuid::now_v7().to_string(),
        role: "runner".to_owned(),
        generation,
    };
    let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &naive.signs)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let entry = [("account", claims.sub), ("jti", claims.jti), ("generation", generation.to_string())];
    let trimmed = redis::streams::StreamMaxlen::Approx(1_000_000);
    redis.xadd_maxlen::<_, _, _, _, ()>("issued", trimmed, "*", &entry).await.map_err(away)?;
    Ok((StatusCode::CREATED, Json(json!({"token": token, "expires_at": claims.exp}))))
}

/// Connections on which the handshake is done.
struct Tls {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Tls {
    async fn bind(address: SocketAddr, cert: &std::path::Path, key: &std::path::Path) -> Result<Self, Failure> {
        let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let Ok((stream, peer)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (acceptor, done) = (acceptor.clone(), done.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = done.send((stream, peer)).await;
                    }
                });
            }
        });
        Ok(Self { address, ready })
    }
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
