//! Every key in the store.
//!
//! `P` is the configured prefix. What must change together shares the hash slot of the tag `{P}`; what is large and often
//! written is spread by a tag of its own.
//!
//! | key | type | holds | kept |
//! |---|---|---|---|
//! | `{P}:meta` | hash | `dataset` id, `issuer`, `term`, `counter`, `identity` of the server that was met, `serving`: of the one that serves nodes, `ended:TERM` and `identity:TERM` of the last 1,000 terms, `lacks:TERM SERVER` of terms that were begun elsewhere, are missing here, and were made up for, `lease_ceiling_ms`, `indexed`: 1 where every account stands under its role and its teams, 2 where in the catalogue as well; `restoring` which backup is being put back: until then it is nobody's dataset; `restored` the backup that was, JSON, until an issuer has told it in the audit | for ever |
//! | `{P}:feed` | stream | each change under its epoch: `t` type, `k` key, `b` new record | about 100,000 changes |
//! | `{P}:s:PACKED` | string | `EPOCH {state record}`, see [`crate::account::AccountState`], of the account with this id in base64url | for ever (a tombstone after deletion) |
//! | `{P}:p:ACCOUNT` | string | JSON profile: what no verification needs | until deletion |
//! | `{P}:users` | sorted set | usernames of people, in their order | until deletion |
//! | `{P}:session:ID` | string | a session of somebody who has signed in, JSON, under the name of its secret | until it ends |
//! | `{P}:sessions:ACCOUNT` | sorted set | session → when it ends | until they end |
//! | `{P}:devices:ACCOUNT` | sorted set | browsers that somebody has signed in with, by the name of their secret → until when they are known | until another password |
//! | `{P}:tries:WHO` | string | how often it was tried to sign in: `a:USERNAME`, `n:ADDRESS`, `d:DEVICE` | 15 minutes |
//! | `{P}:setup` | string | the name of the secret of the setup link, and until when it is good | until it is used |
//! | `{P}:names` | hash | username → account id | until the name may be used again |
//! | `{P}:list` | sorted set | usernames, in their order | until deletion |
//! | `{P}:catalogue` | sorted set | what each account is looked for by, in the order of usernames, see `catalogue` | until deletion |
//! | `{P}:of_role:NAME`, `{P}:of_team:NAME` | sorted set | usernames of accounts that have the role, by default or in a team; of the team's members | until there are none |
//! | `{P}:roles`, `{P}:teams` | hash | name → `EPOCH {definition}` | until deletion |
//! | `{P}:role_refs`, `{P}:team_refs` | hash | name → how many accounts name it | until deletion |
//! | `{P}:admins` | sorted set | account id → when its token expires (0: it has none), of active admins | until it is none |
//! | `{P}:overlaps` | sorted set | account id → end of its previous token | until the end |
//! | `{P}:live:KID` | sorted set | `ACCOUNT:GENERATION` → expiry, of living tokens that the key signed | until dead |
//! | `{P}:keyring` | hash | `version`, `document`: sealed, see `keyring`; `revoked:KID` → the version that revoked it | for ever |
//! | `{P}:issuers` | hash | issuer's own id → `TERM NODE NAME`: the last term in which it has raised the store, its id among the nodes or `-` | until it has ended, or is declared gone |
//! | `{P}:nodes` | hash | node id → what it says of itself, JSON | as long as its lease |
//! | `{P}:leases` | hash | node id → `RENEWALS LENGTH APPLIED SEEN RATE`, times in milliseconds | about four leases after the last renewal, or a minute without a lease |
//! | `{P}:acts` | stream | events of administrative acts: `v` epoch, `e` line | `audit.firehose_max_entries` |
//! | `{P}:acts:ACCOUNT` | stream | the same, of one account | `audit.activity_max_entries` |
//! | `{P}:act_heads` | hash | node → sequence of its last act; `NODE#claim` → under which claim acts are numbered; `#archived` → as below | for ever |
//! | `{P}:unlinked` | hash | `NODE SEQUENCE` → `ENTRY HASH` of an act that no block links | until one does |
//! | `{P}:checkpoints` | stream | signed checkpoints of the audit: `c` the checkpoint | 10,000 |
//! | `{P}:archiving` | string | who archives | a minute, while he does |
//! | `{P}:census` | string | the last count of all accounts, JSON, see `authority::Census` | until the next one |
//! | `{P}:counting` | string | who counts the accounts | half a minute, while he does |
//! | `{P}:receipts` | stream | the last receipts of changes: `r` JSON, see `authority::GivenReceipt` | 20 |
//! | `{P}:sinks` | hash | sink of the audit → how far it has come, see `sinks` | for ever |
//! | `{P}:sink_lock:NAME` | string | who delivers the sink | seconds |
//! | `{P:aN}:log` | stream | firehose shard N, one entry a block (see [`crate::audit::block`]): `b` header, `e` lines | `audit.firehose_max_entries` |
//! | `{P:aN}:heads` | hash | node → `CLAIM BLOCK LAST HASH ENTRY OPEN` of its last block; `#archived` → how far the stream is archived: `on` or `off`, `LAST SEGMENT HASH NODE` | for ever |
//! | `{P:aN}:lock` | string | who fills activity logs from the shard | seconds |
//! | `{P:aN}:calls` | hash | calls that the shard has brought: `allowed:HOUR`, `refused:HOUR`, `failed:HOUR` since 1970, `allowed_minute:MINUTE` and so on; `mark:N` → the last batch | a day, minutes for two hours |
//! | `{P:kKID}:calls` | hash | `allowed:HOUR`, `refused:HOUR` → calls with tokens that the key signed; `mark:N` → last batch of shard N | a day, and `audit.retention` after the last call |
//! | `{P:ACCOUNT}:activity` | stream | calls of one account, some in each entry: `n` number of its last, `e` lines | `audit.activity_max_entries` (of them), `audit.retention` |
//! | `{P:ACCOUNT}:use` | hash | `used:TOKEN` → last use; `mark:N` → last batch of shard N; `events` → number of the last one; `trimmed` → when, in seconds, and at which number the log was trimmed last; `since` → from when on all calls are rolled up, in milliseconds; `dead` → dead tokens that are used, JSON, see `audit::rollup` | `audit.retention` |
//! | `{P:ACCOUNT}:hours` | hash | hour since 1970 → the calls of that hour rolled up, JSON | 7 days, or `audit.retention` if that is shorter |

