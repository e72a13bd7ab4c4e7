//! The data directory: whose it is, who can look into it, what it lies on.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Entry;
use crate::config::{Config, StoreSource};
use crate::store::{Journal, JournalError, private_binary};

/// Secrets by their names, where they are at all.
const SECRETS: [&str; 5] = ["keys/master.key", "admin.token", "admin.token.new", "tls/ca.key", "tls/server.key"];
const LEAST_FREE: u64 = 1024 * 1024 * 1024;
/// `statfs(2)`, `f_type`. Locks and the order of writes are not what they are on a disk.
const OF_THE_NETWORK: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x7461_636f, "OCFS2"),
    (0x4750_4653, "GPFS"),
];
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Whether this user can look into it at all, if it is there: half of what is looked at would seem to be missing.
pub(super) fn may_look(config: &Config) -> Result<(), String> {
    match fs::read_dir(&config.data_dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "the data directory {} can't be looked into: run doctor as the user of the service",
            config.data_dir.display()
        )),
        // Whatever else is wrong with it is a finding.
        _ => Ok(()),
    }
}

pub(super) fn look(config: &Config) -> Vec<Entry> {
    let path = config.data_dir.as_path();
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            return vec![Entry::finding(
                "data_directory.rights",
                format!("{} is not a directory", path.display()),
                "the service can't start",
                "name a directory with --data-dir",
            )];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![
                Entry::notice(
                    "data_directory.rights",
                    format!("{} does not exist", path.display()),
                    "the first start makes it; where there should be one, check --data-dir",
                ),
                program(config),
            ];
        }
        Err(error) => {
            return vec![Entry::finding(
                "data_directory.rights",
                format!("{}: {error}", path.display()),
                "the service can't use it, or doctor runs as another user",
                "run doctor as the user of the service",
            )];
        }
    };
    vec![
        rights(path, &metadata),
        owner(path, &metadata),
        secrets(path, metadata.uid()),
        admin_token(path),
        file_system(path),
        space(path),
        journal(path),
        program(config),
    ]
}

/// What was changed from here, and a store may lose.
fn journal(path: &Path) -> Entry {
    const CHECK: &str = "data_directory.journal";
    match Journal::check(&path.join("journal")) {
        Ok(entries) => Entry::ok(CHECK, format!("the journal of changes is whole, {entries} entries")),
        Err(error @ (JournalError::Damaged { .. } | JournalError::Missing { .. })) => Entry::finding(
            CHECK,
            error.to_string(),
            "a store that is restored or promoted may have tokens and rights again that were ended",
            "restore the file from a backup of the data directory, or move the whole journal away",
        ),
        Err(error) => Entry::finding(
            CHECK,
            error.to_string(),
            "no change is made that can't be noted there: no token can be issued, and none revoked",
            "make it readable and writable for the user of the service, and make room",
        ),
    }
}

fn rights(path: &Path, metadata: &Metadata) -> Entry {
    const CHECK: &str = "data_directory.rights";
    let mode = metadata.mode() & 0o777;
    let seen = format!("{} has mode {mode:04o}", path.display());
    if mode & 0o077 == 0 {
        return Entry::ok(CHECK, seen);
    }
    Entry::finding(
        CHECK,
        seen,
        "others on this machine can look into it, and everything secret lies there",
        format!("chmod 700 {}", path.display()),
    )
}

fn owner(path: &Path, metadata: &Metadata) -> Entry {
    const CHECK: &str = "data_directory.owner";
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == me {
        return Entry::ok(CHECK, format!("it belongs to user {owner}"));
    }
    Entry::notice(
        CHECK,
        format!("it belongs to user {owner}, and doctor runs as user {me}"),
        format!("run doctor as the user of the service; if that is user {me}: chown -R {me} {}", path.display()),
    )
}

