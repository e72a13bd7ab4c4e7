//! Open files: every connection is one, and what else needs one must not wait for a connection to end.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServeError;

/// Kept for everything that is no connection of a client: the operations listener's hundred, the store's connections, the
/// private Redis, certificates, keys, the journal, and what is about to be closed.
pub const OTHER_FILES: u64 = 256;

/// How many connections there is room for, at most as many as `wanted`. Raises the limit of open files as far as this process
/// may (systemd's and most shells' soft limit is 1,024, for the sake of programs that use `select`).
pub(super) fn room_for(wanted: usize) -> Result<usize, ServeError> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    let files = getrlimit(Resource::Nofile).current;
    let room = fitting(wanted, files);
    if room == 0 {
        return Err(ServeError(format!(
            "{} open files are too few: {OTHER_FILES} are kept for other things than connections; raise the limit (LimitNOFILE= of \
             systemd, --ulimit nofile= of a container, ulimit -n)",
            files.unwrap_or_default()
        )));
    }
    if room < wanted {
        tracing::warn!(
            wanted,
            open_files = files,
            connections = room,
            "limits.connections does not fit into the limit of open files: fewer are served; raise it (LimitNOFILE= of \
             systemd, --ulimit nofile= of a container, ulimit -n) or lower limits.connections"
        );
    }
    Ok(room)
}

fn fitting(wanted: usize, files: Option<u64>) -> usize {
    let room = files.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_other_things() {
        assert_eq!(fitting(10_000, None), 10_000);
        assert_eq!(fitting(10_000, Some(524_288)), 10_000);
        assert_eq!(fitting(10_000, Some(10_256)), 10_000);
        assert_eq!(fitting(10_000, Some(10_255)), 9_999);
        assert_eq!(fitting(10_000, Some(1_024)), 768);
        assert_eq!(fitting(10_000, Some(200)), 0);
    }
}
