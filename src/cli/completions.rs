//! `completions`: what a shell needs to complete commands and flags.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;
use super::answer::{Answer, Failure};

/// `completions`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "bash, into a file that is read by itself:\n  countermark completions bash > ~/.local/share/bash-completion/completions/countermark\n\
    zsh, into a directory of $fpath:\n  countermark completions zsh > ~/.zfunc/_countermark\n\
    fish:\n  countermark completions fish > ~/.config/fish/completions/countermark.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: KnownShell,
}

/// A shell that is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KnownShell {
    /// GNU bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl From<KnownShell> for Shell {
    fn from(shell: KnownShell) -> Self {
        match shell {
            KnownShell::Bash => Self::Bash,
            KnownShell::Zsh => Self::Zsh,
            KnownShell::Fish => Self::Fish,
        }
    }
}

/// The script for a shell.
pub fn run(args: &CompletionsArgs) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(Shell::from(args.shell), &mut Cli::command(), "countermark", &mut script);
    let script = String::from_utf8(script).map_err(|_| Failure::new("the completions could not be written"))?;
    Ok(Answer::yes(script.trim_end()))
}
