//! What `login` remembers: one server, its CA and a token, in a file that only its owner may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::address::Server;
use super::answer::Failure;
use super::secret::BearerToken;

/// What `login` stored. The three belong together: the token is for this server and for no other.
#[derive(Debug)]
pub struct Stored {
    /// The server that the token was checked against.
    pub server: Server,
    /// The text of its CA, so that the file it came from may move.
    pub ca_pem: Option<String>,
    /// The token.
    pub token: BearerToken,
}

#[derive(Deserialize)]
struct OnDisk {
    server: String,
    ca_pem: Option<String>,
    token: String,
}

#[derive(Serialize)]
struct ToDisk<'a> {
    server: String,
    ca_pem: Option<&'a str>,
    token: &'a str,
}

/// Where the file lies, if there is a home to keep it in. A relative `XDG_CONFIG_HOME` is ignored, as its specification
/// says.
pub fn location(config_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = config_home.filter(absolute).or_else(|| home.filter(absolute).map(|home| home.join(".config")))?;
    Some(base.join("countermark").join("credentials.json"))
}

/// Reads the file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Stored>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(format!("the stored login {} can't be read: {error}", path.display()))
            .next("log in again: countermark login --server URL")
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    // Asked of the open file, not of the path: the answer is about what is read.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::new(format!("the stored login {} can be read by others", path.display())).next(format!(
            "if it is yours alone: chmod 600 {}; if in doubt, have the token replaced",
            path.display()
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unreadable)?;
    parse(&text).map(Some).ok_or_else(|| {
        Failure::new(format!("the stored login {} is damaged", path.display()))
            .next("log in again: countermark login --server URL")
    })
}

// No cause is reported: a parser's message may quote what it tripped over.
fn parse(text: &str) -> Option<Stored> {
    let on_disk: OnDisk = serde_json::from_str(text).ok()?;
    Some(Stored {
        server: Server::parse(&on_disk.server).ok()?,
        ca_pem: on_disk.ca_pem,
        token: BearerToken::parse(on_disk.token).ok()?,
    })
}

/// Replaces the file as a whole: whoever reads it sees the old login or the new one.
pub fn write(path: &Path, stored: &Stored) -> Result<(), Failure> {
    write_file(path, stored).map_err(|error| {
        Failure::new(format!("the login could not be stored in {}: {error}", path.display()))
            .next("make the directory writable, or set XDG_CONFIG_HOME to another one")
    })
}

fn write_file(path: &Path, stored: &Stored) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?,
    }
    let text = Zeroizing::new(serde_json::to_string_pretty(&ToDisk {
        server: stored.server.to_string(),
        ca_pem: stored.ca_pem.as_deref(),
        token: stored.token.reveal(),
    })?);
    let new = path.with_extension(format!("json.{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        // Best effort: what is left behind is readable by its owner alone.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Stored {
        Stored {
            server: Server::parse("https://auth.example.com").unwrap(),
            ca_pem: Some("PEM".to_owned()),
            token: BearerToken::parse("aaa.bbb.ccc".to_owned()).unwrap(),
        }
    }

    #[test]
    fn a_login_is_stored_for_its_owner_alone_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let path = location(None, Some(home.path().to_owned())).unwrap();
        write(&path, &sample()).unwrap();
        write(&path, &sample()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let stored = read(&path).unwrap().unwrap();
        assert_eq!(stored.server, sample().server);
        assert_eq!(stored.token.reveal(), "aaa.bbb.ccc");
    }

    #[test]
    fn a_login_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = location(Some(home.path().to_owned()), None).unwrap();
        write(&path, &sample()).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("chmod 600"), "{mode:o}");
        }
    }

    #[test]
    fn a_damaged_login_is_an_error_that_quotes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = location(Some(home.path().to_owned()), None).unwrap();
        write(&path, &sample()).unwrap();
        fs::write(&path, r#"{"server":"https://auth.example.com","token":["secret"]}"#).unwrap();
        assert!(!read(&path).unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn no_login_is_no_error_and_a_relative_configuration_directory_is_ignored() {
        assert!(read(Path::new("/nonexistent/credentials.json")).unwrap().is_none());
        assert_eq!(location(Some("relative".into()), None), None);
    }
}
