//! A real etcd of a test's own, for what one must not do to the etcd that all tests share: kill it, start it again, take its
//! history or its whole store away, or give it an older one.
//!
//! Its ports stay the same while it is down. It does not outlive its [`Etcd`]; where the test itself is killed,
//! `dev/services` ends it, whose mark it inherits.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use etcd_client::{Client, CompactionOptions, ConnectOptions, DeleteOptions, GetOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::http;
use crate::services::{self, unused_port};
use crate::wait::until;

const ANSWER: Duration = Duration::from_secs(10);

/// One member, running or not, and a client of it.
#[derive(Debug)]
pub struct Etcd {
    folder: TempDir,
    program: PathBuf,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
    runtime: Runtime,
}

/// A copy of everything an etcd held at some time.
#[derive(Debug)]
pub struct Backup(TempDir);

/// A key, its value, and the revision that wrote it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// `mod_revision`.
    pub revision: i64,
}

impl Etcd {
    /// Starts an empty etcd and waits until it is healthy.
    ///
    /// # Errors
    /// Where it cannot be fetched, or is not healthy in time.
    pub fn start_empty() -> Result<Self> {
        let mut etcd = Self {
            folder: TempDir::new()?,
            program: services::fetch("etcd")?,
            client_port: unused_port()?,
            peer_port: unused_port()?,
            child: None,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        };
        etcd.start()?;
        Ok(etcd)
    }

    /// Starts it with what it holds, and waits until it is healthy.
    ///
    /// # Errors
    /// Where it ends instead, with what it said.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "etcd runs already");
        let log = self.folder.path().join("output.log");
        let (url, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer_port));
        let mut command = Command::new(&self.program);
        command.arg("--name=e2e").arg(format!("--data-dir={}", self.data().display()));
        command.args([
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=e2e={peer}"),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let child = self.child.insert(command.spawn().context("etcd does not start")?);
        let address = SocketAddr::from(([127, 0, 0, 1], self.client_port));
        until("etcd to be healthy", || {
            if let Some(status) = child.try_wait()? {
                bail!("etcd ended ({status}):\n{}", fs::read_to_string(&log)?);
            }
            let answer = http::get(address, "/health");
            Ok(match answer {
                Ok(answer) if answer.status == 200 && answer.body.contains("\"true\"") => Ok(()),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    /// Ends it without warning (SIGKILL).
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("etcd does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Has it stand still (SIGSTOP) until [`Etcd::go_on`]: it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Ends [`Etcd::freeze`].
    ///
    /// # Errors
    /// Where it does not run.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Takes its whole store away, killing it first where it runs.
    ///
    /// # Errors
    /// Where the store cannot be deleted.
    pub fn wipe(&mut self) -> Result<()> {
        if self.child.is_some() {
            self.kill()?;
        }
        fs::remove_dir_all(self.data()).context("deleting the store")
    }

    /// A copy of its store; it is stopped for it and goes on.
    ///
    /// # Errors
    /// Where it does not run, or cannot be copied.
    pub fn back_up(&mut self) -> Result<Backup> {
        self.kill()?;
        let backup = Backup(TempDir::new()?);
        copy(&self.data(), &backup.0.path().join("data"))?;
        self.start()?;
        Ok(backup)
    }

    /// Replaces its store by an older one, killing it first where it runs.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn restore(&mut self, backup: &Backup) -> Result<()> {
        self.wipe()?;
        copy(&backup.0.path().join("data"), &self.data())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.client_port))
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// The store's revision: it grows with each write.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn revision(&self) -> Result<i64> {
        self.with_client(async |mut client| {
            let answer = client.get("revision", None).await?;
            Ok(answer.header().context("an answer without a header")?.revision())
        })
    }

    /// All keys that begin so, in order.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn entries(&self, prefix: &str) -> Result<Vec<Entry>> {
        self.with_client(async |mut client| {
            let mut answer = client.get(prefix, Some(GetOptions::new().with_prefix())).await?;
            answer
                .take_kvs()
                .into_iter()
                .map(|found| {
                    let key = found.key_str()?.to_owned();
                    Ok(Entry { key, value: found.value().to_vec(), revision: found.mod_revision() })
                })
                .collect()
        })
    }

    /// Writes a key.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.with_client(async |mut client| {
            client.put(key, value, None).await?;
            Ok(())
        })
    }

    /// Deletes all keys that begin so; says how many there were.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn delete(&self, prefix: &str) -> Result<i64> {
        self.with_client(async |mut client| {
            Ok(client.delete(prefix, Some(DeleteOptions::new().with_prefix())).await?.deleted())
        })
    }

    /// Forgets the history before the present revision, so that nobody can watch from an older one.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn compact(&self) -> Result<()> {
        let revision = self.revision()?;
        self.with_client(async |mut client| {
            client.compact(revision, Some(CompactionOptions::new().with_physical())).await?;
            Ok(())
        })
    }

    fn with_client<T>(&self, ask: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
        self.runtime.block_on(async {
            let options = ConnectOptions::new().with_timeout(ANSWER).with_connect_timeout(ANSWER);
            ask(Client::connect([self.url()], Some(options)).await?).await
        })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("etcd does not run")?;
        Ok(kill(Pid::from_raw(child.id().cast_signed()), signal)?)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