use std::fmt::Display;

use crate::account::AccountId;
#[cfg(feature = "server")]
use crate::session::SessionId;

/// Shards of the firehose. Fixed: a node writes to the shard of its name for ever.
pub const SHARDS: u16 = 4;

/// How long a stream of events may get at the most, where so many entries are to be kept: whoever writes to it cuts off what is
/// beyond that. An issuer removes what is too much long before, and signs what it removes first. Where the audit is archived nothing is
/// cut off, and at that length nothing more is written.
pub fn hard_bound(kept: u64) -> u64 {
    kept.saturating_mul(2)
}

/// Makes the names of keys.
#[derive(Debug, Clone)]
pub struct Schema {
    prefix: String,
}

impl Schema {
    /// Keys under this prefix.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn together(&self, name: impl Display) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }
    /// What the dataset is.
    pub fn meta(&self) -> String {
        self.together("meta")
    }
    pub(super) fn feed(&self) -> String {
        self.together("feed")
    }
    /// An account's state record.
    pub fn state(&self, account: AccountId) -> String {
        self.together(format_args!("s:{}", account.packed()))
    }
    pub(super) fn roles(&self) -> String {
        self.together("roles")
    }
    /// The sealed signing keys.
    pub fn keyring(&self) -> String {
        self.together("keyring")
    }
    pub(super) fn nodes(&self) -> String {
        self.together("nodes")
    }
    pub(super) fn leases(&self) -> String {
        self.together("leases")
    }
    pub(super) fn shard_log(&self, shard: u16) -> String {
        format!("{{{}:a{shard}}}:log", self.prefix)
    }
    pub(super) fn shard_heads(&self, shard: u16) -> String {
        format!("{{{}:a{shard}}}:heads", self.prefix)
    }

