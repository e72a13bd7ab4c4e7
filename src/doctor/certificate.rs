//! The certificate that clients are shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::DateTime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::Entry;
use super::running::Found;
use crate::config::{Address, Config};
use crate::listen::{chain_accepts, ends_at, shown_by};

const DAY: u64 = 86_400;
const SOON: u64 = 30 * DAY;
/// Every client has to be given a new CA: that takes longer.
const SOON_FOR_A_CA: u64 = 180 * DAY;
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the certificate of these settings lies.
struct Place {
    certificate: PathBuf,
    ca: Option<PathBuf>,
}

fn place(config: &Config) -> Place {
    let tls = config.data_dir.join("tls");
    match &config.tls.files {
        Some(files) => Place { certificate: files.cert_file.clone(), ca: None },
        None => Place { certificate: tls.join("server.pem"), ca: Some(tls.join("ca.pem")) },
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| failed(&error))?;
    if chain.is_empty() { Err(failed(&"it holds no certificate")) } else { Ok(chain) }
}

pub(super) fn look(config: &Config, issuer: Option<&str>) -> Vec<Entry> {
    const CHECK: &str = "certificate.files";
    if !config.listen.iter().any(|address| matches!(address, Address::Tls(_))) {
        return vec![Entry::ok(CHECK, "no listener speaks TLS")];
    }
    let place = place(config);
    if place.ca.as_ref().is_some_and(|ca| !ca.exists()) && !place.certificate.exists() {
        return vec![Entry::ok(CHECK, "there is none yet: the first start makes it")];
    }
    let files = match &config.tls.files {
        Some(files) => crate::listen::check(files).map_err(|error| error.to_string()),
        None => Ok(()),
    };
    let chain = match files.and_then(|()| chain(&place.certificate)) {
        Ok(chain) => chain,
        Err(why) => {
            return vec![Entry::finding(
                CHECK,
                why,
                "the service does not start with it; one that runs goes on with what it had",
                "give tls.cert_file the certificate and its chain, and tls.key_file the key that belongs to it, in PEM",
            )];
        }
    };
    let mut entries = vec![
        Entry::ok(CHECK, format!("{} holds {} certificates", place.certificate.display(), chain.len())),
        names(config, issuer, &chain),
        expiry(&place, &chain),
    ];
    entries.push(match &place.ca {
        Some(ca) => authority(ca, &chain),
        None => whole(&chain),
    });
    entries
}

fn names(config: &Config, issuer: Option<&str>, chain: &[CertificateDer<'static>]) -> Entry {
    const CHECK: &str = "certificate.names";
    let issuer = config.issuer.as_deref().or(issuer).and_then(|issuer| url::Url::parse(issuer).ok());
    let host = issuer.as_ref().and_then(|url| url.host_str()).map(|host| host.trim_matches(['[', ']']).to_owned());
    // Behind a proxy it is the proxy's certificate that bears the issuer's name.
    let host = host.filter(|_| config.trusted_proxies.is_empty());
    let mut wanted: Vec<String> = host.into_iter().chain(config.tls.public_names.iter().cloned()).collect();
    wanted.dedup();
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|name| {
            let Some(leaf) = chain.first() else { return true };
            ServerName::try_from(name.to_ascii_lowercase()).is_ok_and(|name| !crate::listen::is_for(leaf, &name))
        })
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Entry::ok(
            CHECK,
            format!("it is for {}", if wanted.is_empty() { "localhost".to_owned() } else { wanted.join(", ") }),
        );
    }
    Entry::finding(
        CHECK,
        format!("it is not for {}", missing.join(", ")),
        "clients that call the service by that name refuse it",
        "get a certificate with these names; the local CA's has what tls.public_names (--public-name) lists, after a restart",
    )
}

