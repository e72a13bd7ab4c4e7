//! The audit, sent on to where others keep it: a receiver of syslog, a webhook, a file (docs/audit-sinks.md).
//!
//! Each sink has a place in the store up to which it was delivered; one issuer at a time delivers it, and moves that place only
//! when the receiver has what comes before. So whatever happens, an event is delivered at least once, and those of a stream in
//! their order. Nobody who calls the API waits for any of it: events are read from the store like by anybody who looks on.

mod courier;
mod file;
mod item;
mod metrics;
mod pace;
mod syslog;
mod webhook;

use std::sync::Arc;

use rustls::ClientConfig;

pub use courier::Courier;
pub use item::Item;
pub use metrics::SinkMetrics;

use crate::config::{SinkKind, SinkTls, read_private};
use file::AppendedFile;
use syslog::Syslog;
use webhook::Webhook;

/// Why events could not be delivered: for the log, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotDelivered(pub String);

/// What takes events.
pub enum Outlet {
    /// Syslog.
    Syslog(Syslog),
    /// A webhook.
    Webhook(Webhook),
    /// A file.
    File(AppendedFile),
}

impl Outlet {
    /// As it is configured. The error says which file is not usable.
    pub fn new(kind: &SinkKind) -> Result<Self, NotDelivered> {
        Ok(match kind {
            SinkKind::Syslog(sink) => {
                Self::Syslog(Syslog::new(&sink.host, sink.port, sink.tls.as_ref().map(tls).transpose()?.map(Arc::new))?)
            }
            SinkKind::Webhook(sink) => {
                Self::Webhook(Webhook::new(sink.url.clone(), sink.secret.clone(), tls(&sink.tls)?)?)
            }
            SinkKind::File(path) => Self::File(AppendedFile::new(path.clone())),
        })
    }

    /// Delivers all of them: when it returns, the receiver has them.
    pub(crate) async fn deliver(&self, items: &[Item]) -> Result<(), NotDelivered> {
        match self {
            Self::Syslog(syslog) => syslog.deliver(items).await,
            Self::Webhook(webhook) => webhook.deliver(items).await,
            Self::File(file) => file.deliver(items).await,
        }
    }

    /// The most that is delivered at once: items, and bytes of them.
    pub(crate) fn most(&self) -> (usize, usize) {
        match self {
            Self::Webhook(_) => (webhook::MOST_EVENTS, webhook::MOST_BYTES),
            Self::Syslog(_) | Self::File(_) => (10_000, 4 * 1024 * 1024),
        }
    }
}

fn tls(settings: &SinkTls) -> Result<ClientConfig, NotDelivered> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| NotDelivered(format!("{} can't be read: {error}", path.display())))
    };
    let ca = settings.ca_file.as_deref().map(read).transpose()?;
    let client = match &settings.client {
        Some(client) => {
            let key = read_private(&client.key_file).map_err(|error| NotDelivered(error.to_string()))?;
            Some((read(&client.cert_file)?, zeroize::Zeroizing::new(key)))
        }
        None => None,
    };
    let client = client.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
    crate::store::tls_config(ca.as_deref(), client).map_err(NotDelivered)
}
