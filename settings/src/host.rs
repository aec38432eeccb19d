//! What a configuration asks of the machine it is loaded on: its name, and files that other settings name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::names::{Label, Secret};
use crate::section::Reading;
use crate::value::Value;

/// The machine's name as a label, where it has one that can be.
pub fn host_name() -> Option<Label> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())?;
    Label::from_any(name.trim())
}

/// Reads a secret from the file that `KEY_file` names, where `key` is `KEY`; one line break at the end is not part of it.
pub fn secret_from_file(
    secret: &mut Option<Secret>,
    file: Option<&PathBuf>,
    key: &str,
    reading: &mut Reading,
) {
    let Some(file) = file else { return };
    let file_key = format!("{key}_file");
    if secret.is_some() {
        reading.conflict([&file_key, key], format!("set together with {key}; keep one"));
        return;
    }
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            match Secret::parse(text.strip_suffix('\r').unwrap_or(text)) {
                Ok(read) => *secret = Some(read),
                Err(_) => reading.conflict([&file_key, key], format!("{} holds no secret", file.display())),
            }
        }
        Err(error) => reading.conflict([&file_key, key], format!("cannot read {}: {error}", file.display())),
    }
}

/// Whether this process may read the file at `path`. A directory opens as well, but is no file.
///
/// # Errors
///
/// The operating system's reason.
pub fn check_readable(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}
