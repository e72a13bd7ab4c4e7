//! A wire between the server and its Redis that can be made to misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// What the wire does with the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Carries them.
    Sound,
    /// Carries them late.
    Late(Duration),
    /// Takes everything in, and never answers.
    BlackHole,
    /// Answers once on each connection, and never again.
    Silenced,
    /// Nobody listens, and nobody is connected any more.
    Refusing,
    /// Ends each connection by RST at the first word.
    Reset,
    /// Ends each connection with half an answer.
    CutOff,
    /// Answers each word with this.
    Says(&'static [u8]),
    /// Answers with this again and again, without an end.
    Endless(&'static [u8]),
}

struct Shared {
    accepted: AtomicUsize,
    wire: Mutex<Wire>,
    open: Mutex<Vec<TcpStream>>,
    to: SocketAddr,
    over: AtomicBool,
}

/// Ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            accepted: AtomicUsize::new(0),
            wire: Mutex::new(Wire::Sound),
            open: Mutex::default(),
            to: ([127, 0, 0, 1], port).into(),
            over: AtomicBool::new(false),
        });
        listen(listener, &shared);
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// From now on the wire is like this, for connections that stand as well.
    pub fn becomes(&self, wire: Wire) {
        let before = std::mem::replace(&mut *self.shared.wire.lock().unwrap(), wire);
        if wire == Wire::Refusing {
            // Whoever accepts notices that he shall no longer.
            drop(TcpStream::connect(self.address));
            self.shared.close();
        } else if before == Wire::Refusing {
            let began = Instant::now();
            let listener = loop {
                match TcpListener::bind(self.address) {
                    Ok(listener) => break listener,
                    Err(error) => assert!(began.elapsed() < Duration::from_secs(5), "{error}"),
                }
                sleep(Duration::from_millis(10));
            };
            listen(listener, &self.shared);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.shared.close();
    }
}

impl Shared {
    fn wire(&self) -> Wire {
        *self.wire.lock().unwrap()
    }

    fn forget(&self, near: &TcpStream, far: &TcpStream) {
        let (near, far) = (near.peer_addr().ok(), far.local_addr().ok());
        self.open.lock().unwrap().retain(|open| match (open.local_addr(), open.peer_addr()) {
            (Ok(local), Ok(peer)) => Some(peer) != near && Some(local) != far,
            // It has ended.
            _ => false,
        });
    }

    fn close(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn listen(listener: TcpListener, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    spawn(move || {
        for near in listener.incoming() {
            if shared.over.load(Ordering::SeqCst) || shared.wire() == Wire::Refusing {
                return;
            }
            shared.accepted.fetch_add(1, Ordering::SeqCst);
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(shared.to)) else { continue };
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
                shared.open.lock().unwrap().push(stream.try_clone().unwrap());
            }
            let there = (near.try_clone().unwrap(), far.try_clone().unwrap(), Arc::clone(&shared));
            spawn(move || ask(there.0, there.1, &there.2));
            let back = Arc::clone(&shared);
            spawn(move || answer(far, near, &back));
        }
    });
}

/// What the server says, to Redis, or to nobody.
fn ask(mut near: TcpStream, mut far: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Closed with something unread, a connection ends by RST.
        match near.peek(&mut buffer[..1]) {
            Ok(1) if shared.wire() == Wire::Reset => break,
            Ok(1) => {}
            _ => break,
        }
        let Ok(read) = near.read(&mut buffer) else { break };
        let done = match shared.wire() {
            Wire::BlackHole => Ok(()),
            Wire::Says(words) => near.write_all(words),
            Wire::Endless(words) => {
                let words = words.repeat(16 * 1024 / words.len());
                while shared.wire() != Wire::Sound && near.write_all(&words).is_ok() {}
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            _ => far.write_all(&buffer[..read]),
        };
        if done.is_err() {
            break;
        }
    }
    let _ = far.shutdown(Shutdown::Both);
    shared.forget(&near, &far);
    if shared.wire() != Wire::Reset {
        let _ = near.shutdown(Shutdown::Both);
    }
}

/// What Redis says, to the server.
fn answer(mut far: TcpStream, near: TcpStream, shared: &Arc<Shared>) {
    let (later, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    let mut to = near;
    let delivery = spawn(move || {
        for (when, bytes) in due {
            sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut answered = false;
    while let Ok(read) = far.read(&mut buffer) {
        let (wait, carried, goes_on) = match shared.wire() {
            _ if read == 0 => break,
            Wire::Late(by) => (by, read, true),
            Wire::CutOff => (Duration::ZERO, read / 2, false),
            Wire::BlackHole => continue,
            Wire::Silenced if answered => continue,
            _ => (Duration::ZERO, read, true),
        };
        answered = true;
        if later.send((Instant::now() + wait, buffer[..carried].to_vec())).is_err() || !goes_on {
            break;
        }
    }
    drop(later);
    let _ = delivery.join();
    let _ = far.shutdown(Shutdown::Both);
}
