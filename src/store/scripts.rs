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
            account: Script::new(include_str!("scripts/account.lua")),
            named: Script::new(include_str!("scripts/named.lua")),
            keyring: Script::new(include_str!("scripts/keyring.lua")),
            append: Script::new(include_str!("scripts/append.lua")),
            activity: Script::new(include_str!("scripts/activity.lua")),
            heartbeat: Script::new(include_str!("scripts/heartbeat.lua")),
            lock: Script::new(include_str!("scripts/lock.lua")),
        }
    }
}
