use std::borrow::Cow;

/// A text from outside as it may stand in an entry: at most `length` characters, control characters replaced.
///
/// A4: what has the form of a token, or of its header or payload alone, is taken out, wherever a client may have put it and
/// however it has written it.
pub fn printable(text: &str, length: usize) -> String {
    let text = redacted(text);
    if text.len() <= length && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into_owned();
    }
    text.chars().take(length).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Without tokens, however often what is left is decoded: what reads as one may only come to light when another is gone.
fn redacted(text: &str) -> Cow<'_, str> {
    /// Nobody who is not looking for trouble writes a token within a token.
    const ROUNDS: usize = 4;
    // There is a J in each, or one that is percent-encoded.
    if memchr::memchr2(b'J', b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut kept = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        match without_hidden_tokens(&kept) {
            Some(less) => kept = Cow::Owned(less),
            None => return kept,
        }
    }
    Cow::Borrowed("(token)")
}

/// As it was written, or with percent-encoding undone, twice at the most: a gateway may have added one. `None`: there are none.
fn without_hidden_tokens(text: &str) -> Option<String> {
    without_tokens(text).or_else(|| {
        let once = text.contains('%').then(|| decoded(text))?;
        without_tokens(&once).or_else(|| without_tokens(&decoded(&once)))
    })
}

/// `None`: there are none.
fn without_tokens(text: &str) -> Option<String> {
    /// Shorter than any header or payload of ours.
    const SHORT: usize = 32;
    // A JSON object begins with {" and so its base64 with eyJ.
    const BEGINNING: &str = "eyJ";
    if !text.contains(BEGINNING) {
        return None;
    }
    // With what may stand there percent-encoded: a token that is so in the middle is one all the same.
    let of_a_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '%');
    let (mut kept, mut found) = (String::new(), false);
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.split(|c| !of_a_token(c)).next().unwrap_or_default();
        let (word, after) = rest.split_at(word.len());
        match word.find(BEGINNING).filter(|start| word.len() - start > SHORT) {
            Some(start) => {
                kept.push_str(word.get(..start).unwrap_or_default());
                kept.push_str("(token)");
                found = true;
            }
            None => kept.push_str(word),
        }
        let (between, next) = after.split_at(after.find(of_a_token).unwrap_or(after.len()));
        kept.push_str(between);
        rest = next;
    }
    found.then_some(kept)
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let byte = (*first == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a4_a_token_in_a_text_from_outside_is_taken_out() {
        let token = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2xvY2FsaG9zdCJ9.c2lnbmF0dXJl";
        assert_eq!(printable(&format!("/a/{token}/b?x"), 512), "/a/(token)/b?x");
        assert_eq!(printable(&format!("curl {token}"), 200), "curl (token)");
        assert_eq!(printable(token, 200), "(token)");
        for part in token.split('.').take(2) {
            assert_eq!(printable(&format!("/{part}/x"), 200), "/(token)/x");
        }
        assert_eq!(printable(&format!("/{}", token.replace('.', "%2E").replace("eyJ", "%65yJ")), 200), "/(token)");
        assert_eq!(printable(&format!("/{}", token.replace("eyJ", "%2565yJ")), 200), "/(token)");
        // Decoding must not be what hides one.
        for prefix in ["%4", "%254", "%25254"] {
            let shown = printable(&format!("/{prefix}{token}"), 200);
            assert!(shown.ends_with("(token)") && !shown.contains("yJ"), "{shown}");
        }
        let encoded = token.replace("eyJ", "%65yJ");
        assert_eq!(printable(&format!("/{token}/{encoded}"), 200), "/(token)/(token)");
        for part in [5, token.find('.').unwrap() + 9] {
            let encoded = format!("{}%{:02X}{}", &token[..part], token.as_bytes()[part], &token[part + 1..]);
            assert_eq!(printable(&format!("/{encoded}/x"), 200), "/(token)/x");
            assert_eq!(printable(&format!("/{}/x", encoded.replace('%', "%25")), 200), "/(token)/x");
        }
        let nested =
            (0..9).fold(String::new(), |text, _| format!("{token}/{}", text.replace('e', "%65").replace('%', "%25")));
        assert!(!printable(&nested, 1000).contains("yJ"));
        assert_eq!(printable("/a%20b/%zz/100%", 200), "/a%20b/%zz/100%");
        assert_eq!(printable("/eyJ.b/ä\u{1b}c", 200), "/eyJ.b/ä\u{fffd}c");
        assert_eq!(printable(&"ä".repeat(9), 3), "äää");
    }
}
