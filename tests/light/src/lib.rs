//! An API node in three lines, as README has them, compiled as an API would compile them.

use countermark::Verifier;
use countermark::api_node::StartError;

/// The three lines.
///
/// # Errors
/// What somebody has to change first.
pub async fn verifier(issuer: &str, redis: &str) -> Result<Verifier, StartError> {
    Verifier::builder(issuer).audience("orders").redis(redis).start().await
}
