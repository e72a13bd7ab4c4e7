use redis::Script;

/// The scripts of every node, each explained at its top.
pub(super) struct NodeScripts {
    pub(super) lookup: Script,
    pub(super) renew: Script,
    pub(super) follow: Script,
    pub(super) remove: Script,
    pub(super) append: Script,
    pub(super) claim: Script,
    pub(super) rights: Script,
}

/// Those of the service.
#[cfg(feature = "server")]
pub(super) struct Scripts {
    pub(super) start: Script,
    pub(super) table: Script,
    pub(super) keys: Script,
    pub(super) holds: Script,
    pub(super) account: Script,
    /// The same for a store whose memory is full: for changes that only take something away.
    pub(super) account_less: Script,
    pub(super) named: Script,
    pub(super) named_less: Script,
    pub(super) keyring: Script,
    /// The same for a store whose memory is full: for what only takes something away.
    pub(super) keyring_less: Script,
    pub(super) claim_acts: Script,
    pub(super) checkpoint: Script,
    pub(super) cursor: Script,
    pub(super) trim: Script,
    pub(super) headers: Script,
    pub(super) ids: Script,
    pub(super) activity: Script,
    pub(super) calls: Script,
    pub(super) recount: Script,
    pub(super) lock: Script,
    pub(super) extent: Script,
    pub(super) backlog: Script,
    pub(super) sink: Script,
    pub(super) tries: Script,
    pub(super) forgive: Script,
    pub(super) raised: Script,
    pub(super) withdraw: Script,
    pub(super) forget: Script,
    pub(super) backup: Script,
    pub(super) ends: Script,
    pub(super) noted: Script,
    pub(super) restore_begin: Script,
    pub(super) restore_account: Script,
    pub(super) restore_some: Script,
    pub(super) restore_acts: Script,
    pub(super) restore_finish: Script,
}

const IDENTITY: &str = include_str!("scripts/identity.lua");
const ORDER: &str = include_str!("scripts/order.lua");
const ARCHIVED: &str = include_str!("scripts/archived.lua");
#[cfg(feature = "server")]
const COMMIT: &str = include_str!("scripts/commit.lua");
#[cfg(feature = "server")]
const ISSUERS: &str = include_str!("scripts/issuers.lua");
#[cfg(feature = "server")]
const AUTHOR: &str = include_str!("scripts/author.lua");
#[cfg(feature = "server")]
const AGAIN: &str = include_str!("scripts/again.lua");
#[cfg(feature = "server")]
const ACT: &str = include_str!("scripts/act.lua");
#[cfg(feature = "server")]
const KEYRING: &str = include_str!("scripts/keyring.lua");
#[cfg(feature = "server")]
const NAMED: &str = include_str!("scripts/named.lua");
#[cfg(feature = "server")]
const ACCOUNT: &str = include_str!("scripts/account.lua");
#[cfg(feature = "server")]
const INDEX: &str = include_str!("scripts/index.lua");

