//! grpcurl, as people call it: built from its Go module into the cache of `dev/services`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::binaries::workspace;

/// The program.
///
/// # Errors
/// Where it is not in the cache and cannot be fetched.
fn program() -> Result<PathBuf> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = PROGRAM.get() {
        return Ok(path.clone());
    }
    let fetched = Command::new(workspace().join("dev/services")).args(["fetch", "grpcurl"]).output()?;
    ensure!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let path = String::from_utf8(fetched.stdout)?.trim().into();
    Ok(PROGRAM.get_or_init(|| path).clone())
}

/// What grpcurl prints.
///
/// # Errors
/// What it says where it fails.
pub fn run(arguments: &[&str]) -> Result<String> {
    // It waits for a server that is not there: tests do not.
    let output = Command::new(program()?).args(["-max-time", "20"]).args(arguments).output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("grpcurl {}: {out}{err}", arguments.join(" "));
    }
    Ok(out.into_owned())
}

/// The one message of an answer.
///
/// # Errors
/// As [`run`].
pub fn call(arguments: &[&str]) -> Result<Value> {
    let text = run(arguments)?;
    serde_json::from_str(&text).with_context(|| text.clone())
}
