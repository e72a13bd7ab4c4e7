//! Receivers of the audit that misbehave as they are told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A CA, and a certificate of `localhost`.
pub struct Authenticity {
    _directory: tempfile::TempDir,
    pub ca_file: PathBuf,
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    acceptor: TlsAcceptor,
}

impl Authenticity {
    pub fn new() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (ca_file, certificate_file) = (file("ca.pem", ca.pem()), file("certificate.pem", leaf.pem()));
        let key_file = file("key.pem", key.serialize_pem());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Arc::new(Self { _directory: directory, ca_file, certificate_file, key_file, acceptor })
    }
}

/// What a receiver does with what comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    /// Closes before it has read anything.
    Slams,
    /// Ends well at once, with nothing read.
    EndsAtOnce,
    /// Reads a little and dies: what it has is lost.
    DiesReading,
    /// Reads all and dies: what it has is lost.
    DiesAfterReading,
    /// Keeps what came, and dies before it could say so.
    DiesAfterKeeping,
    /// Answers with this status, or closes well where there are no answers.
    Answers(u16),
}

const WELL: Deed = Deed::Answers(200);

/// A message as it came to a webhook: its head, by name, and its body.
#[derive(Debug, Clone)]
pub struct Message {
    pub head: String,
    pub body: String,
}

impl Message {
    pub fn header(&self, name: &str) -> &str {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        let line = self.head.lines().find(|line| of(line)).unwrap_or_else(|| panic!("no {name}: {}", self.head));
        line.split_once(": ").unwrap().1
    }

    /// As the specification says it, by another library's HMAC.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let tag = STANDARD.decode(self.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &tag).is_ok()
    }
}

#[derive(Default)]
struct Kept {
    plan: VecDeque<Deed>,
    events: Vec<Value>,
    messages: Vec<Message>,
    /// Messages of syslog, whole.
    lines: Vec<String>,
    tries: usize,
}

/// What is spoken.
#[derive(Clone, Copy, PartialEq)]
pub enum Speech {
    Syslog,
    Http,
}

/// A receiver, until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    listening: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Receiver {
    pub async fn new(speech: Speech, tls: Option<Arc<Authenticity>>) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), speech, tls, Arc::default()).await
    }

    async fn at(address: SocketAddr, speech: Speech, tls: Option<Arc<Authenticity>>, kept: Arc<Mutex<Kept>>) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let listening = tokio::spawn(listen(listener, speech, tls, Arc::clone(&kept)));
        Self { address, kept, listening }
    }

    /// It is gone, and all its connections with it.
    pub async fn dies(&mut self) {
        self.listening.abort();
        let _ = (&mut self.listening).await;
    }

    /// It comes back to the same place.
    pub async fn returns(&mut self, speech: Speech, tls: Option<Arc<Authenticity>>) {
        *self = Self::at(self.address, speech, tls, Arc::clone(&self.kept)).await;
    }

    /// What it does next; then it goes on well.
    pub fn plans(&self, deeds: &[Deed]) {
        self.kept.lock().unwrap().plan.extend(deeds);
    }

    pub fn has_done_all(&self) -> bool {
        self.kept.lock().unwrap().plan.is_empty()
    }

    pub fn events(&self) -> Vec<Value> {
        self.kept.lock().unwrap().events.clone()
    }

    pub fn messages(&self) -> Vec<Message> {
        self.kept.lock().unwrap().messages.clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.kept.lock().unwrap().lines.clone()
    }

    pub fn tries(&self) -> usize {
        self.kept.lock().unwrap().tries
    }
}

async fn listen(listener: TcpListener, speech: Speech, tls: Option<Arc<Authenticity>>, kept: Arc<Mutex<Kept>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, kept) = (tls.clone(), Arc::clone(&kept));
        connections.spawn(async move {
            match tls {
                None => serve(stream, speech, &kept).await,
                Some(tls) => match tls.acceptor.accept(stream).await {
                    Ok(stream) => serve(stream, speech, &kept).await,
                    Err(_) => None,
                },
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, speech: Speech, kept: &Mutex<Kept>) -> Option<()> {
    match speech {
        Speech::Syslog => syslog(stream, kept).await,
        Speech::Http => http(stream, kept).await,
    }
}

fn next_deed(kept: &Mutex<Kept>) -> Deed {
    let mut kept = kept.lock().unwrap();
    kept.tries += 1;
    kept.plan.pop_front().unwrap_or(WELL)
}

async fn syslog(mut stream: impl AsyncRead + AsyncWrite + Unpin, kept: &Mutex<Kept>) -> Option<()> {
    let deed = next_deed(kept);
    let mut text = vec![0; 10];
    match deed {
        Deed::Slams => return None,
        Deed::EndsAtOnce => return stream.shutdown().await.ok(),
        Deed::DiesReading => {
            let _ = stream.read_exact(&mut text).await;
            return None;
        }
        _ => {}
    }
    text.clear();
    stream.read_to_end(&mut text).await.ok()?;
    if deed == Deed::DiesAfterReading {
        return None;
    }
    let mut rest = std::str::from_utf8(&text).expect("it is no text");
    while !rest.is_empty() {
        let (length, after) = rest.split_once(' ').expect("no length");
        let (message, after) = after.split_at(length.parse().expect("no length"));
        let json = message.splitn(8, ' ').nth(7).unwrap();
        let mut kept = kept.lock().unwrap();
        kept.events.push(serde_json::from_str(json).unwrap());
        kept.lines.push(message.to_owned());
        rest = after;
    }
    if deed != Deed::DiesAfterKeeping {
        stream.shutdown().await.ok()?;
    }
    Some(())
}

/// HTTP/1.1, as much of it as a client needs that sends a body of known length.
async fn http(mut stream: impl AsyncRead + AsyncWrite + Unpin, kept: &Mutex<Kept>) -> Option<()> {
    let mut text = Vec::new();
    loop {
        text.clear();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(stream.read_u8().await.ok()?);
        }
        let deed = next_deed(kept);
        if matches!(deed, Deed::Slams | Deed::EndsAtOnce | Deed::DiesReading) {
            return None;
        }
        let mut message = Message { head: String::from_utf8(text.clone()).unwrap(), body: String::new() };
        if !message.head.starts_with("POST ") {
            kept.lock().unwrap().messages.push(message);
            return None;
        }
        let mut body = vec![0; message.header("content-length").parse().unwrap()];
        stream.read_exact(&mut body).await.ok()?;
        if deed == Deed::DiesAfterReading {
            return None;
        }
        message.body = String::from_utf8(body).unwrap();
        let status = match deed {
            Deed::Answers(status) => status,
            _ => 200,
        };
        {
            let mut kept = kept.lock().unwrap();
            if status == 200 {
                let body: Value = serde_json::from_str(&message.body).unwrap();
                kept.events.extend(body["data"]["events"].as_array().unwrap().iter().cloned());
            }
            kept.messages.push(message);
        }
        if deed == Deed::DiesAfterKeeping {
            return None;
        }
        let answer = format!("HTTP/1.1 {status} Said\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Somewhere nobody listens.
pub async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A connection that is accepted and never answered.
pub async fn silent() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listening = tokio::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (address, listening)
}
