//! `/api/v1/keys`

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::extract::{Caller, Json, KeyId, NoQuery, Ready};
use super::no_store;
use super::permissions::{KeysRead, KeysRotate};
use super::problem::Problem;
use crate::authority::{BlastRadius, ChangedKey, KeyDetail, KeyToPrepare, KeyView, Receipt, Recount};
use crate::token::Algorithm;

/// Keys, in the order in which they were made.
#[derive(Serialize, ToSchema)]
pub struct KeyList {
    items: Vec<KeyView>,
}

/// A key to prepare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareBody {
    /// Its algorithm; by default that of the configuration.
    #[serde(default, deserialize_with = "super::extract::given")]
    #[schema(nullable = false)]
    algorithm: Option<Algorithm>,
    /// A private key that exists, in PEM (PKCS#8, SEC1 or PKCS#1, not encrypted), instead of a new one: EC on P-256, Ed25519, or RSA of
    /// 2048 to 4096 bits.
    #[serde(default, deserialize_with = "super::extract::given")]
    #[schema(nullable = false, value_type = Option<String>, write_only)]
    private_key: Option<Zeroizing<String>>,
    /// Whether it is made in the hardware token, and stays there.
    #[serde(default)]
    in_token: bool,
}

/// How to activate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateBody {
    /// Even before every cache has the key.
    #[serde(default)]
    force: bool,
}

/// Whether it is meant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// The key's id once more. Without it nothing is done, and the answer says what would die.
    #[serde(default, deserialize_with = "super::extract::given")]
    #[schema(nullable = false)]
    confirm: Option<String>,
}

/// What would die, or the key that was revoked.
#[derive(Serialize, ToSchema)]
pub struct Revocation {
    /// Whether nothing was done.
    dry_run: bool,
    /// What would die; null once it is done.
    #[schema(required = true)]
    blast_radius: Option<BlastRadius>,
    /// The key as it is now; null where nothing was done.
    #[schema(required = true)]
    key: Option<KeyView>,
    /// Since when no node accepts what it signed; null where nothing was done.
    #[schema(required = true)]
    receipt: Option<Receipt>,
}

/// List the signing keys.
#[utoipa::path(get, path = "/keys", tag = "keys", security(("bearer" = ["keys:read"])),
    responses((status = 200, body = KeyList)))]
pub async fn list(_caller: Caller<KeysRead>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(KeyList { items: authority.key_views().await? })))
}

/// One signing key, and who needs it; of a revoked one, who has no new token yet.
#[utoipa::path(get, path = "/keys/{kid}", tag = "keys", params(("kid" = String, Path)),
    security(("bearer" = ["keys:read"])), responses((status = 200, body = KeyDetail)))]
pub async fn show(
    caller: Caller<KeysRead>,
    Ready(authority): Ready,
    _: NoQuery,
    KeyId(kid): KeyId,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.key_detail(&caller, &kid).await?)))
}

/// Prepare a key, a new one or one that exists: it is published now, and can sign once every cache has it.
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = PrepareBody,
    security(("bearer" = ["keys:rotate"])), responses((status = 201, body = ChangedKey)))]
pub async fn prepare(
    caller: Caller<KeysRotate>,
    Ready(authority): Ready,
    _: NoQuery,
    Json(body): Json<PrepareBody>,
) -> Result<Response, Problem> {
    let PrepareBody { algorithm, private_key, in_token } = body;
    let wanted = match (private_key, in_token) {
        (Some(_), true) => {
            return Err(Problem::invalid_field("in_token", "a private key that exists does not go into the token"));
        }
        (Some(pem), false) => KeyToPrepare::Existing { pem, algorithm },
        (None, true) => KeyToPrepare::InToken(algorithm),
        (None, false) => KeyToPrepare::New(algorithm),
    };
    let prepared = authority.prepare_key(&caller, wanted).await?;
    Ok(no_store((StatusCode::CREATED, axum::Json(prepared))))
}

/// Count the living tokens of each key anew, and say whether the counts were right. Everything goes on meanwhile.
#[utoipa::path(post, path = "/keys/recount", tag = "keys", security(("bearer" = ["keys:rotate"])),
    responses((status = 200, body = Recount)))]
pub async fn recount(_caller: Caller<KeysRotate>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.recount_keys().await?)))
}

/// Let a pending key sign from now on; the one that did verifies only.
#[utoipa::path(post, path = "/keys/{kid}/activate", tag = "keys", request_body = ActivateBody,
    params(("kid" = String, Path)), security(("bearer" = ["keys:rotate"])),
    responses((status = 200, body = ChangedKey)))]
pub async fn activate(
    caller: Caller<KeysRotate>,
    Ready(authority): Ready,
    _: NoQuery,
    KeyId(kid): KeyId,
    Json(body): Json<ActivateBody>,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.activate_key(&caller, &kid, body.force).await?)))
}

/// Publish a key no longer that no living token needs. It happens by itself, too.
#[utoipa::path(post, path = "/keys/{kid}/retire", tag = "keys",
    params(("kid" = String, Path)), security(("bearer" = ["keys:rotate"])),
    responses((status = 200, body = ChangedKey)))]
pub async fn retire(
    caller: Caller<KeysRotate>,
    Ready(authority): Ready,
    _: NoQuery,
    KeyId(kid): KeyId,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.retire_key(&caller, &kid).await?)))
}

/// Accept nothing any more that a key signed. Without `confirm`: what would die with it.
#[utoipa::path(post, path = "/keys/{kid}/revoke", tag = "keys", request_body = RevokeBody,
    params(("kid" = String, Path)), security(("bearer" = ["keys:rotate"])),
    responses((status = 200, body = Revocation)))]
pub async fn revoke(
    caller: Caller<KeysRotate>,
    Ready(authority): Ready,
    _: NoQuery,
    KeyId(kid): KeyId,
    Json(body): Json<RevokeBody>,
) -> Result<Response, Problem> {
    let answer = match body.confirm {
        None => {
            let blast_radius = Some(authority.blast_radius(&caller, &kid).await?);
            Revocation { dry_run: true, blast_radius, key: None, receipt: None }
        }
        Some(confirm) => {
            let ChangedKey { key, receipt } = authority.revoke_key(&caller, &kid, &confirm).await?;
            Revocation { dry_run: false, blast_radius: None, key: Some(key), receipt: Some(receipt) }
        }
    };
    Ok(no_store(axum::Json(answer)))
}
