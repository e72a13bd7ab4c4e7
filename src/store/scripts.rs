use redis::Script;

/// The scripts, each explained at its top.
pub(super) struct Scripts {
    pub(super) start: Script,
    pub(super) lookup: Script,
    pub(super) account: Script,
    pub(super) named: Script,
    pub(super) keyring: Script,
    pub(super) append: Script,
    pub(super) activity: Script,
    pub(super) heartbeat: Script,
    pub(super) lock: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            start: Script::new(include_str!("scripts/start.lua")),
            lookup: Script::new(include_str!("scripts/lookup.lua")),
            account: by_an_author(include_str!("scripts/account.lua")),
            named: by_an_author(include_str!("scripts/named.lua")),
            keyring: Script::new(include_str!("scripts/keyring.lua")),
            append: Script::new(include_str!("scripts/append.lua")),
            activity: Script::new(include_str!("scripts/activity.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            lock: Script::new(include_str!("scripts/lock.lua")),
        }
    }

    /// Each of them. One that is added does not compile without a place here.
    pub(super) fn all(&self) -> [&Script; 9] {
        let Self { start, lookup, account, named, keyring, append, activity, heartbeat, lock } = self;
        [start, lookup, account, named, keyring, append, activity, heartbeat, lock]
    }
}

/// A script that may call what `author.lua` defines. The first line says what language it is in, and stays the first.
fn by_an_author(script: &str) -> Script {
    const AUTHOR: &str = include_str!("scripts/author.lua");
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    Script::new(&format!("{first}\n{AUTHOR}{rest}"))
}
