//! What is wrong with a configuration: every problem names its setting, where it came from and what is allowed.
use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => f.write_str(&plain(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Names are repeated as they were written, but a terminal must not obey them.
fn plain(text: &str) -> String {
    text.chars().fold(String::new(), |mut plain, c| {
        if c.is_control() {
            plain.extend(c.escape_default())
        } else {
            plain.push(c)
        }
        plain
    })
}

/// One problem. No variant holds the value of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is missing though it was named, or can't be read.
    #[error("the configuration file {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}, line {line}: {}", plain(message))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said, without the text of the line: that may hold a secret.
        message: String,
    },
    /// There is no such setting: most often a misspelt one.
    #[error("{} ({origin}): there is no such setting; {}", plain(setting), plain(allowed))]
    Unknown {
        /// The path as it was written.
        setting: String,
        /// Where.
        origin: Origin,
        /// What could have been meant.
        allowed: String,
    },
    /// The setting exists and its value is not allowed.
    #[error("{} ({origin}): {}", plain(setting), plain(problem))]
    Invalid {
        /// The path of the setting.
        setting: String,
        /// Where.
        origin: Origin,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

/// All that is wrong with a configuration, at once.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// The problems, in the order of the settings; never empty.
    pub fn problems(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "the configuration is not usable: {one}"),
            many => {
                write!(f, "the configuration is not usable, for {} reasons:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}
