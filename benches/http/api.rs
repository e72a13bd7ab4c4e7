//! Calls to Countermark's API over a plain connection that is kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

pub struct Connection(BufReader<TcpStream>);

pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body["detail"]);
        self.body
    }
}

impl Connection {
    pub fn to(address: &str) -> Self {
        Self::try_to(address).unwrap()
    }

    pub fn try_to(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address.strip_prefix("http://").unwrap())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn call(&mut self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, token, body).unwrap()
    }

    pub fn try_call(&mut self, method: &str, path: &str, token: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let body = body.map(Value::to_string);
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
        if let Some(body) = &body {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        let (status, _, body) = self.exchange(&format!("{head}\r\n{}", body.unwrap_or_default()))?;
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// Status, cookies that are set, body.
    pub fn exchange(&mut self, request: &str) -> std::io::Result<(u16, Vec<String>, Vec<u8>)> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("no status"))?;
        let (mut length, mut cookies) = (0, Vec::new());
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line == "\r\n" || line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            } else if name.eq_ignore_ascii_case("set-cookie") {
                cookies.push(value.split(';').next().unwrap().trim().to_owned());
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, cookies, body))
    }
}
