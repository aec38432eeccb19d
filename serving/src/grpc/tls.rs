//! Certificates and keys of gRPC ports and connections, from PEM files.
//!
//! Files are read and held against each other when a port or a connection is opened (and by `check-config`), so that a
//! mistake names the file and the key instead of failing the first handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use catchment_settings::{Reading, section};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::reason;

section! {
    /// Certificate of a gRPC port. With a certificate it takes TLS only; with an authority for clients also, it takes only
    /// clients that have a certificate.
    ServerTls {
        /// The certificate, PEM, with those of authorities in between behind it; empty: plain text.
        cert_file: Option<PathBuf> = "",
        /// The certificate's private key, PEM.
        key_file: Option<PathBuf> = "",
        /// Certificates of the authorities that may sign a client's, PEM; empty: clients need none.
        client_ca_file: Option<PathBuf> = "",
    }
}

section! {
    /// Certificates of a connection, where the endpoint is `https://`.
    ClientTls {
        /// Certificates of the authorities that may sign the server's, PEM. Needed with `https://`.
        ca_file: Option<PathBuf> = "",
        /// This client's certificate, PEM; empty: none is sent.
        cert_file: Option<PathBuf> = "",
        /// The private key of this client's certificate, PEM.
        key_file: Option<PathBuf> = "",
        /// The name that the server's certificate must have; empty: the host of the endpoint.
        server_name: Option<String> = "",
    }
}

/// The PEM texts of a certificate and its key.
pub struct PemIdentity {
    /// The certificate.
    pub cert: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

/// What is wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Unreadable {
        /// The key that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {wanted}: {why}", path = path.display())]
    NotPem {
        /// The key that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What was found.
        why: String,
    },
    /// Certificate and key do not fit, or cannot be used.
    #[error("the certificate {cert} cannot be used with the key {key}: {why}", cert = cert.display(), key = key.display())]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The server of an endpoint cannot be asked for its name.
    #[error("tls to {endpoint}: {why}")]
    Name {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        why: String,
    },
    /// A key needs another one.
    #[error("{setting} needs {needed}")]
    Alone {
        /// The key that is set.
        setting: &'static str,
        /// The one that is not.
        needed: &'static str,
    },
}

impl TlsError {
    /// The key below `tls` that the problem is about, and one that was set.
    fn settings(&self) -> [&'static str; 2] {
        match self {
            TlsError::Unreadable { setting, .. } | TlsError::NotPem { setting, .. } => [setting, setting],
            TlsError::Unusable { .. } => ["key_file", "cert_file"],
            TlsError::Alone { setting, needed } => [needed, setting],
            TlsError::Name { .. } => ["server_name", "server_name"],
        }
    }

    fn report(&self, key: &str, reading: &mut Reading) {
        let [about, set] = self.settings().map(|setting| format!("{key}.{setting}"));
        reading.conflict([&about, &set], self.to_string());
    }
}

impl ServerTls {
    /// Reports to `reading` what is wrong with the files; `key` is the section's.
    pub fn check(&self, key: &str, reading: &mut Reading) {
        if let Err(error) = self.config() {
            error.report(key, reading);
        }
    }

    /// How TLS connections are taken, where there is a certificate.
    pub(super) fn config(&self) -> Result<Option<Arc<ServerConfig>>, TlsError> {
        let Some((cert, key)) = pair(self.cert_file.as_ref(), self.key_file.as_ref())? else {
            if self.client_ca_file.is_some() {
                return Err(TlsError::Alone { setting: "client_ca_file", needed: "cert_file" });
            }
            return Ok(None);
        };
        let certified = read_pair(cert, key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(cert, key, &error))?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_authorities("client_ca_file", path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::NotPem {
                    setting: "client_ca_file",
                    path: path.clone(),
                    wanted: "usable authority",
                    why: error.to_string(),
                })?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols.push(b"h2".to_vec());
        Ok(Some(Arc::new(config)))
    }
}

impl ClientTls {
    /// Reports to `reading` what is wrong with the files; `key` is the section's.
    pub fn check(&self, key: &str, reading: &mut Reading) {
        if let Err(error) = self.identity().and_then(|_| self.authorities()) {
            error.report(key, reading);
        }
    }

    /// The connection's certificates, for a server that has `host` in its own.
    ///
    /// # Errors
    /// Where a file is missing or wrong.
    pub fn config(&self, host: &str) -> Result<ClientTlsConfig, TlsError> {
        let authorities = self.authorities()?;
        let authorities = authorities.ok_or(TlsError::Alone { setting: "https://", needed: "ca_file" })?;
        let name = self.server_name.as_deref().unwrap_or(host);
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authorities))
            .domain_name(name)
            .timeout(super::HANDSHAKE_TIMEOUT);
        Ok(match self.identity()? {
            Some(PemIdentity { cert, key }) => config.identity(Identity::from_pem(cert, key)),
            None => config,
        })
    }

    /// This client's certificate and key.
    ///
    /// # Errors
    /// Where a file is missing or wrong.
    pub fn identity(&self) -> Result<Option<PemIdentity>, TlsError> {
        let Some((cert, key)) = pair(self.cert_file.as_ref(), self.key_file.as_ref())? else {
            return Ok(None);
        };
        read_pair(cert, key)?;
        Ok(Some(PemIdentity { cert: read("cert_file", cert)?, key: read("key_file", key)? }))
    }

    /// The PEM text of the authorities.
    ///
    /// # Errors
    /// Where the file cannot be read or holds none.
    pub fn authorities(&self) -> Result<Option<Vec<u8>>, TlsError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        read_authorities("ca_file", path)?;
        read("ca_file", path).map(Some)
    }
}

impl std::fmt::Debug for PemIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PemIdentity(***)")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Certificate and key, of which neither stands alone.
fn pair<'p>(
    cert: Option<&'p PathBuf>,
    key: Option<&'p PathBuf>,
) -> Result<Option<(&'p Path, &'p Path)>, TlsError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(TlsError::Alone { setting: "cert_file", needed: "key_file" }),
        (None, Some(_)) => Err(TlsError::Alone { setting: "key_file", needed: "cert_file" }),
    }
}

fn read_pair(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates("cert_file", cert)?;
    let private =
        PrivateKeyDer::from_pem_slice(&read("key_file", key)?).map_err(|error| TlsError::NotPem {
            setting: "key_file",
            path: key.to_owned(),
            wanted: "private key",
            why: error.to_string(),
        })?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| unusable(cert, key, &error))
}

fn unusable(cert: &Path, key: &Path, error: &tokio_rustls::rustls::Error) -> TlsError {
    TlsError::Unusable { cert: cert.to_owned(), key: key.to_owned(), why: reason(error) }
}

fn read_authorities(setting: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(setting, path)? {
        roots.add(certificate).map_err(|error| TlsError::NotPem {
            setting,
            path: path.to_owned(),
            wanted: "authority's certificate",
            why: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// At least one certificate.
fn read_certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |why| TlsError::NotPem { setting, path: path.to_owned(), wanted: "certificate", why };
    let certificates = CertificateDer::pem_slice_iter(&read(setting, path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(error.to_string()))?;
    if certificates.is_empty() {
        return Err(not_pem("no PEM block CERTIFICATE".to_owned()));
    }
    Ok(certificates)
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable { setting, path: path.to_owned(), error })
}
