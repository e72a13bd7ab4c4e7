//! Syslog: messages of RFC 5424, counted in octets (RFC 6587, section 3.4.1) on a stream of TLS (RFC 5425) or TCP.
//!
//! Syslog has no answers. So that a message counts as delivered only when the receiver has read it, each delivery is a stream of its
//! own: it is closed when all is sent, and the receiver closes its side when it has read to the end (RFC 5425, section 4.4). A
//! receiver that dies before breaks it off.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Item, NotDelivered};
use crate::clock::rfc3339;

/// "log audit" (RFC 5424, table 1).
const FACILITY: u8 = 13;
const APP_NAME: &str = "countermark";
/// The lengths of RFC 5424, section 6.
const MOST_HOSTNAME: usize = 255;
const MOST_MSGID: usize = 32;
const CONNECT: Duration = Duration::from_secs(5);
/// How long sending may take, and again until the receiver has read all of it.
const PATIENCE: Duration = Duration::from_secs(10);

const UNREAD: &str = "the receiver did not read to the end and close";

/// A receiver.
pub struct Syslog {
    host: String,
    port: u16,
    tls: Option<(ServerName<'static>, TlsConnector)>,
    /// It has ended TLS once, so it always does: an end without is one by somebody else.
    ends_tls: AtomicBool,
}

impl Syslog {
    pub(super) fn new(host: &str, port: u16, tls: Option<Arc<ClientConfig>>) -> Result<Self, NotDelivered> {
        let tls = match tls {
            Some(config) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| NotDelivered(format!("{host} is no name that a certificate could have")))?;
                Some((name, TlsConnector::from(config)))
            }
            None => None,
        };
        Ok(Self { host: host.to_owned(), port, tls, ends_tls: AtomicBool::new(false) })
    }

    pub(super) async fn deliver(&self, items: &[Item]) -> Result<(), NotDelivered> {
        let mut frames = String::new();
        items.iter().for_each(|item| push_frame(&mut frames, item));
        if self.send(&frames).await? == End::OfTls {
            self.ends_tls.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.ends_tls.load(Ordering::Relaxed) {
            return Err(NotDelivered("the connection was broken off".into()));
        }
        // TCP alone was ended. Some receivers always do so (rsyslog over GnuTLS), but so does one that is killed with what it has
        // read. One that always does is there, and does it again.
        match self.send("").await? {
            End::OfTcp => Ok(()),
            End::OfTls => Err(NotDelivered("the receiver broke the connection off".into())),
        }
    }

    /// Sends on a stream of its own, and waits until the receiver has ended it too.
    async fn send(&self, frames: &str) -> Result<End, NotDelivered> {
        let began = Instant::now();
        let mut tcp = within(CONNECT, "no connection", TcpStream::connect((self.host.as_str(), self.port))).await?;
        let there_and_back = began.elapsed();
        let (end, sent) = match &self.tls {
            None => {
                within(PATIENCE, "sending", async {
                    tcp.write_all(frames.as_bytes()).await?;
                    tcp.shutdown().await
                })
                .await?;
                let sent = Instant::now();
                within(PATIENCE, UNREAD, read_to_end(&mut tcp)).await?;
                (End::OfTcp, sent)
            }
            Some((name, connector)) => {
                let mut tls = within(CONNECT, "no TLS", connector.connect(name.clone(), &mut tcp)).await?;
                within(PATIENCE, "sending", async {
                    tls.write_all(frames.as_bytes()).await?;
                    // The end of TLS alone: a receiver that sees the end of TCP needs not answer it.
                    tls.get_mut().1.send_close_notify();
                    tls.flush().await
                })
                .await?;
                let sent = Instant::now();
                let end = within(PATIENCE, UNREAD, async {
                    match read_to_end(&mut tls).await {
                        Ok(()) => Ok(End::OfTls),
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(End::OfTcp),
                        Err(error) => Err(error),
                    }
                });
                (end.await?, sent)
            }
        };
        // Had it been closed before everything was read there, that would have been told by now.
        tokio::time::sleep_until((sent + there_and_back * 2 + Duration::from_millis(10)).into()).await;
        match tcp.take_error() {
            Ok(None) => Ok(end),
            Ok(Some(error)) | Err(error) => Err(NotDelivered(format!("{UNREAD}: {error}"))),
        }
    }
}

