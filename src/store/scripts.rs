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
            account: of_an_act(ACCOUNT),
            account_less: of_an_act(&ACCOUNT.replacen("#!lua", "#!lua flags=allow-oom", 1)),
            named: of_an_act(include_str!("scripts/named.lua")),
            keyring: Script::new(include_str!("scripts/keyring.lua")),
            append: Script::new(include_str!("scripts/append.lua")),
            activity: Script::new(include_str!("scripts/activity.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            lock: Script::new(include_str!("scripts/lock.lua")),
        }
    }

    /// Each of them. One that is added does not compile without a place here.
    pub(super) fn all(&self) -> [&Script; 10] {
        let Self { start, lookup, account, account_less, named, keyring, append, activity, heartbeat, lock } = self;
        [start, lookup, account, account_less, named, keyring, append, activity, heartbeat, lock]
    }
}

/// A script that may call what `author.lua` and `again.lua` define. The first line says what language it is in, and stays
/// the first.
fn of_an_act(script: &str) -> Script {
    const AUTHOR: &str = include_str!("scripts/author.lua");
    const AGAIN: &str = include_str!("scripts/again.lua");
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    Script::new(&format!("{first}\n{AUTHOR}{AGAIN}{rest}"))
}
