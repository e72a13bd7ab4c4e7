//! What is refused without a look at the signature.

use countermark::verify::Reason;

use super::signers::{Signer, Token};

/// What it is, what the reason is, and the text.
pub struct Refused {
    pub name: &'static str,
    pub reason: Reason,
    pub text: String,
}

/// All but the last are genuinely signed.
pub fn unread(signer: &Signer) -> Vec<Refused> {
    let token = signer.token(1_000_000);
    let [header, payload] = token.members();
    let refused = |name, reason, text| Refused { name, reason, text };
    let with_header = |before: &str, after: &str| signer.token_of(&header.replace(before, after), &payload);
    let with_payload = |before: &str, after: &str| signer.token_of(&header, &payload.replace(before, after));
    let algorithm = format!("{:?}", signer.algorithm.as_str());
    vec![
        refused("too large", Reason::TooLarge, format!("{}{}", token.text, "A".repeat(4096))),
        refused("of two segments", Reason::Malformed, token.text.rsplit_once('.').unwrap().0.to_owned()),
        refused("of another typ", Reason::Malformed, with_header("at+jwt", "JWT")),
        refused("with a jwk in its header", Reason::Malformed, with_header("}", r#","jwk":{}}"#)),
        refused("with alg none", Reason::UnsupportedAlgorithm, with_header(&algorithm, r#""none""#)),
        refused("of an unknown key", Reason::UnknownKey, with_header(signer.key.public().key_id(), &"k".repeat(43))),
        refused("without a sub", Reason::Malformed, with_payload(r#""sub""#, r#""bus""#)),
        refused("with exp twice", Reason::Malformed, with_payload(r#""exp""#, r#""exp":1,"exp""#)),
    ]
}

/// Signed, and past its end. Its signature comes first: only then is its holder told so.
pub fn expired(signer: &Signer) -> Token {
    signer.token(-1000)
}
