//! One HTTP call, by curl: a client that knows nothing of how the server is made.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A call that is being put together.
pub struct Call {
    command: Command,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub version: String,
    /// As curl measures it, which had to be started first.
    pub took: Duration,
    pub head: String,
    pub body: String,
}

impl Call {
    pub fn new(method: &str, url: &str, ca: Option<&Path>) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "30", "--path-as-is", "--noproxy", "*"]);
        command.args(["--include", "--write-out", "\n%{http_version} %{time_total}", "--request", method, url]);
        if method == "HEAD" {
            command.arg("--head");
        }
        if let Some(ca) = ca {
            command.arg("--cacert").arg(ca);
        }
        Self { command }
    }

    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.command.args([name, value]);
        self
    }

    pub fn flag(mut self, name: &str) -> Self {
        self.command.arg(name);
        self
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        self.option("--header", &format!("{name}: {value}"))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").option("--data-binary", &body.to_string())
    }

    /// The answer, or curl's words for why there is none.
    pub fn attempt(mut self) -> Result<Reply, String> {
        let output = self.command.stdin(Stdio::null()).output().expect("curl is needed");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let (text, said) = text.rsplit_once('\n').unwrap();
        let (version, seconds) = said.split_once(' ').unwrap();
        let took = Duration::from_secs_f64(seconds.parse().unwrap());
        let (mut head, mut body) = text.split_once("\r\n\r\n").unwrap();
        // An interim answer comes first.
        while head.lines().next().unwrap().contains(" 100") {
            (head, body) = body.split_once("\r\n\r\n").unwrap();
        }
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Ok(Reply { status, version: version.to_owned(), took, head: head.to_owned(), body: body.to_owned() })
    }

    #[track_caller]
    pub fn send(self) -> Reply {
        self.attempt().unwrap()
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The `reason` of a problem, or nothing.
    pub fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
