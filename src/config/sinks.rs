//! Where the audit is sent on to.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;
use zeroize::Zeroizing;

use super::check::{check_file, check_private_file};
use super::error::Origin;
use super::reader::{Placed, Reader};
use super::{ClientCertificate, Secret, SecretSource};
use crate::audit::Outcome;

/// Each reads the audit by itself.
const MOST: usize = 8;
/// In front of the secret of a webhook (Standard Webhooks, "Signature scheme").
const PREFIX: &str = "whsec_";
/// The bytes of such a secret, by the same.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where events are sent on to (`[audit.sinks.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// `type`, and what belongs to it.
    pub kind: SinkKind,
    /// Whether it begins with what is kept already (`from = "beginning"`), and not with what comes (`"now"`, the default).
    pub from_beginning: bool,
    /// Kinds of events that it gets (`kinds`); none: all.
    pub kinds: Vec<String>,
    /// Outcomes of events that it gets (`outcomes`); none: all.
    pub outcomes: Vec<Outcome>,
}

/// What takes the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// RFC 5424 over TLS (RFC 5425) or plain TCP.
    Syslog(SyslogSink),
    /// HTTPS, signed as Standard Webhooks has it.
    Webhook(WebhookSink),
    /// JSON lines, appended to this file (`path`).
    File(PathBuf),
}

/// A receiver of syslog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSink {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `None`: plain TCP.
    pub tls: Option<SinkTls>,
}

/// A receiver of webhooks.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSink {
    /// Where (`url`). It may be a secret by itself.
    pub url: Url,
    /// What signs (`secret` or `secret_file`); see [`webhook_key`].
    pub secret: SecretSource,
    /// Of `https://`.
    pub tls: SinkTls,
}

impl std::fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Path and query may be what only the receiver knows.
        f.debug_struct("WebhookSink").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// Whom a sink trusts, and what it shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkTls {
    /// CA certificates, PEM; none: the web's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate.
    pub client: Option<ClientCertificate>,
}

/// Reads the secret of a webhook: `whsec_` and 24 to 64 bytes in base64. The error does not show it.
pub fn webhook_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let encoded = secret.expose().strip_prefix(PREFIX);
    let key = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).map(Zeroizing::new);
    key.filter(|key| SECRET_BYTES.contains(&key.len())).ok_or(
        "not the secret of a webhook: whsec_ and 24 to 64 bytes in base64 (echo whsec_$(openssl rand -base64 32))",
    )
}

pub(super) fn read(reader: &mut Reader) -> BTreeMap<String, Sink> {
    let names = reader.sink_names();
    if names.len() > MOST {
        reader.problem("audit.sinks", &Origin::Default, format!("{} are too many: at most {MOST}", names.len()));
    }
    names.into_iter().filter_map(|name| read_one(reader, &name).map(|sink| (name, sink))).collect()
}

fn read_one(reader: &mut Reader, name: &str) -> Option<Sink> {
    #[derive(Clone, Copy)]
    enum Type {
        Syslog,
        Webhook,
        File,
    }
    const TYPES: [(&str, Option<Type>); 3] =
        [("syslog", Some(Type::Syslog)), ("webhook", Some(Type::Webhook)), ("file", Some(Type::File))];

    let path = format!("audit.sinks.{name}");
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if name.len() > 32 || !name.bytes().all(is_inner) || !is_edge(name.bytes().next()) || !is_edge(name.bytes().last())
    {
        let problem = "is not the name of a sink: 1 to 32 of a-z 0-9 _ -, a letter or digit first and last";
        reader.problem(&path, &Origin::Default, problem);
        reader.forget_below(&path);
        return None;
    }
    let before = reader.problems();
    let kind = reader.choice(&format!("{path}.type"), &TYPES, None);
    let from_beginning = reader.choice(&format!("{path}.from"), &[("now", false), ("beginning", true)], false);
    let kinds = reader.list(&format!("{path}.kinds"), kind_of_event);
    let outcomes = reader.list(&format!("{path}.outcomes"), |text| {
        text.parse::<Outcome>().map_err(|_| "no outcome: one of allowed, refused, done, failed".to_owned())
    });
    let kind = match kind {
        Some(Type::Syslog) => syslog(reader, &path),
        Some(Type::Webhook) => webhook(reader, &path),
        Some(Type::File) => file(reader, &path),
        None => {
            if reader.problems() == before {
                let setting = format!("{path}.type");
                reader.problem(&setting, &Origin::Default, "must be given: syslog, webhook or file");
            }
            reader.forget_below(&path);
            None
        }
    };
    Some(Sink {
        kind: kind?,
        from_beginning,
        kinds: kinds.map_or_else(Vec::new, |kinds| kinds.value),
        outcomes: outcomes.map_or_else(Vec::new, |outcomes| outcomes.value),
    })
}

