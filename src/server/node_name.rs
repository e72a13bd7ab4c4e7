use std::path::Path;

use super::ServeError;
use crate::clock::random;
use crate::config::Config;
use crate::name::NodeName;

/// The configured name, or one made once and kept in the data directory: the events of a node are numbered under it.
pub(super) fn of(config: &Config, data_dir: &Path) -> Result<String, ServeError> {
    if let Some(name) = &config.node_name {
        return Ok(name.clone());
    }
    let path = data_dir.join("node-name");
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(name) = text.trim_end().parse::<NodeName>()
    {
        return Ok(name.to_string());
    }
    let [a, b, c] = random::<3>().map_err(ServeError::of)?;
    let name = format!("{}-{a:02x}{b:02x}{c:02x}", NodeName::of_the_host());
    let name: NodeName = name.parse().map_err(ServeError::of)?;
    crate::durable::write(&path, format!("{name}\n").as_bytes(), 0o644)
        .map_err(|error| ServeError(format!("{}: {error}", path.display())))?;
    Ok(name.to_string())
}
