//! Looking at certificates as a client would, by the library that clients use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificates::provider;

/// Long after the end of any certificate: the year 9000.
const FAR: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(221_845_392_000));

/// Whether it was issued for this name.
pub(crate) fn is_for(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(leaf).is_ok_and(|leaf| verify_server_name(&leaf, name).is_ok())
}

/// When it ends.
pub(crate) fn ends_at(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    // Validity is looked at before anything else, and the library says what it found.
    match verify(std::slice::from_ref(certificate), std::slice::from_ref(certificate), FAR) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after),
        _ => None,
    }
}

/// Whether a client that trusts `roots` takes the chain, whatever its name.
pub(crate) fn chain_accepts(chain: &[CertificateDer<'_>], roots: &[CertificateDer<'_>], now: UnixTime) -> bool {
    match verify(chain, roots, now) {
        Ok(()) => true,
        // Names come last.
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => true,
        Err(_) => false,
    }
}

fn verify(chain: &[CertificateDer<'_>], roots: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
    let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone().into_owned())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map(drop)
}

/// The certificate that a server shows. Nothing is sent to it, whoever it is.
pub(crate) async fn shown_by(address: SocketAddr) -> Result<CertificateDer<'static>, String> {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    };
    let witness = Arc::new(DangerousWitness::default());
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let stream = TcpStream::connect(reachable).await.map_err(|error| error.to_string())?;
    let name = ServerName::IpAddress(reachable.ip().into());
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    seen.ok_or_else(|| "it showed no certificate".to_owned())
}

/// Takes any certificate, to look at it: for connections over which nothing is said.
#[derive(Debug, Default)]
struct DangerousWitness {
    seen: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for DangerousWitness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaf.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2040, 1, 2);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn ends_names_and_chains_are_told() {
        let ca = authority();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2039, 5, 6);
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap().der().clone();
        let root: CertificateDer<'static> = ca.der().clone();
        let seconds = |end: Option<UnixTime>| end.unwrap().as_secs();
        assert_eq!(seconds(ends_at(&leaf)), 2_188_252_800);
        assert_eq!(seconds(ends_at(&root)), 2_209_075_200);
        let name = |text: &str| ServerName::try_from(text.to_owned()).unwrap();
        assert!(is_for(&leaf, &name("a.example")) && !is_for(&leaf, &name("b.example")));
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let chain = [leaf];
        assert!(chain_accepts(&chain, &[root], now));
        assert!(!chain_accepts(&chain, &[authority().der().clone()], now), "another CA");
        assert!(!chain_accepts(&chain, &chain, now), "it is not its own CA");
        assert!(!chain_accepts(&chain, &[ca.der().clone()], FAR), "it has ended");
    }
}
