//! One connection of a caller, in plain HTTP/1.1: little time lies between its clock and the wire.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What became of a request.
#[derive(Debug)]
pub enum Exchange {
    /// There was no connection.
    NotSent,
    /// There is no answer.
    Lost,
    Answer(Answer),
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and reason.
    pub fn reason(&self) -> String {
        format!("{} {}", self.status, self.json()["reason"].as_str().unwrap_or("?"))
    }
}

/// Kept alive from one request to the next.
pub struct Line {
    address: SocketAddr,
    stream: Option<TcpStream>,
    patience: Duration,
}

/// A request that shows a token.
pub fn request(method: &str, path: &str, token: &str, body: Option<&Value>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: race.test\r\nAuthorization: Bearer {token}\r\n");
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}").into_bytes()
}

impl Line {
    /// To this address; nobody waits longer than this for an answer.
    pub fn to(address: SocketAddr, patience: Duration) -> Self {
        Self { address, stream: None, patience }
    }

    pub fn ask(&mut self, request: &[u8]) -> Exchange {
        if self.send(request) { self.answer() } else { Exchange::NotSent }
    }

    /// Whether there was a connection to send it on.
    pub fn send(&mut self, request: &[u8]) -> bool {
        if self.stream.is_none() {
            self.stream = TcpStream::connect_timeout(&self.address, self.patience.min(CONNECTS_WITHIN)).ok();
        }
        let Some(stream) = &mut self.stream else { return false };
        let _ = stream.set_nodelay(true);
        // What can't be sent is not answered either.
        let _ = stream.write_all(request);
        true
    }

    pub fn answer(&mut self) -> Exchange {
        let Some(stream) = self.stream.take() else { return Exchange::Lost };
        match receive(&stream, Instant::now() + self.patience) {
            Some((answer, stays)) => {
                self.stream = stays.then_some(stream);
                Exchange::Answer(answer)
            }
            None => Exchange::Lost,
        }
    }
}

const CONNECTS_WITHIN: Duration = Duration::from_secs(1);

/// An answer, and whether the connection stays.
fn receive(mut stream: &TcpStream, until: Instant) -> Option<(Answer, bool)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            let length: usize = header("content-length:").map_or(0, |length| length.trim().parse().unwrap());
            assert!(header("transfer-encoding:").is_none(), "{text}");
            let body = &bytes[head + 4..];
            if body.len() >= length {
                let status = text.split(' ').nth(1)?.parse().ok()?;
                let stays = header("connection:").is_none_or(|connection| !connection.contains("close"));
                return Some((Answer { status, body: body[..length].to_vec() }, stays));
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).ok()?;
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}
