use super::*;
use crate::store::{HostPort, Servers};
use std::os::unix::fs::PermissionsExt;

struct Setup {
    directory: tempfile::TempDir,
    overrides: Overrides,
    variables: Vec<(String, String)>,
}

impl Setup {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), overrides: Overrides::default(), variables: Vec::new() }
    }

    fn file(self, text: &str) -> Self {
        std::fs::write(self.directory.path().join("countermark.toml"), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn flags(mut self, set: impl FnOnce(&mut Overrides)) -> Self {
        set(&mut self.overrides);
        self
    }

    fn secret_file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, "sesame\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load_in(self.directory.path(), &self.overrides, self.variables.clone().into_iter())
    }

    fn errors(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let config = Setup::new().load().unwrap();
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.listen, [Address::parse("127.0.0.1:8443").unwrap()]);
    assert_eq!(config.operations_listen, Address::parse("http://127.0.0.1:9443").unwrap());
    assert_eq!((config.issuer, config.node_name), (None, None));
    assert_eq!(config.max_staleness, Duration::from_millis(500));
    assert_eq!(config.master_key, SecretSource::File("./data/keys/master.key".into()));
    assert!(matches!(config.store.source, StoreSource::Private { redis_server: None }));
    assert_eq!((config.store.prefix.as_str(), config.store.replicas_required), ("cm", 0));
    assert_eq!(config.tls, Tls::default());
    assert!(config.trusted_proxies.is_empty() && config.also_accept_issuers.is_empty() && config.policies.is_empty());
    assert_eq!(
        (config.limits.head_bytes, config.limits.body_bytes, config.limits.connections),
        (32_768, 65_536, 10_000)
    );
    assert_eq!((config.cache.signature_bytes, config.cache.account_bytes), (64 << 20, 64 << 20));
    assert_eq!(config.limits.drain_timeout, Duration::from_secs(20));
    assert_eq!(config.signing.algorithm, SigningAlgorithm::Es256);
    assert_eq!(config.tokens.valid_for_months, [6, 12, 24]);
    assert_eq!((config.guessing.per_minute, config.guessing.burst), (60, 60));
    assert_eq!(config.audit.retention, Duration::from_secs(400 * 86_400));
    assert_eq!((config.audit.activity_max_entries, config.audit.queue_events), (10_000, 65_536));
    assert!(config.audit.calls);
    assert_eq!((config.log.format, config.log.level), (LogFormat::Readable, LogLevel::Info));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let setup = Setup::new().file("max_staleness = \"1s\"\nnode_name = \"file\"\ndata_dir = \"/file\"\n");
    let setup = setup.variable("COUNTERMARK_NODE_NAME", "variable").variable("COUNTERMARK_DATA_DIR", "/variable");
    let config = setup.flags(|flags| flags.data_dir = Some("/flag".into())).load().unwrap();
    assert_eq!(config.max_staleness, Duration::from_secs(1));
    assert_eq!(config.node_name.as_deref(), Some("variable"));
    assert_eq!(config.data_dir, Path::new("/flag"));
    assert_eq!(config.master_key, SecretSource::File("/flag/keys/master.key".into()));
}

#[test]
fn every_setting_of_the_file_has_its_variable() {
    let config = Setup::new()
        .variable("COUNTERMARK_LISTEN", "127.0.0.1:1, unix:/s")
        .variable("COUNTERMARK_LIMITS_HEAD_BYTES", "16384")
        .variable("COUNTERMARK_CACHE_SIGNATURE_BYTES", "0")
        .variable("COUNTERMARK_TOKENS_VALID_FOR_MONTHS", "24,1,24")
        .variable("COUNTERMARK_POLICIES_DEPLOY_PERMISSION", "deployments:create")
        .variable("COUNTERMARK_TRUSTED_PROXIES", "10.1.2.3/8,192.0.2.7")
        .variable("COUNTERMARK_ALSO_ACCEPT_ISSUERS", "")
        .load()
        .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.limits.head_bytes, 16_384);
    assert_eq!(config.cache.signature_bytes, 0);
    assert_eq!(config.tokens.valid_for_months, [1, 24]);
    assert_eq!(config.policies["deploy"].permission, Some("deployments:create".parse().unwrap()));
    let shown: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32"]);
}

