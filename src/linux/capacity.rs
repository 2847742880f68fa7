//! What this machine has.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::config::plan::Capacity;

/// Memory that the kernel can use, and processors that are online. `None` where it does not tell.
pub fn find() -> Capacity {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let online = online.and_then(|count| u64::try_from(count).ok()).filter(|&count| count > 0);
    Capacity { memory, cpu_millis: online.map(|count| count.saturating_mul(1000)) }
}

/// `MemTotal` of proc_meminfo(5), in bytes.
fn total_memory(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_among_the_others() {
        let text = "MemTotal:         500736 kB\nMemFree:           12345 kB\n";
        assert_eq!(total_memory(text), Some(500_736 * 1024));
        for text in ["", "MemFree: 1 kB\n", "MemTotal: 1\n", "MemTotal: many kB\n"] {
            assert_eq!(total_memory(text), None, "{text}");
        }
    }

    #[test]
    fn this_machine_has_something() {
        let found = find();
        assert!(found.memory > Some(1 << 20) && found.cpu_millis >= Some(1000), "{found:?}");
    }
}
