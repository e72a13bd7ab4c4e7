//! Where the server, its CA and the token come from.
//!
//! In order: flags, the environment, what `login` stored, the server that runs in `./data`. Each of the three is looked for
//! by itself, under one rule: **a credential of one source is never sent to a server of another**. Otherwise
//! `--server` with a mistyped name, or a hostile `./data`, would be handed an admin's token.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::address::Server;
use super::answer::Failure;
use super::local::{self, Local};
use super::secret::{self, BearerToken};
use super::stored::{self, Stored};

const SERVER: &str = "COUNTERMARK_SERVER";
const CA_FILE: &str = "COUNTERMARK_CA_FILE";
const TOKEN: &str = "COUNTERMARK_TOKEN";

/// Which server to talk to, and as whom.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct ConnectionArgs {
    /// The server (or COUNTERMARK_SERVER, or what `login` stored, or the one of ./data)
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// The only CA to trust, PEM (or COUNTERMARK_CA_FILE; otherwise the system's)
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// File with the token to act with (or the token itself in COUNTERMARK_TOKEN)
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What lies around the process, apart from its arguments. No `Debug`: it may hold a token.
pub struct Surroundings {
    /// `COUNTERMARK_SERVER`.
    pub server: Option<String>,
    /// `COUNTERMARK_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// `COUNTERMARK_TOKEN`.
    pub token: Option<Zeroizing<String>>,
    /// Where `login` stores.
    pub login: Option<PathBuf>,
    /// Where a local server keeps its data.
    pub data_dir: PathBuf,
}

impl Surroundings {
    /// Those of this process. Empty variables count as unset.
    pub fn of_process() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        Self {
            server: text(SERVER),
            ca_file: variable(CA_FILE).map(PathBuf::from),
            token: text(TOKEN).map(Zeroizing::new),
            login: stored::location(
                variable("XDG_CONFIG_HOME").map(PathBuf::from),
                variable("HOME").map(PathBuf::from),
            ),
            data_dir: PathBuf::from("./data"),
        }
    }

    fn stored(&self) -> Result<Option<Stored>, Failure> {
        self.login.as_deref().map_or(Ok(None), stored::read)
    }

    fn stored_for(&self, server: &Server) -> Result<Option<Stored>, Failure> {
        Ok(self.stored()?.filter(|stored| stored.server.is_same_as(server)))
    }

    fn local_for(&self, server: &Server) -> Option<Local> {
        // A damaged file matters to those alone who depend on it.
        let local = local::read(&self.data_dir).ok()??;
        local.addresses.iter().any(|address| address.is_same_as(server)).then_some(local)
    }

    /// The environment's CA and token are meant for the environment's server, if it names one.
    fn is_meant_for(&self, server: &Server) -> bool {
        self.server.as_deref().is_none_or(|text| Server::parse(text).is_ok_and(|named| named.is_same_as(server)))
    }
}

/// A server, and what is needed to recognise it.
#[derive(Debug)]
pub struct Target {
    /// The server.
    pub server: Server,
    /// The only CA to trust, as PEM; `None` for the system's.
    pub ca_pem: Option<String>,
    /// Nobody named the server: it was found in `./data`.
    found: bool,
}

/// A token, and where it came from, in words for an error.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The token.
    pub token: BearerToken,
    /// Where it came from.
    pub source: String,
    /// It is the one that the first start left in the data directory.
    pub is_first_admin: bool,
}

/// Finds the server and its CA.
pub fn target(args: &ConnectionArgs, around: &Surroundings) -> Result<Target, Failure> {
    let mut found = false;
    let server = if let Some(text) = &args.server {
        Server::parse(text)?
    } else if let Some(text) = &around.server {
        Server::parse(text)?
    } else if let Some(stored) = around.stored()? {
        stored.server
    } else if let Some(local) = local::read(&around.data_dir)? {
        found = true;
        local.server
    } else {
        return Err(Failure::new("no server is known").next(format!(
            "name one with --server URL or {SERVER}, log in with `countermark login --server URL`, or start one here \
             with scripts/run"
        )));
    };
    let ca_pem = ca_of(&server, args, around)?;
    Ok(Target { server, ca_pem, found })
}

fn ca_of(server: &Server, args: &ConnectionArgs, around: &Surroundings) -> Result<Option<String>, Failure> {
    if !server.is_https() {
        return Ok(None);
    }
    if let Some(path) = &args.ca_file {
        return read_ca(path).map(Some);
    }
    if let Some(path) = around.ca_file.as_deref().filter(|_| around.is_meant_for(server)) {
        return read_ca(path).map(Some);
    }
    if let Some(ca_pem) = around.stored_for(server)?.and_then(|stored| stored.ca_pem) {
        return Ok(Some(ca_pem));
    }
    around.local_for(server).and_then(|local| local.ca_file).map(|path| read_ca(&path)).transpose()
}

