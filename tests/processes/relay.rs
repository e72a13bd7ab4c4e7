//! A way to a server that breaks: whoever goes it is cut off after so many bytes of the answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Lasts until the test ends.
pub struct Relay {
    pub port: u16,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    /// To a port of this machine. Each connection but those after the first `breaks` is cut after `bytes` of what the server says;
    /// `meanwhile` is done then, before anybody is let in again.
    pub fn to(port: u16, breaks: usize, bytes: usize, meanwhile: impl Fn() + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (near, connections) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let (count, meanwhile) = (Arc::clone(&connections), Arc::new(Mutex::new(meanwhile)));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
                let number = count.fetch_add(1, Ordering::SeqCst);
                let most = if number < breaks { bytes } else { usize::MAX };
                let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || carry(from, to, usize::MAX));
                let meanwhile = Arc::clone(&meanwhile);
                let back = std::thread::spawn(move || {
                    if carry(far, near.try_clone().unwrap(), most) {
                        meanwhile.lock().unwrap()();
                        let _ = near.shutdown(Shutdown::Both);
                    }
                });
                // One after the other, so that a cut is over before the next one comes.
                if number < breaks {
                    back.join().unwrap();
                }
            }
        });
        Self { port: near, connections }
    }

    /// How many there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// `true`: it was cut, on the side that is read from.
fn carry(mut from: TcpStream, mut to: TcpStream, most: usize) -> bool {
    let (mut buffer, mut carried) = (vec![0; 16 * 1024], 0);
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
        carried += length;
        if carried >= most {
            let _ = from.shutdown(Shutdown::Both);
            return true;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    false
}
