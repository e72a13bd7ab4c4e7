//! `doctor`: what was looked at, and what to do about it.

use super::Output;
use super::answer::{Answer, Exit, Failure};
use super::json::indent;
use super::serve::DoctorArgs;
use super::table::clean;
use crate::doctor::{Entry, Status, examine};

/// Looks and tells.
pub async fn run(args: DoctorArgs, output: Output) -> Result<Answer, Failure> {
    let entries = examine(&args.service.into()).await.map_err(|why| {
        Failure::new(why)
            .next("give doctor the configuration that `countermark serve` gets, and run it as the same user")
    })?;
    let found = entries.iter().any(|entry| entry.status == Status::Finding);
    let text = match output {
        Output::Table => as_text(&entries),
        Output::Json => {
            let text = serde_json::to_string(&entries);
            indent(&text.map_err(|error| Failure::new(format!("the findings can't be written as JSON: {error}")))?)?
        }
    };
    Ok(Answer::yes(text).with_exit(if found { Exit::No } else { Exit::Yes }))
}

fn as_text(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.check.len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    // What matters stands last, where a terminal leaves it in sight.
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.status);
    for entry in sorted {
        lines.push(format!("{:<9}  {:<width$}  {}", entry.status.name(), entry.check, clean(&entry.seen)));
        for (label, text) in [("why", &entry.why), ("do", &entry.action)] {
            if !text.is_empty() {
                lines.push(format!("{:11}{label:<3}  {}", "", clean(text)));
            }
        }
    }
    let count = |status: Status| entries.iter().filter(|entry| entry.status == status).count();
    lines.push(String::new());
    lines.push(match count(Status::Finding) {
        0 => "Nothing was found.".to_owned(),
        1 => "1 finding.".to_owned(),
        more => format!("{more} findings."),
    });
    if let more @ 1.. = count(Status::Unchecked) {
        lines.push(format!("{more} of {} could not be checked.", entries.len()));
    }
    lines.join("\n")
}
