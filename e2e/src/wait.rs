//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything that the tests wait for may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Looks until `look` finds something; gives up after [`PATIENCE`].
///
/// # Errors
/// What `look` said last (`Ok(Err(why))` is "not yet"), or at once what it failed with.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look()? {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() >= deadline => {
                bail!("waited {PATIENCE:?} in vain for {what}: {why}")
            }
            Err(_) => thread::park_timeout(POLL),
        }
    }
}
