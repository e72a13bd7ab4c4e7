//! Text for people: tables, details, and the cleaning of what others wrote.

use std::io::{self, IsTerminal};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

/// Replaces what a terminal would obey: control characters (escape sequences begin with one) and the marks that turn
/// the direction of writing.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// Lays rows out under their headings. On a terminal long cells are wrapped, but never those of the first column, which
/// is what one copies; elsewhere a row stays one line.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    layout(headings, rows, io::stdout().is_terminal().then_some(None))
}

/// `wrapped`: not at all, at the width of the terminal, or at a given one.
fn layout(headings: &[&str], rows: Vec<Vec<String>>, wrapped: Option<Option<u16>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.iter().copied());
    table.set_content_arrangement(match wrapped {
        Some(_) => ContentArrangement::Dynamic,
        None => ContentArrangement::Disabled,
    });
    if let Some(Some(width)) = wrapped {
        table.set_width(width);
    }
    for row in rows {
        table.add_row(row);
    }
    let last = headings.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        if index == 0 {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

/// `key  value` lines, the values in one column.
pub fn details(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines: Vec<String> =
        lines.iter().map(|(key, value)| format!("{key:<width$}  {value}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A member as text: strings cleaned, numbers as they are, nothing as nothing.
pub fn text(value: &Value, member: &str) -> String {
    value.get(member).map(plain).unwrap_or_default()
}

/// A value as text.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            members.iter().map(|(key, value)| format!("{}={}", clean(key), plain(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The day of an RFC 3339 time.
pub fn day(time: &str) -> String {
    time.get(..10).unwrap_or(time).to_owned()
}

/// Day and second of an RFC 3339 time in UTC.
pub fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// A text, or a dash where there is none.
pub fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(clean("a\u{1b}[31mred\u{7f}\u{9b}2J"), "a\u{fffd}[31mred\u{fffd}\u{fffd}2J");
        assert_eq!(clean("two\r\nlines\tand \u{202e}backwards"), "two  lines and \u{fffd}backwards");
        assert_eq!(clean("Zoë – 東京"), "Zoë – 東京");
    }

    #[test]
    fn a_table_has_no_borders_and_no_trailing_blanks() {
        let rows = vec![vec!["ci".to_owned(), "deployer".to_owned()], vec!["backup".to_owned(), "x".to_owned()]];
        let text = layout(&["NAME", "ROLE"], rows, None);
        assert_eq!(text, "NAME    ROLE\nci      deployer\nbackup  x");
    }

    #[test]
    fn a_table_fits_80_columns_and_leaves_the_first_column_whole() {
        let kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        let row = [kid, "ES256", "retiring", "123456", "retire 2027-05-23"].map(str::to_owned).to_vec();
        let text = layout(&["KEY", "ALG", "STATE", "TOKENS", "NEXT STEP"], vec![row], Some(Some(80)));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains(kid) && text.contains("2027-05-23"), "{text}");
    }

    #[test]
    fn details_stand_in_one_column() {
        let text = details(&[("id", "1".to_owned()), ("status", "active".to_owned()), ("teams", String::new())]);
        assert_eq!(text, "id      1\nstatus  active\nteams");
    }
}
