//! A way to an external Redis that loses answers: it breaks at a chosen moment of a chosen command.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where the way breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The command never arrives.
    BeforeTheCommand,
    /// It is carried out, and its reply is lost.
    BeforeTheReply,
    /// Three bytes of the reply come through.
    WithinTheReply,
    /// The reply comes when nobody waits for it any more.
    LateReply,
}

/// Where the way breaks, the next time that a command contains the text, and whether it stays broken then.
struct Armed {
    text: String,
    at: Break,
    stays: bool,
}

struct Shared {
    to: u16,
    armed: Mutex<Option<Armed>>,
    closed: AtomicBool,
    broken: AtomicU64,
}

/// Lasts until the test ends.
pub struct Between {
    shared: Arc<Shared>,
    pub url: String,
}

const HELD: Duration = Duration::from_secs(1);

impl Between {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (closed, broken) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { to: port, armed: Mutex::default(), closed, broken });
        let way = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if way.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", way.to)) else { continue };
                let way = Arc::clone(&way);
                std::thread::spawn(move || way.carry(&near, &far));
            }
        });
        Self { shared, url }
    }

    /// Breaks at the next command that contains the text; `stays`: until [`open`](Self::open).
    pub fn break_at(&self, text: &str, at: Break, stays: bool) {
        *self.shared.armed.lock().unwrap() = Some(Armed { text: text.to_owned(), at, stays });
    }

    /// How often it broke.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::SeqCst)
    }

    /// New connections are let through again.
    pub fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn carry(self: Arc<Self>, near: &TcpStream, far: &TcpStream) {
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        // What to do with the replies from now on.
        let losing: Arc<Mutex<Option<Break>>> = Arc::default();
        let back = {
            let (from, to, losing) = (far.try_clone().unwrap(), near.try_clone().unwrap(), Arc::clone(&losing));
            std::thread::spawn(move || carry_back(from, to, &losing))
        };
        let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let mut buffer = vec![0; 64 * 1024];
        // The end of what was sent, in case that the text comes in two pieces.
        let mut seen = Vec::new();
        while let Ok(length) = from.read(&mut buffer) {
            if length == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..length]);
            if let Some(at) = self.hit(&seen) {
                if at == Break::BeforeTheCommand {
                    break;
                }
                *losing.lock().unwrap() = Some(at);
            }
            seen.drain(..seen.len().saturating_sub(256));
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        for stream in [near, far] {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = back.join();
    }

    fn hit(&self, sent: &[u8]) -> Option<Break> {
        let mut armed = self.armed.lock().unwrap();
        let text = armed.as_ref()?.text.as_bytes();
        if !sent.windows(text.len()).any(|window| window == text) {
            return None;
        }
        let armed = armed.take()?;
        self.closed.store(armed.stays, Ordering::SeqCst);
        self.broken.fetch_add(1, Ordering::SeqCst);
        Some(armed.at)
    }
}

fn carry_back(mut from: TcpStream, mut to: TcpStream, losing: &Mutex<Option<Break>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 {
            break;
        }
        let at = *losing.lock().unwrap();
        match at {
            None | Some(Break::BeforeTheCommand) => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
                continue;
            }
            // A reply to something that was sent before on the same connection is lost as well.
            Some(_) if !answers_a_change(&buffer[..length]) => continue,
            Some(Break::BeforeTheReply) => {}
            Some(Break::WithinTheReply) => drop(to.write_all(&buffer[..3])),
            Some(Break::LateReply) => {
                let began = Instant::now();
                std::thread::sleep(HELD.saturating_sub(began.elapsed()));
                let _ = to.write_all(&buffer[..length]);
            }
        }
        break;
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// `ok` and an epoch, a refusal in one word, or the number that `WAIT` answers with.
fn answers_a_change(reply: &[u8]) -> bool {
    reply.starts_with(b"*") || reply.starts_with(b":")
}
