//! Questions before something is destroyed.

use std::io::{self, Write};

use super::answer::Failure;
use super::table::clean;

/// Asks for a yes or no; anything but `y` or `yes` is a no.
pub fn yes_or_no(question: &str, interactive: bool, yes: bool) -> Result<(), Failure> {
    ask(&format!("{question} [y/N] "), interactive, yes, |answer| {
        matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")
    })
}

/// Asks for the name of what is to be destroyed.
pub fn by_name(what: &str, name: &str, interactive: bool, yes: bool) -> Result<(), Failure> {
    ask(&format!("{what}\nType the name to confirm: "), interactive, yes, |answer| answer == name)
}

fn ask(question: &str, interactive: bool, yes: bool, agrees: impl Fn(&str) -> bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !interactive {
        return Err(Failure::new("this needs a confirmation, and there is no terminal to ask on; nothing was changed")
            .next("if you mean it, add --yes"));
    }
    let mut answer = String::new();
    let question: Vec<String> = question.split('\n').map(clean).collect();
    let asked = write!(io::stderr(), "{}", question.join("\n")).and_then(|()| io::stdin().read_line(&mut answer));
    match asked {
        Ok(_) if agrees(answer.trim()) => Ok(()),
        Ok(_) => Err(Failure::new("not confirmed; nothing was changed")),
        Err(error) => Err(Failure::new(format!("the answer can't be read: {error}")).next("add --yes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_only_yes_confirms() {
        assert!(yes_or_no("Sure?", false, false).unwrap_err().to_string().contains("--yes"));
        assert!(by_name("Gone.", "ci", false, false).is_err());
        assert!(yes_or_no("Sure?", false, true).is_ok());
        assert!(by_name("Gone.", "ci", false, true).is_ok());
    }
}
