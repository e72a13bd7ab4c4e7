//! JSON for scripts: the server's own body, indented.

use super::answer::Failure;

/// Indents JSON without touching it: members keep their order, numbers their digits, strings their escapes. Only raw
/// control characters, which JSON allows above U+001F, are escaped, so that a terminal doesn't obey them.
pub fn indent(json: &str) -> Result<String, Failure> {
    let broken = || Failure::new("the server's answer is not JSON").next("check --server");
    serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|_| broken())?;
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                out.push('"');
                while let Some(inside) = characters.next() {
                    match inside {
                        '\\' => {
                            out.push('\\');
                            out.extend(characters.next());
                        }
                        control if control.is_control() => {
                            out.push_str(&format!("\\u{:04x}", u32::from(control)));
                        }
                        other => out.push(other),
                    }
                    if inside == '"' {
                        break;
                    }
                }
            }
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => out.push(other),
        }
    }
    Ok(out)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_digits_and_escapes_are_kept() {
        let json =
            r#"{"b":1.10,"a":[1,{"x":"a\"b,{\\"}],"e":{},"f":[ ],"n":null,"big":123456789012345678901234567890}"#;
        let indented = indent(json).unwrap();
        let expected = "{\n  \"b\": 1.10,\n  \"a\": [\n    1,\n    {\n      \"x\": \"a\\\"b,{\\\\\"\n    }\n  ],\n  \"e\": {},\n  \"f\": [],\n  \"n\": null,\n  \"big\": 123456789012345678901234567890\n}";
        assert_eq!(indented, expected);
    }

    #[test]
    fn a_control_character_that_json_allows_is_escaped_all_the_same() {
        assert_eq!(indent("\"a\u{9b}31mb\u{7f}\"").unwrap(), r#""a\u009b31mb\u007f""#);
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        assert!(indent("<html>").is_err());
        assert!(indent("{\"a\":1").is_err());
    }
}
