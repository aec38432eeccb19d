//! What a process takes of the machine, as Linux counts it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use loadtest::process_time;

/// Memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Octets now (`VmRSS`).
    pub now: u64,
    /// Octets at most until now (`VmHWM`).
    pub most: u64,
}

/// CPU time of a process since some moment.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock {
    pid: u32,
    began: Instant,
    before: Duration,
}

/// Memory of a running process.
///
/// # Errors
/// Where there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()).with_context(|| name.to_owned())?;
        Ok(number.parse::<u64>()? * 1024)
    };
    Ok(Memory { now: kib("VmRSS")?, most: kib("VmHWM")? })
}

impl CpuClock {
    /// Begins to count.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn start(pid: u32) -> Result<Self> {
        let before = process_time::of_process(pid).context("no such process")?;
        Ok(Self { pid, began: Instant::now(), before })
    }

    /// CPU time since then.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn used(&self) -> Result<Duration> {
        let now = process_time::of_process(self.pid).context("the process has ended")?;
        Ok(now - self.before)
    }

    /// The part of a core since then.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn share(&self) -> Result<f64> {
        Ok(self.used()?.as_secs_f64() / self.began.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.now > 1 << 20 && memory.most >= memory.now, "{memory:?}");
        let clock = CpuClock::start(std::process::id()).unwrap();
        assert!(clock.share().unwrap() >= 0.0);
    }
}
