//! A way to Redis on which a test holds what it wants: single answers, single connections.
//!
//! It knows commands and replies one from another, so that exactly the answer to a renewal can be held, or one connection can
//! be led to another server without its owner noticing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::app::eventually;
use crate::redis_server::RedisServer;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Renewal,
    LookUp,
    /// A report, and the question for what is new.
    Follow,
    /// Waiting for something new.
    Bell,
    /// The question for the table of nodes.
    Table,
    /// A node leaves the table.
    Leaving,
    /// A change of an account, a role, a team.
    Change,
    /// An issuer meets the dataset.
    Meeting,
    /// An issuer says that it has raised the server, or that it changes nothing more.
    Raised,
    /// Accounts are read.
    Accounts,
    /// The question for the sealed keys.
    Keys,
    Other,
}

impl Sent {
    fn of(command: &[u8]) -> Self {
        let text = String::from_utf8_lossy(command);
        // `*n $n word $n word …`: every other line from the third on is a word.
        let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).collect();
        let ends = |nth: usize, end: &str| words.get(nth).is_some_and(|word| word.ends_with(end));
        let number = words.get(2).copied().unwrap_or_default();
        match words.first().copied().unwrap_or_default() {
            "XREAD" => Self::Bell,
            "HMGET" if ends(1, ":keyring") => Self::Keys,
            "MGET" => Self::Accounts,
            "EVALSHA" if number == "2" && ends(4, ":issuers") => Self::Raised,
            "EVALSHA" if number == "3" && ends(4, ":leases") && ends(5, ":nodes") => Self::Renewal,
            "EVALSHA" if ends(4, ":roles") && ends(5, ":keyring") => Self::LookUp,
            "EVALSHA" if ends(4, ":roles") && ends(5, ":issuers") => Self::Meeting,
            "EVALSHA" if number == "4" && ends(4, ":feed") && ends(5, ":leases") => Self::Follow,
            "EVALSHA" if number == "2" && ends(4, ":keyring") => Self::Keys,
            "EVALSHA" if number == "2" && ends(4, ":leases") => Self::Table,
            "EVALSHA" if number == "2" && ends(3, ":leases") && ends(4, ":nodes") => Self::Leaving,
            "EVALSHA" if ends(4, ":feed") && ends(5, ":acts") => Self::Change,
            _ => Self::Other,
        }
    }
}

/// The answers to one kind of command are held, each until it is let through; and whatever comes behind it on its connection.
struct Gate {
    what: Sent,
    /// Commands that were sent since, and how many of their answers have come.
    seen: u64,
    answered: u64,
    /// So many of them are let through.
    through: u64,
}

struct Shared {
    to: watch::Sender<PathBuf>,
    gates: Mutex<Vec<Gate>>,
    /// Whoever sends this finds himself at another server.
    rehomed: Mutex<Vec<(Sent, PathBuf)>>,
    /// Whoever sends this loses his connection.
    refused: Mutex<Vec<Sent>>,
    closed: AtomicBool,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

pub struct Wire {
    shared: Arc<Shared>,
    directory: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.close();
    }
}

/// Answers that are held.
pub struct Held {
    shared: Arc<Shared>,
    what: Sent,
}

impl Wire {
    pub fn to(redis: &RedisServer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("wire.sock")).unwrap();
        let shared = Arc::new(Shared {
            to: watch::Sender::new(redis.socket()),
            gates: Mutex::default(),
            rehomed: Mutex::default(),
            refused: Mutex::default(),
            closed: AtomicBool::new(false),
            changed: watch::Sender::new(0),
        });
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, Arc::clone(&accepting)));
            }
        });
        Self { shared, directory, task }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("wire.sock")
    }

    /// From now on answers to this are held.
    pub fn hold(&self, what: Sent) -> Held {
        self.shared.gates.lock().unwrap().push(Gate { what, seen: 0, answered: 0, through: 0 });
        Held { shared: Arc::clone(&self.shared), what }
    }

    /// The connection on which this is sent next leads to another server from then on, without a sign.
    pub fn rehome(&self, what: Sent, to: &RedisServer) {
        self.shared.rehomed.lock().unwrap().push((what, to.socket()));
    }

    /// Every connection ends, and the next ones lead to another server.
    pub fn leads_to(&self, to: &RedisServer) {
        self.shared.to.send_replace(to.socket());
        self.shared.change();
    }

    /// Whether all that were to be led elsewhere are.
    pub fn is_rehomed(&self) -> bool {
        self.shared.rehomed.lock().unwrap().is_empty()
    }

    /// Every connection on which this is sent is cut, before it has arrived; until [`allow`](Self::allow).
    pub fn refuse(&self, what: Sent) {
        self.shared.refused.lock().unwrap().push(what);
    }

    pub fn allow(&self, what: Sent) {
        self.shared.refused.lock().unwrap().retain(|refused| *refused != what);
    }

    /// Nothing gets through any more, and every connection ends.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.change();
    }
}

