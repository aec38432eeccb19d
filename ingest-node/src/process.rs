//! What the process itself uses.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// CPU time of all threads since the process started, in user and system mode.
pub fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| {
            let (seconds, micros) = (time.tv_sec().max(0).cast_unsigned(), time.tv_usec().max(0));
            Duration::from_secs(seconds) + Duration::from_micros(micros.cast_unsigned())
        })
        .sum()
}

/// Resident memory in octets; 0 where the system does not say (`/proc/self/statm`, second number, in pages).
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    pages * page.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_grows_with_use() {
        let (cpu, memory) = (cpu_time(), resident_bytes());
        let mut touched = vec![1_u8; 32 << 20];
        while cpu_time() <= cpu {
            touched.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        assert!(resident_bytes() >= memory + (16 << 20), "{memory}, then {}", resident_bytes());
        assert!(touched.contains(&touched[7]));
    }
}
