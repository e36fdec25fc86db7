//! TLS to targets, as `tls_config` says.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};

use crate::config::{Pem, Tls};

/// Where Linux distributions keep whom they trust; the first that is there counts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads the files anew, so that rotated certificates are found.
///
/// # Errors
/// A file that cannot be read or is no PEM, in words.
pub(super) fn client(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let trusting = if tls.insecure_skip_verify {
        versions.dangerous().with_custom_certificate_verifier(Arc::new(Anyone { provider }))
    } else {
        versions.with_root_certificates(roots(tls.ca.as_ref())?)
    };
    let config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(&text(certificate)?)?;
            let key =
                PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|error| format!("the key: {error}"))?;
            trusting.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        _ => trusting.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn text(pem: &Pem) -> Result<Vec<u8>, String> {
    match pem {
        Pem::Inline(text) => Ok(text.expose().as_bytes().to_vec()),
        Pem::File(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate is in the PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("the certificate: {error}")),
    }
}

fn roots(ca: Option<&Pem>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let pem = match ca {
        Some(pem) => text(pem)?,
        None => {
            let found = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok());
            found.ok_or("the machine has no list of certificate authorities; give `ca_file`")?
        }
    };
    // Of the machine's list, what this library cannot use is left out.
    store.add_parsable_certificates(certificates(&pem)?);
    Ok(store)
}

/// Takes any certificate: `insecure_skip_verify`.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
