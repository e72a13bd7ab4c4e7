//! Text from elsewhere.

use std::borrow::Cow;
use std::fmt;

use askama::filters::{Escaper, Html, HtmlSafe};

use crate::audit::printable;

/// Text that somebody else has written: what would turn the text around it is taken out, and it stands in a box of its own. Never
/// without a token in it taken out, and never longer than this.
pub struct Untrusted<'a> {
    text: Cow<'a, str>,
    length: usize,
}

impl HtmlSafe for Untrusted<'_> {}

impl<'a> Untrusted<'a> {
    /// At most 200 characters of it.
    pub fn new(text: &'a (impl AsRef<str> + ?Sized)) -> Self {
        Self { text: Cow::Borrowed(text.as_ref()), length: 200 }
    }

    /// The same of a text that was put together.
    pub fn owned(text: String) -> Self {
        Self { text: Cow::Owned(text), length: 200 }
    }

    /// At most so many characters of it.
    #[must_use]
    pub fn at_most(mut self, length: usize) -> Self {
        self.length = length;
        self
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<bdi>")?;
        Html.write_escaped_str(&mut *f, &tame(&self.text, self.length))?;
        f.write_str("</bdi>")
    }
}

/// Text from elsewhere for where no box of its own can stand, as in an `<option>`: as text, which is still to be escaped.
pub fn tame(text: &str, length: usize) -> String {
    // Of what has no place in a text, line breaks and tabs are what people write.
    let lines: Vec<_> = text.split('\n').map(|line| printable(&line.replace('\t', " "), length + 1)).collect();
    let mut kept = String::new();
    let (mut marks, mut so_far) = (0, 0);
    for c in lines.join("\n").chars().filter(|c| !steers(*c)) {
        // A letter has a mark or two; a tower of them covers the lines around it.
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if marks > 2 {
            continue;
        }
        so_far += 1;
        if so_far > length {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept
}

/// Characters that are not seen and change how others are: directions, joiners, tags, line and paragraph separators.
fn steers(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Marks that are set upon the letter before them, of the blocks that are nothing but such marks.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_is_shown_as_text_and_steers_nothing() {
        for (text, shown) in [
            ("curl/8", "curl/8"),
            ("<script>alert(1)</script>", "&#60;script&#62;alert(1)&#60;/script&#62;"),
            ("\" onload='x'", "&#34; onload=&#39;x&#39;"),
            ("a\u{202e}txt.exe", "atxt.exe"),
            ("a\u{200b}b\u{2066}c", "abc"),
            ("bell\u{7}", "bell\u{fffd}"),
            ("two\nlines\tand a tab", "two\nlines and a tab"),
            ("e\u{301}\u{301}\u{301}\u{301}x", "e\u{301}\u{301}x"),
        ] {
            assert_eq!(Untrusted::new(text).to_string(), format!("<bdi>{shown}</bdi>"), "{text:?}");
        }
        assert_eq!(Untrusted::new("abcdef").at_most(3).to_string(), "<bdi>abc…</bdi>");
        assert_eq!(Untrusted::new("abc").at_most(3).to_string(), "<bdi>abc</bdi>");
    }
}
