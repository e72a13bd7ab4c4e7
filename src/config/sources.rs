//! The layers a setting can come from: flags over the environment over the file.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroize;

use super::error::{ConfigError, Origin};

const VARIABLES: &str = "COUNTERMARK_";
// These speak to the commands that are clients of a running service. Whoever has them set may still start one.
const CLIENT_VARIABLES: [&str; 4] = ["SERVER", "CA_FILE", "TOKEN", "CONFIG"];

/// A value before anybody looked at its meaning.
#[derive(Clone)]
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Raw>),
    /// A TOML type that no setting has, by its name.
    Other(&'static str),
}

/// A value and its origin.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: Raw,
    pub(super) origin: Origin,
}

/// All that was set, by layer. What has been taken out is known; what is left at the end is unknown.
#[derive(Default)]
pub(super) struct Sources {
    flags: BTreeMap<&'static str, Setting>,
    variables: BTreeMap<String, String>,
    file: BTreeMap<String, Setting>,
}

impl Sources {
    pub(super) fn flag(&mut self, path: &'static str, name: &'static str, value: Raw) {
        self.flags.insert(path, Setting { value, origin: Origin::Flag(name) });
    }

    pub(super) fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, mut value) in variables {
            match name.strip_prefix(VARIABLES) {
                Some(rest) if CLIENT_VARIABLES.contains(&rest) => value.zeroize(),
                Some(rest) if is_of_kubernetes(rest, &value) => {}
                Some(rest) => {
                    self.variables.insert(rest.to_owned(), value);
                }
                None => {}
            }
        }
    }

    pub(super) fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map(zeroize::Zeroizing::new)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        self.text(path, &text)
    }

    /// The text of a file.
    pub(super) fn text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        self.flatten(path, text, "", table.get_ref());
        Ok(())
    }

    fn flatten(&mut self, file: &Path, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            // A dot in a quoted key must not reach into another table.
            let name = if key.get_ref().contains('.') && prefix != "policies." {
                format!("{prefix}\"{}\"", key.get_ref())
            } else {
                format!("{prefix}{}", key.get_ref())
            };
            match value.get_ref() {
                // An empty table sets nothing, and an empty [policies.NAME] is a policy that demands nothing.
                DeValue::Table(inner) if !inner.is_empty() || prefix != "policies." => {
                    self.flatten(file, text, &format!("{name}."), inner);
                }
                _ => {
                    let line = line_of(text, key.span().start);
                    let origin = Origin::File { path: PathBuf::from(file), line };
                    self.file.insert(name, Setting { value: raw(value), origin });
                }
            }
        }
    }

    /// Takes a setting out of all layers; the topmost counts.
    pub(super) fn take(&mut self, path: &str) -> Option<Setting> {
        let from_file = self.file.remove(path);
        let variable = variable_of(path);
        let from_environment = self.variables.remove(&variable).map(|value| Setting {
            value: Raw::Text(value),
            origin: Origin::Variable(format!("{VARIABLES}{variable}")),
        });
        self.flags.remove(path).or(from_environment).or(from_file)
    }

    pub(super) fn is_table(&self, path: &str) -> bool {
        self.file.get(path).is_some_and(|setting| matches!(setting.value, Raw::Other("table")))
    }

    /// The names of the policies that any layer speaks of.
    pub(super) fn policy_names(&self) -> Vec<String> {
        let in_file = self.file.iter().filter_map(|(path, setting)| {
            let rest = path.strip_prefix("policies.")?;
            // The name may hold dots, its members don't.
            let name = match setting.value {
                Raw::Other("table") => rest,
                _ => rest.rsplit_once('.').map_or(rest, |(name, _)| name),
            };
            Some(name.to_owned())
        });
        let in_environment = self.variables.keys().filter_map(|name| {
            let (name, member) = name.strip_prefix("POLICIES_")?.rsplit_once('_')?;
            matches!(member, "PERMISSION" | "TEAM" | "AUDIENCE").then(|| name.to_ascii_lowercase())
        });
        let mut names: Vec<String> = in_file.chain(in_environment).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The names of the sinks that any layer speaks of.
    pub(super) fn sink_names(&self) -> Vec<String> {
        /// A member that ends as another one does comes before it.
        const MEMBERS: [&str; 13] = [
            "CLIENT_CERT_FILE",
            "CLIENT_KEY_FILE",
            "CA_FILE",
            "SECRET_FILE",
            "SECRET",
            "TYPE",
            "FROM",
            "KINDS",
            "OUTCOMES",
            "ADDRESS",
            "TRANSPORT",
            "URL",
            "PATH",
        ];
        let in_file = self.file.keys().filter_map(|path| {
            let (name, _) = path.strip_prefix("audit.sinks.")?.rsplit_once('.')?;
            Some(name.to_owned())
        });
        let in_environment = self.variables.keys().filter_map(|variable| {
            let rest = variable.strip_prefix("AUDIT_SINKS_")?;
            let name = MEMBERS.iter().find_map(|member| rest.strip_suffix(member)?.strip_suffix('_'))?;
            Some(name.to_ascii_lowercase())
        });
        let mut names: Vec<String> = in_file.chain(in_environment).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Takes out whatever is set below `path`.
    pub(super) fn forget_below(&mut self, path: &str) {
        let (below, variables) = (format!("{path}."), format!("{}_", variable_of(path)));
        self.file.retain(|path, _| !path.starts_with(&below));
        self.variables.retain(|name, _| !name.starts_with(&variables));
    }

    /// What nobody asked for.
    pub(super) fn leftovers(&self) -> Vec<(String, Origin)> {
        let in_file = self.file.iter().map(|(path, setting)| (path.clone(), setting.origin.clone()));
        let in_environment = self.variables.keys().map(|name| {
            let whole = format!("{VARIABLES}{name}");
            (whole.clone(), Origin::Variable(whole))
        });
        in_file.chain(in_environment).collect()
    }
}

/// The variable of a path, without its prefix: `store.ca_file` is `STORE_CA_FILE`.
pub(super) fn variable_of(path: &str) -> String {
    path.replace('.', "_").to_ascii_uppercase()
}

/// A Kubernetes service called `countermark` puts its addresses into the environment of every pod beside it, such as
/// `COUNTERMARK_PORT=tcp://10.0.0.1:8443` and `COUNTERMARK_SERVICE_HOST`. Nobody meant these as settings.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let ports = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name == "SERVICE_HOST"
        || name == "SERVICE_PORT"
        || name.starts_with("SERVICE_PORT_")
        || (name == "PORT" && value.contains("://"))
        || name.strip_prefix("PORT_").is_some_and(ports)
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix())
            .map_or(Raw::Other("integer of this size"), Raw::Integer),
        DeValue::Array(items) => Raw::List(items.iter().map(raw).collect()),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        other => Raw::Other(other.type_str()),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
