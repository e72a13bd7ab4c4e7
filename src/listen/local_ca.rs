//! A certificate authority of our own, for when nobody provides a certificate: `tls/ca.pem` is what clients trust.
//!
//! An existing CA is never overwritten, because clients trust it; the server's certificate is made anew whenever a
//! client would refuse it, or would in thirty days.
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::certificates::provider;
use crate::config::{SecretFileError, read_private};
use crate::durable;

const DAY: u64 = 86_400;
const CA_DAYS: u64 = 3_652;
const LEAF_DAYS: u64 = 365;
const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY);
// Clients' clocks may be behind ours.
const BACKDATED: u64 = 3_600;

/// Why the local CA can't give a certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalCaError {
    /// The data directory is full, read-only or not ours.
    #[error("{path} can't be written or read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The CA's key is not usable.
    #[error("the key of the local CA is not usable: {0}")]
    Key(#[from] SecretFileError),
    /// A new certificate is needed and the key to sign it is gone.
    #[error(
        "{ca_file} is there and its key {key_file} is not: restore the key, or remove {ca_file} to make a new CA \
             (clients then have to trust the new one)"
    )]
    KeyMissing {
        /// The certificate.
        ca_file: PathBuf,
        /// The missing key.
        key_file: PathBuf,
    },
    /// The CA's files are damaged, don't belong together, or were not made by Countermark.
    #[error(
        "{ca_file} and {key_file} are not a CA that Countermark made: for a certificate of your own use --tls-cert \
             and --tls-key; to make a new CA remove both files (clients then have to trust the new one)"
    )]
    NotOurs {
        /// The certificate.
        ca_file: PathBuf,
        /// The key.
        key_file: PathBuf,
    },
    /// The crypto library refused.
    #[error("a certificate could not be made: {0}")]
    Making(String),
}

impl From<rcgen::Error> for LocalCaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error.to_string())
    }
}

/// The local CA of a data directory, and the names its server certificate has to have.
#[derive(Debug)]
pub struct LocalCa {
    directory: PathBuf,
    names: Vec<ServerName<'static>>,
}

impl LocalCa {
    /// For `<data_dir>/tls`. The certificate is for localhost, its addresses, the host's name, and `public_names`; what
    /// is not a DNS name or address among these is left out.
    pub fn new(data_dir: &Path, public_names: &[String]) -> Self {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        let wanted =
            ["localhost", "127.0.0.1", "::1", &host].into_iter().chain(public_names.iter().map(String::as_str));
        let mut names: Vec<ServerName<'static>> = Vec::new();
        for name in wanted.filter_map(|name| ServerName::try_from(name.to_ascii_lowercase()).ok()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self { directory: data_dir.join("tls"), names }
    }

    /// What clients trust.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The server's certificate and key as of `now`: the ones on disk if they are good for thirty more days, else new
    /// ones. The flag says whether they are new.
    pub fn certificate(&self, now: UnixTime) -> Result<(CertifiedKey, bool), LocalCaError> {
        fs::create_dir_all(&self.directory).map_err(|source| self.file_error("", source))?;
        let have_ca = self.ca_file().exists();
        if have_ca && let Some(certified) = self.stored(now) {
            return Ok((certified, false));
        }
        let issuer = self.issuer(have_ca, now)?;
        let key = KeyPair::generate()?;
        let certificate = self.leaf(now)?.signed_by(&key, &issuer)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        self.write("server.key", key_pem.as_bytes(), 0o600)?;
        self.write("server.pem", certificate.pem().as_bytes(), 0o644)?;
        let made = self
            .stored(now)
            .ok_or_else(|| LocalCaError::NotOurs { ca_file: self.ca_file(), key_file: self.file("ca.key") })?;
        Ok((made, true))
    }

    /// The certificate on disk, if a client that trusts the CA would take it for every name, now and in thirty days.
    fn stored(&self, now: UnixTime) -> Option<CertifiedKey> {
        let key = Zeroizing::new(read_private(&self.file("server.key")).ok()?);
        let key = PrivateKeyDer::from_pem_slice(&key).ok()?;
        let leaf = CertificateDer::from_pem_file(self.file("server.pem")).ok()?;
        let ca = CertificateDer::from_pem_file(self.ca_file()).ok()?;
        let provider = provider();
        let certified = CertifiedKey::from_der(vec![leaf.clone()], key, &provider).ok()?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).ok()?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + RENEW_BEFORE);
        let accepted = self.names.iter().all(|name| {
            [now, later].into_iter().all(|at| verifier.verify_server_cert(&leaf, &[], name, &[], at).is_ok())
        });
        accepted.then_some(certified)
    }

    /// The CA, ready to sign; made if there is none.
    fn issuer(&self, have_ca: bool, now: UnixTime) -> Result<Issuer<'static, KeyPair>, LocalCaError> {
        let key = match read_private(&self.file("ca.key")) {
            Ok(bytes) => {
                let pem = Zeroizing::new(bytes);
                let key = std::str::from_utf8(&pem).ok().and_then(|pem| KeyPair::from_pem(pem).ok());
                key.ok_or_else(|| LocalCaError::NotOurs { ca_file: self.ca_file(), key_file: self.file("ca.key") })?
            }
            Err(SecretFileError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                if have_ca {
                    return Err(LocalCaError::KeyMissing { ca_file: self.ca_file(), key_file: self.file("ca.key") });
                }
                let key = KeyPair::generate()?;
                let pem = Zeroizing::new(key.serialize_pem());
                self.write("ca.key", pem.as_bytes(), 0o600)?;
                key
            }
            Err(error) => return Err(error.into()),
        };
        let params = authority(&key, now)?;
        if !have_ca {
            let certificate = params.self_signed(&key)?;
            self.write("ca.pem", certificate.pem().as_bytes(), 0o644)?;
        }
        Ok(Issuer::new(params, key))
    }

    fn leaf(&self, now: UnixTime) -> Result<CertificateParams, LocalCaError> {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = validity(now, LEAF_DAYS)?;
        params.distinguished_name = common_name("Countermark server");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        for name in &self.names {
            let san = match name {
                ServerName::DnsName(name) => SanType::DnsName(name.as_ref().try_into()?),
                ServerName::IpAddress(address) => SanType::IpAddress(IpAddr::from(*address)),
                // Only rustls can add kinds of names, and `new` made these two.
                _ => continue,
            };
            params.subject_alt_names.push(san);
        }
        Ok(params)
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), LocalCaError> {
        durable::write(&self.file(name), content, mode).map_err(|source| self.file_error(name, source))
    }

    fn file_error(&self, name: &str, source: io::Error) -> LocalCaError {
        LocalCaError::File { path: self.file(name), source }
    }
}

