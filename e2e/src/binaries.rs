//! The binaries under test: found beside the running test, built where they are missing or older than their sources.
//!
//! Cargo tells a test the paths of its own package's binaries only. A test of another package lies in
//! `TARGET/PROFILE/deps/`, the binaries in `TARGET/PROFILE/`, and beside each binary a dep-info file names its sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// One build at a time; cargo itself would only make the others wait with a message.
static BUILDING: Mutex<()> = Mutex::new(());

/// Folder of the running test's profile: `TARGET/debug`.
///
/// # Errors
///
/// Where the test does not lie where cargo puts tests.
pub fn profile_folder() -> Result<PathBuf> {
    let test = env::current_exe().context("the test's own path")?;
    let folder = test.parent().and_then(Path::parent).context("the test lies in no target folder")?;
    Ok(folder.to_owned())
}

/// The target folder.
///
/// # Errors
///
/// As [`profile_folder`].
pub fn target_folder() -> Result<PathBuf> {
    let profile = profile_folder()?;
    Ok(profile.parent().context("no target folder above the profile's")?.to_owned())
}

/// Root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Path of a binary of the workspace whose package has the same name, built where that is needed.
///
/// # Errors
///
/// Where it does not build.
pub fn binary(name: &str) -> Result<PathBuf> {
    let profile = profile_folder()?;
    let path = profile.join(name);
    let _alone = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !is_fresh(&path) {
        build(name, &profile)?;
    }
    Ok(path)
}

/// Whether the binary is there and no source of it is newer.
fn is_fresh(binary: &Path) -> bool {
    let Some(built) = modified(binary) else { return false };
    let Ok(dep_info) = fs::read_to_string(binary.with_extension("d")) else { return false };
    let sources = dep_info.split_once(": ").map_or("", |(_, sources)| sources);
    sources.split_whitespace().all(|source| modified(Path::new(source)).is_some_and(|time| time <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn build(name: &str, profile: &Path) -> Result<()> {
    let folder = profile.file_name().and_then(|name| name.to_str()).context("profile folder has no name")?;
    let profile_name = if folder == "debug" { "dev" } else { folder };
    let target = profile.parent().context("no target folder above the profile's")?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--package", name, "--bin", name, "--profile", profile_name])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace())
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "cargo build --package {name}: {status}");
    Ok(())
}