fn kind_of_event(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_');
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("no kind of event, such as call or account.create".to_owned())
    }
}

fn file(reader: &mut Reader, path: &str) -> Option<SinkKind> {
    let setting = format!("{path}.path");
    let before = reader.problems();
    let Some(Placed { value: file, origin }) = reader.path(&setting) else {
        return missing(reader, before, &setting, "the file that events are appended to");
    };
    if file.exists() && !file.is_file() {
        reader.problem(&setting, &origin, format!("{} is no regular file", file.display()));
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    if !directory.is_dir() {
        reader.problem(&setting, &origin, format!("{} is no directory: make it first", directory.display()));
    }
    Some(SinkKind::File(file))
}

fn syslog(reader: &mut Reader, path: &str) -> Option<SinkKind> {
    #[derive(Clone, Copy, PartialEq)]
    enum Transport {
        Tls,
        Plain,
        DangerPlain,
    }
    let setting = format!("{path}.address");
    let before = reader.problems();
    let address = reader.parsed(&setting, host_and_port);
    let choices = [("tls", Transport::Tls), ("plain", Transport::Plain), ("danger_plain", Transport::DangerPlain)];
    let transport = reader.choice(&format!("{path}.transport"), &choices, Transport::Tls);
    let tls = tls(reader, path, transport == Transport::Tls);
    let Some(Placed { value: (host, port), origin }) = address else {
        return missing(reader, before, &setting, "HOST:PORT of the receiver, such as siem.example.com:6514");
    };
    if transport == Transport::Plain && !is_loopback(&host) {
        let problem =
            "would be sent events in plain text over the network: use transport = \"tls\" (or \"danger_plain\")";
        reader.problem(&setting, &origin, problem);
    }
    Some(SinkKind::Syslog(SyslogSink { host, port, tls: Some(tls).filter(|_| transport == Transport::Tls) }))
}

// The URL may be a secret: no problem below shows it.
fn webhook(reader: &mut Reader, path: &str) -> Option<SinkKind> {
    let (url_setting, secret_setting) = (format!("{path}.url"), format!("{path}.secret"));
    let before = reader.problems();
    let (url, secret) = (reader.text(&url_setting), reader.secret(&secret_setting));
    let parsed = url.as_ref().and_then(|url| Url::parse(&url.value).ok());
    let is_https = parsed.as_ref().is_none_or(|url| url.scheme() == "https");
    let tls = tls(reader, path, is_https);
    let (Some(url), Some(secret)) = (url, secret) else {
        return missing(reader, before, &url_setting, "a webhook needs url, and secret_file (or secret)");
    };
    if let Err(problem) = secret
        .value
        .read()
        .map_err(|error| error.to_string())
        .and_then(|secret| webhook_key(&secret).map(drop).map_err(|problem| format!("is {problem}")))
    {
        reader.problem(&secret_setting, &secret.origin, problem);
    }
    let host = parsed.as_ref().and_then(Url::host_str).map(|host| host.trim_matches(['[', ']']).to_owned());
    let (Some(parsed), Some(host)) = (parsed, host) else {
        reader.problem(&url_setting, &url.origin, "must be a URL: https://HOST/PATH");
        return None;
    };
    let is_plain = parsed.scheme() == "http" && is_loopback(&host);
    if !is_https && !is_plain {
        reader.problem(&url_setting, &url.origin, "must be https:// (http:// only to a loopback address)");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
        reader.problem(&url_setting, &url.origin, "must have neither user, password nor #: events are signed instead");
    }
    Some(SinkKind::Webhook(WebhookSink { url: parsed, secret: secret.value, tls }))
}

fn tls(reader: &mut Reader, path: &str, is_used: bool) -> SinkTls {
    let settings = ["ca_file", "client_cert_file", "client_key_file"].map(|setting| format!("{path}.{setting}"));
    let [ca_setting, cert_setting, key_setting] = &settings;
    let (ca, cert, key) = (reader.path(ca_setting), reader.path(cert_setting), reader.path(key_setting));
    if !is_used {
        for (setting, file) in settings.iter().zip([&ca, &cert, &key]) {
            if let Some(file) = file {
                reader.problem(setting, &file.origin, "is of no use without TLS");
            }
        }
        return SinkTls::default();
    }
    if let Some(file) = &ca {
        check_file(reader, ca_setting, file);
    }
    let client = match (cert, key) {
        (Some(cert), Some(key)) => {
            check_file(reader, cert_setting, &cert);
            check_private_file(reader, key_setting, &key);
            Some(ClientCertificate { cert_file: cert.value, key_file: key.value })
        }
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            reader.problem(cert_setting, &one.origin, "client_cert_file and client_key_file go together");
            None
        }
    };
    SinkTls { ca_file: ca.map(|file| file.value), client }
}

