//! A webhook, signed as Standard Webhooks has it (<https://www.standardwebhooks.com>, specification 1.0).

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use url::Url;

use super::{Item, NotDelivered};
use crate::api_node::no_answer;
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::config::{SecretSource, webhook_key};

pub(super) const MOST_EVENTS: usize = 500;
pub(super) const MOST_BYTES: usize = 512 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
/// From the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of an answer is read, so that its connection can be used again; what is longer ends it.
const MOST_ANSWER: usize = 64 * 1024;

/// A receiver.
pub struct Webhook {
    url: Url,
    secret: SecretSource,
    client: Client,
}

impl Webhook {
    pub(super) fn new(url: Url, secret: SecretSource, tls: ClientConfig) -> Result<Self, NotDelivered> {
        let client = Client::builder()
            .user_agent(concat!("countermark/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .no_proxy()
            // Whoever answers with another address would choose where the events go.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| NotDelivered(no_answer(&error)))?;
        Ok(Self { url, secret, client })
    }

    pub(super) async fn deliver(&self, items: &[Item]) -> Result<(), NotDelivered> {
        let body = body(items);
        let id = id_of(&body);
        // It is read each time: a new one needs no restart.
        let secret = self.secret.clone();
        let secret = tokio::task::spawn_blocking(move || secret.read()).await;
        let secret = secret.map_err(|_| NotDelivered("the secret could not be read".into()))?;
        let secret = secret.map_err(|error| NotDelivered(error.to_string()))?;
        let key = webhook_key(&secret).map_err(|problem| NotDelivered(format!("the secret is {problem}")))?;
        // Receivers compare it with their own clock.
        let timestamp = SystemClock.unix_seconds();
        let request = self.client.post(self.url.clone()).header("content-type", "application/json");
        let request = request
            .header("webhook-signature", signature(&key, &id, timestamp, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        let mut answer = request.body(body).send().await.map_err(|error| NotDelivered(no_answer(&error)))?;
        let status = answer.status();
        let mut length = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            length += chunk.len();
            if length > MOST_ANSWER {
                break;
            }
        }
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => {
                Err(NotDelivered(format!("the answer is {status}: redirections are not followed")))
            }
            status => Err(NotDelivered(format!("the answer is {status}"))),
        }
    }
}

/// `{"type": "audit.events", "timestamp": …, "data": {"events": […]}}`: the same for the same events.
fn body(items: &[Item]) -> String {
    let last = items.last().map_or(DateTime::<Utc>::UNIX_EPOCH, |item| *item.time());
    let timestamp = rfc3339::text(&last);
    let events: Vec<String> = items.iter().map(Item::json).collect();
    format!(
        "{{\"type\":\"audit.events\",\"timestamp\":\"{timestamp}\",\"data\":{{\"events\":[{}]}}}}",
        events.join(",")
    )
}

/// The same for each try to deliver the same.
fn id_of(body: &str) -> String {
    let hash = digest::digest(&digest::SHA256, body.as_bytes());
    format!("msg_{}", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..18).unwrap_or_default()))
}

/// Standard Webhooks, "Signature scheme": HMAC-SHA256 over `id.timestamp.body`.
fn signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Event, Outcome, kinds};
    use crate::config::Secret;

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's reference libraries.
        let key = webhook_key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into())).unwrap();
        let made = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_same_events_are_the_same_message() {
        let event = |sequence| {
            let time = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
            Item::Event(Box::new(Event { sequence, ..Event::new(time, kinds::CALL, Outcome::Allowed) }))
        };
        let (one, other) = ([event(1), event(2)], [event(1)]);
        assert_eq!(id_of(&body(&one)), id_of(&body(&one)));
        assert_ne!(id_of(&body(&one)), id_of(&body(&other)));
        let read: serde_json::Value = serde_json::from_str(&body(&one)).unwrap();
        assert_eq!((&read["type"], &read["timestamp"]), (&"audit.events".into(), &"2023-11-14T22:13:20Z".into()));
        assert_eq!(read["data"]["events"][1]["sequence"], 2);
    }
}