fn secrets(path: &Path, owner: u32) -> Entry {
    const CHECK: &str = "data_directory.secrets";
    let (mut wrong, mut cures, mut count) = (Vec::new(), Vec::new(), 0);
    // The private Redis' data lie behind the rights of its directory.
    let directory = ("redis", 0o700);
    for (name, wanted) in SECRETS.iter().map(|name| (*name, 0o600)).chain([directory]) {
        let file = path.join(name);
        let metadata = match fs::symlink_metadata(&file) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Entry::unchecked(
                    CHECK,
                    format!("{}: {error}", file.display()),
                    "run doctor as the user of the service",
                );
            }
        };
        // Where a link leads is looked at by whoever reads it.
        let Some(metadata) = (if metadata.is_symlink() { fs::metadata(&file).ok() } else { Some(metadata) }) else {
            continue;
        };
        count += 1;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            wrong.push(format!("{name} has mode {mode:04o}"));
            cures.push(format!("chmod {wanted:03o} {}", file.display()));
        }
        if metadata.uid() != owner {
            wrong.push(format!("{name} belongs to user {} and the directory to {owner}", metadata.uid()));
            cures.push(format!("chown {owner} {}", file.display()));
        }
    }
    if wrong.is_empty() {
        return Entry::ok(CHECK, format!("{count} secret files are for their owner alone"));
    }
    Entry::finding(
        CHECK,
        wrong.join("; "),
        "whoever reads them can act as an admin, as this server, or sign tokens; the service refuses keys that others can read",
        format!("{}; if others may have read them, replace them", cures.join("; ")),
    )
}

fn admin_token(path: &Path) -> Entry {
    const CHECK: &str = "data_directory.admin_token";
    let file = path.join("admin.token");
    if file.exists() {
        return Entry::notice(
            CHECK,
            format!("the first admin's token lies in {}", file.display()),
            "move it to where secrets are kept; the service does not need it",
        );
    }
    Entry::ok(CHECK, "no admin's token lies about")
}

#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> Entry {
    const CHECK: &str = "data_directory.file_system";
    let kind = match rustix::fs::statfs(path) {
        // Signed on some platforms; the numbers fit into 32 bits.
        Ok(found) => u64::from(found.f_type as u32),
        Err(error) => return Entry::unchecked(CHECK, error.to_string(), "run doctor as the user of the service"),
    };
    if let Some((_, name)) = OF_THE_NETWORK.iter().find(|(number, _)| *number == kind) {
        return Entry::finding(
            CHECK,
            format!("{} lies on {name}", path.display()),
            "two servers may take it for their own at once, and what is acknowledged may not be on disk",
            "move it to a disk of this machine",
        );
    }
    if IN_MEMORY.contains(&kind) {
        return Entry::notice(
            CHECK,
            format!("{} lies in memory", path.display()),
            "everything in it is lost when the machine restarts: for trying out only",
        );
    }
    Entry::ok(CHECK, "it lies on a local file system")
}

#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> Entry {
    Entry::unchecked(
        "data_directory.file_system",
        "this system does not tell",
        "make sure that it is no network file system",
    )
}

fn space(path: &Path) -> Entry {
    const CHECK: &str = "data_directory.space";
    let found = match rustix::fs::statvfs(path) {
        Ok(found) => found,
        Err(error) => return Entry::unchecked(CHECK, error.to_string(), "run doctor as the user of the service"),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let seen = format!("{} MiB are free", free / (1024 * 1024));
    // A file system that does not count its files says 0 of 0.
    let no_names = found.f_files > 0 && found.f_favail == 0;
    if free >= LEAST_FREE && !no_names {
        return Entry::ok(CHECK, seen);
    }
    Entry::finding(
        CHECK,
        if no_names { "no further file can be made: the file system has no inode left".to_owned() } else { seen },
        "without room nothing is acknowledged any more: no token can be issued, and none revoked",
        "make room, or move the data directory to a larger disk",
    )
}

/// The private Redis, started or not.
fn program(config: &Config) -> Entry {
    const CHECK: &str = "store.program";
    let StoreSource::Private { redis_server } = &config.store.source else {
        return Entry::ok(CHECK, "the store is run by somebody else");
    };
    match private_binary(redis_server.as_deref()) {
        Ok(path) => Entry::ok(CHECK, format!("the private Redis is {}", path.display())),
        Err(error) => Entry::finding(
            CHECK,
            error.to_string(),
            "the service keeps everything in it and can't start",
            "install redis-server or valkey-server 7.0 or newer, or name it in store.redis_server",
        ),
    }
}
