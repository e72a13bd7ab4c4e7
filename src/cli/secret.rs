//! Tokens in the hands of the command line: read with care, shown to nobody, wiped afterwards.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::answer::Failure;

/// Longer input is no token; the server would refuse half of it already.
const MAX_FILE: u64 = 8 * 1024;

/// A token that can stand in an `Authorization` header.
#[derive(Clone)]
pub struct BearerToken(Zeroizing<String>);

impl BearerToken {
    /// Accepts visible ASCII; surrounding white space is dropped. The error never quotes the text.
    pub fn parse(text: String) -> Result<Self, NotAToken> {
        let text = Zeroizing::new(text);
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NotAToken::Empty);
        }
        if trimmed.len() as u64 > MAX_FILE {
            return Err(NotAToken::TooLong);
        }
        if !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NotAToken::StrangeCharacters);
        }
        Ok(Self(Zeroizing::new(trimmed.to_owned())))
    }

    /// The secret itself. Whoever calls this sends it to the server it belongs to, or writes it where the user said.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAToken {
    /// Nothing there.
    Empty,
    /// More than 8 KiB.
    TooLong,
    /// White space within, control characters, or not ASCII.
    StrangeCharacters,
}

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 8 KiB",
            Self::StrangeCharacters => "it holds characters that no token has (several lines, perhaps?)",
        })
    }
}

/// Reads a token from a file.
pub fn read_file(path: &Path) -> Result<BearerToken, Failure> {
    let text = File::open(path).and_then(read_limited).map_err(|error| {
        Failure::new(format!("the token file {} can't be read: {error}", path.display()))
            .next("name a file that holds one token and that you may read")
    })?;
    BearerToken::parse(text).map_err(|why| {
        Failure::new(format!("the file {} holds no token: {why}", path.display()))
            .next("the file should hold one token and nothing else")
    })
}

/// Reads a token from standard input, which must not be a terminal: there it would be echoed and end up in a scrollback.
pub fn read_stdin(hint: &str) -> Result<BearerToken, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::new("no token was given").next(hint));
    }
    let text = read_limited(stdin.lock())
        .map_err(|error| Failure::new(format!("standard input can't be read: {error}")).next(hint))?;
    BearerToken::parse(text).map_err(|why| Failure::new(format!("standard input holds no token: {why}")).next(hint))
}

fn read_limited(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than allowed, so that too long a text is noticed and not cut.
    from.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 8 KiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_may_end_in_a_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "aaa.bbb.ccc\n").unwrap();
        assert_eq!(read_file(file.path()).unwrap().reveal(), "aaa.bbb.ccc");
    }

    #[test]
    fn a_token_file_longer_than_8_kib_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a".repeat(8 * 1024 + 1)).unwrap();
        assert!(read_file(file.path()).unwrap_err().to_string().contains("8 KiB"));
    }

    #[test]
    fn a_text_with_a_line_break_within_is_no_token_and_is_not_quoted() {
        let why = BearerToken::parse("secret\r\nX-Evil: 1".to_owned()).unwrap_err();
        assert_eq!(why, NotAToken::StrangeCharacters);
        assert!(!why.to_string().contains("secret"));
    }

    #[test]
    fn debug_output_does_not_show_the_token() {
        let token = BearerToken::parse("aaa.bbb.ccc".to_owned()).unwrap();
        assert!(!format!("{token:?}").contains("aaa"));
    }
}