/// One that is wrong by itself is told already.
fn missing<T>(reader: &mut Reader, before: usize, setting: &str, what: &str) -> Option<T> {
    if reader.problems() == before {
        reader.problem(setting, &Origin::Default, format!("must be given: {what}"));
    }
    None
}

fn host_and_port(text: &str) -> Result<(String, u16), &'static str> {
    let wrong = "not an address: HOST:PORT, such as siem.example.com:6514 or [fd00::1]:6514";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_sound = match bracketed {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.contains(':') && rustls::pki_types::ServerName::try_from(host).is_ok(),
    };
    if is_sound { Ok((bracketed.unwrap_or(host).to_owned(), port)) } else { Err(wrong) }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::Sources;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read_of(text: &str, variables: &[(&str, &str)]) -> (BTreeMap<String, Sink>, String) {
        let mut sources = Sources::default();
        sources.text(std::path::Path::new("c.toml"), text).unwrap();
        sources.environment(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut reader = Reader::new(sources, Vec::new());
        let found = read(&mut reader);
        let problems: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
        (found, problems.join("\n"))
    }

    #[test]
    fn sinks_of_each_type_are_read_from_the_file_and_the_environment() {
        let (found, problems) = read_of(
            &format!(
                "[audit.sinks.siem]\ntype = \"syslog\"\naddress = \"[::1]:6514\"\noutcomes = [\"refused\", \"failed\"]\n\
                 [audit.sinks.hook]\ntype = \"webhook\"\nurl = \"https://hooks.example.com/x?y\"\nsecret = \"{SECRET}\"\n\
                 from = \"beginning\"\nkinds = [\"account.create\"]\n"
            ),
            &[("COUNTERMARK_AUDIT_SINKS_DISK_TYPE", "file"), ("COUNTERMARK_AUDIT_SINKS_DISK_PATH", "/tmp/a.jsonl")],
        );
        assert_eq!(problems, "");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["disk", "hook", "siem"]);
        assert_eq!(found["disk"].kind, SinkKind::File("/tmp/a.jsonl".into()));
        let tls = Some(SinkTls::default());
        assert_eq!(found["siem"].kind, SinkKind::Syslog(SyslogSink { host: "::1".into(), port: 6514, tls }));
        assert_eq!(found["siem"].outcomes, [Outcome::Refused, Outcome::Failed]);
        assert!(found["hook"].from_beginning && !found["siem"].from_beginning);
        assert_eq!(found["hook"].kinds, ["account.create"]);
        let shown = format!("{found:?}");
        assert!(!shown.contains("MfKQ") && !shown.contains("/x"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_one_problem_each_that_says_what_to_do_and_shows_no_secret() {
        let syslog = "type = \"syslog\"\naddress = \"siem.example.com:514\"\n";
        let webhook = format!("type = \"webhook\"\nsecret = \"{SECRET}\"\n");
        for (text, told) in [
            ("from = \"now\"".to_owned(), "must be given: syslog, webhook or file"),
            ("type = \"carrier-pigeon\"".to_owned(), "one of syslog, webhook, file"),
            ("type = \"file\"".to_owned(), "must be given: the file"),
            ("type = \"file\"\npath = \"/none/such/file\"".to_owned(), "make it first"),
            ("type = \"file\"\npath = \"/tmp\"".to_owned(), "is no regular file"),
            ("type = \"file\"\npath = \"/tmp/x\"\nurl = \"https://x\"".to_owned(), "there is no such setting"),
            ("type = \"file\"\npath = \"/tmp/x\"\nfrom = \"yesterday\"".to_owned(), "one of now, beginning"),
            ("type = \"file\"\npath = \"/tmp/x\"\noutcomes = [\"good\"]".to_owned(), "one of allowed"),
            ("type = \"syslog\"".to_owned(), "HOST:PORT"),
            ("type = \"syslog\"\naddress = \"siem\"".to_owned(), "HOST:PORT"),
            (format!("{syslog}transport = \"plain\""), "danger_plain"),
            (format!("{syslog}transport = \"danger_plain\"\nca_file = \"/x\""), "is of no use without TLS"),
            (format!("{syslog}client_cert_file = \"/x\""), "go together"),
            (format!("{syslog}ca_file = \"/none\""), "can't be read"),
            (format!("{webhook}url = \"http://example.com/SECRET\""), "must be https://"),
            (format!("{webhook}url = \"ftp://localhost/SECRET\""), "must be https://"),
            (format!("{webhook}url = \"https://SECRET@example.com/\""), "neither user, password"),
            (format!("{webhook}url = \"SECRET\""), "must be a URL"),
            ("type = \"webhook\"\nurl = \"https://h/\"".to_owned(), "needs url, and secret_file"),
            ("type = \"webhook\"\nurl = \"https://h/\"\nsecret = \"whsec_SECRET\"".to_owned(), "openssl rand"),
            ("type = \"webhook\"\nurl = \"https://h/\"\nsecret_file = \"/none\"".to_owned(), "can't be read"),
        ] {
            let (found, problems) = read_of(&format!("[audit.sinks.one]\n{text}\n"), &[]);
            assert!(problems.contains(told) && problems.lines().count() == 1, "{text}: {problems} {found:?}");
            assert!(!problems.contains("SECRET") && !problems.contains("MfKQ"), "{problems}");
        }
        for name in ["\"a.b\"", "A", "-a", "\"\"", &"a".repeat(33)] {
            let (found, problems) =
                read_of(&format!("[audit.sinks.{name}]\ntype = \"file\"\npath = \"/tmp/x\"\n"), &[]);
            assert!(found.is_empty() && problems.contains("is not the name of a sink"), "{name}: {problems}");
        }
        let many: String =
            (0..9).map(|number| format!("[audit.sinks.s{number}]\ntype = \"file\"\npath = \"/tmp/x\"\n")).collect();
        assert!(read_of(&many, &[]).1.contains("at most 8"));
    }

    #[test]
    fn plain_text_is_sent_to_this_machine_alone_unless_somebody_says_danger() {
        for (address, transport, is_allowed) in [
            ("127.0.0.1:514", "plain", true),
            ("localhost:514", "plain", true),
            ("[::1]:514", "plain", true),
            ("[::ffff:127.0.0.1]:514", "plain", true),
            ("10.0.0.1:514", "plain", false),
            ("localhost.example.com:514", "plain", false),
            ("10.0.0.1:514", "danger_plain", true),
        ] {
            let text = format!("type = \"syslog\"\naddress = \"{address}\"\ntransport = \"{transport}\"");
            let (_, problems) = read_of(&format!("[audit.sinks.one]\n{text}\n"), &[]);
            assert_eq!(problems.is_empty(), is_allowed, "{address} {transport}: {problems}");
        }
    }

    #[test]
    fn a_secret_has_the_length_that_standard_webhooks_asks_for() {
        let key = |bytes: usize| webhook_key(&Secret::new(format!("whsec_{}", STANDARD.encode(vec![7; bytes]))));
        assert_eq!([23, 24, 64, 65].map(|bytes| key(bytes).is_ok()), [false, true, true, false]);
        assert!(webhook_key(&Secret::new(STANDARD.encode([7; 32]))).is_err());
    }
}
