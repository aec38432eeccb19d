//! TLS: whom `catchctl` trusts, who trusts it, and status 4 where one does not.

mod peers;

use std::path::{Path, PathBuf};

use peers::{Coordinator, Peer, catchctl};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// An authority, and what it signs, as files.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for `name`: `NAME.pem`, `NAME.key`.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).expect("there")
    }

    fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(self.read("coordinator.pem"), self.read("coordinator.key")))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn servers_and_people_are_known_by_their_certificates() {
    let ours = Authority::new();
    ours.sign("coordinator");
    ours.sign("ann");
    let strangers = Authority::new();
    let plain = Peer::coordinator(Coordinator::default());
    let server = Peer::coordinator_with(ours.server(), Coordinator::default());
    let demanding = ours.server().client_ca_root(Certificate::from_pem(ours.read("ca.pem")));
    let demanding = Peer::coordinator_with(demanding, Coordinator::default());
    let url = |peer: &Peer| format!("https://{}", peer.address);
    let (ca, other_ca) = (ours.file("ca.pem"), strangers.file("ca.pem"));
    let (cert, key) = (ours.file("ann.pem"), ours.file("ann.key"));
    let nodes =
        |endpoint: &str, more: &[&str]| catchctl(&[&["nodes", "--endpoint", endpoint][..], more].concat());

    let trusted = ["--ca-file", text(&ca), "--server-name", "coordinator"];
    let known = nodes(&url(&server), &trusted);
    assert_eq!(known.code, Some(0), "{}", known.err);
    let stranger = nodes(&url(&server), &["--ca-file", text(&other_ca), "--server-name", "coordinator"]);
    assert_eq!(stranger.code, Some(4), "{}", stranger.err);
    let wrong_name = nodes(&url(&server), &["--ca-file", text(&ca)]);
    assert_eq!(wrong_name.code, Some(4), "{}", wrong_name.err);

    let nameless = nodes(&url(&demanding), &trusted);
    assert_eq!(nameless.code, Some(4), "{}", nameless.err);
    let ann = [&trusted[..], &["--cert-file", text(&cert), "--key-file", text(&key)]].concat();
    let named = nodes(&url(&demanding), &ann);
    assert_eq!(named.code, Some(0), "{}", named.err);

    let not_tls = nodes(&url(&plain), &trusted);
    assert_eq!(not_tls.code, Some(4), "{}", not_tls.err);
    for ended in [&stranger, &wrong_name, &nameless, &not_tls] {
        assert_eq!((ended.out.as_str(), ended.err.lines().count()), ("", 1), "{}", ended.err);
    }
}

#[test]
fn files_that_are_missing_are_mistakes_of_the_command() {
    let at = ["nodes", "--endpoint", "https://127.0.0.1:1"];
    for (more, said) in [
        (&[][..], "--ca-file"),
        (&["--ca-file", "/nowhere/ca.pem"], "cannot read /nowhere/ca.pem"),
        (&["--ca-file", "Cargo.toml", "--cert-file", "Cargo.toml"], "key"),
    ] {
        let ended = catchctl(&[&at[..], more].concat());
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}
