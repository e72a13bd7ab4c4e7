//! What an issuer does in memory to make a token.

use countermark::account::AccountId;
use countermark::clock::{Clock, SystemClock};
use countermark::token::{Jti, MAX_TOKEN_LENGTH, TokenId, encode, encoded_length};

use super::signers::{Signer, claims};

/// A new token of an account. Before it, whether it would be too long under the longest key.
pub fn issue(signer: &Signer, account: AccountId) -> String {
    let now = SystemClock.now().timestamp();
    let jti = Jti::random().unwrap();
    let longest = claims(account, TokenId::of_jti(""), now, now);
    assert!(encoded_length(&longest) <= MAX_TOKEN_LENGTH);
    let claims = claims(account, jti.token_id(), now, now + 15_000_000);
    encode(&claims, &jti, &signer.key).unwrap()
}
