//! The stylesheet, the script and the icon: built in, and named by what is in them, so that they may be kept for good.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{Context, SHA256};
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::{Edge, Problem};

/// Name, media type, content.
const ASSETS: [(&str, &str, &[u8]); 3] = [
    ("console.css", "text/css; charset=utf-8", include_bytes!("assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_bytes!("assets/console.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
];

/// Of all of them.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut context = Context::new(&SHA256);
    ASSETS.iter().for_each(|(.., content)| context.update(content));
    context.finish().as_ref().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
});

/// Where an asset is.
pub fn url(name: &str) -> String {
    format!("/console/assets/{}/{name}", *HASH)
}

/// What serves them. Everybody may have them.
pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console/assets/{hash}/{name}", get(asset))
}

async fn asset(Path((hash, name)): Path<(String, String)>) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|(other, ..)| *other == name).filter(|_| hash == *HASH);
    let (_, media_type, content) = found.ok_or_else(Problem::no_such_path)?;
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
    ];
    Ok((headers, *content).into_response())
}