impl Held {
    fn with<T>(&self, look: impl FnOnce(&mut Gate) -> T) -> T {
        let mut gates = self.shared.gates.lock().unwrap();
        look(gates.iter_mut().find(|gate| gate.what == self.what).unwrap())
    }

    /// Waits until so many were sent.
    pub async fn sent(&self, count: u64) {
        eventually("it is sent", || async { self.seen() >= count }).await;
    }

    /// How many were sent since.
    pub fn seen(&self) -> u64 {
        self.with(|gate| gate.seen)
    }

    /// Waits until so many have been answered: what Redis had to say is said, and held here.
    pub async fn answered(&self, count: u64) {
        eventually("the answer is held", || async { self.answers() >= count }).await;
    }

    /// How many have been answered since.
    pub fn answers(&self) -> u64 {
        self.with(|gate| gate.answered)
    }

    /// Lets this many through, counted from the first one on.
    pub fn let_through(&self, count: u64) {
        self.with(|gate| gate.through = gate.through.max(count));
        self.shared.change();
    }

    /// Lets all through from now on.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.gates.lock().unwrap().retain(|gate| gate.what != self.what);
        self.shared.change();
    }
}

/// An answer that has come or is waited for.
struct Answer {
    what: Sent,
    /// Its number among those that are held.
    number: Option<u64>,
    bytes: Option<Vec<u8>>,
}

async fn carry(mut near: UnixStream, shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    let mut leads = shared.to.subscribe();
    let to = leads.borrow_and_update().clone();
    let Ok(mut far) = UnixStream::connect(to).await else { return };
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut answers: VecDeque<Answer> = VecDeque::new();
    let (mut there, mut back) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        if shared.closed.load(Ordering::SeqCst) || leads.has_changed().unwrap_or(true) {
            return;
        }
        // Commands, one by one.
        let mut waits = false;
        while let Some(length) = command(&asked) {
            let what = Sent::of(&asked[..length]);
            let elsewhere = {
                let mut rehomed = shared.rehomed.lock().unwrap();
                match rehomed.iter().position(|(wanted, _)| *wanted == what) {
                    // What was asked there is answered from there.
                    Some(_) if answers.iter().any(|answer| answer.bytes.is_none()) => {
                        waits = true;
                        break;
                    }
                    Some(nth) => Some(rehomed.remove(nth).1),
                    None => None,
                }
            };
            if let Some(to) = elsewhere {
                let Ok(other) = UnixStream::connect(to).await else { return };
                far = other;
                answered.clear();
            }
            if shared.refused.lock().unwrap().contains(&what) {
                return;
            }
            let number = shared.gates.lock().unwrap().iter_mut().find(|gate| gate.what == what).map(|gate| {
                gate.seen += 1;
                gate.seen
            });
            answers.push_back(Answer { what, number, bytes: None });
            if far.write_all(&asked[..length]).await.is_err() {
                return;
            }
            asked.drain(..length);
        }
        // Answers, one by one, in their order.
        while let Some(length) = reply(&answered) {
            let Some(answer) = answers.iter_mut().find(|answer| answer.bytes.is_none()) else { return };
            let bytes: Vec<u8> = answered.drain(..length).collect();
            // Nothing was done: it is sent once more, with the script before it.
            answer.number = answer.number.filter(|_| !bytes.starts_with(b"-NOSCRIPT"));
            answer.bytes = Some(bytes);
            if answer.number.is_some()
                && let Some(gate) = shared.gates.lock().unwrap().iter_mut().find(|gate| gate.what == answer.what)
            {
                gate.answered += 1;
            }
        }
        while let Some(answer) = answers.front() {
            let Some(bytes) = &answer.bytes else { break };
            let is_held = answer.number.is_some_and(|number| {
                let gates = shared.gates.lock().unwrap();
                gates.iter().any(|gate| gate.what == answer.what && gate.through < number)
            });
            if is_held {
                break;
            }
            if near.write_all(bytes).await.is_err() {
                return;
            }
            answers.pop_front();
        }
        // What it waited for has come in the same turn: nothing else would wake it.
        if waits && answers.iter().all(|answer| answer.bytes.is_some()) {
            continue;
        }
        tokio::select! {
            _ = changed.changed() => {}
            read = near.read(&mut there), if !waits => match read {
                Ok(read) if read > 0 => asked.extend_from_slice(&there[..read]),
                _ => return,
            },
            read = far.read(&mut back) => match read {
                Ok(read) if read > 0 => answered.extend_from_slice(&back[..read]),
                _ => return,
            },
        }
    }
}

/// The length of the first command, if it is whole.
fn command(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() { None } else { reply(bytes) }
}

/// The length of the first value, if it is whole (RESP).
fn reply(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => {
            let length = usize::try_from(number()?).map_or(0, |length| length + 2);
            (bytes.len() >= line + length).then_some(line + length)
        }
        b'*' => {
            let mut end = line;
            for _ in 0..number()?.max(0) {
                end += reply(&bytes[end..])?;
            }
            Some(end)
        }
        _ => Some(line),
    }
}
