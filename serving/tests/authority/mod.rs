//! Certificates made anew by each test.

use std::path::PathBuf;
use std::time::Duration;

use catchment_serving::grpc::{ClientTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority, and a folder for what it signs.
pub(crate) struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca_file: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let dir = tempfile::tempdir().expect("a directory");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, issuer.pem()).expect("written");
        Self { dir, issuer, ca_file }
    }

    /// A certificate for `host` and its key.
    fn sign(&self, host: &str) -> (PathBuf, PathBuf) {
        let key = key();
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        // A subject like its issuer's would look self-signed.
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let files = ["cert", "key"].map(|what| self.dir.path().join(format!("{host}.{what}.pem")));
        std::fs::write(&files[0], certificate.pem()).expect("written");
        std::fs::write(&files[1], key.serialize_pem()).expect("written");
        let [cert, key] = files;
        (cert, key)
    }

    /// A port of `host`; with `clients` it takes only those that have a certificate of that authority.
    pub(crate) fn server(&self, host: &str, clients: Option<&Authority>) -> ServerTls {
        let (cert, key) = self.sign(host);
        let client_ca_file = clients.map(|authority| authority.ca_file.clone());
        ServerTls { cert_file: Some(cert), key_file: Some(key), client_ca_file }
    }

    /// A client that trusts this authority, with a certificate that `own` signed.
    pub(crate) fn client(&self, own: Option<&Authority>) -> ClientTls {
        let (cert_file, key_file) = own.map(|own| own.sign("client")).unzip();
        ClientTls { ca_file: Some(self.ca_file.clone()), cert_file, key_file, ..ClientTls::default() }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Waits until `reached`.
pub(crate) async fn until(deadline: Duration, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(deadline, waiting).await.expect("reached in time");
}
