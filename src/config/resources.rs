//! Requests and limits: reading them, and what they add up to for a pod.

use core::ops::Range;

use super::plan::{Container, Limits, Requests, Resources, Role};
use super::problem::{ProblemList, quote};
use super::quantity::{write_cpu, write_memory};
use super::reader::{Field, TableKind};

pub(super) const RESOURCES: TableKind = TableKind { name: "`resources`", keys: &["requests", "limits"] };
pub(super) const REQUESTS: TableKind = TableKind { name: "`requests`", keys: &["memory", "cpu"] };
pub(super) const LIMITS: TableKind = TableKind { name: "`limits`", keys: &["memory", "cpu", "pids"] };

/// Most processes that Linux can have (`PID_MAX_LIMIT`, proc(5)).
const PIDS_MAX: u32 = 4_194_304;

/// What a `resources` table says, with the places where it says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    requests: Amounts,
    limits: Amounts,
}

#[derive(Clone, Debug, Default)]
struct Amounts {
    memory: Option<Amount>,
    cpu: Option<Amount>,
    pids: Option<Amount>,
}

#[derive(Clone, Debug)]
struct Amount {
    value: u64,
    at: Range<usize>,
}

/// One of the things that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Cpu,
    Pids,
}

const KINDS: [Kind; 3] = [Kind::Memory, Kind::Cpu, Kind::Pids];

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Kind::Memory => "memory",
            Kind::Cpu => "cpu",
            Kind::Pids => "pids",
        }
    }

    /// As it would stand in a file.
    fn write(self, amount: u64) -> String {
        match self {
            Kind::Memory => format!("\"{}\"", write_memory(amount)),
            Kind::Cpu => format!("\"{}\"", write_cpu(amount)),
            Kind::Pids => amount.to_string(),
        }
    }

    fn request(self, resources: &Resources) -> Option<u64> {
        match self {
            Kind::Memory => resources.requests.memory,
            Kind::Cpu => resources.requests.cpu_millis,
            // The kernel has no reserve of processes.
            Kind::Pids => None,
        }
    }

    fn limit(self, resources: &Resources) -> Option<u64> {
        match self {
            Kind::Memory => resources.limits.memory,
            Kind::Cpu => resources.limits.cpu_millis,
            Kind::Pids => resources.limits.pids,
        }
    }
}

impl Amounts {
    fn get(&self, kind: Kind) -> Option<&Amount> {
        match kind {
            Kind::Memory => self.memory.as_ref(),
            Kind::Cpu => self.cpu.as_ref(),
            Kind::Pids => self.pids.as_ref(),
        }
    }

    fn value(&self, kind: Kind) -> Option<u64> {
        self.get(kind).map(|amount| amount.value)
    }
}

