//! `state.dir`: what the node knows of exporters, kept over a restart.
//!
//! ```text
//! lock                     held while a node uses the folder
//! exporters.state          the last whole file; see `file` for what is in it
//! exporters.state.new      the next one, until it is whole and on disk
//! exporters.state.damaged  a file that could not be used, for a person to look at; the last one stays
//! ```
//!
//! Invariants:
//! - `exporters.state` is whole at any moment: the next file is written beside it, synced, and put in its place by a rename, which
//!   is synced too. Whatever ends the process, the node finds the last one or the one before.
//! - A file is used whole or not at all. One that is damaged is set aside and the node starts without it.
//! - What is loaded is what somebody else said, for the store: the exporter's own word on the wire is later. It is not proven
//!   again until data has decoded by it, so that an old file tells nothing to the cluster.
//! - Workers are never waited for: a thread of its own writes snapshots, at most once in five seconds and for at most a twentieth
//!   of the time.

mod crc32c;
mod file;
mod save;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flow_decoder::{Refused, Share};

pub use self::file::{Damage, FileReader, FileWriter, Wrong};
pub use self::save::{SaveCounts, Saver, Saves};
use crate::flow::Known;
use crate::shared_scope::{self, Invalid, LARGEST, Trust};

const FILE: &str = "exporters.state";
const NEW: &str = "exporters.state.new";
const DAMAGED: &str = "exporters.state.damaged";
const LOCK: &str = "lock";

/// Scopes whose keys are held at a time while a file is written.
const PAGE: usize = 8192;

/// A folder that this process may keep state in.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held open for its lock.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be made, or nothing can be written there.
    #[error("cannot write in {}: {source}", .path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another process keeps its state there.
    #[error("{} is in use by another process", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// What loading a folder brought.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Scopes taken over.
    pub scopes: u64,
    /// Template definitions taken over.
    pub definitions: u64,
    /// Scopes of zones in which the node no longer listens.
    pub other_zones: u64,
    /// Scopes, definitions and options entries that were not taken over.
    pub refused: u64,
    /// Why the first of these was not.
    pub why: Option<String>,
    /// Why the file was set aside, if it was.
    pub damage: Option<Damage>,
}

impl StateDir {
    /// Makes the folder where there is none, and takes it for this process.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub fn open(path: &Path) -> Result<Self, Unusable> {
        let unwritable = |source| Unusable::Unwritable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritable)?;
        let lock = File::create(path.join(LOCK)).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Unusable::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        // What writes later will do: better refused now than found out then.
        File::create(path.join(NEW)).map_err(unwritable)?;
        fs::remove_file(path.join(NEW)).map_err(unwritable)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Takes over what an earlier process has left. A file that cannot be used is set aside.
    pub fn load(&self, known: &Known) -> Loaded {
        let path = self.path.join(FILE);
        let mut loaded = Loaded::default();
        let read = match each_scope(&path, |_| ()) {
            Ok(Present::No) => return loaded,
            Ok(Present::Yes) => each_scope(&path, |message| loaded.take(&message, known)),
            Err(damage) => Err(damage),
        };
        if let Err(damage) = read {
            let aside = self.path.join(DAMAGED);
            tracing::error!(
                file = %path.display(), offset = damage.offset, reason = %damage.what, aside = %aside.display(),
                "state file cannot be used: the node starts without it"
            );
            if let Err(error) = fs::rename(&path, &aside) {
                tracing::error!(file = %path.display(), %error, "cannot set the state file aside");
            }
            loaded.damage = Some(damage);
        }
        loaded
    }

    /// Writes what is known now; gives how many scopes that was.
    ///
    /// # Errors
    /// The operating system's. The file of before stays then.
    pub fn save(&self, known: &Known) -> io::Result<u64> {
        let new = self.path.join(NEW);
        let mut writer = FileWriter::begin(io::BufWriter::with_capacity(1 << 18, File::create(&new)?))?;
        let (mut scopes, mut after) = (0, None);
        loop {
            let keys = known.store.scope_keys(after.as_ref(), PAGE);
            for key in &keys {
                // Gone since the page was made, where there is nothing to export.
                let Some(scope) = known.store.export(key, Share::Everything) else { continue };
                for message in shared_scope::messages(key, &scope, &known.zones, LARGEST) {
                    writer.write(&message)?;
                }
                scopes += 1;
            }
            if keys.len() < PAGE {
                break;
            }
            after = keys.last().copied();
        }
        let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&new, self.path.join(FILE))?;
        File::open(&self.path)?.sync_all()?;
        Ok(scopes)
    }
}

enum Present {
    Yes,
    No,
}

/// Reads a file to its end.
fn each_scope(
    path: &Path,
    mut visit: impl FnMut(catchment_proto::cluster::v1::ScopeState),
) -> Result<Present, Damage> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::No),
        Err(error) => return Err(Damage { offset: 0, what: Wrong::Unreadable(error) }),
    };
    let mut reader = FileReader::begin(BufReader::with_capacity(1 << 18, file))?;
    while let Some(message) = reader.next_scope()? {
        visit(message);
    }
    Ok(Present::Yes)
}

impl Loaded {
    fn take(&mut self, message: &catchment_proto::cluster::v1::ScopeState, known: &Known) {
        let read = match shared_scope::read(message, &known.zones, Trust::Unproven) {
            Ok(read) => read,
            Err(Invalid::Zone(_)) => {
                self.other_zones += 1;
                return;
            }
            Err(why) => {
                self.refuse(1, || why.to_string());
                return;
            }
        };
        self.refuse(read.skipped as u64, || read.why.map(|why| why.to_string()).unwrap_or_default());
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let imported = known.store.import(&read.key, read.scope, now_ns);
        let why = || imported.refused.first().map(|(_, why): &(u16, Refused)| why.label().to_owned());
        self.refuse(imported.refused.len() as u64, || why().unwrap_or_default());
        let without_room = imported.options_left_out as u64;
        self.refuse(without_room, || "no room for names or sampling rates".to_owned());
        self.definitions += imported.changed as u64;
        self.scopes += 1;
    }

    fn refuse(&mut self, count: u64, why: impl FnOnce() -> String) {
        if count > 0 {
            self.refused += count;
            self.why.get_or_insert_with(why);
        }
    }

    /// Writes to the log what there is to say.
    pub fn log(&self) {
        let Self { scopes, definitions, other_zones, refused, .. } = *self;
        match &self.why {
            None => tracing::info!(scopes, definitions, other_zones, "state of exporters loaded"),
            Some(why) => {
                tracing::warn!(
                    scopes,
                    definitions,
                    other_zones,
                    refused,
                    why,
                    "state of exporters loaded in part"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
