//! Any text as `countermark.toml`, or as one setting in each of the layers.

use std::path::Path;

use super::sources::Sources;
use super::{Address, Config, ConfigError, ConfigErrors, Overrides, check, parse_duration};
use crate::store::{HostPort, Servers};

/// The first byte says what the rest is: `f` a file, `p` the password's neighbours in a URL, `v` a path of a setting and its
/// text (a line each), which is the same in the file and in the environment.
pub fn configuration(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    // Files are looked at while the settings are checked; devices answer in their own time.
    if text.contains("/dev") || text.contains("/proc") || text.contains("/sys") {
        return;
    }
    // Of the input's own hash, so that it stands where a secret stands and nowhere else.
    let secret = crate::token::TokenId::of_jti(text).to_string();
    match kind {
        b'f' => file(text, &secret),
        b'p' => url(text, &secret),
        b'v' => text.split_once('\n').into_iter().for_each(|(setting, text)| layers(setting, text, &secret)),
        _ => {}
    }
}

fn read(text: &str, variables: &[(String, String)]) -> Result<Config, ConfigErrors> {
    let mut sources = Sources::default();
    let problem = sources.text(Path::new("countermark.toml"), text).err();
    sources.environment(variables.iter().cloned());
    check::add_flags(&mut sources, &Overrides::default());
    Config::read(sources, problem.into_iter().collect())
}

fn variable(name: &str, text: &str) -> (String, String) {
    (format!("COUNTERMARK_{name}"), text.to_owned())
}

fn file(text: &str, secret: &str) {
    judge(&read(text, &[]), secret);
    // The same with secrets from elsewhere.
    let secrets = ["MASTER_KEY", "STORE_PASSWORD"].map(|name| variable(name, secret));
    judge(&read(text, &secrets), secret);
}

fn url(text: &str, secret: &str) {
    for url in
        [format!("redis://a:{secret}@{text}"), format!("{text}:{secret}@h"), format!("redis://{text}:{secret}@h")]
    {
        judge(&read("", &[variable("STORE_URL", &url)]), secret);
    }
}

/// A text is read alike wherever it stands.
fn layers(setting: &str, text: &str, secret: &str) {
    let path: Vec<&str> = setting.split('.').collect();
    let plain = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !path.iter().all(plain) || text.contains('\0') {
        return;
    }
    let quoted: String =
        text.chars().flat_map(|c| format!("\\U{:08X}", u32::from(c)).chars().collect::<Vec<_>>()).collect();
    let in_file = read(&format!("{setting} = \"{quoted}\""), &[]);
    let in_environment = read("", &[variable(&super::sources::variable_of(setting), text)]);
    judge(&in_file, secret);
    judge(&in_environment, secret);
    // Further paths have the variable of a setting, and further variables are no settings.
    let unknown = |problem: &ConfigError| matches!(problem, ConfigError::Unknown { .. });
    if in_file.as_ref().is_err_and(|errors| errors.problems().iter().any(unknown)) {
        return;
    }
    match (in_file, in_environment) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => assert_eq!(one.problems().len(), other.problems().len(), "{one} {other}"),
        (one, other) => unreachable!("{one:?} {other:?}"),
    }
}

fn judge(result: &Result<Config, ConfigErrors>, secret: &str) {
    match result {
        Ok(config) => sound(config, secret),
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                let text = problem.to_string();
                assert!(!text.contains(secret), "{text}");
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
            assert!(!format!("{errors:?}").contains(secret));
        }
    }
}

fn sound(config: &Config, secret: &str) {
    assert!(!format!("{config:?}").contains(secret), "a secret is shown");
    assert!(!config.listen.is_empty());
    for address in &config.listen {
        let plain = matches!(address, Address::Plain(_)) && !address.is_local();
        assert!(!plain || !config.trusted_proxies.is_empty(), "tokens in plain text: {address}");
        assert_eq!(Address::parse(&address.to_string()).as_ref(), Ok(address));
    }
    let operations = &config.operations_listen;
    assert!(operations.is_local() && !matches!(operations, Address::Tls(_)));
    assert!(config.issuer.is_some() || config.listen.iter().any(|address| matches!(address, Address::Tls(_))));
    for issuer in config.issuer.iter().chain(&config.also_accept_issuers) {
        assert!(issuer.starts_with("https://") && !issuer.ends_with('/') && issuer.parse::<url::Url>().is_ok());
    }
    assert!(parse_duration("5s").is_ok_and(|most| config.max_staleness <= most));
    let months = &config.tokens.valid_for_months;
    assert!(months.is_sorted() && !months.is_empty() && months.iter().all(|months| (1..=120).contains(months)));
    assert!((8 * 1024..=1024 * 1024).contains(&config.limits.head_bytes));
    assert!((1024..=64 * 1024).contains(&config.limits.body_bytes));
    assert!(config.limits.connections > 0 && config.limits.requests_per_connection > 0);
    assert!(config.guessing.per_minute > 0 && config.guessing.burst > 0);
    for (name, policy) in &config.policies {
        assert!(name.parse::<crate::name::TeamName>().is_ok(), "{name:?}");
        assert!(policy.team.is_none() || policy.permission.is_some(), "{name} demands nothing");
    }
    if let super::StoreSource::Url(url) = &config.store.source {
        assert!(!url.shown().contains(secret));
        let hosts = match &url.servers {
            Servers::One(at) => vec![at],
            Servers::Sentinels { sentinels: hosts, .. } | Servers::Cluster(hosts) => hosts.iter().collect(),
        };
        assert!(!hosts.is_empty());
        for HostPort { host, .. } in hosts {
            assert!(!host.is_empty() && !host.contains(['/', '@', '?', '#', ' ', ',']), "{host:?}");
        }
    }
}