impl Written {
    /// A container's resources: a missing request is the limit (Kubernetes, defaults).
    pub(super) fn of_container(&self) -> Resources {
        let request = |kind| self.requests.value(kind).or(self.limits.value(kind));
        Resources {
            requests: Requests { memory: request(Kind::Memory), cpu_millis: request(Kind::Cpu) },
            limits: self.limits(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            memory: self.limits.value(Kind::Memory),
            cpu_millis: self.limits.value(Kind::Cpu),
            pids: self.limits.value(Kind::Pids),
        }
    }
}

/// Reads a `resources` table, of a container or of a pod.
pub(super) fn read_resources(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Written {
    let mut written = Written::default();
    let Some(mut table) = field.and_then(|field| field.table(RESOURCES, problems)) else { return written };
    if let Some(mut requests) = table.take("requests").and_then(|field| field.table(REQUESTS, problems)) {
        written.requests.memory = read_amount(requests.take("memory"), Kind::Memory, problems);
        written.requests.cpu = read_amount(requests.take("cpu"), Kind::Cpu, problems);
        requests.finish(problems);
    }
    if let Some(mut limits) = table.take("limits").and_then(|field| field.table(LIMITS, problems)) {
        written.limits.memory = read_limit(limits.take("memory"), Kind::Memory, problems);
        written.limits.cpu = read_limit(limits.take("cpu"), Kind::Cpu, problems);
        written.limits.pids = read_limit(limits.take("pids"), Kind::Pids, problems);
        limits.finish(problems);
    }
    table.finish(problems);
    for kind in KINDS {
        let (Some(request), Some(limit)) = (written.requests.get(kind), written.limits.get(kind)) else {
            continue;
        };
        if request.value > limit.value {
            let message = format!("the {} request is larger than the limit", kind.key());
            let also = problems.place(&limit.at, "the limit");
            let help = "a request is what it should have, a limit what it may not pass: \
                        lower one or raise the other";
            problems.add_pair(&request.at, message, "more than it may ever use", also, help);
        }
    }
    written
}

fn read_amount(field: Option<Field<'_>>, kind: Kind, problems: &mut ProblemList<'_>) -> Option<Amount> {
    let field = field?;
    let value = match kind {
        Kind::Memory => field.memory(problems),
        Kind::Cpu => field.cpu(problems),
        Kind::Pids => field.integer(1, PIDS_MAX, problems).map(u64::from),
    };
    value.map(|value| Amount { value, at: field.at() })
}

fn read_limit(field: Option<Field<'_>>, kind: Kind, problems: &mut ProblemList<'_>) -> Option<Amount> {
    let amount = read_amount(field, kind, problems);
    match (&amount, field) {
        (Some(Amount { value: 0, .. }), Some(field)) => {
            let help = "leave the key out where there is to be no limit";
            field.refuse(problems, "must not be zero as a limit", "nothing could run", help);
            None
        }
        _ => amount,
    }
}

/// What a whole pod may use: what the pod's own table says, resource by resource, else what its
/// containers need together. Says where the two contradict each other.
///
/// `containers` are the pod's, in start order; `written` is what each of them says.
pub(super) fn resolve_pod(
    own: &Written,
    containers: &[Container],
    written: &[Written],
    problems: &mut ProblemList<'_>,
) -> Resources {
    for kind in KINDS {
        check_pod(kind, own, containers, written, problems);
    }
    let computed = effective(containers);
    let request =
        |kind: Kind| own.requests.value(kind).or(kind.request(&computed)).or(own.limits.value(kind));
    let limit = |kind: Kind| own.limits.value(kind).or(kind.limit(&computed));
    Resources {
        requests: Requests { memory: request(Kind::Memory), cpu_millis: request(Kind::Cpu) },
        limits: Limits { memory: limit(Kind::Memory), cpu_millis: limit(Kind::Cpu), pids: limit(Kind::Pids) },
    }
}

fn check_pod(
    kind: Kind,
    own: &Written,
    containers: &[Container],
    written: &[Written],
    problems: &mut ProblemList<'_>,
) {
    let needed = kind.request(&effective(containers));
    let own_request = own.requests.get(kind);
    let own_limit = own.limits.get(kind);
    if let (Some(request), Some(needed)) = (own_request, needed) {
        if request.value < needed {
            let message =
                format!("the pod's {} request is smaller than what its containers request", kind.key());
            let help = format!("write at least {}, or leave the pod's request out", kind.write(needed));
            problems.add_structural(&request.at, message, "not enough for all of them", &help);
        }
    }
    let Some(limit) = own_limit else { return };
    if let (None, Some(needed)) = (own_request, needed) {
        if limit.value < needed {
            let message =
                format!("the pod's {} limit is smaller than what its containers request", kind.key());
            let help = format!("write at least {}, or lower the containers' requests", kind.write(needed));
            problems.add_structural(&limit.at, message, "not enough for all of them", &help);
            return;
        }
    }
    for (container, written) in containers.iter().zip(written) {
        let Some(single) = written.limits.get(kind) else { continue };
        if single.value > limit.value {
            let message =
                format!("the {} limit of {} is larger than the pod's", kind.key(), quote(&container.name));
            let also = problems.place(&limit.at, "the pod's limit");
            let help = format!("at most {} is possible, or raise the pod's limit", kind.write(limit.value));
            problems.add_pair(&single.at, message, "never to be had", also, &help);
        }
    }
}

/// The sidecar formula (Kubernetes, "Resource sharing within containers"; KEP-753).
///
/// A limit of the pod exists only if every container has that limit: one without would
/// otherwise be held back by the sum of the others, which nobody wrote (the kubelet does the same
/// for the pod's cgroup).
pub(super) fn effective(containers: &[Container]) -> Resources {
    let request = |kind: Kind| aggregate(containers, |resources| kind.request(resources));
    let limit = |kind: Kind| {
        let complete = containers.iter().all(|container| kind.limit(&container.resources).is_some());
        if complete { aggregate(containers, |resources| kind.limit(resources)) } else { None }
    };
    Resources {
        requests: Requests { memory: request(Kind::Memory), cpu_millis: request(Kind::Cpu) },
        limits: Limits { memory: limit(Kind::Memory), cpu_millis: limit(Kind::Cpu), pids: limit(Kind::Pids) },
    }
}

/// The most that is in use at one time: while an init container runs, it and the sidecars before
/// it; afterwards all sidecars and all main containers. `None` if no container says anything.
fn aggregate(containers: &[Container], amount: impl Fn(&Resources) -> Option<u64>) -> Option<u64> {
    let mut sidecars: u64 = 0;
    let mut mains: u64 = 0;
    let mut most: u64 = 0;
    let mut anything = false;
    for container in containers {
        let own = amount(&container.resources);
        anything |= own.is_some();
        let own = own.unwrap_or(0);
        match container.role {
            Role::Init => most = most.max(own.saturating_add(sidecars)),
            Role::Sidecar => sidecars = sidecars.saturating_add(own),
            Role::Main => mains = mains.saturating_add(own),
        }
    }
    // What a sidecar needs when it starts is never more than all of them need later.
    anything.then_some(most.max(sidecars.saturating_add(mains)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::plan::{Image, PodId, Probes};

    fn container(role: Role, cpu: (Option<u64>, Option<u64>)) -> Container {
        Container {
            name: String::new(),
            pod: PodId(0),
            role,
            image: Image::Bundle(PathBuf::new()),
            resources: Resources {
                requests: Requests { cpu_millis: cpu.0, memory: None },
                limits: Limits { cpu_millis: cpu.1, ..Limits::default() },
            },
            probes: Probes::default(),
            termination_message: Default::default(),
        }
    }

    fn requests(list: &[(Role, u64)]) -> Option<u64> {
        let containers: Vec<_> = list.iter().map(|&(role, cpu)| container(role, (Some(cpu), None))).collect();
        effective(&containers).requests.cpu_millis
    }

    #[test]
    fn requests_follow_the_start_order() {
        use Role::{Init, Main, Sidecar};
        type Case = (&'static str, &'static [(Role, u64)], u64);
        let cases: [Case; 7] = [
            ("mains add up", &[(Main, 1), (Main, 2)], 3),
            ("the largest init counts alone", &[(Init, 5), (Init, 4), (Main, 2)], 5),
            ("mains outweigh a small init", &[(Init, 1), (Main, 2), (Main, 3)], 5),
            ("a sidecar stays beside the mains", &[(Sidecar, 5), (Main, 2)], 7),
            ("an init before a sidecar runs without it", &[(Init, 5), (Sidecar, 2), (Main, 1)], 5),
            ("an init behind a sidecar runs beside it", &[(Sidecar, 2), (Init, 5), (Main, 1)], 7),
            (
                "order decides",
                &[(Init, 5), (Sidecar, 1), (Sidecar, 2), (Init, 5), (Sidecar, 3), (Main, 1)],
                8,
            ),
        ];
        for (situation, list, expected) in cases {
            assert_eq!(requests(list), Some(expected), "{situation}");
        }
    }

    #[test]
    fn a_limit_of_the_pod_needs_one_in_every_container() {
        let pair = |second| {
            effective(&[container(Role::Sidecar, (None, Some(2))), container(Role::Main, (None, second))])
        };
        assert_eq!(pair(Some(3)).limits.cpu_millis, Some(5));
        assert_eq!(pair(None).limits.cpu_millis, None);
        assert_eq!(pair(Some(3)).limits.memory, None);
    }

    #[test]
    fn nothing_said_is_nothing_computed() {
        assert_eq!(effective(&[container(Role::Main, (None, None))]), Resources::default());
    }

    #[test]
    fn a_request_of_zero_is_something_said() {
        assert_eq!(requests(&[(Role::Main, 0)]), Some(0));
    }

    #[test]
    fn sums_stop_at_the_end_of_the_numbers() {
        assert_eq!(requests(&[(Role::Sidecar, u64::MAX), (Role::Init, 1), (Role::Main, 1)]), Some(u64::MAX));
    }
}
