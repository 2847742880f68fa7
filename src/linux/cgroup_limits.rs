//! Limits and weights, written through cgroups-rs into either kind of hierarchy.

use std::fs;
use std::path::Path;

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;

use crate::config::plan::Resources;

/// The controllers that we set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Memory limit and protection.
    Memory,
    /// CPU quota and weight.
    Cpu,
    /// Number of processes and threads.
    Pids,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];

    /// Its name in `cgroup.controllers` and in the options of a v1 mount.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Pids => "pids",
        }
    }

    /// Whether `resources` ask for something that it does.
    pub fn is_needed(self, resources: &Resources) -> bool {
        let (requests, limits) = (&resources.requests, &resources.limits);
        match self {
            Controller::Memory => limits.memory.is_some() || requests.memory.is_some(),
            Controller::Cpu => limits.cpu_millis.is_some() || requests.cpu_millis.is_some(),
            Controller::Pids => limits.pids.is_some(),
        }
    }

    /// Writes what `resources` ask of it into the cgroup at `path`. In the error: the file and
    /// the system's reason, in cgroups-rs' words.
    pub fn apply(self, path: &Path, unified: bool, resources: &Resources) -> Result<(), String> {
        let place = || (path.to_owned(), path.to_owned());
        let (requests, limits) = (&resources.requests, &resources.limits);
        let result = match self {
            Controller::Memory => {
                let (path, base) = place();
                let memory = MemController::new(path, base, unified);
                let limit = limits.memory.map_or(Ok(()), |bytes| memory.set_limit(signed(bytes)));
                limit.and_then(|()| {
                    requests.memory.map_or(Ok(()), |bytes| memory.set_soft_limit(signed(bytes)))
                })
            }
            Controller::Cpu => {
                let (path, base) = place();
                let cpu = CpuController::new(path, base, unified);
                let quota = limits.cpu_millis.map_or(Ok(()), |millis| {
                    cpu.set_cfs_quota_and_period(Some(quota_micros(millis)), Some(PERIOD_MICROS))
                });
                quota.and_then(|()| {
                    let shares = requests.cpu_millis.map(shares);
                    let weight = shares.map(|shares| if unified { weight(shares) } else { shares });
                    weight.map_or(Ok(()), |weight| cpu.set_shares(weight))
                })
            }
            Controller::Pids => {
                let (path, base) = place();
                let pids = PidController::new(path, base, unified);
                limits.pids.map_or(Ok(()), |most| pids.set_pid_max(MaxValue::Value(signed(most))))
            }
        };
        result.map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }
}

/// Has the OOM killer take all processes of the cgroup at `path` together, as Kubernetes does: what
/// is left of a container after one of its processes was killed is of little use. Unified
/// hierarchy only; Linux 4.19, before that it takes one of them.
pub fn kill_together(path: &Path) {
    // Not `fs::write`: that would make a file where there is none.
    let file = fs::OpenOptions::new().write(true).open(path.join("memory.oom.group"));
    let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, b"1"));
}

/// Whether the OOM killer took a process of the cgroup at `path` or below it since it was made, for
/// whichever limit: `oom_kill` in `memory.events` (unified), in `memory.oom_control` (v1, Linux
/// 4.13). Those below are looked at, too: in v1, and with the mount option `memory_localevents`,
/// each counts for itself.
pub fn had_oom_kill(path: &Path, unified: bool) -> bool {
    let file = path.join(if unified { "memory.events" } else { "memory.oom_control" });
    if fs::read_to_string(file).is_ok_and(|text| oom_kills(&text) > 0) {
        return true;
    }
    let Ok(entries) = fs::read_dir(path) else { return false };
    let mut below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.any(|entry| had_oom_kill(&entry.path(), unified))
}

fn oom_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Length of the period in which a quota is spent; the kernel's and Kubernetes' default.
const PERIOD_MICROS: u64 = 100_000;

/// The quota of a period for so many thousandths of a CPU; the kernel takes no less than 1 ms.
fn quota_micros(millis: u64) -> i64 {
    signed(millis.saturating_mul(PERIOD_MICROS / 1000).max(1000))
}

/// Kubernetes' conversion of thousandths of a CPU to `cpu.shares` (2 to 262144).
fn shares(millis: u64) -> u64 {
    (millis.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// Kubernetes' conversion of `cpu.shares` to `cpu.weight` (1 to 10000).
fn weight(shares: u64) -> u64 {
    1 + shares.saturating_sub(2) * 9999 / 262_142
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_kills_are_found_in_either_kind_of_file() {
        for (text, expected) in [
            ("low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n", 3),
            ("low 0\nhigh 0\nmax 31\noom 0\noom_kill 0\noom_group_kill 0\n", 0),
            ("oom_kill_disable 1\nunder_oom 0\noom_kill 1\n", 1),
            // Linux before 4.13.
            ("oom_kill_disable 1\nunder_oom 1\n", 0),
            ("", 0),
        ] {
            assert_eq!(oom_kills(text), expected, "{text}");
        }
    }

    #[test]
    fn an_oom_kill_below_counts() {
        let directory = tempfile::tempdir().unwrap();
        let payload = directory.path().join("payload");
        fs::create_dir(&payload).unwrap();
        fs::write(directory.path().join("memory.oom_control"), "oom_kill 0\n").unwrap();
        fs::write(payload.join("memory.oom_control"), "oom_kill 1\n").unwrap();
        assert!(had_oom_kill(directory.path(), false));
        assert!(!had_oom_kill(directory.path(), true));
        kill_together(directory.path());
        assert!(!directory.path().join("memory.oom.group").exists());
    }

    #[test]
    fn cpu_is_converted_as_by_the_kubelet() {
        for (millis, expected_shares, expected_weight, quota) in [
            (1, 2, 1, 1000),
            (100, 102, 4, 10_000),
            (500, 512, 20, 50_000),
            (1000, 1024, 39, 100_000),
            (4000, 4096, 157, 400_000),
            (1_000_000, 262_144, 10_000, 100_000_000),
        ] {
            assert_eq!(shares(millis), expected_shares);
            assert_eq!(weight(shares(millis)), expected_weight);
            assert_eq!(quota_micros(millis), quota);
        }
    }
}
