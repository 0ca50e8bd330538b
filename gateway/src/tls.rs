//! HTTPS with a certificate of voxgate's own CA.
//!
//! Clients that insist on `wss:` work on a first run: they are given `tls/ca.pem` of the data folder to trust. The
//! CA's key never leaves the folder; the server's certificate is made anew at every start and lives in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::data_dir::{DataDir, DataError};

/// The CA certificate, inside the data folder.
pub(crate) const CA_FILE: &str = "tls/ca.pem";
/// How long a server certificate is good for: longer than any process runs, shorter than clients tolerate.
const SERVER_LIFETIME: Duration = Duration::from_secs(800 * 24 * 3600);
/// A client's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);
const CA_KEY_FILE: &str = "tls/ca.key.pem";

/// What can go wrong with TLS.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    /// The data folder or a certificate.
    #[error(transparent)]
    Data(#[from] DataError),
    /// rcgen refused.
    #[error("cannot make a certificate: {0}; delete the folder `tls` in the data folder and start again")]
    Certificate(#[from] rcgen::Error),
    /// A certificate or key file.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// rustls refused.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The server's TLS configuration for a listener.
pub(crate) fn server_config(data: &DataDir, listen: SocketAddr) -> Result<Arc<ServerConfig>, TlsError> {
    let issuer = certificate_authority(data)?;
    let key = KeyPair::generate()?;
    let certificate = server_params(listen)?.signed_by(&key, &issuer)?;
    let mut config = with_certificate(vec![certificate.der().clone()], private(&key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS with a certificate chain and key from PEM files.
pub(crate) fn from_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |path: &Path, error| TlsError::File { path: path.display().to_string(), source: error };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unusable(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
    Ok(Arc::new(with_certificate(chain, key)?))
}

fn with_certificate(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(config)
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// The CA of the data folder; made on the first start.
fn certificate_authority(data: &DataDir) -> Result<Issuer<'static, KeyPair>, TlsError> {
    if let Some(stored) = data.read(CA_KEY_FILE)?
        && data.read(CA_FILE)?.is_some()
    {
        return Ok(Issuer::new(authority_params(), KeyPair::from_pem(&stored)?));
    }
    let key = KeyPair::generate()?;
    let certificate = authority_params().self_signed(&key)?;
    data.write_private(CA_KEY_FILE, key.serialize_pem().as_bytes())?;
    data.write_private(CA_FILE, certificate.pem().as_bytes())?;
    Ok(Issuer::new(authority_params(), key))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = name("voxgate local CA");
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

fn server_params(listen: SocketAddr) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if !listen.ip().is_unspecified() && !addresses.contains(&listen.ip()) {
        addresses.push(listen.ip());
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name = name("voxgate");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Some clients refuse server certificates that live longer than 825 days; this one is made anew at every start.
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + SERVER_LIFETIME).into();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_outlives_a_restart_and_its_key_stays_private() {
        let root = std::env::temp_dir().join(format!("voxgate-tls-{}", std::process::id()));
        let data = DataDir::open(&root).unwrap();
        let listen = "127.0.0.1:8443".parse().unwrap();
        assert!(server_config(&data, listen).is_ok());
        let first = data.read(CA_FILE).unwrap().unwrap();
        assert!(server_config(&data, listen).is_ok());
        assert_eq!(data.read(CA_FILE).unwrap().unwrap(), first);
        assert!(!first.contains("PRIVATE"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
