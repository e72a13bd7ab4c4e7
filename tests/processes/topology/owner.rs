//! Whose sockets they are that are connected to ours.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The ends of a connection: who asks after it, and where to.
pub type Ends = (SocketAddr, SocketAddr);

/// All connections of these processes, children of ours.
pub fn connections(pids: &HashSet<u32>) -> HashSet<Ends> {
    pids.iter().filter_map(|pid| of_one(*pid)).flatten().collect()
}

/// The ends of a connection that was accepted, as whoever made it sees them.
pub fn ends(accepted: &TcpStream) -> Option<Ends> {
    Some((accepted.peer_addr().ok()?, accepted.local_addr().ok()?))
}

fn of_one(pid: u32) -> Option<Vec<Ends>> {
    let process = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let sockets = files.filter(|file| {
        std::fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.filter_map(|file| file.file_name().to_str()?.parse().ok());
    let ends = |number: i32| {
        // The same socket, for a moment.
        let socket = TcpStream::from(pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?);
        Some((socket.local_addr().ok()?, socket.peer_addr().ok()?))
    };
    Some(numbers.filter_map(ends).collect())
}
