//! What coordinators need of a store: a flat space of keys with revisions, as etcd has it.
//!
//! Each change of any key raises the store's revision by one; a value carries the revision of its last change. Writes are
//! compare-and-swap on that revision. Keys may hang on a lease and go with it. A watch gives all changes from a revision on, in order.
//! [`Memory`] and [`Etcd`] hold the same contract, and the same tests hold them to it. Nothing here retries: a call ends within its
//! time-out, a watch that breaks says so and is over. [`crate::reflector`] and [`crate::lease`] begin anew.

mod etcd;
mod memory;

use std::time::Duration;

pub use self::etcd::{Etcd, EtcdOptions, EtcdTls, EtcdWatch};
pub use self::memory::{Backup, Memory, MemoryWatch};

/// Changes in one call, at most (etcd takes 128 operations in a transaction).
pub const MAX_CHANGES: usize = 100;
/// Octets of the values of one call, at most (etcd takes 1.5 MiB).
pub const MAX_CALL_BYTES: usize = 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// The store did not answer in time, or cannot be reached; the change may have happened nevertheless.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The revision that is asked for is gone.
    #[error("the store's history before revision {0} is compacted")]
    Compacted(i64),
    /// The lease has ended.
    #[error("the lease has ended")]
    LeaseGone,
    /// The store refuses these credentials.
    #[error("the store refuses access: {0}")]
    Denied(String),
    /// The store refuses for another reason.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// What would be read is too large for one answer.
    #[error("an answer is too large")]
    TooLarge,
}

/// Which history an answer is of, and how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The store's revision.
    pub revision: i64,
    /// Raft's term; never falls in one history.
    pub term: u64,
    /// The cluster's id.
    pub cluster: u64,
}

impl Moment {
    /// Whether `later` cannot be of the same history: the store was restored from a backup, or is another one.
    pub fn contradicts(self, later: Self) -> bool {
        self.revision > later.revision || self.term > later.term || self.cluster != later.cluster
    }
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(pub i64);

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Revision of its last change.
    pub revision: i64,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// In order of the keys.
    pub pairs: Vec<Pair>,
    /// Whether there are more.
    pub more: bool,
    /// The moment of the answer: the revision is the store's now, not the one that was asked for.
    pub moment: Moment,
}

/// What must hold for a change to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// There is no such key.
    Absent,
    /// The key's last change was at this revision.
    Revision(i64),
}

impl Expect {
    /// That the key is as it was when last seen; 0: not there.
    pub fn last_seen(revision: i64) -> Self {
        if revision == 0 { Self::Absent } else { Self::Revision(revision) }
    }
}

/// What is done to a key.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sets it.
    Put {
        /// The value.
        value: Vec<u8>,
        /// What it hangs on.
        lease: Option<Lease>,
    },
    /// Takes it away.
    Delete,
}

/// A change of one key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What must hold.
    pub expect: Expect,
    /// What is done.
    pub action: Action,
}

impl Change {
    /// Sets a key.
    pub fn put(key: String, expect: Expect, value: Vec<u8>) -> Self {
        Self { key, expect, action: Action::Put { value, lease: None } }
    }

    /// Takes a key away.
    pub fn delete(key: String, expect: Expect) -> Self {
        Self { key, expect, action: Action::Delete }
    }

    /// Hangs the value on a lease.
    #[must_use]
    pub fn under(mut self, on: Lease) -> Self {
        if let Action::Put { lease, .. } = &mut self.action {
            *lease = Some(on);
        }
        self
    }

    /// Octets, roughly.
    pub fn bytes(&self) -> usize {
        let value = if let Action::Put { value, .. } = &self.action { value.len() } else { 0 };
        self.key.len() + value + 64
    }
}

/// What became of changes.
#[derive(Debug)]
pub struct Applied {
    /// Which of them happened, in their order.
    pub done: Vec<bool>,
    /// The moment after.
    pub moment: Moment,
}

/// A change that a watch tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was set.
    Put(Pair),
    /// A key was taken away, at this revision.
    Delete(Vec<u8>, i64),
}

