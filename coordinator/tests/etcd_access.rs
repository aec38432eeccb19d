//! etcd that asks for users, or for certificates.

#![allow(clippy::unwrap_used)]

mod rig;

use std::path::Path;
use std::time::{Duration, Instant};

use coordinator::kv::{Etcd, EtcdOptions, EtcdTls, Kv, KvError};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rig::{Node, begin, etcd, options, replica, scope, until, until_stored};

fn user(url: String, password: &str) -> Kv {
    let options = EtcdOptions { user: Some(("root".into(), password.into())), ..EtcdOptions::new([url]) };
    Kv::Etcd(Etcd::new(options).unwrap())
}

#[tokio::test]
async fn users_and_tokens_that_expire() {
    let Some(mut member) = etcd::Member::start_with("http", vec!["--auth-token-ttl=2".into()]).await else {
        return;
    };
    let mut client = member.client().await;
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();

    let none = member.kv().get("/catchment/x").await;
    assert!(matches!(none, Err(KvError::Denied(_))), "{none:?}");
    let wrong = user(member.url(), "wrong").get("/catchment/x").await;
    assert!(matches!(wrong, Err(KvError::Denied(_))), "{wrong:?}");

    let kv = user(member.url(), "secret");
    let idle = user(member.url(), "secret");
    idle.get("/catchment/x").await.unwrap();
    let store = replica(&kv, "a").await;
    let other = replica(&idle, "b").await;
    let node = Node::join(&store, None).await;
    let mut elsewhere = Node::join(&other, None).await;
    // Past the time of a token, after a restart, and after a change of users, which makes all tokens old.
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < Duration::from_secs(6) {
        let learned = scope(number, 256, 5, 1);
        node.learned(&learned);
        until_stored(&kv, &learned).await;
        elsewhere.has(&learned).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    member.kill();
    member.up().await;
    let connect = ConnectOptions::new().with_user("root", "secret");
    let mut client = Client::connect([member.url()], Some(connect)).await.unwrap();
    client.user_add("somebody", "else", None).await.unwrap();
    let learned = scope(1000, 256, 5, 1);
    node.learned(&learned);
    until_stored(&kv, &learned).await;
    elsewhere.has(&learned).await;
    until("both are reachable", || {
        store.connection().borrow().reachable && other.connection().borrow().reachable
    })
    .await;
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str, folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str, folder: &Path) {
        let mut params = CertificateParams::new(vec!["etcd.test".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn certificates_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let authority = Authority::new("ca", folder.path());
    Authority::new("stranger", folder.path());
    authority.sign("server", folder.path());
    authority.sign("client", folder.path());
    let file = |option: &str, name: &str| format!("--{option}={}", at(name).display());
    let arguments = vec![
        file("cert-file", "server.pem"),
        file("key-file", "server.key"),
        file("trusted-ca-file", "ca.pem"),
        "--client-cert-auth".into(),
    ];
    let Some(member) = etcd::Member::start_with("https", arguments).await else { return };
    let kv = |ca: &str, identity: bool| {
        let identity = identity.then(|| (at("client.pem"), at("client.key")));
        let tls = EtcdTls { ca: at(ca), identity, server_name: Some("etcd.test".into()) };
        let mut options = EtcdOptions { tls: Some(tls), ..EtcdOptions::new([member.url()]) };
        options.timeout = Duration::from_secs(2);
        Kv::Etcd(Etcd::new(options).unwrap())
    };
    for (wrong, what) in [(kv("stranger.pem", true), "another CA"), (kv("ca.pem", false), "no certificate")] {
        let result = wrong.get("/catchment/x").await;
        assert!(matches!(result, Err(KvError::Unavailable(_))), "{what}: {result:?}");
    }
    let missing = kv("nothing.pem", true).get("/catchment/x").await;
    assert!(
        matches!(&missing, Err(KvError::Refused(reason)) if reason.contains("nothing.pem")),
        "{missing:?}"
    );

    let kv = kv("ca.pem", true);
    let store = replica(&kv, "a").await;
    let learned = scope(1, 256, 5, 1);
    Node::join(&store, None).await.learned(&learned);
    until_stored(&kv, &learned).await;
    // A second client of the test's own, to see that it is TLS indeed.
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(std::fs::read(at("ca.pem")).unwrap()))
        .identity(Identity::from_pem(
            std::fs::read(at("client.pem")).unwrap(),
            std::fs::read(at("client.key")).unwrap(),
        ));
    let mut client =
        Client::connect([member.url()], Some(ConnectOptions::new().with_tls(tls))).await.unwrap();
    let prefix = etcd_client::GetOptions::new().with_prefix();
    assert!(client.get("/catchment/test/templates/", Some(prefix)).await.unwrap().count() == 1);
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let tls = || Some(EtcdTls { ca: "ca.pem".into(), ..EtcdTls::default() });
    let new =
        |endpoints: &[&str], tls| Etcd::new(EtcdOptions { tls, ..EtcdOptions::new(endpoints.to_vec()) });
    for (endpoints, tls) in
        [(&[][..], None), (&["https://a:2379"][..], None), (&["http://a:2379"][..], tls())]
    {
        assert!(matches!(new(endpoints, tls), Err(KvError::Refused(_))), "{endpoints:?}");
    }
    let away = begin(&Kv::Etcd(new(&["http://127.0.0.1:1"], None).unwrap()), options("a"));
    until("it is noticed", || away.counted().failed_calls > 0).await;
    assert!(!away.connection().borrow().loaded);
}
