//! The server that runs in the data directory, if one does.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, getrlimit};

use super::Entry;
use crate::config::Config;
use crate::server::ServeFile;
use crate::store::is_running;

const PATIENCE: Duration = Duration::from_secs(3);

/// The running server, or why there is none to look at.
pub(super) type Found = Result<ServeFile, String>;

/// Looks for it.
pub(super) fn find(config: &Config) -> Found {
    let file = match ServeFile::read(&config.data_dir) {
        Ok(Some(file)) => file,
        Ok(None) => return Err("no server was started in this data directory".to_owned()),
        Err(error) => return Err(format!("{}/serve.json can't be read: {error}", config.data_dir.display())),
    };
    // The number alone may be another process's by now; the holder of the lock wrote its own there.
    let holder = std::fs::read_to_string(config.data_dir.join("lock")).unwrap_or_default();
    let alive = i32::try_from(file.pid).ok().and_then(Pid::from_raw).is_some_and(is_running);
    if alive && holder.trim() == file.pid.to_string() {
        Ok(file)
    } else {
        Err("no server is running in this data directory".to_owned())
    }
}

pub(super) async fn look(config: &Config, running: &Found) -> Vec<Entry> {
    let mut entries = vec![open_files(config, running)];
    match running {
        Err(why) => entries.push(Entry::unchecked(
            "server.health",
            why.clone(),
            "start it with `countermark serve`, then run doctor again",
        )),
        Ok(file) => {
            entries.push(binary(file));
            entries.push(alive(file).await);
            entries.push(ready(file).await);
        }
    }
    entries
}

fn open_files(config: &Config, running: &Found) -> Entry {
    const CHECK: &str = "server.open_files";
    let limit = match running {
        Ok(file) => match limit_of(file.pid) {
            Some(limit) => limit,
            None => {
                return Entry::unchecked(
                    CHECK,
                    "the limits of the server's process can't be read",
                    "run doctor as the user of the service",
                );
            }
        },
        Err(_) => getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
    };
    let wanted = u64::try_from(config.limits.connections).unwrap_or(u64::MAX);
    let whose = if running.is_ok() { "the server" } else { "a process started here" };
    let seen = format!("{whose} may open {limit} files; limits.connections is {wanted}");
    if limit >= wanted.saturating_add(crate::server::OTHER_FILES) {
        return Entry::ok(CHECK, seen);
    }
    let what = "raise the limit of open files (LimitNOFILE= of systemd, --ulimit nofile= of a container, ulimit -n), or lower \
         limits.connections";
    if running.is_err() {
        // Whatever starts the service may set another limit than this shell has.
        return Entry::notice(CHECK, seen, what);
    }
    Entry::finding(CHECK, seen, "clients are turned away before limits.connections is reached", what)
}

/// The most files that a process may open, once it has raised its own limit.
fn limit_of(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn binary(file: &ServeFile) -> Entry {
    const CHECK: &str = "server.binary";
    match std::fs::read_link(Path::new("/proc").join(file.pid.to_string()).join("exe")) {
        Ok(path) if path.to_string_lossy().ends_with(" (deleted)") => Entry::finding(
            CHECK,
            "the server's binary was replaced or removed since it started",
            "an update takes effect only when the server is started again",
            "restart the server",
        ),
        Ok(path) => Entry::ok(CHECK, format!("process {} runs {}", file.pid, path.display())),
        Err(error) => {
            Entry::unchecked(CHECK, format!("process {}: {error}", file.pid), "run doctor as the user of the service")
        }
    }
}

async fn alive(file: &ServeFile) -> Entry {
    const CHECK: &str = "server.alive";
    match get(file, "healthz").await {
        Ok((200, _)) => Entry::ok(CHECK, format!("{} answers", file.operations)),
        Ok((status, _)) => Entry::finding(
            CHECK,
            format!("{}/healthz answers {status}", file.operations),
            "whatever watches the service takes it for dead",
            "look into the server's log; is something else listening there?",
        ),
        Err(why) => Entry::finding(
            CHECK,
            format!("{} does not answer: {why}", file.operations),
            "the process is there and does not work",
            "look into the server's log, and restart it",
        ),
    }
}

async fn ready(file: &ServeFile) -> Entry {
    const CHECK: &str = "server.ready";
    let seen = match get(file, "readyz").await {
        Ok((200, _)) => return Entry::ok(CHECK, "it is ready"),
        Ok((_, body)) => {
            let checks = body.get("checks").and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
            let failing: Vec<String> = checks
                .iter()
                .filter(|(_, result)| result.as_str() != Some("ok"))
                .map(|(name, result)| format!("{name}: {}", result.as_str().unwrap_or_default()))
                .collect();
            format!("it is not ready: {}", failing.join("; "))
        }
        Err(why) => format!("/readyz does not answer: {why}"),
    };
    Entry::finding(
        CHECK,
        seen,
        "it answers 503: no token can be verified or changed",
        "mend what the findings about the store and the keys say; the server goes on by itself",
    )
}

async fn get(file: &ServeFile, page: &str) -> Result<(u16, serde_json::Value), String> {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    let (builder, base) = match file.operations.strip_prefix("unix:") {
        Some(socket) => (builder.unix_socket(socket), "http://localhost"),
        None => (builder, file.operations.as_str()),
    };
    let client = builder.build().map_err(|error| error.to_string())?;
    let failed =
        |error: reqwest::Error| if error.is_timeout() { "no answer in time" } else { "no connection" }.to_owned();
    let response = client.get(format!("{base}/{page}")).send().await.map_err(failed)?;
    let status = response.status().as_u16();
    Ok((status, response.json().await.unwrap_or_default()))
}
