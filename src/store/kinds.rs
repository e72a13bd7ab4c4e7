//! What answers at an address is something else than the scheme of the URL says: which one to write.

use redis::aio::MultiplexedConnection;

use super::greeting::ConnectError;

/// Of one Redis server: what it says of itself that is another kind of store. `info` is its `INFO server`.
pub(super) fn no_single_server(info: &str) -> Option<ConnectError> {
    let mode =
        info.lines().find_map(|line| line.strip_prefix("redis_mode:").or_else(|| line.strip_prefix("server_mode:")));
    refusal(mode?.trim())
}

/// The same of one that may not be asked for INFO: a sentinel's user seldom may, and says in its greeting what it is.
pub(super) async fn no_single_server_by_greeting(connection: &mut MultiplexedConnection) -> Option<ConnectError> {
    let greeting: Vec<redis::Value> = redis::cmd("HELLO").query_async(connection).await.ok()?;
    let words: Vec<String> =
        greeting.iter().map(|value| redis::from_redis_value_ref(value).unwrap_or_default()).collect();
    let mode = words.iter().skip_while(|word| *word != "mode").nth(1)?;
    refusal(mode)
}

fn refusal(mode: &str) -> Option<ConnectError> {
    let why = match mode {
        "cluster" => {
            "it is a server of a Redis Cluster, and refuses the keys of other slots: write redis+cluster:// (rediss+cluster:// for \
             TLS), with some of its servers"
        }
        "sentinel" => {
            "it is a sentinel, which has no data: write redis+sentinel://HOST:PORT,HOST:PORT/NAME (rediss+sentinel:// for TLS)"
        }
        _ => return None,
    };
    Some(ConnectError::Refused(why.into()))
}

/// Of a sentinel: what it answers to what only sentinels understand.
pub(super) fn no_sentinel(error: &redis::RedisError) -> Option<ConnectError> {
    let is_unknown = error.to_string().to_ascii_lowercase().contains("unknown command");
    is_unknown.then(|| {
        ConnectError::Refused(
            "it is no sentinel: for a Redis server write redis:// (redis+cluster:// for those of a Redis Cluster)"
                .into(),
        )
    })
}

/// Whoever a sentinel does not let in is another user than the store's, and TLS with it another setting.
pub(super) fn of_a_sentinel(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Refused(why) => ConnectError::Refused(format!(
            "{why}; how to get in to sentinels is in store.sentinel_user, store.sentinel_password_file and store.sentinel_tls"
        )),
        away => away,
    }
}