/// The CA's parameters. Its name follows from its key, so that the key alone says what to put into certificates as their
/// issuer, and two CAs in one trust store are told apart.
fn authority(key: &KeyPair, now: UnixTime) -> Result<CertificateParams, LocalCaError> {
    let thumbprint = digest::digest(&digest::SHA256, &key.subject_public_key_info());
    let short: String = thumbprint.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity(now, CA_DAYS)?;
    params.distinguished_name = common_name(&format!("Countermark local CA {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn validity(now: UnixTime, days: u64) -> Result<(time::OffsetDateTime, time::OffsetDateTime), LocalCaError> {
    let at = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or_else(|| LocalCaError::Making("the clock of this machine is absurd".to_owned()))
    };
    Ok((at(now.as_secs().saturating_sub(BACKDATED))?, at(now.as_secs().saturating_add(days * DAY))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn at(days: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000 + days * DAY))
    }

    fn leaf(ca: &LocalCa, now: UnixTime) -> (Vec<u8>, bool) {
        let (certified, new) = ca.certificate(now).unwrap();
        (certified.cert[0].to_vec(), new)
    }

    #[test]
    fn an_empty_directory_gets_a_ca_and_a_certificate_and_keeps_them() {
        let directory = tempfile::tempdir().unwrap();
        let ca = LocalCa::new(directory.path(), &[]);
        let (first, new) = leaf(&ca, at(0));
        assert!(new);
        assert_eq!(leaf(&LocalCa::new(directory.path(), &[]), at(1)), (first, false));
        for (name, mode) in [("ca.pem", 0o644), ("ca.key", 0o600), ("server.pem", 0o644), ("server.key", 0o600)] {
            assert_eq!(fs::metadata(ca.file(name)).unwrap().mode() & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn a_certificate_is_renewed_thirty_days_before_its_end_under_the_same_ca() {
        let directory = tempfile::tempdir().unwrap();
        let ca = LocalCa::new(directory.path(), &[]);
        let (first, _) = leaf(&ca, at(0));
        let trusted = fs::read(ca.ca_file()).unwrap();
        assert_eq!(leaf(&ca, at(LEAF_DAYS - 31)), (first.clone(), false));
        let (second, new) = leaf(&ca, at(LEAF_DAYS - 29));
        assert!(new && first != second);
        assert_eq!(fs::read(ca.ca_file()).unwrap(), trusted);
        // A clock that was set back makes a certificate from the future useless as well.
        assert!(leaf(&ca, at(0)).1);
    }

    #[test]
    fn a_new_name_a_missing_file_and_a_damaged_one_make_a_new_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let ca = LocalCa::new(directory.path(), &[]);
        leaf(&ca, at(0));
        let named = LocalCa::new(directory.path(), &["Tokens.Example.com".into(), "192.0.2.1".into()]);
        assert!(leaf(&named, at(0)).1);
        assert!(!leaf(&named, at(0)).1);
        assert!(!leaf(&ca, at(0)).1, "further names do no harm");
        fs::remove_file(ca.file("server.pem")).unwrap();
        assert!(leaf(&ca, at(0)).1);
        fs::write(ca.file("server.key"), "damaged").unwrap();
        assert!(leaf(&ca, at(0)).1);
    }

    #[test]
    fn an_existing_ca_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let ca = LocalCa::new(directory.path(), &[]);
        leaf(&ca, at(0));
        let trusted = fs::read(ca.ca_file()).unwrap();
        let key = fs::read(ca.file("ca.key")).unwrap();
        // Without its key it serves until a new certificate is needed.
        fs::remove_file(ca.file("ca.key")).unwrap();
        assert!(!leaf(&ca, at(0)).1);
        assert!(matches!(ca.certificate(at(400)), Err(LocalCaError::KeyMissing { .. })));
        // With another key it is not the CA that clients trust.
        durable::write(&ca.file("ca.key"), KeyPair::generate().unwrap().serialize_pem().as_bytes(), 0o600).unwrap();
        assert!(matches!(ca.certificate(at(400)), Err(LocalCaError::NotOurs { .. })));
        assert_eq!(fs::read(ca.ca_file()).unwrap(), trusted);
        // The key alone is enough to make the CA's certificate again.
        durable::write(&ca.file("ca.key"), &key, 0o600).unwrap();
        fs::remove_file(ca.ca_file()).unwrap();
        leaf(&ca, at(0));
        assert_eq!(fs::read(ca.file("ca.key")).unwrap(), key);
    }
}