fn read_ca(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("the CA file {} can't be read: {error}", path.display()))
            .next("name the server's CA certificate (PEM) with --ca-file; a local server keeps it in data/tls/ca.pem")
    })
}

/// Finds the token for a server.
pub fn credential(target: &Target, args: &ConnectionArgs, around: &Surroundings) -> Result<Credential, Failure> {
    let server = &target.server;
    // A server that was merely found may be anybody's; only on this machine is it also trusted with other tokens.
    let only_its_own = target.found && !server.is_loopback();
    let refuse = |source: &str| {
        Err(Failure::new(format!(
            "{source} is not sent to {server}, which was only found in {}",
            around.data_dir.display()
        ))
        .next(format!("if that server is meant, say so: --server {server}")))
    };
    if let Some(path) = &args.token_file {
        let source = format!("--token-file {}", path.display());
        if only_its_own && !is_in(path, &around.data_dir) {
            return refuse(&source);
        }
        return Ok(Credential { token: secret::read_file(path)?, source, is_first_admin: false });
    }
    let mut withheld = None;
    if let Some(text) = &around.token {
        if only_its_own {
            return refuse(TOKEN);
        }
        if around.is_meant_for(server) {
            let token = BearerToken::parse(text.to_string()).map_err(|why| {
                Failure::new(format!("{TOKEN} holds no token: {why}")).next("set it to one token, or use --token-file")
            })?;
            return Ok(Credential { token, source: TOKEN.to_owned(), is_first_admin: false });
        }
        withheld = Some(format!("; {TOKEN} is not sent there, because {SERVER} names another server"));
    }
    if let Some(stored) = around.stored_for(server)? {
        let source = "the stored login".to_owned();
        return Ok(Credential { token: stored.token, source, is_first_admin: false });
    }
    if let Some(local) = around.local_for(server).filter(|local| local.token_file.exists()) {
        let source = local.token_file.display().to_string();
        // It might be a link to somebody's token elsewhere.
        if only_its_own && !is_in(&local.token_file, &around.data_dir) {
            return refuse(&source);
        }
        return Ok(Credential { token: secret::read_file(&local.token_file)?, source, is_first_admin: true });
    }
    Err(Failure::new(format!("there is no token for {server}{}", withheld.unwrap_or_default()))
        .next(format!("log in with `countermark login --server {server}`, or name a token with --token-file")))
}

