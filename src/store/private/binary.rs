//! Which Redis to run.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::PrivateRedisError;

const NAMES: [&str; 2] = ["redis-server", "valkey-server"];
// Functions, ACL selectors and the multi-part AOF came with 7.0. Valkey began at 7.2.
const OLDEST: (u32, u32) = (7, 0);

/// The configured binary, or the first on the PATH that is new enough.
pub(super) fn find(configured: Option<&Path>) -> Result<PathBuf, PrivateRedisError> {
    if let Some(path) = configured {
        return check(path).map(|()| path.to_owned());
    }
    let mut refused = None;
    let path = std::env::var_os("PATH").unwrap_or_default();
    for name in NAMES {
        for directory in std::env::split_paths(&path) {
            let file = directory.join(name);
            if !is_executable(&file) {
                continue;
            }
            match check(&file) {
                Ok(()) => return Ok(file),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
    }
    Err(refused.unwrap_or(PrivateRedisError::NotFound))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn check(binary: &Path) -> Result<(), PrivateRedisError> {
    let output = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| PrivateRedisError::NotRunnable { binary: binary.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    match version(&text) {
        Some(version) if version >= OLDEST => Ok(()),
        _ => Err(PrivateRedisError::WrongVersion {
            binary: binary.to_owned(),
            said: text.lines().next().unwrap_or_default().chars().take(100).collect(),
        }),
    }
}

/// `Redis server v=7.0.15 sha=…`, `Valkey server v=8.1.1 sha=…`
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_redis_and_valkey_are_read() {
        assert_eq!(version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"), Some((7, 0)));
        assert_eq!(version("Valkey server v=8.1.1 sha=0"), Some((8, 1)));
        assert_eq!(version("Redis server version 2.4"), None);
    }

    #[test]
    fn a_binary_that_is_missing_or_old_is_refused_in_clear_words() {
        assert!(matches!(find(Some(Path::new("/no/redis"))), Err(PrivateRedisError::NotRunnable { .. })));
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("redis-server");
        super::super::tests::write_script(&old, "echo Redis server v=6.2.7 sha=0");
        let text = find(Some(&old)).unwrap_err().to_string();
        assert!(text.contains("v=6.2.7") && text.contains("7.0"), "{text}");
    }

    #[test]
    fn the_installed_binary_is_found() {
        assert!(find(None).is_ok());
    }
}
