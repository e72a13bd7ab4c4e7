//! Callers, each of whom makes one call after the other and writes down what he was answered; and what the audit has of them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::streams::StreamRangeReply;
use serde_json::Value;

/// Callers at work.
pub struct Callers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Answer>>>,
}

/// What a call was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request's id.
    pub id: String,
    /// `None`: nothing came.
    pub status: Option<u16>,
    pub at: Instant,
}

impl Callers {
    /// So many, with about that many calls a second each, over plain HTTP. Ids begin with `round`.
    pub fn start(round: &str, count: usize, a_second: u32, port: u16, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|caller| {
            let (stop, name, token) = (Arc::clone(&stop), format!("{round}-{caller}"), token.to_owned());
            std::thread::spawn(move || call_until(&stop, &name, Duration::from_secs(1) / a_second, port, &token))
        });
        Self { threads: threads.collect(), stop }
    }

    /// All that they were answered, of each caller in its order.
    pub fn stop(self) -> Vec<Vec<Answer>> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn call_until(stop: &AtomicBool, name: &str, every: Duration, port: u16, token: &str) -> Vec<Answer> {
    let (mut answers, mut connection, began) = (Vec::new(), None, Instant::now());
    while !stop.load(Ordering::SeqCst) {
        let id = format!("{name}-{:07}", answers.len());
        let status = call(&mut connection, &id, port, token);
        if status.is_none() {
            connection = None;
        }
        answers.push(Answer { id, status, at: Instant::now() });
        let due = every * u32::try_from(answers.len()).unwrap();
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    answers
}

/// One call over the connection, or a new one.
pub fn call(connection: &mut Option<BufReader<TcpStream>>, id: &str, port: u16, token: &str) -> Option<u16> {
    if connection.is_none() {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        *connection = Some(BufReader::new(stream));
    }
    let stream = connection.as_mut()?;
    let request =
        format!("GET /verify/{id} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(status)
}

/// What the firehose has.
pub struct OnRecord {
    pub events: Vec<Value>,
}

impl OnRecord {
    pub fn read(connection: &mut redis::Connection) -> Self {
        let mut events = Vec::new();
        for shard in 0..4 {
            let reply: StreamRangeReply =
                redis::cmd("XRANGE").arg(format!("{{cm:a{shard}}}:log")).arg("-").arg("+").query(connection).unwrap();
            for entry in reply.ids {
                let lines: String = entry.get("e").unwrap();
                events.extend(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            }
        }
        Self { events }
    }

    /// The nodes and numbers of the events of these requests, by their ids. None is there twice.
    #[track_caller]
    pub fn by_request(&self) -> BTreeMap<String, (String, u64)> {
        let mut found = BTreeMap::new();
        for event in self.events.iter().filter(|event| event["kind"] == "call") {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            let (id, place) = (text("request_id"), (text("node"), event["sequence"].as_u64().unwrap()));
            assert_eq!(found.insert(id.clone(), place), None, "{id} is there twice");
        }
        found
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["kind"] == kind)
    }
}

/// Each caller's events have their order. Returns the answers with this status that are not on record.
#[track_caller]
pub fn missing<'a>(
    answers: &'a [Vec<Answer>],
    found: &BTreeMap<String, (String, u64)>,
    status: u16,
) -> Vec<&'a Answer> {
    let mut missing = Vec::new();
    for of_one in answers {
        // By the node under whose name they were written.
        let mut last = BTreeMap::new();
        for answer in of_one {
            match found.get(&answer.id) {
                Some((node, number)) => {
                    let before = last.insert(node, *number);
                    assert!(before.is_none_or(|before| *number > before), "{} has not its place", answer.id);
                }
                None if answer.status == Some(status) => missing.push(answer),
                None => {}
            }
        }
    }
    missing
}

/// How many were answered so.
pub fn count(answers: &[Vec<Answer>], status: u16) -> usize {
    answers.iter().flatten().filter(|answer| answer.status == Some(status)).count()
}
