//! The small things that pages are made of. Each is HTML that has escaped what it was given, so that a template writes it like any
//! other value: `{{ status }}`, `{{ when.told(account.created_at) }}`.
//!
//! | part | for |
//! |---|---|
//! | [`Now`] | times: relative, with the exact one beside them; what is left of them |
//! | [`Badge`] | a state in a word, told by a mark as well as by its colour |
//! | [`Untrusted`] | text from elsewhere: user agents, paths, names in events |
//! | [`Empty`] | a list without rows: why, and what to do |
//! | [`Pager`] | the way to the next rows |
//! | [`Confirm`] | the box that is asked before what can't be undone |
//! | [`Copy`] | a button that copies an id |
//! | [`Secret`] | a token or a link that is shown once |
//! | [`Bars`] | numbers over time, as SVG with the same numbers as text |
//! | [`in_words`] | a receipt as a sentence |

use std::borrow::Borrow;

mod badge;
mod chart;
mod confirm;
mod copy;
mod empty;
mod pager;
mod receipt;
mod secret;
mod time;
mod untrusted;

pub use badge::{Badge, Tone};
pub use chart::{Bar, Bars};
pub use confirm::Confirm;
pub use copy::Copy;
pub use empty::Empty;
pub use pager::{Pager, link};
pub use receipt::in_words;
pub use secret::Secret;
pub use time::{Now, Told};
pub use untrusted::{Untrusted, tame};

/// Whole numbers as people read them: 12,345.
pub fn grouped(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 token`, `12 tokens`.
pub fn counted(number: impl Borrow<u64>, one: &str, many: &str) -> String {
    let number = *number.borrow();
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "token", "tokens"), "1 token");
        assert_eq!(counted(2_000, "token", "tokens"), "2,000 tokens");
    }
}