#[test]
fn unknown_settings_are_errors_that_say_where_and_what_was_meant() {
    let setup = Setup::new().file("\n[store]\ncommand_timeuot = \"1s\"\nnonsense = 1\n[limit]\nx = 1\n");
    let text = setup.variable("COUNTERMARK_ISSUR", "x").variable("COUNTERMARK_STORE", "y").errors();
    assert!(text.contains("store.command_timeuot") && text.contains("countermark.toml, line 3"), "{text}");
    assert!(text.contains("did you mean store.command_timeout?"), "{text}");
    assert!(
        text.contains("store.nonsense") && text.contains("line 4") && text.contains("store.connect_timeout"),
        "{text}"
    );
    assert!(text.contains("limit.x") && text.contains("line 6"), "{text}");
    assert!(text.contains("did you mean COUNTERMARK_ISSUER?"), "{text}");
    assert!(text.contains("COUNTERMARK_STORE "), "{text}");
}

#[test]
fn the_variables_of_clients_are_not_ours_to_refuse() {
    let setup = Setup::new().variable("COUNTERMARK_SERVER", "x").variable("COUNTERMARK_CA_FILE", "x");
    let setup = setup.variable("COUNTERMARK_TOKEN", "x").variable("COUNTERMARK_CONFIG", "x").variable("PATH", "x");
    assert!(setup.load().is_ok());
}

#[test]
fn the_variables_of_a_kubernetes_service_of_our_name_are_no_settings() {
    let setup = Setup::new().variable("COUNTERMARK_SERVICE_HOST", "10.0.0.1").variable("COUNTERMARK_SERVICE_PORT", "1");
    let setup = setup.variable("COUNTERMARK_PORT", "tcp://10.0.0.1:1").variable("COUNTERMARK_PORT_1_TCP_ADDR", "x");
    assert!(setup.variable("COUNTERMARK_SERVICE_PORT_HTTPS", "1").load().is_ok());
    assert!(Setup::new().variable("COUNTERMARK_PORT", "8443").load().is_err());
}