    /// The rules of the ACL user that a verifying node needs (`ACL SETUSER name …`), without its password. It may write to the table
    /// of nodes, whose entries Redis can't tell apart: every verifier is trusted with the receipts that rest on it.
    ///
    /// Scripts get a selector of their own: Redis demands the right to write for every key that is passed to one, whatever it
    /// does with it. What a script calls is checked again, command by command, against the first half.
    pub fn verifier_rules(&self) -> Vec<String> {
        let prefix = &self.prefix;
        let read = ["meta", "roles", "keyring", "feed", "s:*"].map(|key| format!("~{{{prefix}}}:{key}"));
        let written = [
            format!("~{{{prefix}}}:nodes"),
            format!("~{{{prefix}}}:leases"),
            format!("~{{{prefix}:a*}}:log"),
            format!("~{{{prefix}:a*}}:heads"),
        ];
        // No client|setinfo: Redis 7.0 does not know it and refuses the whole rule. Clients go on without it.
        let commands = [
            "hello",
            "auth",
            "ping",
            "select",
            "script|load",
            "mget",
            "hget",
            "hgetall",
            "hmget",
            "hset",
            "hsetnx",
            "hdel",
            "time",
            "info",
            "xread",
            "xrange",
            "xadd",
            "xlen",
            "wait",
            "cluster|info",
            "cluster|slots",
        ];
        let mut rules: Vec<String> = ["on", "resetkeys", "resetchannels", "-@all"].map(str::to_owned).into();
        rules.extend(read.iter().map(|key| format!("%R{key}")));
        rules.extend(written.iter().cloned());
        rules.extend(commands.map(|command| format!("+{command}")));
        rules.push(format!("(+evalsha +eval {} {})", read.join(" "), written.join(" ")));
        rules
    }
}

/// Of the service alone.
#[cfg(feature = "server")]
impl Schema {
    /// An account's profile.
    pub fn profile(&self, account: AccountId) -> String {
        self.together(format_args!("p:{account}"))
    }
    /// Accounts by username.
    pub fn names(&self) -> String {
        self.together("names")
    }
    /// Usernames in their order.
    pub fn list(&self) -> String {
        self.together("list")
    }
    /// What accounts are looked for by.
    pub fn catalogue(&self) -> String {
        self.together("catalogue")
    }
    /// Usernames of people in their order.
    pub fn users(&self) -> String {
        self.together("users")
    }
    pub(super) fn session(&self, id: SessionId) -> String {
        self.together(format_args!("session:{id}"))
    }
    pub(super) fn sessions_of(&self, account: AccountId) -> String {
        self.together(format_args!("sessions:{account}"))
    }
    pub(super) fn devices(&self, account: AccountId) -> String {
        self.together(format_args!("devices:{account}"))
    }
    pub(super) fn tries(&self, who: &str) -> String {
        self.together(format_args!("tries:{who}"))
    }
    pub(super) fn setup(&self) -> String {
        self.together("setup")
    }
    /// Issuers whose changes the store may lose.
    pub fn issuers(&self) -> String {
        self.together("issuers")
    }
    pub(super) fn teams(&self) -> String {
        self.together("teams")
    }
    /// How many accounts name a role.
    pub fn role_refs(&self) -> String {
        self.together("role_refs")
    }
    pub(super) fn team_refs(&self) -> String {
        self.together("team_refs")
    }
    /// Who has a role.
    pub fn of_role(&self, role: &str) -> String {
        self.together(format_args!("of_role:{role}"))
    }
    pub(super) fn of_team(&self, team: &str) -> String {
        self.together(format_args!("of_team:{team}"))
    }
    pub(super) fn admins(&self) -> String {
        self.together("admins")
    }
    pub(super) fn overlaps(&self) -> String {
        self.together("overlaps")
    }
    /// Living tokens of a signing key.
    pub fn live(&self, key_id: &str) -> String {
        self.together(format_args!("live:{key_id}"))
    }
    /// Calls with tokens that a signing key signed.
    pub fn key_calls(&self, key_id: &str) -> String {
        format!("{{{}:k{key_id}}}:calls", self.prefix)
    }
    pub(super) fn acts(&self) -> String {
        self.together("acts")
    }
    pub(super) fn acts_of(&self, account: AccountId) -> String {
        self.together(format_args!("acts:{account}"))
    }
    pub(super) fn act_heads(&self) -> String {
        self.together("act_heads")
    }
    pub(super) fn archiving(&self) -> String {
        self.together("archiving")
    }
    pub(super) fn census(&self) -> String {
        self.together("census")
    }
    pub(super) fn counting(&self) -> String {
        self.together("counting")
    }
    pub(super) fn receipts(&self) -> String {
        self.together("receipts")
    }
    pub(super) fn checkpoints(&self) -> String {
        self.together("checkpoints")
    }
    pub(super) fn unlinked(&self) -> String {
        self.together("unlinked")
    }
    pub(super) fn sinks(&self) -> String {
        self.together("sinks")
    }
    pub(super) fn sink_lock(&self, name: &str) -> String {
        self.together(format_args!("sink_lock:{name}"))
    }
    pub(super) fn shard_lock(&self, shard: u16) -> String {
        format!("{{{}:a{shard}}}:lock", self.prefix)
    }
    pub(super) fn shard_calls(&self, shard: u16) -> String {
        format!("{{{}:a{shard}}}:calls", self.prefix)
    }
    pub(super) fn activity(&self, account: AccountId) -> String {
        format!("{{{}:{account}}}:activity", self.prefix)
    }
    pub(super) fn usage(&self, account: AccountId) -> String {
        format!("{{{}:{account}}}:use", self.prefix)
    }
    pub(super) fn hours(&self, account: AccountId) -> String {
        format!("{{{}:{account}}}:hours", self.prefix)
    }

