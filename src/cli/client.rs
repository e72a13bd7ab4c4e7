//! The HTTP client: one request, one answer. It repeats nothing, follows nothing and goes through no proxy.

use std::io::{self, IsTerminal};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Certificate, Method, StatusCode, redirect, retry};
use serde_json::Value;

use super::Output;
use super::address::Server;
use super::answer::Failure;
use super::connect::{self, ConnectionArgs, Credential, Surroundings, Target};
use super::secret::BearerToken;
use super::{problem, when};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
/// What is long as long as it goes on.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Far above any page that the API serves.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// What a command works with.
pub struct Session {
    /// The server.
    pub client: Client,
    /// How answers are printed.
    pub output: Output,
    /// When the command began.
    pub now: DateTime<Utc>,
    /// Whether somebody is there who can answer a question.
    pub interactive: bool,
}

impl Session {
    /// Finds server and token as `connect` says.
    pub fn open(args: &ConnectionArgs, output: Output) -> Result<Self, Failure> {
        let around = Surroundings::of_process();
        let target = connect::target(args, &around)?;
        let credential = connect::credential(&target, args, &around)?;
        Ok(Self::new(Client::new(&target, Some(credential))?, output))
    }

    /// A session over a client that exists.
    pub fn new(client: Client, output: Output) -> Self {
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { client, output, now: when::now(), interactive }
    }
}

/// An answer that says yes.
#[derive(Debug)]
pub struct Reply {
    /// The body as the server wrote it.
    pub text: String,
    /// The body.
    pub body: Value,
    /// The version that the body describes.
    pub etag: Option<String>,
}

/// Any answer at all.
pub struct RawReply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// A request to the administration API.
pub struct Call<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    body: Option<Value>,
    if_match: Option<String>,
    last_event_id: Option<String>,
    timeout: Duration,
}

impl<'a> Call<'a> {
    /// A request; the path is what follows `/api/v1`.
    pub fn new(method: Method, path: &[&'a str]) -> Self {
        Self::of(method, [&["api", "v1"], path].concat(), Vec::new())
    }

    fn of(method: Method, path: Vec<&'a str>, query: Vec<(&'a str, String)>) -> Self {
        Self { method, path, query, body: None, if_match: None, last_event_id: None, timeout: TIMEOUT }
    }

    /// Only what comes after the event of this id.
    pub fn last_event_id(mut self, id: Option<String>) -> Self {
        self.last_event_id = id;
        self
    }