/// What the receiver has ended, and so how far one knows that it did so by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OfTls,
    OfTcp,
}

async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = io::Result<T>>) -> Result<T, NotDelivered> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(NotDelivered(format!("{what}: {error}"))),
        Err(_) => Err(NotDelivered(format!("{what}: not within {} s", limit.as_secs()))),
    }
}

/// What a receiver may say is nothing to us.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// `LENGTH <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`
fn push_frame(frames: &mut String, item: &Item) {
    let mut message = String::new();
    let priority = FACILITY * 8 + item.severity() as u8;
    let _ = write!(message, "<{priority}>1 {} ", rfc3339::text(item.time()));
    push_name(&mut message, item.node(), MOST_HOSTNAME);
    let _ = write!(message, " {APP_NAME} - ");
    push_name(&mut message, item.kind(), MOST_MSGID);
    message.push_str(" - ");
    push_ascii(&mut message, &item.json());
    // Writing to a string does not fail.
    let _ = write!(frames, "{} {message}", message.len());
}

/// A field of the header: PRINTUSASCII, at most so long, or `-`. What comes from the store could be anything.
fn push_name(message: &mut String, name: &str, most: usize) {
    if name.is_empty() {
        message.push('-');
    }
    message.extend(name.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '?' }));
}

/// JSON in ASCII: then no receiver has to guess its encoding, and none needs the BOM that RFC 5424 asks for before UTF-8.
fn push_ascii(message: &mut String, json: &str) {
    for c in json.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            message.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(message, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::audit::{Event, Outcome, kinds};
    use crate::store::Missed;

    fn event(node: &str, kind: &str) -> Event {
        let time = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        Event { node: node.into(), sequence: 7, ..Event::new(time, kind, Outcome::Refused) }
    }

    fn frame(item: &Item) -> String {
        let mut frames = String::new();
        push_frame(&mut frames, item);
        frames
    }

    #[test]
    fn a_frame_is_a_message_of_rfc_5424_with_its_length_before() {
        let event = event("node-1", kinds::CALL);
        let frame = frame(&Item::Event(Box::new(event.clone())));
        let (length, message) = frame.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(message.len()));
        let header = "<109>1 2023-11-14T22:13:20.123Z node-1 countermark - call - ";
        let json = message.strip_prefix(header).unwrap_or_else(|| panic!("{message}"));
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
    }

    #[test]
    fn that_something_was_missed_is_a_message_too() {
        let missed = Missed { stream: "acts".into(), entries: 3 };
        let frame = frame(&Item::Missed(missed, DateTime::from_timestamp(1_700_000_000, 0).unwrap()));
        assert!(frame.contains("<107>1 2023-11-14T22:13:20Z - countermark - sink.missed - {"), "{frame}");
    }

    #[test]
    fn nothing_in_an_event_can_end_its_message_or_its_header() {
        let mut event =
            event(&format!("a b\n<14>1 é{}", "n".repeat(400)), &format!("call\n2 \u{7f}{}", "k".repeat(99)));
        event.path = Some("/ä\n\u{7f}\u{1f600}".into());
        let frame = frame(&Item::Event(Box::new(event.clone())));
        let (length, message) = frame.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(message.len()));
        assert!(message.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{message}");
        let fields: Vec<&str> = message.splitn(8, ' ').collect();
        assert_eq!((fields[2].len(), fields[5].len()), (MOST_HOSTNAME, MOST_MSGID));
        assert!(fields[2].starts_with("a?b?<14>1??n") && fields[5].starts_with("call?2??k"), "{fields:?}");
        assert_eq!(serde_json::from_str::<Event>(fields[7]).unwrap(), event);
    }
}
