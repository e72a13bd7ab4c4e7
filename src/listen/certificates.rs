//! The server's side of TLS: which certificate is shown, and how it is exchanged without a restart.
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::local_ca::{LocalCa, LocalCaError};
use crate::config::{CertificateFiles, SecretFileError, Tls, read_private};

pub(super) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

// Contents are compared, not times of change: secrets mounted into containers change through symbolic links.
const FILES_EVERY: Duration = Duration::from_secs(2);
const LOCAL_EVERY: Duration = Duration::from_secs(3_600);

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The certificate's file is missing or not readable.
    #[error("the certificate {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no certificate in PEM.
    #[error("{path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NotACertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key's file is missing, or others can read it.
    #[error("the private key is not usable: {0}")]
    KeyFile(#[from] SecretFileError),
    /// It holds no private key in PEM.
    #[error("{path} holds no private key in PEM (-----BEGIN PRIVATE KEY-----, not encrypted)")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are of different pairs, or of a kind that TLS does not use.
    #[error("{key_file} is not the key of the certificate {cert_file}: {problem}")]
    Mismatch {
        /// The certificate.
        cert_file: PathBuf,
        /// The key.
        key_file: PathBuf,
        /// What rustls said.
        problem: rustls::Error,
    },
    /// The local CA could not make one.
    #[error(transparent)]
    LocalCa(#[from] LocalCaError),
    /// The TLS library refused its settings.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The TLS of all listeners of the process.
pub struct TlsContext {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    source: Source,
}

enum Source {
    Files { files: CertificateFiles, seen: Mutex<Option<Fingerprint>> },
    Local(LocalCa),
}

/// What the two files held, without holding it.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl TlsContext {
    /// Loads the certificate that is configured, or the local CA's.
    pub fn new(tls: &Tls, data_dir: &Path) -> Result<Arc<Self>, CertificateError> {
        let (source, certified) = match &tls.files {
            Some(files) => {
                let (certified, seen) = load(files);
                (Source::Files { files: files.clone(), seen: Mutex::new(seen) }, certified?)
            }
            None => {
                let ca = LocalCa::new(data_dir, &tls.public_names);
                let (certified, _) = ca.certificate(UnixTime::now())?;
                (Source::Local(ca), certified)
            }
        };
        let shown = Arc::new(Shown(ArcSwap::from_pointee(certified)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        Ok(Arc::new(Self { config: Arc::new(config), shown, source }))
    }

    /// For an acceptor; the certificate in it is always the current one.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The local CA that clients have to trust; `None` where a certificate was given.
    pub fn ca_file(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Local(ca) => Some(ca.ca_file()),
            Source::Files { .. } => None,
        }
    }

    /// Exchanges the certificate when its files change or it nears its end, until `shutdown`.
    pub async fn keep_current(self: Arc<Self>, shutdown: CancellationToken) {
        let every = match &self.source {
            Source::Files { .. } => FILES_EVERY,
            Source::Local(_) => LOCAL_EVERY,
        };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let context = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || context.refresh(UnixTime::now())).await.is_err() {
                tracing::error!("the look at the certificate's files ended early");
            }
        }
    }

    /// Looks once. What is broken is logged, and the certificate in use stays.
    pub(super) fn refresh(&self, now: UnixTime) {
        match &self.source {
            Source::Files { files, seen } => {
                let (certified, fingerprint) = load(files);
                {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    if *seen == fingerprint {
                        return;
                    }
                    *seen = fingerprint;
                }
                match certified {
                    Ok(certified) => {
                        self.shown.0.store(Arc::new(certified));
                        tracing::info!(certificate = %files.cert_file.display(), "certificate exchanged");
                    }
                    Err(error) => tracing::error!(%error, "new certificate refused, the old one stays in use"),
                }
            }
            Source::Local(ca) => match ca.certificate(now) {
                Ok((_, false)) => {}
                Ok((certified, true)) => {
                    self.shown.0.store(Arc::new(certified));
                    tracing::info!("certificate of the local CA renewed");
                }
                Err(error) => tracing::error!(%error, "certificate not renewed, the old one stays in use"),
            },
        }
    }
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext").field("ca_file", &self.ca_file()).finish_non_exhaustive()
    }
}

/// The one crypto provider: given explicitly, so that no other crate's default decides.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