    /// Who keeps a key there.
    pub(super) fn owner_of(&self, key: &str) -> Owner {
        const ALWAYS: [&str; 26] = [
            "meta",
            "feed",
            "names",
            "list",
            "users",
            "setup",
            "roles",
            "teams",
            "role_refs",
            "team_refs",
            "admins",
            "overlaps",
            "keyring",
            "issuers",
            "nodes",
            "leases",
            "acts",
            "act_heads",
            "unlinked",
            "checkpoints",
            "archiving",
            "catalogue",
            "census",
            "counting",
            "receipts",
            "sinks",
        ];
        let Some((tag, name)) = key.strip_prefix('{').and_then(|rest| rest.split_once("}:")) else {
            return Owner::Other;
        };
        let known = |known: bool| if known { Owner::Countermark } else { Owner::Nobody };
        if tag == self.prefix {
            return match name.split_once(':') {
                Some(("p", account)) => match account.parse() {
                    Ok(account) => Owner::Key(self.state(account)),
                    Err(_) => Owner::Nobody,
                },
                Some(("s", account)) => known(AccountId::unpacked(account).is_ok()),
                Some(("acts" | "sessions" | "devices", account)) => known(account.parse::<AccountId>().is_ok()),
                Some(("session", id)) => known(id.parse::<SessionId>().is_ok()),
                Some(("live" | "of_role" | "of_team" | "sink_lock" | "tries", _)) => Owner::Countermark,
                _ => known(ALWAYS.contains(&name)),
            };
        }
        match tag.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix(':')) {
            None => Owner::Other,
            Some(shard) if shard.strip_prefix('a').is_some_and(|number| number.parse::<u16>().is_ok()) => {
                known(matches!(name, "log" | "heads" | "lock" | "calls"))
            }
            Some(key) if key.len() == KEY_TAG && key.starts_with('k') => known(name == "calls"),
            Some(account) => {
                known(account.parse::<AccountId>().is_ok() && matches!(name, "activity" | "use" | "hours"))
            }
        }
    }
}

/// `k` and a key's thumbprint.
#[cfg(feature = "server")]
const KEY_TAG: usize = 44;

/// Who keeps a key in the store.
#[cfg(feature = "server")]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It does not bear our prefix.
    Other,
    /// The schema names it.
    Countermark,
    /// It is of use only while this other key exists.
    Key(String),
    /// It bears our prefix and is none of the schema.
    Nobody,
}

/// The shard that the events of a node go to.
pub fn shard_of(node: &str) -> u16 {
    // Any fixed spread will do; FNV-1a is one that stays the same for ever.
    let hash = node
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    u16::try_from(hash % u64::from(SHARDS)).unwrap_or(0)
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_schema_have_an_owner_and_others_under_the_prefix_have_none() {
        let schema = Schema::new("cm");
        let account = AccountId::nobody();
        for key in
            [schema.meta(), schema.state(account), schema.acts_of(account), schema.live("kid"), schema.usage(account)]
        {
            assert_eq!(schema.owner_of(&key), Owner::Countermark, "{key}");
        }
        let calls = schema.key_calls(&"k".repeat(43));
        let sinks = [schema.sinks(), schema.sink_lock("siem"), schema.of_role("r"), schema.of_team("t")];
        let shards = [schema.shard_log(3), schema.shard_lock(0), schema.shard_calls(1)];
        for key in [schema.activity(account), schema.hours(account), calls].into_iter().chain(shards).chain(sinks) {
            assert_eq!(schema.owner_of(&key), Owner::Countermark, "{key}");
        }
        assert_eq!(schema.owner_of(&schema.profile(account)), Owner::Key(schema.state(account)));
        let hyphenated = format!("{{cm}}:s:{account}");
        for key in [hyphenated.as_str(), "{cm}:other", "{cm}:s:x", "{cm:a0}:other", "{cm:x}:log"] {
            assert_eq!(schema.owner_of(key), Owner::Nobody, "{key}");
        }
        for key in ["session:1", "{cm2}:meta", "cm:meta"] {
            assert_eq!(schema.owner_of(key), Owner::Other, "{key}");
        }
    }
}
