//! How a command ends: an [`Answer`] to print, or a [`Failure`] that says what to do next.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::table::clean;

/// The exit codes that scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: yes, done.
    Yes,
    /// 1: no: a refused token, a failed check.
    No,
    /// 2: could not be done.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Yes => Self::SUCCESS,
            Exit::No => Self::from(1),
            Exit::Failed => Self::from(2),
        }
    }
}

/// What a command has to say. No `Debug`: the text may hold a token that was just issued.
pub struct Answer {
    /// For standard output.
    pub text: String,
    /// For standard error: what a person wants to know and a script doesn't.
    pub note: Option<String>,
    /// How the process ends.
    pub exit: Exit,
}

impl Answer {
    /// A plain success.
    pub fn yes(text: impl Into<String>) -> Self {
        Self { text: text.into(), note: None, exit: Exit::Yes }
    }

    /// The same answer with a remark on standard error.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The same answer with another exit code.
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Prints the answer.
    pub fn deliver(self) -> ExitCode {
        if let Err(failure) = print(&self.text) {
            return failure.report();
        }
        if let Some(note) = &self.note {
            to_stderr(note);
        }
        self.exit.into()
    }
}

/// Why something could not be done. Never holds a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    what: String,
    next: Option<String>,
    /// The reader of standard output went away (`| head`): nothing is wrong and nobody listens.
    unheard: bool,
    /// It may be otherwise in a moment: the server was not there.
    passing: bool,
}

impl Failure {
    /// What happened, as the rest of a line that begins with `error: `.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None, unheard: false, passing: false }
    }

    /// What the user can do about it.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// It may be otherwise in a moment.
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// Whether it may be otherwise in a moment.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Prints it on standard error.
    pub fn report(self) -> ExitCode {
        if !self.unheard {
            to_stderr(&self.to_string());
        }
        Exit::Failed.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n{next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Writes text and a line end to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(unwritten)
}

/// Standard output does not take it.
pub fn unwritten(error: io::Error) -> Failure {
    Failure {
        what: format!("the answer could not be written: {error}"),
        next: None,
        unheard: error.kind() == io::ErrorKind::BrokenPipe,
        passing: false,
    }
}

fn to_stderr(text: &str) {
    for line in text.lines() {
        // Nothing is left to tell it to if standard error is gone too.
        let _ = writeln!(io::stderr(), "{}", clean(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_happened_and_then_what_to_do() {
        let failure = Failure::new("the door is locked").next("use the key");
        assert_eq!(failure.to_string(), "error: the door is locked\nuse the key");
    }
}
