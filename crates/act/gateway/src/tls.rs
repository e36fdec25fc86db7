//! TLS from PEM files, read again when they change.

use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use gateway_api::TlsFiles;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A listener's certificate and what is needed to serve with it.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    pub(crate) config: Arc<ServerConfig>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current {
    key: ArcSwap<CertifiedKey>,
    stamp: ArcSwap<Stamp>,
}

/// Tells whether files changed: inode, size and time of both.
type Stamp = [(u64, u64, i64, i64); 2];

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

impl Tls {
    /// # Errors
    /// What is wrong with the files, in words.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, String> {
        let stamp = stamp(files)?;
        let current = Arc::new(Current {
            key: ArcSwap::from_pointee(read(files)?),
            stamp: ArcSwap::from_pointee(stamp),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Self { files: files.clone(), config: Arc::new(config), current })
    }

    pub(crate) fn serves(&self, files: &TlsFiles) -> bool {
        self.files == *files
    }

    /// Takes a changed certificate over for new connections; a broken one is refused and the old
    /// one stays.
    ///
    /// # Errors
    /// What is wrong with the files, in words.
    pub(crate) fn refresh(&self) -> Result<(), String> {
        let stamp = stamp(&self.files)?;
        if **self.current.stamp.load() != stamp {
            self.current.key.store(Arc::new(read(&self.files)?));
            self.current.stamp.store(Arc::new(stamp));
        }
        Ok(())
    }
}

fn stamp(files: &TlsFiles) -> Result<Stamp, String> {
    let one = |path: &Path| {
        let found =
            std::fs::metadata(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Ok::<_, String>((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    Ok([one(&files.certificate)?, one(&files.key)?])
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, String> {
    let of = |path: &Path, what: String| format!("{}: {what}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| of(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(of(&files.certificate, "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| of(&files.key, error.to_string()))?;
    let key = ring::sign::any_supported_type(&key).map_err(|error| of(&files.key, error.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(of(&files.key, "the key does not belong to the certificate".into()))
        }
        _ => Ok(certified),
    }
}