fn is_in(path: &Path, directory: &Path) -> bool {
    match (path.canonicalize(), directory.canonicalize()) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home and a working directory of their own.
    struct World {
        directory: tempfile::TempDir,
        around: Surroundings,
        args: ConnectionArgs,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let around = Surroundings {
                server: None,
                ca_file: None,
                token: None,
                login: Some(directory.path().join("countermark/credentials.json")),
                data_dir: directory.path().join("data"),
            };
            Self { directory, around, args: ConnectionArgs::default() }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn flag(mut self, server: &str) -> Self {
            self.args.server = Some(server.to_owned());
            self
        }

        fn environment(mut self, server: Option<&str>, token: &str) -> Self {
            self.around.server = server.map(str::to_owned);
            self.around.token = Some(Zeroizing::new(token.to_owned()));
            self
        }

        fn login(self, server: &str) -> Self {
            let stored = Stored {
                server: Server::parse(server).unwrap(),
                ca_pem: Some("login-ca".to_owned()),
                token: BearerToken::parse("login-token".to_owned()).unwrap(),
            };
            stored::write(self.around.login.as_deref().unwrap(), &stored).unwrap();
            self
        }

        fn local(self, server: &str) -> Self {
            let ca = self.file("data/tls/ca.pem", "local-ca");
            self.file("data/serve.json", &serde_json::json!({"addresses": [server], "ca_file": ca}).to_string());
            self.file("data/admin.token", "local-token\n");
            self
        }

        /// Server, CA and token, or what is wrong.
        fn resolve(&self) -> Result<(String, Option<String>, String), String> {
            let target = target(&self.args, &self.around).map_err(|failure| failure.to_string())?;
            let credential = credential(&target, &self.args, &self.around).map_err(|failure| failure.to_string())?;
            Ok((target.server.to_string(), target.ca_pem, credential.token.reveal().to_owned()))
        }
    }

    fn resolved(server: &str, ca: Option<&str>, token: &str) -> Result<(String, Option<String>, String), String> {
        Ok((server.to_owned(), ca.map(str::to_owned), token.to_owned()))
    }

    const X: &str = "https://x.example.com";
    const Y: &str = "https://y.example.com";
    const LOCAL: &str = "https://127.0.0.1:8443";

    #[test]
    fn with_nothing_else_the_server_of_the_data_directory_is_used() {
        assert_eq!(World::new().local(LOCAL).resolve(), resolved(LOCAL, Some("local-ca"), "local-token"));
    }

    #[test]
    fn a_login_comes_before_the_data_directory_and_the_environment_before_a_login() {
        let world = World::new().local(LOCAL).login(X);
        assert_eq!(world.resolve(), resolved(X, Some("login-ca"), "login-token"));
        let world = world.environment(Some(Y), "environment-token");
        assert_eq!(world.resolve(), resolved(Y, None, "environment-token"));
    }

    #[test]
    fn a_token_of_a_login_is_never_sent_to_another_server() {
        let failure = World::new().login(X).flag(Y).resolve().unwrap_err();
        assert!(failure.contains("no token for https://y.example.com"), "{failure}");
        assert_eq!(World::new().login(X).flag(X).resolve(), resolved(X, Some("login-ca"), "login-token"));
    }

    #[test]
    fn the_admin_token_of_a_data_directory_is_never_sent_to_another_server() {
        assert!(World::new().local(LOCAL).flag(Y).resolve().is_err());
        assert!(World::new().local(LOCAL).flag("https://127.0.0.1:9999").resolve().is_err());
        let localhost = "https://localhost:8443";
        let world = World::new().local(LOCAL).flag(localhost);
        assert_eq!(world.resolve(), resolved(localhost, Some("local-ca"), "local-token"));
    }

    #[test]
    fn the_admin_token_goes_where_a_flag_names_it() {
        let mut world = World::new().local(LOCAL).flag(Y);
        world.args.token_file = Some(world.around.data_dir.join("admin.token"));
        assert_eq!(world.resolve(), resolved(Y, None, "local-token"));
    }

    #[test]
    fn the_token_of_the_environment_belongs_to_the_server_of_the_environment() {
        let failure = World::new().environment(Some(X), "environment-token").flag(Y).resolve().unwrap_err();
        assert!(failure.contains("COUNTERMARK_SERVER names another server"), "{failure}");
        assert!(!failure.contains("environment-token"), "{failure}");
        let world = World::new().environment(None, "environment-token").flag(Y);
        assert_eq!(world.resolve(), resolved(Y, None, "environment-token"));
        let world = World::new().environment(Some(X), "environment-token").login(Y).flag(Y);
        assert_eq!(world.resolve(), resolved(Y, Some("login-ca"), "login-token"));
    }

    #[test]
    fn a_server_elsewhere_that_was_only_found_gets_no_token_but_its_own() {
        let world = World::new().local(X);
        assert_eq!(world.resolve(), resolved(X, Some("local-ca"), "local-token"));
        assert!(world.environment(None, "environment-token").resolve().unwrap_err().contains("--server https://x"));
        let mut world = World::new().local(X);
        world.args.token_file = Some(world.file("my.token", "mine"));
        assert!(world.resolve().unwrap_err().contains("--server https://x"));
        let world = World::new().local(X);
        fs::remove_file(world.around.data_dir.join("admin.token")).unwrap();
        std::os::unix::fs::symlink(world.file("my.token", "mine"), world.around.data_dir.join("admin.token")).unwrap();
        assert!(world.resolve().unwrap_err().contains("--server https://x"));
        let world = World::new().local(LOCAL).environment(None, "environment-token");
        assert_eq!(world.resolve(), resolved(LOCAL, Some("local-ca"), "environment-token"));
    }

    #[test]
    fn the_ca_of_the_environment_is_not_trusted_for_a_server_of_a_flag() {
        let mut world = World::new().environment(Some(X), "t").login(Y).flag(Y);
        world.around.ca_file = Some(world.file("ca.pem", "environment-ca"));
        assert_eq!(world.resolve(), resolved(Y, Some("login-ca"), "login-token"));
        world.args.ca_file = Some(world.file("other.pem", "flag-ca"));
        assert_eq!(world.resolve(), resolved(Y, Some("flag-ca"), "login-token"));
    }

    #[test]
    fn without_any_source_the_error_names_all_of_them() {
        let failure = World::new().resolve().unwrap_err();
        for word in ["--server", "COUNTERMARK_SERVER", "login", "scripts/run"] {
            assert!(failure.contains(word), "{failure}");
        }
    }
}
