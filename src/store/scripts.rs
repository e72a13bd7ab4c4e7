use redis::Script;

/// The scripts, each explained at its top.
pub(super) struct Scripts {
    pub(super) start: Script,
    pub(super) lookup: Script,
    pub(super) account: Script,
    /// The same for a store whose memory is full: for changes that only take something away.
    pub(super) account_less: Script,
    pub(super) named: Script,
    pub(super) keyring: Script,
    pub(super) append: Script,
    pub(super) activity: Script,
    pub(super) heartbeat: Script,
    pub(super) lock: Script,
}

const ACCOUNT: &str = include_str!("scripts/account.lua");

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            start: Script::new(include_str!("scripts/start.lua")),
            lookup: Script::new(include_str!("scripts/lookup.lua")),
            account: by_an_author(ACCOUNT),
            account_less: by_an_author(&ACCOUNT.replacen("#!lua", "#!lua flags=allow-oom", 1)),
            named: by_an_author(include_str!("scripts/named.lua")),
            keyring: Script::new(include_str!("scripts/keyring.lua")),
            append: Script::new(include_str!("scripts/append.lua")),
            activity: Script::new(include_str!("scripts/activity.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            lock: Script::new(include_str!("scripts/lock.lua")),
        }
    }
}

/// A script that may call what `author.lua` defines. The first line says what language it is in, and stays the first.
fn by_an_author(script: &str) -> Script {
    const AUTHOR: &str = include_str!("scripts/author.lua");
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    Script::new(&format!("{first}\n{AUTHOR}{rest}"))
}
