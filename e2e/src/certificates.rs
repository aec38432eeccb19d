//! An authority of a test's own, and what it signs: a server's certificate (a broker's, a node's) and a client's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair,
};

/// PEM files in one folder.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The broker's private key and certificate, one behind the other, as Kafka reads them.
    pub broker: PathBuf,
    /// The same for a server that reads them from two files: the certificate.
    pub server: PathBuf,
    /// Its private key.
    pub server_key: PathBuf,
    /// The client's certificate.
    pub client: PathBuf,
    /// The client's private key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes them anew in a folder.
    ///
    /// # Errors
    /// Where they cannot be made or written.
    pub fn make(folder: &Path) -> Result<Self> {
        let mut authority = named("authority")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let (broker, broker_key) = signed(&authority, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth)?;
        let (client, client_key) = signed(&authority, "collector", ExtendedKeyUsagePurpose::ClientAuth)?;
        let written = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            authority: written("authority.pem", &authority.pem())?,
            broker: written("broker.pem", &(broker_key.clone() + &broker))?,
            server: written("server.pem", &broker)?,
            server_key: written("server-key.pem", &broker_key)?,
            client: written("client.pem", &client)?,
            client_key: written("client-key.pem", &client_key)?,
        })
    }
}

/// A certificate without anything but a subject. Subjects differ, or a signed certificate would look self-signed.
fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// Certificate and private key.
fn signed(
    authority: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(String, String)> {
    let mut params = named(name)?;
    params.subject_alt_names = CertificateParams::new([name.to_owned()])?.subject_alt_names;
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