#[test]
fn all_problems_are_reported_at_once() {
    let setup = Setup::new().file("max_staleness = \"6s\"\nissuer = \"http://a\"\n[limits]\nconnections = 0\n");
    let errors = setup.variable("COUNTERMARK_LOG_FORMAT", "xml").load().unwrap_err();
    let text = errors.to_string();
    assert_eq!(errors.problems().len(), 4, "{text}");
    for part in [
        "max_staleness",
        "from 0 to 5s",
        "issuer",
        "limits.connections",
        "1 to 1000000",
        "COUNTERMARK_LOG_FORMAT",
        "readable, json",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there_and_one_that_is_not_toml_is_refused_without_showing_it() {
    let text = Setup::new().flags(|flags| flags.config = Some("/no/such/file".into())).errors();
    assert!(text.contains("/no/such/file"), "{text}");
    let text = Setup::new().file("# one\n[store]\npassword = \"sesame\" x\n").errors();
    assert!(text.contains("line 3") && !text.contains("sesame"), "{text}");
}

#[test]
fn a_secret_given_as_value_and_as_file_is_an_error_whatever_the_layers() {
    let setup = Setup::new().file("master_key = \"sesame\"\n").flags(|flags| flags.master_key_file = Some("/k".into()));
    let text = setup.errors();
    assert!(
        text.contains("master_key_file") && text.contains("--master-key-file") && !text.contains("sesame"),
        "{text}"
    );
    let setup =
        Setup::new().variable("COUNTERMARK_STORE_PASSWORD", "sesame").variable("COUNTERMARK_STORE_PASSWORD_FILE", "/p");
    assert!(setup.flags(|flags| flags.store = Some("redis://h".into())).errors().contains("given twice"));
}

#[test]
fn secret_files_that_others_can_read_are_refused() {
    let mut setup = Setup::new();
    let open = setup.secret_file("open", 0o644);
    setup.overrides.master_key_file = Some(open.clone());
    setup.overrides.tls_cert = Some(open.clone());
    setup.overrides.tls_key = Some(open.clone());
    setup.overrides.store = Some("rediss://h".into());
    let path = open.display().to_string();
    let setup =
        setup.variable("COUNTERMARK_STORE_PASSWORD_FILE", &path).variable("COUNTERMARK_STORE_CLIENT_KEY_FILE", &path);
    let setup = setup.variable("COUNTERMARK_STORE_CLIENT_CERT_FILE", &path);
    assert_eq!(setup.errors().matches(&format!("chmod 600 {path}")).count(), 4);
}

#[test]
fn a_store_url_is_taken_apart() {
    let mut setup = Setup::new();
    let password = setup.secret_file("password", 0o600);
    setup.overrides.store = Some("rediss://redis.example:6380/3".into());
    let setup = setup
        .variable("COUNTERMARK_STORE_USER", "cm")
        .variable("COUNTERMARK_STORE_PASSWORD_FILE", &password.display().to_string());
    let StoreSource::Url(url) = setup.load().unwrap().store.source else { panic!("not a URL") };
    let at = HostPort { host: "redis.example".into(), port: 6380 };
    assert_eq!((&url.servers, url.tls, url.database), (&Servers::One(at), true, 3));
    assert_eq!(url.user.as_deref(), Some("cm"));
    assert_eq!(url.password.as_ref().unwrap().read().unwrap().expose(), "sesame");
    assert_eq!(url.shown(), "rediss://redis.example:6380/3");
}

#[test]
fn sentinels_and_a_cluster_are_told_by_the_url() {
    let mut setup = Setup::new();
    let password = setup.secret_file("sentinels", 0o600);
    setup.overrides.store = Some("redis+sentinel://:p@a,b:26380/primary/1".into());
    let setup = setup
        .variable("COUNTERMARK_STORE_SENTINEL_USER", "watcher")
        .variable("COUNTERMARK_STORE_SENTINEL_PASSWORD_FILE", &password.display().to_string());
    let StoreSource::Url(url) = setup.load().unwrap().store.source else { panic!("not a URL") };
    assert_eq!(url.shown(), "redis+sentinel://a:26379,b:26380/primary/1");
    assert_eq!((url.sentinel.user.as_deref(), url.sentinel.tls), (Some("watcher"), false));
    assert_eq!(url.sentinel.password.as_ref().unwrap().read().unwrap().expose(), "sesame");
    let setup = Setup::new().flags(|flags| flags.store = Some("rediss+cluster://a,[::1]:7000".into()));
    let StoreSource::Url(url) = setup.load().unwrap().store.source else { panic!("not a URL") };
    assert_eq!((url.shown().as_str(), url.tls), ("rediss+cluster://a:6379,[::1]:7000", true));
}

#[test]
fn what_belongs_to_sentinels_is_of_no_use_without_them() {
    let setup = Setup::new().file("[store]\nurl = \"redis+cluster://h\"\nsentinel_user = \"x\"\nsentinel_tls = true\n");
    let text = setup.errors();
    assert_eq!(text.matches("redis+sentinel://").count(), 2, "{text}");
    let setup = Setup::new().file("[store]\nurl = \"redis+sentinel://h/n\"\nsentinel_tls = \"maybe\"\n");
    assert!(setup.errors().contains("must be true or false"));
    // Their TLS is with the certificates of the store, and as the store's unless something else is said.
    let tls = |url: &str, more: &str| {
        let config = Setup::new().file(&format!("[store]\nurl = {url:?}\n{more}")).load().unwrap();
        let StoreSource::Url(url) = config.store.source else { panic!("not a URL") };
        (url.tls, url.sentinel.tls)
    };
    assert_eq!(tls("rediss+sentinel://h/n", ""), (true, true));
    assert_eq!(tls("rediss+sentinel://h/n", "sentinel_tls = false\n"), (true, false));
    assert_eq!(tls("redis+sentinel://h/n", "sentinel_tls = true\n"), (false, true));
}

#[test]
fn renewals_wait_for_replicas_that_there_are_and_under_leases() {
    let with = |text: &str| Setup::new().file(&format!("{text}[store]\nurl = \"redis://h\"\nrenewals_wait = true\n"));
    assert!(with("").errors().contains("store.replicas_required"));
    let text = with("max_staleness = \"0\"\n").errors();
    assert!(text.contains("max_staleness above 0"), "{text}");
    let private = Setup::new().file("[store]\nreplicas_required = 1\nrenewals_wait = true\n").errors();
    assert!(
        private.contains("store.replicas_required") && private.contains("the private store has no replicas"),
        "{private}"
    );
    let config = Setup::new().file("[store]\nurl = \"redis://h\"\nreplicas_required = 2\nrenewals_wait = true\n");
    assert!(config.load().unwrap().store.renewals_wait);
}

#[test]
fn a_password_in_the_store_url_is_decoded_and_shown_nowhere() {
    let setup = Setup::new().flags(|flags| flags.store = Some("redis://:p%40ss+w%3D&d@[::1]".into()));
    let config = setup.load().unwrap();
    let StoreSource::Url(url) = &config.store.source else { panic!("not a URL") };
    assert_eq!(url.password.as_ref().unwrap().read().unwrap().expose(), "p@ss+w=&d");
    assert_eq!((url.shown().as_str(), url.user.as_deref()), ("redis://[::1]:6379/0", None));
    assert!(!format!("{config:?}").contains("p@ss"));
    let setup = setup.variable("COUNTERMARK_STORE_PASSWORD", "other");
    let text = setup.errors();
    assert!(text.contains("given twice") && !text.contains("p%40ss") && !text.contains("other"), "{text}");
    let text = Setup::new().flags(|flags| flags.store = Some("http://u:sesame@h".into())).errors();
    assert!(text.contains("--store") && text.contains("redis://HOST:PORT") && !text.contains("sesame"), "{text}");
}

#[test]
fn one_mistake_is_one_problem() {
    let setup = Setup::new().flags(|flags| flags.listen = vec!["8443".into()]);
    assert_eq!(setup.load().unwrap_err().problems().len(), 1);
}

#[test]
fn settings_that_would_have_no_effect_are_errors() {
    let setup = Setup::new().file("[store]\nuser = \"x\"\nca_file = \"y\"\n");
    assert_eq!(setup.errors().matches("of no use without store.url").count(), 2);
    let setup = Setup::new().file("[store]\nurl = \"redis://h\"\nca_file = \"y\"\nredis_server = \"z\"\n");
    let text = setup.errors();
    assert!(text.contains("rediss://") && text.contains("store.redis_server"), "{text}");
    assert!(Setup::new().file("[tls]\ncert_file = \"c\"\n").errors().contains("--tls-key"));
}

#[test]
fn plain_http_on_the_network_needs_trusted_proxies() {
    let setup = Setup::new().flags(|flags| {
        flags.listen = vec!["http://0.0.0.0:80".into()];
        flags.issuer = Some("https://a".into());
    });
    assert!(setup.errors().contains("trusted_proxies"));
    assert!(setup.variable("COUNTERMARK_TRUSTED_PROXIES", "10.0.0.0/8").load().is_ok());
}

#[test]
fn without_a_tls_listener_the_issuer_must_be_given() {
    let setup = Setup::new().flags(|flags| flags.listen = vec!["http://127.0.0.1:80".into()]);
    assert!(setup.errors().contains("issuer (default): must be set"));
    assert!(setup.flags(|flags| flags.issuer = Some("https://a".into())).load().is_ok());
}

#[test]
fn the_operations_listener_is_plain_and_local() {
    for bad in ["https://127.0.0.1:1", "http://0.0.0.0:1", "192.0.2.1:1", "x"] {
        let setup = Setup::new().flags(|flags| flags.operations_listen = Some(bad.into()));
        assert!(setup.errors().contains("--operations-listen"), "{bad}");
    }
    let setup = Setup::new().flags(|flags| flags.operations_listen = Some("127.0.0.1:0".into()));
    assert_eq!(setup.load().unwrap().operations_listen.to_string(), "http://127.0.0.1:0");
}

#[test]
fn policies_are_read_and_their_unknown_members_refused() {
    let text = "[policies.deploy]\npermission = \"d:create\"\nteam = \"core\"\naudience = \"api\"\n[policies.\"a.b\"]\n[policies.x-y]\npermission = \"d.2:create\"\n";
    let policies = Setup::new().file(text).load().unwrap().policies;
    assert_eq!(policies.keys().collect::<Vec<_>>(), ["a.b", "deploy", "x-y"]);
    assert_eq!(policies["deploy"].team, Some("core".parse().unwrap()));
    assert_eq!(policies["a.b"], Policy::default());
    for bad in [
        "[policies.a]\nrole = \"x\"",
        "[policies.a]\npermission = \"d:*\"",
        "[policies.a]\npermission = \"d\"",
        "[policies.A]\nteam = \"t\"",
        "[policies.a]\nteam = \"T\"",
        "[policies]\na = \"x\"",
        "[policies.a]\naudience = \"a b\"",
        "[policies.a]\nteam = \"t\"",
    ] {
        assert!(Setup::new().file(bad).load().is_err(), "{bad}");
    }
}

#[test]
fn wrong_types_and_ranges_are_refused() {
    for bad in [
        "data_dir = 1",
        "listen = 1",
        "listen = []",
        "listen = [1]",
        "max_staleness = 5",
        "max_staleness = true",
        "node_name = \"\"",
        "node_name = \"-a\"",
        "[tokens]\nvalid_for_months = []",
        "[tokens]\nvalid_for_months = [0]",
        "[tokens]\nvalid_for_months = [121]",
        "[tokens]\nvalid_for_months = 6",
        "[store]\nprefix = \"A\"",
        "[store]\nprefix = \"\"",
        "[signing]\nalgorithm = \"HS256\"",
        "[limits]\nhead_bytes = -1",
        "[limits]\nhead_bytes = 1.5",
        "[cache]\nsignature_bytes = 68719476737",
        "[cache]\nsignature_bytes = \"64 MiB\"",
        "[cache]\naccount_bytes = 0",
        "[cache]\naccount_bytes = 1048575",
        "[cache]\naccount_bytes = 68719476737",
        "trusted_proxies = [\"x\"]",
        "[tls]\npublic_names = [\"a b\"]",
        "[store]\nurl = \"redis://h/x\"",
        "[store]\nurl = \"redis://h?a=b\"",
        "[store]\nurl = \"redis:h\"",
        "[store]\nurl = 5",
        "store = \"redis://h\"",
    ] {
        assert!(Setup::new().file(bad).load().is_err(), "{bad}");
    }
    assert_eq!(Setup::new().file("max_staleness = 0").load().unwrap().max_staleness, Duration::ZERO);
}

#[test]
fn the_example_file_says_what_holds_without_it() {
    let example = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/countermark.example.toml"));
    let load = |config| Config::load(&Overrides { config, ..Overrides::default() }, std::iter::empty()).unwrap();
    assert_eq!(format!("{:?}", load(Some(example))), format!("{:?}", load(None)));
}
