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
                    // Without a request the least, as in Kubernetes: the kernel's default would be
                    // more than what one gets that has requested less than a CPU.
                    let shares = shares(requests.cpu_millis.unwrap_or(0));
                    cpu.set_shares(if unified { weight(shares) } else { shares })
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

/// The conversion of `cpu.shares` to `cpu.weight` (1 to 10000) that containers get in Kubernetes,
/// by runc from 1.3.2 and crun from 1.23 on. A curve through the two least, the two greatest and
/// the two default values (1024, 100): the straight line of before made so little of a small
/// request that its share could not be told from none.
fn weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            // 10^((log² + 125 log) / 612 - 7 / 34), rounded up, where log is that to base 2. Without
            // floating point, as those functions cost more of the program than all limits together.
            let log = log2(shares);
            // With 20 digits, so that the square of 18 fits.
            let square = ((log >> 10) * (log >> 10)) >> 10;
            let exponent = (square + 125 * log) / 612;
            let exponent = exponent.saturating_sub(7 * ONE / 34);
            ceil(exp2(exponent * LOG2_OF_10 / ONE))
        }
    }
}

/// 1 as a number with 30 binary digits behind the point, as the following are.
const ONE: u64 = 1 << 30;

/// The logarithm of 10 to base 2.
const LOG2_OF_10: u64 = 3_566_893_131;

/// The powers of 2 whose exponents are 1/2, 1/4 and so on.
const ROOTS_OF_2: [u64; 24] = roots_of_2();

#[expect(clippy::indexing_slicing, reason = "done by the compiler, and it stands above")]
const fn roots_of_2() -> [u64; 24] {
    let mut roots = [0; 24];
    // With 60 digits, so that the root of it has 30.
    let mut square: u64 = 2 << 60;
    let mut at = 0;
    while at < roots.len() {
        // Bit by bit from above.
        let (mut root, mut bit) = (0_u64, ONE << 1);
        while bit > 0 {
            if (root | bit) * (root | bit) <= square {
                root |= bit;
            }
            bit >>= 1;
        }
        roots[at] = root;
        square = root << 30;
        at += 1;
    }
    roots
}

/// The logarithm of a whole number from 1 to 2^31 to base 2.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let mut rest = (number << 30) >> whole;
    let mut digits = u64::from(whole);
    for _ in 0..30 {
        rest = rest * rest / ONE;
        let doubled = u64::from(rest >= 2 * ONE);
        rest >>= doubled;
        digits = digits << 1 | doubled;
    }
    digits
}

/// 2 to the power of `exponent`, from 1 to 2^31.
fn exp2(exponent: u64) -> u64 {
    let mut power = ONE;
    for (position, root) in ROOTS_OF_2.iter().enumerate() {
        if exponent >> (29 - position) & 1 == 1 {
            power = power * root / ONE;
        }
    }
    power << (exponent / ONE)
}

/// The next whole number; what is no more than the inexactness above one is that one.
fn ceil(number: u64) -> u64 {
    const INEXACTNESS: u64 = ONE >> 12;
    number.saturating_sub(INEXACTNESS) / ONE + 1
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
    fn weights_are_those_of_the_curve() {
        for shares in 3..262_144_u32 {
            let log = f64::from(shares).log2();
            let exact = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
            let weight = f64::from(u32::try_from(weight(u64::from(shares))).unwrap());
            // The next whole number, but for what lies within the inexactness of one.
            assert!(weight - exact > -0.002 && weight - exact < 1.0, "{shares}: {weight} for {exact}");
        }
    }

    #[test]
    fn requests_are_written_in_the_words_of_either_kind() {
        use crate::config::plan::{Limits, Requests};
        let all = Resources {
            requests: Requests { memory: Some(4096), cpu_millis: Some(500) },
            limits: Limits::default(),
        };
        for (resources, unified, expected) in [
            (all, true, [("memory.low", "4096"), ("cpu.weight", "59")]),
            (all, false, [("memory.soft_limit_in_bytes", "4096"), ("cpu.shares", "512")]),
            (Resources::default(), true, [("memory.low", ""), ("cpu.weight", "1")]),
            (Resources::default(), false, [("memory.soft_limit_in_bytes", ""), ("cpu.shares", "2")]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            for (file, _) in expected {
                fs::write(directory.path().join(file), "").unwrap();
            }
            for controller in [Controller::Memory, Controller::Cpu] {
                controller.apply(directory.path(), unified, &resources).unwrap();
            }
            for (file, text) in expected {
                assert_eq!(fs::read_to_string(directory.path().join(file)).unwrap(), text, "{file}");
            }
        }
    }

    #[test]
    fn cpu_is_converted_as_by_the_kubelet() {
        for (millis, expected_shares, expected_weight, quota) in [
            (0, 2, 1, 1000),
            (1, 2, 1, 1000),
            (100, 102, 17, 10_000),
            (250, 256, 35, 25_000),
            (500, 512, 59, 50_000),
            (1000, 1024, 100, 100_000),
            (4000, 4096, 303, 400_000),
            (1_000_000, 262_144, 10_000, 100_000_000),
        ] {
            assert_eq!(shares(millis), expected_shares);
            assert_eq!(weight(shares(millis)), expected_weight);
            assert_eq!(quota_micros(millis), quota);
        }
    }
}
