//! The way to the store: who may go it, who may listen, and what the service's user may do there.

use super::Entry;
use crate::config::{Config, StoreSource, StoreUrl};
use crate::store::{Examiner, Servers, StoreError};

pub(super) async fn look(config: &Config, examiner: &mut Examiner) -> Vec<Entry> {
    let mut entries = match &config.store.source {
        StoreSource::Url(url) => vec![encryption(url), password(url)],
        // Its socket lies behind the rights of the data directory.
        StoreSource::Private { .. } => Vec::new(),
    };
    entries.push(rights(config, examiner).await);
    entries
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn encryption(url: &StoreUrl) -> Entry {
    const CHECK: &str = "store.encryption";
    let sentinels = match &url.servers {
        Servers::Sentinels { sentinels, .. } if !url.sentinel.tls => sentinels.as_slice(),
        _ => &[],
    };
    let servers = match &url.servers {
        Servers::One(at) => std::slice::from_ref(at),
        // Where those are that they name can't be seen here.
        Servers::Sentinels { sentinels, .. } => sentinels.as_slice(),
        Servers::Cluster(seeds) => seeds.as_slice(),
    };
    let in_the_open = if url.tls { sentinels } else { servers };
    if in_the_open.iter().all(|at| is_here(&at.host)) {
        return Entry::ok(CHECK, if url.tls { "TLS" } else { "plain text, on this machine alone" });
    }
    Entry::finding(
        CHECK,
        format!("{} is spoken to in plain text", url.shown()),
        "whoever is on the way reads the password, and can answer in the store's place: that a revoked token is good, say",
        "have Redis speak TLS, and write rediss:// in store.url, with store.ca_file for a CA of your own",
    )
}

fn password(url: &StoreUrl) -> Entry {
    const CHECK: &str = "store.password";
    if url.password.is_some() {
        return Entry::ok(CHECK, format!("user {} with a password", url.user.as_deref().unwrap_or("default")));
    }
    if url.client.is_some() {
        return Entry::notice(
            CHECK,
            "no password: whoever has a client certificate is let in",
            "a password beside it does no harm: store.user, store.password_file",
        );
    }
    Entry::finding(
        CHECK,
        format!("{} lets anybody in without a password", url.shown()),
        "whoever reaches its port can give accounts any role and bring revoked tokens back",
        "make an ACL user with a password, and set store.user and store.password_file; switch the user default off",
    )
}

async fn rights(config: &Config, examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.rights";
    let asked = async {
        let user = examiner.user().await?;
        let missing = examiner.missing_rights(&user).await?;
        let may_flush = examiner.dry_run(&user, &["FLUSHALL"]).await?;
        Ok::<_, StoreError>((user, missing, may_flush))
    };
    let (user, missing, may_flush) = match asked.await {
        Ok(asked) => asked,
        Err(error) => {
            return Entry::unchecked(
                CHECK,
                format!("the user may not ask what it may do: {error}"),
                "let it run ACL WHOAMI and ACL DRYRUN while doctor runs, or watch ACL LOG",
            );
        }
    };
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|command| format!("+{}", command.to_lowercase())).collect();
        let prefix = &config.store.prefix;
        return Entry::finding(
            CHECK,
            format!("user {user} may not run, or not on Countermark's keys: {}", missing.join(", ")),
            "some changes and look-ups fail, others don't",
            format!("ACL SETUSER {user} {} ~{{{prefix}}}:* ~{{{prefix}:*}}:*", names.join(" ")),
        );
    }
    if may_flush && matches!(config.store.source, StoreSource::Url(_)) {
        return Entry::notice(
            CHECK,
            format!("user {user} may do all that is needed, and FLUSHALL too"),
            format!("narrow it: ACL SETUSER {user} -@dangerous +info"),
        );
    }
    Entry::ok(CHECK, format!("user {user} may do all that is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SentinelAccess;
    use crate::doctor::Status;
    use crate::store::HostPort;

    #[test]
    fn plain_text_is_for_this_machine_alone() {
        let at = |host: &str, tls: bool| {
            let host = host.to_owned();
            encryption(&StoreUrl {
                servers: Servers::One(HostPort { host, port: 6379 }),
                tls,
                database: 0,
                user: None,
                password: None,
                sentinel: SentinelAccess::default(),
                ca_file: None,
                client: None,
            })
        };
        for here in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert_eq!(at(here, false).status, Status::Ok, "{here}");
        }
        for elsewhere in ["10.0.0.1", "redis.example.com", "fd00::1", "0.0.0.0"] {
            assert_eq!(at(elsewhere, false).status, Status::Finding, "{elsewhere}");
            assert_eq!(at(elsewhere, true).status, Status::Ok, "{elsewhere}");
        }
    }
}
