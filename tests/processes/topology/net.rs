//! The network between servers, sentinels and nodes: each server has a door that everybody else goes through, so that a part of
//! all can be cut off from the rest, as by a switch that loses packets.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::spawn;

use super::owner::{Ends, connections, ends};

/// Those on one side of a cut: processes, and the ports that they listen on behind their doors.
#[derive(Debug, Clone, Default)]
pub struct Side {
    pub pids: HashSet<u32>,
    pub ports: HashSet<u16>,
}

impl Side {
    /// One more, who listens on no port, or on these.
    pub fn and(mut self, pid: u32, ports: &[u16]) -> Self {
        self.pids.insert(pid);
        self.ports.extend(ports);
        self
    }
}

/// Ends when it is dropped.
#[derive(Default)]
pub struct Net {
    shared: Arc<Shared>,
    doors: Mutex<Vec<SocketAddr>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    apart: Option<Arc<Side>>,
    links: Vec<Arc<Link>>,
    is_over: bool,
}

/// A connection through a door.
struct Link {
    near: TcpStream,
    far: TcpStream,
    /// Where to.
    port: u16,
    /// Whether it leads from one side to the other.
    is_cut: AtomicBool,
}

impl Net {
    /// A door to a port of this machine; its own port.
    pub fn door(&self, to: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.doors.lock().unwrap().push(address);
        let shared = Arc::clone(&self.shared);
        spawn(move || {
            for near in listener.incoming() {
                if shared.state.lock().unwrap().is_over {
                    return;
                }
                let Ok(near) = near else { continue };
                let shared = Arc::clone(&shared);
                spawn(move || enter(near, to, &shared));
            }
        });
        address.port()
    }

    /// From now on nothing gets from this side to the rest, nor back. What is under way is held.
    pub fn cut(&self, side: Side) {
        let mut state = self.shared.state.lock().unwrap();
        let there = connections(&side.pids);
        for link in &state.links {
            link.is_cut.store(link.crosses(&side, &there), Ordering::SeqCst);
        }
        state.apart = Some(Arc::new(side));
    }

    /// All are together again; what was held arrives late.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.apart = None;
        state.links.iter().for_each(|link| link.is_cut.store(false, Ordering::SeqCst));
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.is_over = true;
        state.links.iter().for_each(|link| link.close());
        drop(state);
        self.shared.changed.notify_all();
        for door in self.doors.lock().unwrap().iter() {
            drop(TcpStream::connect(door));
        }
    }
}

impl Shared {
    /// Begins to be carried, or to be held.
    fn begins(&self, link: &Arc<Link>) {
        let mut looked_at = None;
        loop {
            let mut state = self.state.lock().unwrap();
            let apart = state.apart.clone();
            if apart.as_ref().map(Arc::as_ptr) == looked_at {
                return state.links.push(Arc::clone(link));
            }
            drop(state);
            // Takes its time: others are carried meanwhile.
            let is_cut = apart.as_ref().is_some_and(|side| link.crosses(side, &connections(&side.pids)));
            link.is_cut.store(is_cut, Ordering::SeqCst);
            looked_at = apart.as_ref().map(Arc::as_ptr);
        }
    }

    /// Until nothing is between the two ends.
    fn pass(&self, link: &Link) {
        if !link.is_cut.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock().unwrap();
        while !state.is_over && link.is_cut.load(Ordering::SeqCst) {
            state = self.changed.wait(state).unwrap();
        }
    }
}

impl Link {
    fn crosses(&self, side: &Side, there: &HashSet<Ends>) -> bool {
        let comes_from_there = ends(&self.near).is_some_and(|ends| there.contains(&ends));
        comes_from_there != side.ports.contains(&self.port)
    }

    fn close(&self) {
        for stream in [&self.near, &self.far] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn enter(near: TcpStream, port: u16, shared: &Arc<Shared>) {
    // Nobody listens there any more.
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let link = Arc::new(Link { near, far, port, is_cut: AtomicBool::new(false) });
    shared.begins(&link);
    let (back, way) = (Arc::clone(&link), Arc::clone(shared));
    let other = spawn(move || carry(&back.far, &back.near, &back, &way));
    carry(&link.near, &link.far, &link, shared);
    let _ = other.join();
    shared.state.lock().unwrap().links.retain(|open| !Arc::ptr_eq(open, &link));
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, link: &Link, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        // Neither does an end get through.
        shared.pass(link);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    shared.pass(link);
    link.close();
}
