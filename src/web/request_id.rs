use http::{HeaderMap, HeaderName};

use crate::audit::printable;

/// Its header.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name that the caller gave the request, if it is sane.
pub fn given_id(headers: &HeaderMap) -> Option<&str> {
    let sane = |text: &&str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'='))
            // A token in the wrong header must not reach a log, nor half of one.
            && text.bytes().filter(|b| *b == b'.').count() < 2
            && printable(text, usize::MAX) == **text
    };
    let mut given = headers.get_all(&REQUEST_ID).iter();
    match (given.next().and_then(|value| value.to_str().ok()).filter(sane), given.next()) {
        (Some(id), None) => Some(id),
        _ => None,
    }
}
