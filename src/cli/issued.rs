//! A token that was just issued: shown once, or written to a file that nobody else may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Output;
use super::answer::{Answer, Exit, Failure};
use super::client::Reply;
use super::json::indent;
use super::receipt;
use super::secret::BearerToken;
use super::table::{details, text};

/// A file that was created for a token, before the server is asked for one: afterwards it would be too late to find out that
/// the name is taken or the directory read-only. It disappears again unless a token is written.
pub struct Reserved {
    path: PathBuf,
    file: Option<File>,
}

impl Reserved {
    /// Creates the file, which must not exist.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
            let failure = Failure::new(format!("{} can't be created: {error}", path.display()));
            match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    failure.next("nothing was issued; name a new file with --out, or remove this one")
                }
                _ => failure.next("nothing was issued; name a file in a directory that you may write to"),
            }
        })?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    fn write(mut self, token: &str) -> io::Result<PathBuf> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // The name must survive a power cut as well as the contents.
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
        self.file = None;
        Ok(self.path.clone())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Best effort: an empty file may stay behind, never a token.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file that `--out` names, if it does.
pub fn reserve(out: Option<&Path>) -> Result<Option<Reserved>, Failure> {
    out.map(Reserved::create).transpose()
}

/// Shows the answer to an issue. `done` is the sentence for people.
pub fn answer(reply: Reply, reserved: Option<Reserved>, output: Output, done: &str) -> Result<Answer, Failure> {
    let Reply { text: body_text, mut body, .. } = reply;
    let token = match body.get_mut("token").map(Value::take) {
        Some(Value::String(token)) => BearerToken::parse(token).ok(),
        _ => None,
    };
    let token = token.ok_or_else(|| {
        Failure::new("the server's answer holds no token")
            .next("is it of the same version? `account show` tells whether the account has a new one")
    })?;
    let written = reserved.map(|reserved| {
        let path = reserved.path.clone();
        reserved.write(token.reveal()).map_err(|error| format!("{} could not be written: {error}", path.display()))
    });
    let rescued = match &written {
        Some(Err(why)) => Some(format!(
            "error: {why}\nThe token was issued all the same: it stands in the output, this once. Keep it, or have it replaced."
        )),
        _ => None,
    };
    let text = match (output, written) {
        (Output::Json, Some(Ok(path))) => {
            if let Some(members) = body.as_object_mut() {
                members.remove("token");
                members.insert("token_file".to_owned(), json!(path));
            }
            indent(&body.to_string())?
        }
        // Should the body not be what it seems, the token still comes out.
        (Output::Json, _) => indent(&body_text).unwrap_or(body_text),
        (Output::Table, Some(Ok(path))) => {
            format!("{}\nThe token was written to {}.", facts(done, &body), path.display())
        }
        (Output::Table, _) => format!(
            "{}\n\n{}\n\nThis is the only time that the token is shown. Keep it where secrets are kept.",
            facts(done, &body),
            token.reveal()
        ),
    };
    Ok(match rescued {
        Some(note) => Answer::yes(text).with_note(note).with_exit(Exit::Failed),
        None => Answer::yes(text),
    })
}

fn facts(done: &str, body: &Value) -> String {
    let account = body.get("account").unwrap_or(&Value::Null);
    let facts = details(&[
        ("account", text(account, "id")),
        ("role", text(account, "role")),
        ("generation", text(account, "generation")),
        ("expires", text(body, "expires_at")),
    ]);
    format!("{done} {}.\n{facts}{}", text(account, "username"), receipt::after(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn reply() -> Reply {
        let body = json!({"account": {"id": "0197", "username": "ci", "generation": 2}, "token": "aaa.bbb.ccc",
            "expires_at": "2027-05-23T14:00:00Z", "receipt": {"epoch": 7}});
        Reply { text: body.to_string(), body, etag: None }
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ci.token");
        fs::write(&path, "older").unwrap();
        assert!(Reserved::create(&path).err().unwrap().to_string().contains("nothing was issued"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "older");
    }

    #[test]
    fn a_token_file_is_for_its_owner_alone_and_the_token_is_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ci.token");
        for output in [Output::Table, Output::Json] {
            let answer = answer(reply(), Some(Reserved::create(&path).unwrap()), output, "Created").unwrap();
            assert!(!answer.text.contains("aaa.bbb.ccc"));
            assert!(answer.text.contains("ci.token"));
            assert_eq!(fs::read_to_string(&path).unwrap(), "aaa.bbb.ccc\n");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_reserved_file_disappears_when_nothing_is_issued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ci.token");
        drop(Reserved::create(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_token_whose_file_fails_is_printed_and_the_command_says_that_it_failed() {
        let full = Reserved { path: "/dev/full".into(), file: None };
        for output in [Output::Table, Output::Json] {
            let full = Reserved { path: full.path.clone(), file: None };
            let answer = answer(reply(), Some(full), output, "Created").unwrap();
            assert!(answer.text.contains("aaa.bbb.ccc"));
            assert_eq!(answer.exit, Exit::Failed);
            assert!(answer.note.unwrap().contains("/dev/full"));
        }
    }

    #[test]
    fn without_a_file_the_token_stands_on_a_line_of_its_own() {
        let answer = answer(reply(), None, Output::Table, "Created").unwrap();
        assert!(answer.text.lines().any(|line| line == "aaa.bbb.ccc"));
        assert!(answer.text.starts_with("Created ci.\naccount     0197\n"));
    }
}
