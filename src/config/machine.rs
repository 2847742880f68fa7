//! Reading the machine file.

use core::time::Duration;
use std::path::PathBuf;

use super::admission::{read_capacity, read_reserved};
use super::boot::{
    SHUTDOWN_TIMEOUT, read_boot, read_file_systems, read_rescue, read_shutdown, read_watchdog,
};
use super::plan::{Backoff, Boot, Capacity, CgroupPolicy, LogDestination, Machine};
use super::problem::ProblemList;
use super::reader::{Field, Table, TableKind};
use super::value::INSTANT_MIN;
use crate::limits::{CONTAINERS_MAX, LIST_MAX};

pub(super) const MACHINE: TableKind = TableKind {
    name: "the machine file",
    keys: &[
        "runtime",
        "runtime-timeout",
        "cgroup-root",
        "cgroups",
        "state-directory",
        "restart-backoff",
        "log-destination",
        "pods",
        "boot",
        "mounts",
        "watchdog",
        "shutdown",
        "rescue",
        "capacity",
        "reserved",
        "start-spread",
        "single-process-oom-kill",
    ],
};
pub(super) const RESTART_BACKOFF: TableKind =
    TableKind { name: "`restart-backoff`", keys: &["initial", "max", "reset", "jitter"] };

/// Kubernetes' pauses (Pod Lifecycle, "Container restarts").
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(10),
    max: Duration::from_secs(300),
    reset: Duration::from_secs(600),
    jitter: 0,
};

/// The machine, and the pauses that its pods use unless they say otherwise.
pub(super) struct MachineFile {
    pub(super) machine: Machine,
    /// `None` where the file has no pauses that make sense.
    pub(super) restart_backoff: Option<Backoff>,
    /// Whether nothing of it is unknown because it could not be read.
    pub(super) is_complete: bool,
}

impl Default for MachineFile {
    fn default() -> MachineFile {
        MachineFile {
            machine: Machine {
                runtime: None,
                runtime_timeout: Duration::from_secs(30),
                cgroup_root: None,
                cgroups: CgroupPolicy::Required,
                state_directory: PathBuf::from("/run/outrigger"),
                log_destination: LogDestination::Terminal,
                pods: vec![PathBuf::from("/etc/outrigger/pods")],
                shutdown_timeout: SHUTDOWN_TIMEOUT,
                boot: Boot::default(),
                file_systems: Vec::new(),
                watchdog: None,
                rescue: None,
                start_spread: None,
                capacity: Capacity::default(),
                reserved: Capacity::default(),
                single_process_oom_kill: false,
            },
            restart_backoff: Some(BACKOFF),
            is_complete: true,
        }
    }
}

pub(super) fn read_machine(mut table: Table<'_>, problems: &mut ProblemList<'_>) -> MachineFile {
    let before = problems.count();
    let mut file = MachineFile::default();
    let machine = &mut file.machine;
    machine.runtime = table.take("runtime").and_then(|field| read_runtime(field, problems));
    if let Some(timeout) =
        table.take("runtime-timeout").and_then(|field| field.duration(INSTANT_MIN, problems))
    {
        machine.runtime_timeout = timeout;
    }
    machine.cgroup_root = table.take("cgroup-root").and_then(|field| read_cgroup_root(field, problems));
    let policies = [("required", CgroupPolicy::Required), ("best-effort", CgroupPolicy::BestEffort)];
    if let Some(policy) = table.take("cgroups").and_then(|field| field.choice(&policies, problems)) {
        machine.cgroups = policy;
    }
    if let Some(directory) = table.take("state-directory").and_then(|field| field.host_path(problems)) {
        machine.state_directory = PathBuf::from(directory);
    }
    file.restart_backoff = match table.take("restart-backoff") {
        Some(field) => read_backoff(field, Some(BACKOFF), problems),
        None => Some(BACKOFF),
    };
    let destinations = [("terminal", LogDestination::Terminal), ("files", LogDestination::Files)];
    if let Some(destination) =
        table.take("log-destination").and_then(|field| field.choice(&destinations, problems))
    {
        machine.log_destination = destination;
    }
    if let Some(pods) = table.take("pods").map(|field| read_pod_paths(field, problems)) {
        machine.pods = pods;
    }
    // First: others fall back to it.
    machine.rescue = table.take("rescue").and_then(|field| read_rescue(field, problems));
    if let Some(field) = table.take("boot") {
        machine.boot = read_boot(field, machine.rescue.is_some(), problems);
    }
    if let Some(field) = table.take("mounts") {
        machine.file_systems = read_file_systems(field, problems);
    }
    machine.watchdog = table.take("watchdog").and_then(|field| read_watchdog(field, problems));
    let containers_max = u32::try_from(CONTAINERS_MAX).unwrap_or(u32::MAX);
    machine.start_spread = table
        .take("start-spread")
        .and_then(|field| field.integer(1, containers_max, problems))
        .and_then(|count| usize::try_from(count).ok());
    machine.shutdown_timeout = read_shutdown(table.take("shutdown"), problems);
    machine.capacity = read_capacity(table.take("capacity"), problems);
    machine.reserved = read_reserved(table.take("reserved"), &machine.capacity, problems);
    machine.single_process_oom_kill =
        table.take("single-process-oom-kill").and_then(|field| field.boolean(problems)).unwrap_or(false);
    table.finish(problems);
    file.is_complete = problems.count() == before;
    file
}

