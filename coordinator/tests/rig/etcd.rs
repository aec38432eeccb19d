//! An etcd of a test's own, to be killed, wiped and restored; and a way to it that is slow or cut.
//!
//! The one that `CATCHMENT_TEST_ETCD` names is shared: tests there use a cluster name of their own. Where it is not set, these tests say
//! `etcd: NOT RUN`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use coordinator::kv::{Etcd, EtcdOptions, Kv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::DEADLINE;

/// The shared etcd, unless there is none.
pub fn shared() -> Option<Kv> {
    let Ok(url) = std::env::var("CATCHMENT_TEST_ETCD") else {
        println!("etcd: NOT RUN (CATCHMENT_TEST_ETCD is not set)");
        return None;
    };
    Some(Kv::Etcd(Etcd::new(EtcdOptions::new([url])).unwrap()))
}

/// A name for a cluster that no other test has.
pub fn cluster_name() -> String {
    format!("test-{:016x}", rand::random::<u64>())
}

/// The program, as `dev/services` finds it; none where etcd is not to be used.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        std::env::var_os("CATCHMENT_TEST_ETCD")?;
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/services");
        let output = Command::new(services).args(["fetch", "etcd"]).output().expect("dev/services");
        let path = String::from_utf8(output.stdout).expect("a path");
        Some(PathBuf::from(path.trim()))
    });
    if found.is_none() {
        println!("etcd: NOT RUN (CATCHMENT_TEST_ETCD is not set)");
    }
    found.as_deref()
}

/// One member, on a fixed port over all its lives.
pub struct Member {
    folder: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
    peer: u16,
    scheme: &'static str,
    arguments: Vec<String>,
}

impl Member {
    /// A fresh member, up; none where etcd is not to be used.
    pub async fn start() -> Option<Self> {
        Self::start_with("http", vec![]).await
    }

    /// One that takes these arguments as well.
    pub async fn start_with(scheme: &'static str, arguments: Vec<String>) -> Option<Self> {
        program()?;
        let (port, peer) = (free_port(), free_port());
        let folder = tempfile::tempdir().unwrap();
        let mut member = Self { folder, child: None, port, peer, scheme, arguments };
        member.up().await;
        Some(member)
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub fn kv(&self) -> Kv {
        Kv::Etcd(Etcd::new(EtcdOptions::new([self.url()])).unwrap())
    }

    /// A client for what only a test does.
    pub async fn client(&self) -> etcd_client::Client {
        etcd_client::Client::connect([self.url()], None).await.unwrap()
    }

    /// Starts it, and waits until it listens.
    pub async fn up(&mut self) {
        let client = self.url();
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(program().unwrap())
            .args(["--name=test", "--unsafe-no-fsync", &format!("--data-dir={}", self.data().display())])
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=test={peer}"),
            ])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let began = Instant::now();
        while tokio::net::TcpStream::connect(self.address()).await.is_err() {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < DEADLINE, "etcd did not start: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Copies what it has on disk, while it is down.
    pub fn backup(&self, name: &str) {
        assert!(self.child.is_none(), "the member is up");
        copy(&self.data(), &self.folder.path().join(name));
    }

    /// Puts a copy in the place of what it has on disk, while it is down.
    pub fn restore(&self, name: &str) {
        self.wipe();
        copy(&self.folder.path().join(name), &self.data());
    }

    /// Takes away what it has on disk, while it is down.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "the member is up");
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A way to a member that can be made slow, or cut without a word.
pub struct Way {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    open: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let open = watch::Sender::new(true);
        let (delay, gate) = (Arc::clone(&delay_ms), open.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = tokio::net::TcpStream::connect(target).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, Arc::clone(&delay), gate.subscribe()));
                tokio::spawn(pass(far_read, near_write, Arc::clone(&delay), gate.subscribe()));
            }
        });
        Self { address, delay_ms, open, task }
    }

    pub fn kv(&self) -> Kv {
        Kv::Etcd(Etcd::new(EtcdOptions::new([format!("http://{}", self.address)])).unwrap())
    }

    /// Each piece of data waits so long.
    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Nothing gets through, and nobody is told.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay_ms: Arc<AtomicU64>,
    mut open: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed))).await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
