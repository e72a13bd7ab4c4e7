//! How a token is written: segments, base64url, JSON.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::bench::{Bench, Row};
use super::forge::Forge;

#[tokio::test]
async fn what_has_not_three_segments_opens_no_door() {
    let bench = Bench::new().await;
    let token = bench.victim.token.as_str();
    let [header, payload, signature] = bench.victim.segments();
    let json = |signatures: &str| format!(r#"{{"payload":"{payload}",{signatures}}}"#);
    let flat = format!(r#""protected":"{header}","signature":"{signature}""#);
    let rows = [
        ("empty", String::new()),
        ("a dot", ".".into()),
        ("two dots", "..".into()),
        ("three dots", "...".into()),
        ("a word", "token".into()),
        ("null", "null".into()),
        ("undefined", "undefined".into()),
        ("[object Object]", "[object-Object]".into()),
        ("the header alone", header.into()),
        ("two segments", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("no payload", format!("{header}..{signature}")),
        ("no payload and no dot for it", format!("{header}.{signature}")),
        ("no header and no dot for it", format!("{payload}.{signature}")),
        ("the payload alone", payload.into()),
        ("the payload between dots", format!(".{payload}.")),
        ("no header", format!(".{payload}.{signature}")),
        ("a trailing dot", format!("{token}.")),
        ("a leading dot", format!(".{token}")),
        ("four segments", format!("{token}.{signature}")),
        ("an empty segment inside", format!("{header}..{payload}.{signature}")),
        ("five segments, as a JWE has", format!("{header}.{payload}.{signature}.{payload}.{signature}")),
        (
            "five segments of a JWE with dir",
            format!("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..{signature}.{payload}.{signature}"),
        ),
        ("flattened JSON", json(&flat)),
        ("general JSON", json(&format!(r#""signatures":[{{{flat}}}]"#))),
        ("the token as JSON", format!("\"{token}\"")),
        ("a PEM", "-----BEGIN-PUBLIC-KEY-----".into()),
        ("a PASETO", "v4.public.eyJzdWIiOiJhIn0AAAA".into()),
        ("an API key", "cm_live_0123456789abcdef0123456789abcdef".into()),
        ("two tokens", format!("{token}{token}")),
        ("two tokens and a space", format!("{token} {token}")),
        ("two tokens and a comma", format!("{token},{token}")),
    ];
    bench.stand(rows.into_iter().map(|(name, token)| Row::refused(name, "malformed", token)).collect()).await;
}

#[tokio::test]
async fn a_token_of_another_spelling_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let [header, payload, signature] = victim.segments();
    let token = victim.token.as_str();
    let mut rows = Vec::new();
    for foreign in [
        " ", "\t", "\n", "\r\n", "\0", "\u{b}", "\u{7f}", "=", "==", "+", "/", "%2e", "%", "ä", "\u{200b}", "\u{ff0e}",
        ",", ";", "\"", "'", "~",
    ] {
        for (place, at) in
            [("before", 0), ("within", header.len() / 2), ("before a dot", header.len()), ("after", token.len())]
        {
            if (foreign, at) == (" ", 0) {
                // It is one more space after the scheme.
                continue;
            }
            let mut spoilt = token.to_owned();
            spoilt.insert_str(at, foreign);
            rows.push(Row::refused(format!("{foreign:?} {place}"), "malformed", spoilt));
        }
    }
    // Signed as they stand, so that nothing but their form speaks against them.
    let mut note = victim.payload();
    note.insert_str(1, r#""note":"????>>>>????>>>>","#);
    for (name, header, payload) in [
        ("padding in the header", URL_SAFE.encode(spaced(&victim.header())), payload.to_owned()),
        ("padding in the payload", header.to_owned(), URL_SAFE.encode(spaced(&victim.payload()))),
        ("the other alphabet", header.to_owned(), STANDARD_NO_PAD.encode(&note)),
        ("the other alphabet and padding", header.to_owned(), STANDARD.encode(spaced(&note))),
        ("loose bits in the header", loosened(&URL_SAFE_NO_PAD.encode(spaced(&victim.header()))), payload.to_owned()),
        ("loose bits in the payload", header.to_owned(), loosened(&URL_SAFE_NO_PAD.encode(spaced(&victim.payload())))),
        (
            "a segment of impossible length",
            header.to_owned(),
            format!("{}A", URL_SAFE_NO_PAD.encode(thrice(&victim.payload()))),
        ),
        ("hex", hex(victim.header().as_bytes()), payload.to_owned()),
        ("plain JSON", victim.header(), victim.payload()),
    ] {
        rows.push(Row::refused(name, "malformed", victim.sign_segments(&header, &payload)));
    }
    rows.push(Row::refused(
        "loose bits in the signature",
        "malformed",
        format!("{header}.{payload}.{}", loosened(signature)),
    ));
    rows.push(Row::refused("padding in the signature", "malformed", format!("{token}==")));
    bench.stand(rows).await;
}

/// With as many spaces that its base64 ends in loose bits.
fn spaced(text: &str) -> String {
    let mut text = text.to_owned();
    while text.len() % 3 != 1 {
        text.push(' ');
    }
    text
}

fn thrice(text: &str) -> String {
    let mut text = text.to_owned();
    while !text.len().is_multiple_of(3) {
        text.push(' ');
    }
    text
}

/// The same bytes in another spelling.
fn loosened(segment: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = segment.bytes().last().unwrap();
    let at = ALPHABET.iter().position(|byte| *byte == last).unwrap();
    format!("{}{}", &segment[..segment.len() - 1], char::from(ALPHABET[at + 1]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Both texts with this in front of their members.
fn with_member(forge: &Forge, member: &str) -> [(&'static str, String); 2] {
    let added = |text: String| text.replacen('{', &format!("{{{member},"), 1);
    [
        ("header", forge.sign(added(forge.header()), forge.payload())),
        ("payload", forge.sign(forge.header(), added(forge.payload()))),
    ]
}

#[tokio::test]
async fn a_member_that_stands_twice_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let mut rows = Vec::new();
    for (place, names) in [
        (0, &["alg", "typ", "kid"][..]),
        (1, &["iss", "sub", "client_id", "aud", "iat", "exp", "jti", "role", "gen"][..]),
    ] {
        for name in names {
            let text = if place == 0 { victim.header() } else { victim.payload() };
            let value = serde_json::from_str::<serde_json::Value>(&text).unwrap()[name].clone();
            let escaped: String = name.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
            let last = format!("\\u{:04X}", u32::from(name.chars().last().unwrap()));
            let ending = format!("{}{last}", &name[..name.len() - 1]);
            for (how, spelling) in
                [("", (*name).to_owned()), (", escaped", escaped), (", its last letter escaped", ending)]
            {
                let token = with_member(victim, &format!("\"{spelling}\":{value}"))[place].1.clone();
                rows.push(Row::refused(format!("{name} twice{how}"), "malformed", token));
            }
        }
    }
    for (name, member) in [
        ("twice in what nobody reads", r#""note":1,"note":1"#),
        ("twice, deeper down", r#""note":[{"a":{"b":1,"b":2}}]"#),
        ("twice in the teams", r#""teams":{"payments":"little","payments":"admin"}"#),
    ] {
        for (place, token) in with_member(victim, member) {
            rows.push(Row::refused(format!("{name}, {place}"), "malformed", token));
        }
    }
    bench.stand(rows).await;
}

#[tokio::test]
async fn what_is_no_json_object_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let mut rows = Vec::new();
    let mut row = |name: String, token: String| rows.push(Row::refused(name, "malformed", token));
    for other in [
        "",
        " ",
        "{",
        "{}",
        "[]",
        "null",
        "1",
        "true",
        "\"text\"",
        "{'a':1}",
        "{\"a\":1,}",
        "{a:1}",
        "NaN",
        "Infinity",
        "/**/{}",
    ] {
        row(format!("header {other:?}"), victim.sign(other, victim.payload()));
        row(format!("payload {other:?}"), victim.sign(victim.header(), other));
    }
    for (name, before, after) in [
        ("a byte order mark", "\u{feff}", ""),
        ("in a list", "[", "]"),
        ("something after it", "", "x"),
        ("a zero after it", "", "\0"),
        ("another object after it", "", "{}"),
        ("a comment after it", "", "//"),
        ("a zero before it", "\0", ""),
        ("a form feed before it", "\u{c}", ""),
        ("a no-break space before it", "\u{a0}", ""),
    ] {
        row(format!("header: {name}"), victim.sign(format!("{before}{}{after}", victim.header()), victim.payload()));
        row(format!("payload: {name}"), victim.sign(victim.header(), format!("{before}{}{after}", victim.payload())));
    }
    for (name, member) in [
        ("a line's end in a text", b"\"note\":\"a\nb\"".to_vec()),
        ("a zero in a text", b"\"note\":\"a\0b\"".to_vec()),
        ("an escape in a text", b"\"note\":\"\x1b[2J\"".to_vec()),
        ("bytes that are no UTF-8", b"\"note\":\"\xff\"".to_vec()),
        ("an overlong slash", b"\"note\":\"\xc0\xaf\"".to_vec()),
        ("a surrogate in UTF-8", b"\"note\":\"\xed\xa0\x80\"".to_vec()),
        ("a lone surrogate", br#""note":"\ud800""#.to_vec()),
        ("surrogates the wrong way round", br#""note":"\udc00\ud800""#.to_vec()),
        ("an unknown escape", br#""note":"\x41""#.to_vec()),
        ("a number without an end", br#""note":1e"#.to_vec()),
        ("a number above all floats", br#""note":1e999"#.to_vec()),
        ("a leading zero", br#""note":01"#.to_vec()),
        ("a plus", br#""note":+1"#.to_vec()),
        ("NaN", br#""note":NaN"#.to_vec()),
    ] {
        let added = |text: String| [b"{", &member[..], b",", &text.as_bytes()[1..]].concat();
        row(format!("header: {name}"), victim.sign(added(victim.header()), victim.payload()));
        row(format!("payload: {name}"), victim.sign(victim.header(), added(victim.payload())));
    }
    for (name, open, close) in [("lists", "[", "]"), ("objects", "{\"a\":", "}")] {
        let deep = format!("\"note\":{}1{}", open.repeat(200), close.repeat(200));
        let endless = format!("\"note\":{}", open.repeat(1500 / open.len()));
        for member in [deep, endless] {
            for (place, token) in with_member(victim, &member) {
                let [header, payload, _] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
                row(format!("{name} in {name}, {place}"), token.clone());
                row(format!("{name} in {name}, {place}, unsigned"), format!("{header}.{payload}.AAAA"));
            }
        }
    }
    bench.stand(rows).await;
}

#[tokio::test]
async fn what_is_longer_than_a_token_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let padded = |length: usize| {
        (0..3).find_map(|spaces| {
            let header = format!("{}{}", victim.header(), " ".repeat(spaces));
            (1500..3000).find_map(|filler| {
                let payload = victim.payload().replacen('{', &format!("{{\"note\":\"{}\",", "x".repeat(filler)), 1);
                let characters = (header.len() * 4).div_ceil(3) + (payload.len() * 4).div_ceil(3) + 86 + 2;
                (characters == length).then(|| victim.sign(&header, &payload))
            })
        })
    };
    let longer = padded(4097).unwrap();
    assert_eq!(longer.len(), 4097);
    let nested = URL_SAFE_NO_PAD.encode("[".repeat(40_000));
    let rows = [
        ("genuinely signed, of 4,097 characters", longer),
        ("of 4,097 letters", "a".repeat(4097)),
        ("of 60,000 letters", "a".repeat(60_000)),
        ("of 60,000 dots", ".".repeat(60_000)),
        ("deeply nested", format!("{nested}.AAAA")),
        ("the same, of the right form", format!("{}.{nested}.AAAA", victim.segments()[0])),
    ];
    bench.stand(rows.into_iter().map(|(name, token)| Row::refused(name, "too_large", token)).collect()).await;
    let spare = bench.spare().await;
    let (header, payload) = (spare.header(), spare.payload());
    let fits = (0..3000).find_map(|filler| {
        let payload = payload.replacen('{', &format!("{{\"note\":\"{}\",", "x".repeat(filler)), 1);
        let token = if filler > 2000 { spare.sign(&header, payload) } else { String::new() };
        (4093..=4096).contains(&token.len()).then_some(token)
    });
    bench.stand(vec![Row::allowed("as long as may be", fits.unwrap())]).await;
}
