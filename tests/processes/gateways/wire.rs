//! The line between a gateway and Countermark, and how much goes over it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// It lasts as long as the process of the test.
pub struct Wire {
    pub port: u16,
    sent: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Wire {
    /// To this port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire =
            Self { port: listener.local_addr().unwrap().port(), sent: Arc::default(), connections: Arc::default() };
        let (sent, connections) = (Arc::clone(&wire.sent), Arc::clone(&wire.connections));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (back_from, back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                let sent = Arc::clone(&sent);
                std::thread::spawn(move || carry(&near, &far, &sent));
                std::thread::spawn(move || carry(&back_from, &back_to, &AtomicU64::new(0)));
            }
        });
        wire
    }

    /// Bytes of TLS to Countermark, and connections, so far.
    pub fn carried(&self) -> (u64, u64) {
        (self.sent.load(Ordering::SeqCst), self.connections.load(Ordering::SeqCst))
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, count: &AtomicU64) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count.fetch_add(length as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
