//! The server that runs here: `serve.json` in its data directory, and `admin.token` beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::address::Server;
use super::answer::Failure;

/// A server that was started in a data directory.
#[derive(Debug)]
pub struct Local {
    /// Where to reach it best.
    pub server: Server,
    /// All of its addresses.
    pub addresses: Vec<Server>,
    /// The CA that vouches for it.
    pub ca_file: Option<PathBuf>,
    /// Where its first start left the admin's token.
    pub token_file: PathBuf,
}

#[derive(Deserialize)]
struct ServeFile {
    addresses: Vec<String>,
    ca_file: Option<PathBuf>,
}

/// Reads `serve.json`; `None` when there is none.
pub fn read(data_dir: &Path) -> Result<Option<Local>, Failure> {
    let path = data_dir.join("serve.json");
    let unusable = |why: String| {
        Failure::new(format!("{} {why}", path.display())).next("start the server again, or name one with --server")
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unusable(format!("can't be read: {error}"))),
    };
    let file: ServeFile = serde_json::from_str(&text).map_err(|_| unusable("is damaged".to_owned()))?;
    let mut addresses: Vec<Server> = file.addresses.iter().filter_map(|text| address(text)).collect();
    // Encrypted first, then what doesn't leave the machine; otherwise as the server lists them.
    addresses.sort_by_key(|server| (!server.is_https(), !server.is_loopback()));
    let server =
        addresses.first().cloned().ok_or_else(|| unusable("names no address that can be used from here".to_owned()))?;
    Ok(Some(Local {
        server,
        addresses,
        ca_file: file.ca_file.map(|ca_file| beside(data_dir, ca_file)),
        token_file: data_dir.join("admin.token"),
    }))
}

fn address(text: &str) -> Option<Server> {
    let text =
        if text.contains("://") || text.starts_with("unix:") { text.to_owned() } else { format!("https://{text}") };
    Server::parse(&text).ok().map(Server::reachable)
}

/// A relative path was relative to where the server was started; if that isn't here, the file still has its fixed place.
fn beside(data_dir: &Path, ca_file: PathBuf) -> PathBuf {
    if ca_file.is_absolute() || ca_file.exists() { ca_file } else { data_dir.join("tls").join("ca.pem") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(serve_json: &str) -> Result<Option<Local>, Failure> {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("serve.json"), serve_json).unwrap();
        read(data.path())
    }

    #[test]
    fn an_encrypted_loopback_address_is_preferred() {
        let found = local(
            r#"{"pid":1,"addresses":["unix:/run/c.sock","http://127.0.0.1:8080","https://10.0.0.5:8443","https://0.0.0.0:8444"],
                "operations":null,"issuer":"https://localhost:8443","ca_file":null}"#,
        );
        assert_eq!(found.unwrap().unwrap().server.to_string(), "https://127.0.0.1:8444");
    }

    #[test]
    fn a_server_without_a_usable_address_is_an_error() {
        assert!(local(r#"{"addresses":["unix:/run/c.sock"]}"#).is_err());
        assert!(local("{").is_err());
        assert!(read(Path::new("/nonexistent")).unwrap().is_none());
    }
}
