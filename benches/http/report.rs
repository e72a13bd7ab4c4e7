//! One JSON document and one table of the parts that were measured.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::figures::{Figure, Load, Part, number};

pub const BEGIN: &str = "<!-- begin: written by scripts/bench --write -->";
pub const END: &str = "<!-- end -->";

/// Reads a part. A document of another form is taken apart into its numbers.
pub fn part(name: &str, document: &Value) -> Part {
    if let Ok(part) = serde_json::from_value::<Part>(document.clone()) {
        return part;
    }
    let mut figures = Vec::new();
    flatten("", document, &mut figures);
    Part { case: name.to_owned(), loads: Vec::new(), figures }
}

fn flatten(path: &str, value: &Value, figures: &mut Vec<Figure>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
    match value {
        Value::Number(number) => figures.push(Figure::new(path, number.as_f64().unwrap_or(f64::NAN), "")),
        Value::Object(members) => members.iter().for_each(|(name, value)| flatten(&below(name), value, figures)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| flatten(&below(&place.to_string()), value, figures));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// All of it, by case.
pub fn document(parts: &[Part]) -> Value {
    let by_case: Map<String, Value> =
        parts.iter().map(|part| (part.case.clone(), json!({"loads": part.loads, "figures": part.figures}))).collect();
    Value::Object(by_case)
}

/// The tables, in Markdown.
pub fn tables(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        let _ = writeln!(text, "### {}\n", part.case);
        if !part.figures.is_empty() {
            text.push_str("| figure | measured | target | | from |\n| --- | --: | --- | --- | --- |\n");
            part.figures.iter().for_each(|figure| text.push_str(&row(figure)));
            text.push('\n');
        }
        if !part.loads.is_empty() {
            text.push_str("| load | server | requests/s | p50 µs | p99 µs | CPU µs a request | in the end | busy |\n");
            text.push_str("| --- | --- | --: | --: | --: | --: | --: | --: |\n");
            part.loads.iter().for_each(|load| text.push_str(&load_row(load)));
            text.push('\n');
        }
    }
    text
}

fn row(figure: &Figure) -> String {
    let met = match figure.met {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    };
    let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
    let value = format!("{} {}", number(figure.value), figure.unit);
    format!("| {} | {} | {target} | {met} | {} |\n", figure.what, value.trim_end(), figure.of)
}

fn load_row(load: &Load) -> String {
    let maybe = |value: Option<f64>| value.map(number).unwrap_or_default();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {:.2} |\n",
        load.what,
        load.server,
        number(load.per_second),
        maybe(load.p50_us),
        maybe(load.p99_us),
        number(load.cpu_us),
        number(load.cpu_in_the_end_us),
        load.busy,
    )
}

/// The page with these tables between its two marks. `None`: it has no marks.
pub fn page_with(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n{END}{after}", tables.trim_end()))
}