/// Reads `restart-backoff` over the pauses that hold where it says nothing.
///
/// `None` if it, or what it builds on, makes no sense; then nothing else can be said about it.
pub(super) fn read_backoff(
    field: Field<'_>,
    base: Option<Backoff>,
    problems: &mut ProblemList<'_>,
) -> Option<Backoff> {
    let before = problems.count();
    let mut table = field.table(RESTART_BACKOFF, problems)?;
    let mut duration = |key, min| {
        let field = table.take(key)?;
        Some((field.duration(min, problems)?, field.at()))
    };
    let initial = duration("initial", Duration::ZERO);
    let max = duration("max", Duration::ZERO);
    let reset = duration("reset", INSTANT_MIN);
    let jitter = table.take("jitter").and_then(|field| field.fraction(problems));
    table.finish(problems);
    if problems.count() > before {
        return None;
    }
    // A longest pause that is written here goes before a first one that is not (Kubernetes:
    // KubeletCrashLoopBackOffMax).
    let shortest = |base: Duration| max.as_ref().map_or(base, |(max, _)| base.min(*max));
    let merged = Backoff {
        initial: initial.as_ref().map(|(value, _)| *value).or(base.map(|base| shortest(base.initial)))?,
        max: max.as_ref().map(|(value, _)| *value).or(base.map(|base| base.max))?,
        reset: reset.map(|(value, _)| value).or(base.map(|base| base.reset))?,
        jitter: jitter.or(base.map(|base| base.jitter))?,
    };
    if merged.max < merged.initial {
        let at = max.or(initial).map_or(field.at(), |(_, at)| at);
        let message = format!(
            "the longest pause ({}) is shorter than the first ({})",
            super::write_duration(merged.max),
            super::write_duration(merged.initial)
        );
        problems.add(&at, message, "pauses only grow", "raise `max` or lower `initial`");
        return None;
    }
    Some(merged)
}

fn read_pod_paths(field: Field<'_>, problems: &mut ProblemList<'_>) -> Vec<PathBuf> {
    const HELP: &str = "write a list of pod files, or directories of such: [\"/etc/outrigger/pods\"]";
    let entries = field.list(LIST_MAX, problems, HELP);
    if entries.is_empty() && field.value.get_ref().is_array() {
        field.refuse(problems, "is empty", "nothing to run", HELP);
    }
    entries.iter().filter_map(|entry| entry.host_path(problems).map(PathBuf::from)).collect()
}

/// A name without a slash is looked up in PATH; anything else must be found from the root.
fn read_runtime(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    const HELP: &str = "write a name that PATH has (\"crun\") or an absolute path (\"/usr/bin/crun\")";
    let runtime = field.string(problems, HELP)?;
    if runtime.is_empty() || (runtime.contains('/') && !runtime.starts_with('/')) {
        field.refuse(problems, "must be a name or an absolute path", "neither of the two", HELP);
        return None;
    }
    Some(runtime.to_owned())
}

/// Our cgroup is made below the hierarchy's root and removed with what is in it, so it may be
/// neither the root nor anything that leads out.
fn read_cgroup_root(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    const HELP: &str = "write a path below the root of the cgroup hierarchy, \"/outrigger\", without `.`, \
                        `..`, `//` and a slash at the end";
    let path = field.host_path(problems)?;
    let mut parts = path.split('/').skip(1);
    if !parts.all(|part| !matches!(part, "" | "." | "..")) {
        field.refuse(problems, "must be a normalised path below `/`", "not possible for a cgroup", HELP);
        return None;
    }
    Some(path.to_owned())
}
