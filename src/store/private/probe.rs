//! Talking to the private Redis before anybody has a connection: is it there, is it ready, who is it.
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// Nobody listens.
    Absent,
    /// It reads its data: how much of it, where it says so.
    Loading(Option<String>),
    Ready,
    /// Somebody listens and does not say PONG.
    Odd(String),
}

pub(super) async fn health(socket: &Path) -> Health {
    let mut stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(_) => return Health::Absent,
    };
    match ask(&mut stream, "PING\r\n").await {
        Ok(answer) if answer.starts_with("+PONG") => Health::Ready,
        Ok(answer) if answer.starts_with("-LOADING") => {
            let info = ask(&mut stream, "INFO persistence\r\n").await.unwrap_or_default();
            Health::Loading(info.lines().find_map(|line| line.strip_prefix("loading_loaded_perc:")).map(str::to_owned))
        }
        Ok(answer) => Health::Odd(answer.lines().next().unwrap_or_default().to_owned()),
        Err(error) => Health::Odd(error.to_string()),
    }
}

/// One inline command; the first piece of its answer is enough for what is asked here.
pub(super) async fn ask(stream: &mut UnixStream, command: &str) -> io::Result<String> {
    let exchange = async {
        stream.write_all(command.as_bytes()).await?;
        let mut buffer = vec![0; 16 * 1024];
        let read = stream.read(&mut buffer).await?;
        buffer.truncate(read);
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