fn shown(end: UnixTime) -> String {
    let seconds = i64::try_from(end.as_secs()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, 0).map_or_else(|| "never".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}

/// Of the certificate in the chain that ends first.
fn expiry(place: &Place, chain: &[CertificateDer<'static>]) -> Entry {
    const CHECK: &str = "certificate.expiry";
    let Some(end) = chain.iter().filter_map(ends_at).min_by_key(|end| end.as_secs()) else {
        return Entry::unchecked(CHECK, "its end could not be read", "look with: openssl x509 -noout -enddate");
    };
    let now = UnixTime::now().as_secs();
    if end.as_secs() > now.saturating_add(SOON) {
        return Entry::ok(CHECK, format!("it is good until {}", shown(end)));
    }
    let seen = if end.as_secs() <= now { "it ended on" } else { "it ends on" };
    Entry::finding(
        CHECK,
        format!("{seen} {}", shown(end)),
        "from then on clients refuse the service",
        if place.ca.is_some() {
            "a server renews the local CA's certificate thirty days ahead: start it, and look into its log if it runs"
        } else {
            "renew it and put it in place of the old one: a running server takes it by itself"
        },
    )
}

fn authority(ca: &Path, leaf: &[CertificateDer<'static>]) -> Entry {
    const CHECK: &str = "certificate.chain";
    let found = match chain(ca) {
        Ok(found) => found,
        Err(why) => {
            return Entry::finding(
                CHECK,
                why,
                "clients need the local CA's certificate to trust the server",
                "restore it: it can be made again as long as tls/ca.key is there, by a restart",
            );
        }
    };
    let now = UnixTime::now();
    if !chain_accepts(leaf, &found, now) {
        return Entry::finding(
            CHECK,
            format!("{} is not the CA of the server's certificate, or one of them has ended", ca.display()),
            "clients that trust it refuse the server",
            "restart the server: it makes a certificate that fits",
        );
    }
    let Some(end) = found.first().and_then(ends_at) else {
        return Entry::unchecked(CHECK, "the end of the local CA could not be read", "openssl x509 -noout -enddate");
    };
    if end.as_secs() > now.as_secs().saturating_add(SOON_FOR_A_CA) {
        return Entry::ok(CHECK, format!("the local CA is good until {}", shown(end)));
    }
    Entry::finding(
        CHECK,
        format!("the local CA ends on {}", shown(end)),
        "every client has to be given a new one by then",
        "stop the server, remove tls/ca.pem and tls/ca.key, start it, and hand out the new tls/ca.pem",
    )
}

/// Whether each certificate of the file was signed by the next.
fn whole(chain: &[CertificateDer<'static>]) -> Entry {
    const CHECK: &str = "certificate.chain";
    let now = UnixTime::now();
    match chain {
        // One alone: its own CA, or one that clients have to know.
        [one] if chain_accepts(chain, std::slice::from_ref(one), now) => Entry::ok(CHECK, "it vouches for itself"),
        [_] => Entry::unchecked(
            CHECK,
            "the file holds the server's certificate alone; whether clients know who signed it can't be told here",
            "where it was signed by an intermediate CA, add that one's certificate to the file",
        ),
        [rest @ .., last] if chain_accepts(rest, std::slice::from_ref(last), now) => {
            Entry::ok(CHECK, "each certificate was signed by the next")
        }
        _ => Entry::finding(
            CHECK,
            "the certificates of the file don't follow each other, or one of them has ended",
            "clients that know only the root refuse the server",
            "put the server's certificate first, then each CA's that signed the one before",
        ),
    }
}

/// What a running server shows, compared with the file.
pub(super) async fn served(config: &Config, running: &Found) -> Vec<Entry> {
    const CHECK: &str = "certificate.served";
    let Ok(file) = running else { return Vec::new() };
    let Some(address) = file.addresses.iter().find_map(|address| match address.parse() {
        Ok(Address::Tls(address)) => Some(address),
        _ => None,
    }) else {
        return Vec::new();
    };
    let path = place(config).certificate;
    let chain = tokio::task::spawn_blocking(move || chain(&path)).await;
    let Some(leaf) = chain.ok().and_then(Result::ok).and_then(|chain| chain.into_iter().next()) else {
        // That is a finding already.
        return Vec::new();
    };
    vec![match tokio::time::timeout(PATIENCE, shown_by(address)).await {
        Ok(Ok(shown)) if shown == leaf => Entry::ok(CHECK, format!("https://{address} shows it")),
        Ok(Ok(_)) => Entry::finding(
            CHECK,
            format!("https://{address} shows another certificate than the file holds"),
            "a new one was not taken, or the server runs with another configuration",
            "look into the server's log for why; restart it",
        ),
        Ok(Err(why)) => Entry::finding(
            CHECK,
            format!("https://{address}: {why}"),
            "clients can't connect",
            "look into the server's log; is limits.connections reached?",
        ),
        Err(_) => Entry::finding(
            CHECK,
            format!("https://{address} does not finish a TLS handshake in time"),
            "clients can't connect",
            "look into the server's log; is limits.connections reached?",
        ),
    }]
}
