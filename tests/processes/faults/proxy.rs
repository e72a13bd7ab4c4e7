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
    /// Holds what goes this way, and carries it when it is held no longer: what comes of a network that loses packets.
    Held(Way),
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

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the server to Redis.
    There,
    /// From Redis to the server.
    Back,
    Both,
}

struct Shared {
    accepted: AtomicUsize,
    wire: Mutex<Wire>,
    open: Mutex<Vec<Arc<Connection>>>,
    to: SocketAddr,
    over: AtomicBool,
}

struct Connection {
    near: TcpStream,
    far: TcpStream,
    /// By which Redis knows it.
    port: u16,
    /// Where it is not like the others.
    wire: Mutex<Option<Wire>>,
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The ports by which Redis knows the connections that stand.
    pub fn ports(&self) -> Vec<u16> {
        self.shared.open.lock().unwrap().iter().map(|connection| connection.port).collect()
    }

    /// From now on the wire of one connection is like this, until [`becomes`](Self::becomes) is said for all.
    pub fn one_becomes(&self, port: u16, wire: Wire) {
        for connection in self.shared.open.lock().unwrap().iter().filter(|connection| connection.port == port) {
            *connection.wire.lock().unwrap() = Some(wire);
        }
    }

    /// Ends these connections, and what they hold is lost.
    pub fn cut(&self, ports: &[u16]) {
        self.shared.close(|connection| ports.contains(&connection.port));
    }

    /// From now on the wire is like this, for connections that stand as well.
    pub fn becomes(&self, wire: Wire) {
        let before = std::mem::replace(&mut *self.shared.wire.lock().unwrap(), wire);
        for connection in self.shared.open.lock().unwrap().iter() {
            *connection.wire.lock().unwrap() = None;
        }
        if wire == Wire::Refusing {
            // Whoever accepts notices that he shall no longer.
            drop(TcpStream::connect(self.address));
            self.shared.close(|_| true);
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
        self.shared.close(|_| true);
    }
}

impl Shared {
    fn wire(&self) -> Wire {
        *self.wire.lock().unwrap()
    }

    fn wire_of(&self, connection: &Connection) -> Wire {
        let own = *connection.wire.lock().unwrap();
        own.unwrap_or_else(|| self.wire())
    }

    /// For as long as what goes this way is held. What comes after it stays with the system meanwhile.
    fn hold(&self, connection: &Connection, way: Way) {
        let held = || matches!(self.wire_of(connection), Wire::Held(held) if held == way || held == Way::Both);
        while held() && !self.over.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1));
        }
    }

    fn forget(&self, connection: &Arc<Connection>) {
        self.open.lock().unwrap().retain(|open| !Arc::ptr_eq(open, connection));
    }

    fn close(&self, which: impl Fn(&Connection) -> bool) {
        for connection in self.open.lock().unwrap().iter().filter(|connection| which(connection)) {
            for stream in [&connection.near, &connection.far] {
                let _ = stream.shutdown(Shutdown::Both);
            }
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
            let Ok(port) = far.local_addr().map(|address| address.port()) else { continue };
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let connection = Arc::new(Connection { near, far, port, wire: Mutex::default() });
            shared.open.lock().unwrap().push(Arc::clone(&connection));
            let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
            let asked = Arc::clone(&connection);
            spawn(move || ask(&asked, &there));
            spawn(move || answer(&connection, &back));
        }
    });
}

/// What the server says, to Redis, or to nobody.
fn ask(connection: &Arc<Connection>, shared: &Shared) {
    let (mut near, mut far) = (&connection.near, &connection.far);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Closed with something unread, a connection ends by RST.
        match near.peek(&mut buffer[..1]) {
            Ok(1) if shared.wire_of(connection) == Wire::Reset => break,
            Ok(1) => {}
            _ => break,
        }
        let Ok(read) = near.read(&mut buffer) else { break };
        shared.hold(connection, Way::There);
        let done = match shared.wire_of(connection) {
            Wire::BlackHole => Ok(()),
            Wire::Says(words) => near.write_all(words),
            Wire::Endless(words) => {
                let words = words.repeat(16 * 1024 / words.len());
                while shared.wire_of(connection) != Wire::Sound && near.write_all(&words).is_ok() {}
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            _ => far.write_all(&buffer[..read]),
        };
        if done.is_err() {
            break;
        }
    }
    let _ = far.shutdown(Shutdown::Both);
    shared.forget(connection);
    if shared.wire_of(connection) != Wire::Reset {
        let _ = near.shutdown(Shutdown::Both);
    }
}

/// What Redis says, to the server.
fn answer(connection: &Arc<Connection>, shared: &Shared) {
    let (later, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    let to = Arc::clone(connection);
    let delivery = spawn(move || {
        let mut to = &to.near;
        for (when, bytes) in due {
            sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut far = &connection.far;
    let mut answered = false;
    while let Ok(read) = far.read(&mut buffer) {
        shared.hold(connection, Way::Back);
        let (wait, carried, goes_on) = match shared.wire_of(connection) {
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
