//! Tells the program which commit it was built from: `CATCHMENT_COMMIT` where the builder says so, else git, else
//! "unknown" (a source archive).

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CATCHMENT_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var("CATCHMENT_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| {
        watch_head();
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    println!("cargo::rustc-env=CATCHMENT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// Has cargo run this again when another commit is checked out. A file that is named but missing would have it run every time.
fn watch_head() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// The output of a git command, if it worked and said something.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