    /// Waits so long for the answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With these query parameters.
    pub fn query(mut self, query: Vec<(&'a str, String)>) -> Self {
        self.query = query;
        self
    }

    /// With this body.
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Only if the resource is still at this version.
    pub fn if_match(mut self, etag: Option<String>) -> Self {
        self.if_match = etag;
        self
    }
}

/// One server, spoken to as one account.
pub struct Client {
    http: reqwest::Client,
    server: Server,
    credential: Option<Credential>,
}

impl Client {
    /// Sets up the client; nothing is sent yet.
    pub fn new(target: &Target, credential: Option<Credential>) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("countermark/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A token goes to the server that was named and to nobody it points at.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy();
        if let Some(pem) = &target.ca_pem {
            let unusable =
                || Failure::new("the CA file holds no usable certificate").next("it should hold PEM certificates");
            let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| unusable())?;
            if certificates.is_empty() {
                return Err(unusable());
            }
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder.build().map_err(|error| {
            Failure::new(format!("the HTTP client can't be set up: {error}"))
                .next("is the CA file a PEM certificate, and are the system's CA certificates installed?")
        })?;
        Ok(Self { http, server: target.server.clone(), credential })
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Reads a resource below `/api/v1`.
    pub async fn get(&self, path: &[&str]) -> Result<Reply, Failure> {
        self.call(Call::new(Method::GET, path)).await
    }

    /// Makes a request to the administration API; whatever isn't a success is a failure that says what to do.
    pub async fn call(&self, call: Call<'_>) -> Result<Reply, Failure> {
        let token = self.credential.as_ref().map(|credential| &credential.token);
        let raw = self.send(&call, token).await?;
        if !raw.status.is_success() {
            return Err(problem::Problem::read(&raw).into_failure(&self.server, self.credential.as_ref()));
        }
        let text = String::from_utf8(raw.body).map_err(|_| self.strange_answer())?;
        let body = match text.trim() {
            "" => Value::Null,
            json => serde_json::from_str(json).map_err(|_| self.strange_answer())?,
        };
        let etag = raw.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        Ok(Reply { text, body, etag })
    }

    /// Makes a request whose answer may be of any length, and takes it line by line.
    pub async fn lines(
        &self,
        call: Call<'_>,
        mut take: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let token = self.credential.as_ref().map(|credential| &credential.token);
        let mut response = self.request(&call.timeout(FOR_EVER), token).await?;
        if !response.status().is_success() {
            let raw = self.whole(response, &Method::GET).await?;
            return Err(problem::Problem::read(&raw).into_failure(&self.server, self.credential.as_ref()));
        }
        let mut rest = Vec::new();
        loop {
            let chunk = tokio::time::timeout(TIMEOUT, response.chunk()).await;
            let chunk = chunk.map_err(|_| self.silent())?;
            let Some(chunk) = chunk.map_err(|error| problem::unreachable(&error, &self.server, &Method::GET))? else {
                break;
            };
            rest.extend_from_slice(&chunk);
            let end = memchr::memrchr(b'\n', &rest).map_or(0, |end| end + 1);
            let text = std::str::from_utf8(rest.get(..end).unwrap_or_default()).map_err(|_| self.strange_answer())?;
            text.split_terminator('\n').try_for_each(&mut take)?;
            rest.drain(..end);
            if rest.len() > MAX_ANSWER {
                return Err(self.strange_answer());
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(self.strange_answer().passing()) }
    }

    fn silent(&self) -> Failure {
        Failure::new(format!("{} went silent in the middle of its answer", self.server)).next("try again").passing()
    }

    /// Asks `/verify` about a token, which is the only credential of the request.
    pub async fn verify(&self, token: &BearerToken, query: Vec<(&str, String)>) -> Result<RawReply, Failure> {
        self.send(&Call::of(Method::GET, vec!["verify"], query), Some(token)).await
    }

    /// Asks for the published keys (RFC 7517), as anybody may.
    pub async fn key_set(&self) -> Result<RawReply, Failure> {
        self.send(&Call::of(Method::GET, vec![".well-known", "jwks.json"], Vec::new()), None).await
    }

    async fn send(&self, call: &Call<'_>, token: Option<&BearerToken>) -> Result<RawReply, Failure> {
        let response = self.request(call, token).await?;
        self.whole(response, &call.method).await
    }

    async fn request(&self, call: &Call<'_>, token: Option<&BearerToken>) -> Result<reqwest::Response, Failure> {
        let url = self.server.endpoint(&call.path, &call.query)?;
        let mut request = self.http.request(call.method.clone(), url).timeout(call.timeout);
        if let Some(token) = token {
            let header = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
            let mut header = header.map_err(|_| Failure::new("the token can't stand in a header"))?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        if let Some(etag) = &call.if_match {
            request = request.header(IF_MATCH, etag);
        }
        if let Some(id) = &call.last_event_id {
            request = request.header("last-event-id", id);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| problem::unreachable(&error, &self.server, &call.method))
    }

    async fn whole(&self, mut response: reqwest::Response, method: &Method) -> Result<RawReply, Failure> {
        let failed = |error| problem::unreachable(&error, &self.server, method);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::new("the server's answer is too long").next("ask for less with --limit"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(RawReply { status: response.status(), headers: response.headers().clone(), body })
    }

    fn strange_answer(&self) -> Failure {
        Failure::new(format!("{} answered with something that is not JSON", self.server))
            .next("is that really a Countermark server? check --server")
    }
}