struct Shown(ArcSwap<CertifiedKey>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Whether the files are a certificate and its key, as a start would see it.
pub(crate) fn check(files: &CertificateFiles) -> Result<(), CertificateError> {
    load(files).0.map(drop)
}

/// The pair, and what the files held; no fingerprint where one can't be read (it is tried again each time, and
/// reported once, as `None` equals `None`).
fn load(files: &CertificateFiles) -> (Result<CertifiedKey, CertificateError>, Option<Fingerprint>) {
    let CertificateFiles { cert_file, key_file } = files;
    let certificate = match std::fs::read(cert_file) {
        Ok(bytes) => bytes,
        Err(source) => return (Err(CertificateError::Unreadable { path: cert_file.clone(), source }), None),
    };
    let key = match read_private(key_file) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) => return (Err(error.into()), None),
    };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(certificate.len() as u64).to_be_bytes());
    context.update(&certificate);
    context.update(&key);
    let fingerprint = context.finish().as_ref().try_into().map(Fingerprint).ok();
    (parse(files, &certificate, &key), fingerprint)
}

fn parse(files: &CertificateFiles, certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, CertificateError> {
    let CertificateFiles { cert_file, key_file } = files;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::NotACertificate { path: cert_file.clone() })?;
    if chain.is_empty() {
        return Err(CertificateError::NotACertificate { path: cert_file.clone() });
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NotAKey { path: key_file.clone() })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|problem| CertificateError::Mismatch {
        cert_file: cert_file.clone(),
        key_file: key_file.clone(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::os::unix::fs::PermissionsExt;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn write(files: &CertificateFiles, certificate: &str, key: &str) {
        std::fs::write(&files.cert_file, certificate).unwrap();
        crate::durable::write(&files.key_file, key.as_bytes(), 0o600).unwrap();
    }

    fn setup() -> (tempfile::TempDir, CertificateFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            cert_file: directory.path().join("cert.pem"),
            key_file: directory.path().join("key.pem"),
        };
        (directory, files)
    }

    fn context(files: &CertificateFiles) -> Result<Arc<TlsContext>, CertificateError> {
        TlsContext::new(&Tls { files: Some(files.clone()), public_names: vec![] }, Path::new("/nowhere"))
    }

    fn shown(context: &TlsContext) -> Vec<u8> {
        context.shown.0.load().cert[0].to_vec()
    }

    #[test]
    fn each_thing_that_can_be_wrong_with_the_files_has_its_own_text() {
        let (_directory, files) = setup();
        assert!(matches!(context(&files), Err(CertificateError::Unreadable { .. })));
        let (certificate, key) = pair();
        write(&files, "nothing", &key);
        assert!(matches!(context(&files), Err(CertificateError::NotACertificate { .. })));
        write(&files, &certificate, "nothing");
        assert!(matches!(context(&files), Err(CertificateError::NotAKey { .. })));
        write(&files, &certificate, &pair().1);
        assert!(matches!(context(&files), Err(CertificateError::Mismatch { .. })));
        write(&files, &certificate, &key);
        std::fs::set_permissions(&files.key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(context(&files).unwrap_err().to_string().contains("chmod 600"));
        std::fs::remove_file(&files.key_file).unwrap();
        assert!(matches!(context(&files), Err(CertificateError::KeyFile(_))));
    }

    #[test]
    fn changed_files_are_taken_and_broken_ones_are_not() {
        let (_directory, files) = setup();
        let (first, second) = (pair(), pair());
        write(&files, &first.0, &first.1);
        let context = context(&files).unwrap();
        let before = shown(&context);
        // The key comes a moment later than its certificate.
        write(&files, &second.0, &first.1);
        context.refresh(UnixTime::now());
        assert_eq!(shown(&context), before);
        write(&files, &second.0, &second.1);
        context.refresh(UnixTime::now());
        let after = shown(&context);
        assert_ne!(after, before);
        std::fs::remove_file(&files.cert_file).unwrap();
        context.refresh(UnixTime::now());
        assert_eq!(shown(&context), after);
    }

    #[tokio::test]
    async fn files_are_looked_at_until_shutdown() {
        let (_directory, files) = setup();
        let (first, second) = (pair(), pair());
        write(&files, &first.0, &first.1);
        let context = context(&files).unwrap();
        let before = shown(&context);
        let shutdown = CancellationToken::new();
        let looking = tokio::spawn(Arc::clone(&context).keep_current(shutdown.clone()));
        write(&files, &second.0, &second.1);
        let exchanged = async {
            while shown(&context) == before {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), exchanged).await.unwrap();
        shutdown.cancel();
        looking.await.unwrap();
    }

    #[test]
    fn the_local_certificate_is_exchanged_before_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let context = TlsContext::new(&Tls::default(), directory.path()).unwrap();
        assert_eq!(context.ca_file(), Some(directory.path().join("tls/ca.pem")));
        let before = shown(&context);
        context.refresh(UnixTime::now());
        assert_eq!(shown(&context), before);
        let later = Duration::from_secs(UnixTime::now().as_secs() + 340 * 86_400);
        context.refresh(UnixTime::since_unix_epoch(later));
        assert_ne!(shown(&context), before);
    }
}
