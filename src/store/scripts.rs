use redis::Script;

/// The scripts, each explained at its top.
pub(super) struct Scripts {
    pub(super) start: Script,
    pub(super) lookup: Script,
    pub(super) renew: Script,
    pub(super) follow: Script,
    pub(super) table: Script,
    pub(super) remove: Script,
    pub(super) keys: Script,
    pub(super) holds: Script,
    pub(super) account: Script,
    /// The same for a store whose memory is full: for changes that only take something away.
    pub(super) account_less: Script,
    pub(super) named: Script,
    pub(super) keyring: Script,
    pub(super) append: Script,
    pub(super) activity: Script,
    pub(super) lock: Script,
}

const IDENTITY: &str = include_str!("scripts/identity.lua");
const ORDER: &str = include_str!("scripts/order.lua");
const COMMIT: &str = include_str!("scripts/commit.lua");
const AUTHOR: &str = include_str!("scripts/author.lua");
const AGAIN: &str = include_str!("scripts/again.lua");
const ACCOUNT: &str = include_str!("scripts/account.lua");

impl Scripts {
    pub(super) fn new() -> Self {
        let act = [IDENTITY, COMMIT, AUTHOR, AGAIN];
        Self {
            start: after(&[IDENTITY], include_str!("scripts/start.lua")),
            lookup: after(&[IDENTITY], include_str!("scripts/lookup.lua")),
            renew: after(&[IDENTITY, ORDER], include_str!("scripts/renew.lua")),
            follow: after(&[IDENTITY, ORDER], include_str!("scripts/follow.lua")),
            table: after(&[IDENTITY], include_str!("scripts/table.lua")),
            remove: Script::new(include_str!("scripts/remove.lua")),
            keys: after(&[IDENTITY], include_str!("scripts/keys.lua")),
            holds: after(&[IDENTITY, COMMIT], include_str!("scripts/holds.lua")),
            account: after(&act, ACCOUNT),
            account_less: after(&act, &ACCOUNT.replacen("#!lua", "#!lua flags=allow-oom", 1)),
            named: after(&act, include_str!("scripts/named.lua")),
            keyring: after(&[IDENTITY, COMMIT], include_str!("scripts/keyring.lua")),
            append: Script::new(include_str!("scripts/append.lua")),
            activity: after(&[ORDER], include_str!("scripts/activity.lua")),
            lock: Script::new(include_str!("scripts/lock.lua")),
        }
    }

    /// Each of them. One that is added does not compile without a place here.
    pub(super) fn all(&self) -> [&Script; 15] {
        let Self {
            start,
            lookup,
            renew,
            follow,
            table,
            remove,
            keys,
            holds,
            account,
            account_less,
            named,
            keyring,
            append,
            activity,
            lock,
        } = self;
        [
            start,
            lookup,
            renew,
            follow,
            table,
            remove,
            keys,
            holds,
            account,
            account_less,
            named,
            keyring,
            append,
            activity,
            lock,
        ]
    }
}

/// A script that may call what these parts define. The first line says what language it is in, and stays the first.
fn after(parts: &[&str], script: &str) -> Script {
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    Script::new(&format!("{first}\n{}{rest}", parts.concat()))
}
