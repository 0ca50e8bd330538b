//! The server's DTLS certificate.

use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};

/// The certificate every call of a process presents.
#[derive(Debug, Clone)]
pub struct Identity {
    certificate: RTCCertificate,
    fingerprint: String,
}

impl Identity {
    /// Makes a new ECDSA P-256 key and a self-signed certificate for it.
    ///
    /// # Errors
    /// The cryptographic provider could not make a key.
    pub fn generate() -> Result<Self, IdentityError> {
        let provider = rtc::crypto::default_provider().map_err(|error| IdentityError(error.to_string()))?;
        let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
        let params = CertificateParams::default();
        let made = RTCCertificate::generate(provider.crypto(), scheme, params);
        let certificate = made.map_err(|error| IdentityError(error.to_string()))?;
        let fingerprints = certificate.get_fingerprints(provider.crypto());
        let fingerprints = fingerprints.map_err(|error| IdentityError(error.to_string()))?;
        let first = fingerprints.into_iter().next();
        let first = first.ok_or_else(|| IdentityError("the certificate has no fingerprint".to_owned()))?;
        Ok(Self { certificate, fingerprint: first.value.to_ascii_uppercase() })
    }

    pub(super) fn certificate(&self) -> &RTCCertificate {
        &self.certificate
    }

    /// SHA-256 of the certificate as SDP writes it (RFC 8122 section 5).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("The DTLS certificate could not be generated: {0}.")]
pub struct IdentityError(String);
