//! Takes settings out of the layers one by one, checks them, and collects every problem on the way.
use std::path::PathBuf;
use std::time::Duration;

use super::defaults::Bounded;
use super::duration::{ShownDuration, parse_duration};
use super::error::{ConfigError, Origin};
use super::secret::{Secret, SecretSource};
use super::sources::{Raw, Setting, Sources, variable_of};

pub(super) struct Reader {
    sources: Sources,
    known: Vec<String>,
    problems: Vec<ConfigError>,
}

/// A value together with its origin, for checks that concern two settings.
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl Reader {
    pub(super) fn new(sources: Sources, problems: Vec<ConfigError>) -> Self {
        Self { sources, known: Vec::new(), problems }
    }

    pub(super) fn problem(&mut self, setting: &str, origin: &Origin, problem: impl Into<String>) {
        let (setting, origin) = (setting.to_owned(), origin.clone());
        self.problems.push(ConfigError::Invalid { setting, origin, problem: problem.into() });
    }

    pub(super) fn policy_names(&self) -> Vec<String> {
        self.sources.policy_names()
    }

    pub(super) fn sink_names(&self) -> Vec<String> {
        self.sources.sink_names()
    }

    /// Takes out whatever is set below `path`: what it would mean can't be known.
    pub(super) fn forget_below(&mut self, path: &str) {
        self.sources.forget_below(path);
    }

    /// How many there are so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    fn take(&mut self, path: &str) -> Option<Setting> {
        self.known.push(path.to_owned());
        self.sources.take(path)
    }

    /// Takes `path` out if it is an empty table.
    pub(super) fn take_empty_table(&mut self, path: &str) {
        // A value of another kind stays, and is reported as unknown.
        if self.sources.is_table(path) {
            self.sources.take(path);
        }
    }

    pub(super) fn text(&mut self, path: &str) -> Option<Placed<String>> {
        let Setting { value, origin } = self.take(path)?;
        match value {
            Raw::Text(text) if text.is_empty() => {
                self.problem(path, &origin, "must not be empty; leave it out for the default");
                None
            }
            Raw::Text(value) => Some(Placed { value, origin }),
            other => {
                self.problem(path, &origin, format!("must be a text, not {}", kind(&other)));
                None
            }
        }
    }

    /// Yes or no: a boolean in a file, or one of these words.
    pub(super) fn flag(&mut self, path: &str) -> Option<Placed<bool>> {
        let Setting { value, origin } = self.take(path)?;
        let value = match &value {
            Raw::Flag(flag) => Some(*flag),
            Raw::Text(text) => text.parse().ok(),
            _ => None,
        };
        if value.is_none() {
            self.problem(path, &origin, "must be true or false");
        }
        Some(Placed { value: value?, origin })
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let Placed { value, origin } = self.text(path)?;
        match parse(&value) {
            Ok(value) => Some(Placed { value, origin }),
            Err(error) => {
                self.problem(path, &origin, format!("{value:?} is {error}"));
                None
            }
        }
    }

    pub(super) fn path(&mut self, path: &str) -> Option<Placed<PathBuf>> {
        self.text(path).map(|text| Placed { value: PathBuf::from(text.value), origin: text.origin })
    }

    pub(super) fn duration(&mut self, path: &str, bounds: &Bounded<Duration>) -> Duration {
        let Some(Setting { value, origin }) = self.take(path) else { return bounds.default };
        let (least, most) = (ShownDuration(*bounds.allowed.start()), ShownDuration(*bounds.allowed.end()));
        let parsed = match &value {
            Raw::Text(text) => parse_duration(text).map_err(|error| format!("{text:?} is {error}")),
            Raw::Integer(0) => Ok(Duration::ZERO),
            other => Err(format!("must be a duration with its unit, such as \"2s\", not {}", kind(other))),
        };
        match parsed {
            Ok(duration) if bounds.allowed.contains(&duration) => return duration,
            Ok(duration) => {
                self.problem(
                    path,
                    &origin,
                    format!("{} is not allowed: from {least} to {most}", ShownDuration(duration)),
                );
            }
            Err(problem) => self.problem(path, &origin, format!("{problem} (allowed: from {least} to {most})")),
        }
        bounds.default
    }

    pub(super) fn number<T>(&mut self, path: &str, bounds: &Bounded<T>) -> T
    where
        T: Copy + PartialOrd + TryFrom<u64> + std::fmt::Display,
    {
        self.placed_number(path, bounds).value
    }

    /// The same, and where it stands.
    pub(super) fn placed_number<T>(&mut self, path: &str, bounds: &Bounded<T>) -> Placed<T>
    where
        T: Copy + PartialOrd + TryFrom<u64> + std::fmt::Display,
    {
        let default = |origin: Origin| Placed { value: bounds.default, origin };
        let Some(Setting { value, origin }) = self.take(path) else { return default(Origin::Default) };
        let number = whole(&value).and_then(|number| T::try_from(number).ok());
        match number.filter(|number| bounds.allowed.contains(number)) {
            Some(value) => Placed { value, origin },
            None => {
                let (least, most) = (bounds.allowed.start(), bounds.allowed.end());
                let problem = format!("{} is not allowed: a whole number from {least} to {most}", shown(&value));
                self.problem(path, &origin, problem);
                default(origin)
            }
        }
    }

    /// A list: TOML's array, or one text with commas; a flag that was repeated comes as an array too.
    pub(super) fn list<T>(
        &mut self,
        path: &str,
        mut parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Placed<Vec<T>>> {
        let Setting { value, origin } = self.take(path)?;
        let texts = match value {
            Raw::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            Raw::List(items) => {
                let mut texts = Vec::new();
                for item in items {
                    match item {
                        Raw::Text(text) => texts.push(text),
                        Raw::Integer(number) => texts.push(number.to_string()),
                        other => {
                            self.problem(path, &origin, format!("must be a list of texts; {} is in it", kind(&other)));
                            return None;
                        }
                    }
                }
                texts
            }
            other => {
                self.problem(path, &origin, format!("must be a list, not {}", kind(&other)));
                return None;
            }
        };
        let (mut value, mut failed) = (Vec::new(), false);
        // `VARIABLE=` is the empty list.
        for text in texts.iter().filter(|_| texts.len() > 1 || texts.iter().any(|text| !text.is_empty())) {
            match parse(text) {
                Ok(item) => value.push(item),
                Err(problem) => {
                    failed = true;
                    self.problem(path, &origin, format!("{text:?} is {problem}"));
                }
            }
        }
        // What is left of a list would only raise further problems that nobody has.
        (!failed).then_some(Placed { value, origin })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, path: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(Placed { value, origin }) = self.text(path) else { return default };
        match choices.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => *choice,
            None => {
                let allowed: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.problem(path, &origin, format!("{value:?} is not allowed: one of {}", allowed.join(", ")));
                default
            }
        }
    }

    /// A secret as `path` or as the file `path_file`, never both, whatever layers they come from.
    pub(super) fn secret(&mut self, path: &str) -> Option<Placed<SecretSource>> {
        let value = self.text(path);
        let file_path = format!("{path}_file");
        let file = self.path(&file_path);
        match (value, file) {
            (Some(value), Some(file)) => {
                self.problem(
                    path,
                    &value.origin,
                    format!("is given twice: also as {file_path} ({}); keep one", file.origin),
                );
                None
            }
            (Some(value), None) => {
                let secret = SecretSource::Value(Secret::new(value.value));
                Some(Placed { value: secret, origin: value.origin })
            }
            (None, Some(file)) => Some(Placed { value: SecretSource::File(file.value), origin: file.origin }),
            (None, None) => None,
        }
    }

    /// Ends the reading: what nobody asked for is unknown.
    pub(super) fn finish(mut self) -> Vec<ConfigError> {
        for (setting, origin) in self.sources.leftovers() {
            let allowed = self.suggestion(&setting, &origin);
            self.problems.push(ConfigError::Unknown { setting, origin, allowed });
        }
        self.problems
    }

    fn suggestion(&self, setting: &str, origin: &Origin) -> String {
        let of_variable = matches!(origin, Origin::Variable(_));
        let mut known: Vec<String> = self
            .known
            .iter()
            .map(|path| if of_variable { format!("COUNTERMARK_{}", variable_of(path)) } else { path.clone() })
            .collect();
        known.sort();
        known.dedup();
        let nearest = known.iter().min_by_key(|path| distance(path, setting));
        if let Some(nearest) = nearest.filter(|path| distance(path, setting) <= 3) {
            return format!("did you mean {nearest}?");
        }
        // Not a slip of the finger: list what there is at that place.
        let table = if of_variable { "" } else { setting.rsplit_once('.').map_or("", |(table, _)| table) };
        let siblings: Vec<&str> = known
            .iter()
            .filter(|path| of_variable || path.rsplit_once('.').map_or("", |(parent, _)| parent) == table)
            .map(String::as_str)
            .collect();
        if siblings.is_empty() {
            format!("allowed are {}", known.join(", "))
        } else {
            format!("allowed are {}", siblings.join(", "))
        }
    }
}

fn kind(value: &Raw) -> &'static str {
    match value {
        Raw::Text(_) => "a text",
        Raw::Integer(_) => "a number",
        Raw::List(_) => "a list",
        Raw::Flag(_) => "a boolean",
        Raw::Other(name) => name,
    }
}

fn whole(value: &Raw) -> Option<u64> {
    match value {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn shown(value: &Raw) -> String {
    match value {
        Raw::Integer(number) => number.to_string(),
        Raw::Text(text) => format!("{text:?}"),
        other => kind(other).to_owned(),
    }
}

/// Levenshtein's distance: how many keys were hit wrongly.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut next = vec![i + 1];
        let mut before = i + 1;
        for (r, pair) in right.bytes().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            before = (diagonal + usize::from(l != r)).min(above + 1).min(before + 1);
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