/// Changes that a watch tells of.
#[derive(Debug)]
pub struct Events {
    /// In order; none: a note that all up to `moment` was told.
    pub events: Vec<Event>,
    /// How far the store is known.
    pub moment: Moment,
}

/// A store.
#[derive(Clone, Debug)]
pub enum Kv {
    /// In this process: what `store: memory` means.
    Memory(Memory),
    /// etcd: what `store: etcd` means.
    Etcd(Etcd),
}

/// Changes from a revision on.
#[derive(Debug)]
pub enum Watch {
    /// Of [`Kv::Memory`].
    Memory(MemoryWatch),
    /// Of [`Kv::Etcd`].
    Etcd(Box<EtcdWatch>),
}

impl Kv {
    /// `etcd` or `memory`, as configuration and people name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Etcd(_) => "etcd",
        }
    }

    /// One key.
    pub async fn get(&self, key: &str) -> Result<(Option<Pair>, Moment), KvError> {
        match self {
            Self::Memory(memory) => memory.get(key),
            Self::Etcd(etcd) => etcd.get(key).await,
        }
    }

    /// At most `limit` keys below `prefix`, after the key `after`, as they were at `revision` (0: now).
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&[u8]>,
        limit: usize,
        revision: i64,
    ) -> Result<Page, KvError> {
        match self {
            Self::Memory(memory) => memory.list(prefix, after, limit, revision),
            Self::Etcd(etcd) => etcd.list(prefix, after, limit, revision).await,
        }
    }

    /// Up to [`MAX_CHANGES`] changes of different keys, each for itself: one whose expectation does not hold does not keep back
    /// the others. What happens, happens at one revision.
    pub async fn change_each(&self, changes: Vec<Change>) -> Result<Applied, KvError> {
        debug_assert!(changes.len() <= MAX_CHANGES);
        match self {
            Self::Memory(memory) => memory.change_each(changes),
            Self::Etcd(etcd) => etcd.change_each(&changes).await,
        }
    }

    /// Up to [`MAX_CHANGES`] changes of different keys, all or none.
    pub async fn change_all(&self, changes: Vec<Change>) -> Result<(bool, Moment), KvError> {
        debug_assert!(changes.len() <= MAX_CHANGES);
        match self {
            Self::Memory(memory) => memory.change_all(changes),
            Self::Etcd(etcd) => etcd.change_all(&changes).await,
        }
    }

    /// A lease that ends `ttl` after it was last kept alive.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, KvError> {
        match self {
            Self::Memory(memory) => Ok(memory.grant(ttl)),
            Self::Etcd(etcd) => etcd.grant(ttl).await,
        }
    }

    /// Keeps a lease alive.
    pub async fn keep_alive(&self, lease: Lease) -> Result<(), KvError> {
        match self {
            Self::Memory(memory) => memory.keep_alive(lease),
            Self::Etcd(etcd) => etcd.keep_alive(lease).await,
        }
    }

    /// Ends a lease, and takes away what hangs on it.
    pub async fn revoke(&self, lease: Lease) -> Result<(), KvError> {
        match self {
            Self::Memory(memory) => {
                memory.revoke(lease);
                Ok(())
            }
            Self::Etcd(etcd) => etcd.revoke(lease).await,
        }
    }

    /// All changes below `prefix` from `revision` on (inclusive).
    pub async fn watch(&self, prefix: &str, revision: i64) -> Result<Watch, KvError> {
        match self {
            Self::Memory(memory) => Ok(Watch::Memory(memory.watch(prefix, revision)?)),
            Self::Etcd(etcd) => Ok(Watch::Etcd(Box::new(etcd.watch(prefix, revision).await?))),
        }
    }
}

impl Watch {
    /// What comes next. After an error the watch is over. Nothing is lost where the call is dropped before it ends.
    pub async fn next(&mut self) -> Result<Events, KvError> {
        match self {
            Self::Memory(watch) => watch.next().await,
            Self::Etcd(watch) => watch.next().await,
        }
    }
}
