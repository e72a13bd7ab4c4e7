//! What the ACL user of the service has to be allowed.

use super::schema::Schema;
use crate::account::AccountId;

impl Schema {
    /// One example of every command that the service runs, by itself or in a script, with keys of each kind: for a dry run of
    /// its ACL user's rights.
    pub(super) fn service_commands(&self, is_cluster: bool) -> Vec<Vec<String>> {
        let (meta, state, admins, feed) = (self.meta(), self.state(AccountId::nobody()), self.admins(), self.feed());
        let (log, usage) = (self.shard_log(0), self.usage(AccountId::nobody()));
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut commands: Vec<Vec<String>> =
            ["PING", "INFO", "TIME", "WAIT 0 0", "EVAL # 0", "SCRIPT LOAD #"].map(words).into();
        if is_cluster {
            commands.extend(["CLUSTER INFO", "CLUSTER SLOTS"].map(words));
        }
        let of_a_key: [(&str, &str); 50] = [
            ("EVALSHA # 1 @", &meta),
            ("HGET @ f", &meta),
            ("HMGET @ f", &meta),
            ("HGETALL @", &meta),
            ("HEXISTS @ f", &meta),
            ("HKEYS @", &meta),
            ("HSCAN @ 0", &meta),
            ("HLEN @", &meta),
            ("HSET @ f v", &meta),
            ("HSETNX @ f v", &meta),
            ("HINCRBY @ f 1", &meta),
            ("HDEL @ f", &meta),
            ("GET @", &state),
            ("MGET @", &state),
            ("SET @ v", &state),
            ("DEL @", &state),
            ("INCR @", &state),
            ("TTL @", &state),
            ("EXISTS @", &state),
            ("ZADD @ 0 m", &admins),
            ("ZREM @ m", &admins),
            ("ZREMRANGEBYSCORE @ 0 1", &admins),
            ("ZSCAN @ 0", &admins),
            ("ZCARD @", &admins),
            ("ZCOUNT @ 0 1", &admins),
            ("ZSCORE @ m", &admins),
            ("ZRANGE @ 0 1", &admins),
            ("ZRANGEBYLEX @ - +", &admins),
            ("ZRANGEBYSCORE @ 0 1", &admins),
            ("XADD @ * f v", &feed),
            ("XTRIM @ MAXLEN 1", &feed),
            ("XLEN @", &feed),
            ("XRANGE @ - +", &feed),
            ("XREVRANGE @ + -", &feed),
            ("XREAD STREAMS @ 0-0", &feed),
            ("XADD @ * f v", &log),
            ("XREADGROUP GROUP g c STREAMS @ >", &log),
            ("XACK @ g 0-0", &log),
            ("XGROUP CREATE @ g 0", &log),
            ("XGROUP DELCONSUMER @ g c", &log),
            ("XAUTOCLAIM @ g c 0 0-0", &log),
            ("XINFO CONSUMERS @ g", &log),
            ("XINFO GROUPS @", &log),
            ("XPENDING @ g", &log),
            ("XINFO STREAM @", &log),
            ("HSET @ f v", &usage),
            ("HGETALL @", &usage),
            ("HINCRBY @ f 1", &usage),
            ("HDEL @ f", &usage),
            ("EXPIRE @ 1", &usage),
        ];
        commands.extend(of_a_key.map(|(command, key)| words(&command.replace('@', key))));
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands in the sources of the store: `cmd("X")` in Rust, `redis.call('X'` in scripts.
    fn used() -> Vec<String> {
        let mut used = Vec::new();
        let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store"))];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                // What `doctor` asks may be refused; the private Redis has no users, sentinels have users of their own, and whoever
                // is no store at all is asked what he is.
                if path.ends_with("examine.rs")
                    || path.ends_with("examine_servers.rs")
                    || path.ends_with("sentinels.rs")
                    || path.ends_with("kinds.rs")
                    || path.ends_with("rights.rs")
                    || path.ends_with("private")
                {
                    continue;
                }
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for (call, end) in [("cmd(\"", '"'), ("redis.call('", '\'')] {
                    used.extend(text.split(call).skip(1).filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())));
                }
            }
        }
        used
    }

    #[test]
    fn every_command_of_the_service_is_among_those_whose_right_is_tried() {
        let tried: Vec<String> =
            Schema::new("cm").service_commands(true).into_iter().filter_map(|words| words.first().cloned()).collect();
        let used = used();
        assert!(used.len() > 50 && used.contains(&"XAUTOCLAIM".to_owned()), "{used:?}");
        for command in used.iter().filter(|command| command.bytes().all(|byte| byte.is_ascii_uppercase())) {
            assert!(tried.contains(command), "{command} is not in service_commands");
        }
    }
}