impl NodeScripts {
    pub(super) fn new() -> Self {
        Self {
            lookup: after(&[IDENTITY], include_str!("scripts/lookup.lua")),
            renew: after(&[IDENTITY, ORDER], include_str!("scripts/renew.lua")),
            follow: after(&[IDENTITY, ORDER], include_str!("scripts/follow.lua")),
            remove: Script::new(include_str!("scripts/remove.lua")),
            append: after(&[ARCHIVED], include_str!("scripts/append.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            rights: Script::new(include_str!("scripts/rights.lua")),
        }
    }

    /// Each of them. One that is added does not compile without a place here.
    #[cfg(feature = "server")]
    pub(super) fn all(&self) -> [&Script; 7] {
        let Self { lookup, renew, follow, remove, append, claim, rights } = self;
        [lookup, renew, follow, remove, append, claim, rights]
    }
}

#[cfg(feature = "server")]
impl Scripts {
    pub(super) fn new() -> Self {
        let act = [IDENTITY, COMMIT, AUTHOR, AGAIN, ARCHIVED, ACT];
        let account = [IDENTITY, COMMIT, AUTHOR, AGAIN, ARCHIVED, ACT, INDEX];
        Self {
            start: after(&[IDENTITY, ISSUERS], include_str!("scripts/start.lua")),
            table: after(&[IDENTITY], include_str!("scripts/table.lua")),
            keys: after(&[IDENTITY], include_str!("scripts/keys.lua")),
            holds: after(&[IDENTITY, COMMIT], include_str!("scripts/holds.lua")),
            account: after(&account, ACCOUNT),
            account_less: after(&account, &for_full_stores(ACCOUNT)),
            named: after(&act, NAMED),
            named_less: after(&act, &for_full_stores(NAMED)),
            keyring: after(&act, KEYRING),
            keyring_less: after(&act, &for_full_stores(KEYRING)),
            claim_acts: Script::new(include_str!("scripts/claim_acts.lua")),
            checkpoint: Script::new(include_str!("scripts/checkpoint.lua")),
            cursor: Script::new(include_str!("scripts/cursor.lua")),
            trim: after(&[ORDER, ARCHIVED], include_str!("scripts/trim.lua")),
            headers: Script::new(include_str!("scripts/headers.lua")),
            ids: Script::new(include_str!("scripts/ids.lua")),
            activity: Script::new(include_str!("scripts/activity.lua")),
            calls: after(&[ORDER], include_str!("scripts/calls.lua")),
            recount: Script::new(include_str!("scripts/recount.lua")),
            lock: Script::new(include_str!("scripts/lock.lua")),
            extent: Script::new(include_str!("scripts/extent.lua")),
            backlog: Script::new(include_str!("scripts/backlog.lua")),
            sink: Script::new(include_str!("scripts/sink.lua")),
            tries: Script::new(include_str!("scripts/tries.lua")),
            forgive: Script::new(include_str!("scripts/forgive.lua")),
            raised: after(&[IDENTITY, ISSUERS], include_str!("scripts/raised.lua")),
            withdraw: after(&[IDENTITY], include_str!("scripts/withdraw.lua")),
            forget: after(
                &[IDENTITY, COMMIT, AUTHOR, AGAIN, ARCHIVED, ACT, ISSUERS],
                include_str!("scripts/forget.lua"),
            ),
            backup: after(&[IDENTITY], include_str!("scripts/backup.lua")),
            ends: Script::new(include_str!("scripts/ends.lua")),
            noted: after(&act, include_str!("scripts/noted.lua")),
            restore_begin: after(&[IDENTITY], include_str!("scripts/restore_begin.lua")),
            restore_account: after(&[INDEX], include_str!("scripts/restore_account.lua")),
            restore_some: Script::new(include_str!("scripts/restore_some.lua")),
            restore_acts: Script::new(include_str!("scripts/restore_acts.lua")),
            restore_finish: after(&[IDENTITY], include_str!("scripts/restore_finish.lua")),
        }
    }

    /// Each of them. One that is added does not compile without a place here.
    pub(super) fn all(&self) -> [&Script; 36] {
        let Self {
            start,
            table,
            keys,
            holds,
            account,
            account_less,
            named,
            named_less,
            keyring,
            keyring_less,
            claim_acts,
            checkpoint,
            cursor,
            trim,
            headers,
            ids,
            activity,
            calls,
            recount,
            lock,
            extent,
            backlog,
            sink,
            tries,
            forgive,
            raised,
            withdraw,
            forget,
            backup,
            ends,
            noted,
            restore_begin,
            restore_account,
            restore_some,
            restore_acts,
            restore_finish,
        } = self;
        [
            start,
            table,
            keys,
            holds,
            account,
            account_less,
            named,
            named_less,
            keyring,
            keyring_less,
            claim_acts,
            checkpoint,
            cursor,
            trim,
            headers,
            ids,
            activity,
            calls,
            recount,
            lock,
            extent,
            backlog,
            sink,
            tries,
            forgive,
            raised,
            withdraw,
            forget,
            backup,
            ends,
            noted,
            restore_begin,
            restore_account,
            restore_some,
            restore_acts,
            restore_finish,
        ]
    }
}

#[cfg(feature = "server")]
fn for_full_stores(script: &str) -> String {
    script.replacen("#!lua", "#!lua flags=allow-oom", 1)
}

/// A script that may call what these parts define. The first line says what language it is in, and stays the first.
fn after(parts: &[&str], script: &str) -> Script {
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    Script::new(&format!("{first}\n{}{rest}", parts.concat()))
}
