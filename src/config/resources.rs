//! Requests and limits: reading them, and what they add up to for a pod.

use core::ops::Range;

use super::effective::{Amounts, effective};
use super::plan::{Container, Limits, QosClass, Requests, Resources, Role};
use super::problem::{ProblemList, quote};
use super::qos::qos_class;
use super::quantity::{write_cpu, write_memory};
use super::reader::{Field, TableKind};

pub(super) const RESOURCES: TableKind = TableKind { name: "`resources`", keys: &["requests", "limits"] };
pub(super) const REQUESTS: TableKind = TableKind { name: "`requests`", keys: &["memory", "cpu"] };
pub(super) const LIMITS: TableKind = TableKind { name: "`limits`", keys: &["memory", "cpu", "pids"] };
pub(super) const OVERHEAD: TableKind = TableKind { name: "`overhead`", keys: &["memory", "cpu"] };

/// Most processes that Linux can have (`PID_MAX_LIMIT`, proc(5)).
const PIDS_MAX: u32 = 4_194_304;

/// What a `resources` table says, with the places where it says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    requests: WrittenAmounts,
    limits: WrittenAmounts,
}

#[derive(Clone, Debug, Default)]
struct WrittenAmounts {
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
pub(super) enum Kind {
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

    pub(super) fn request(self, resources: &Resources) -> Option<u64> {
        match self {
            Kind::Memory => resources.requests.memory,
            Kind::Cpu => resources.requests.cpu_millis,
            // The kernel has no reserve of processes.
            Kind::Pids => None,
        }
    }

    pub(super) fn limit(self, resources: &Resources) -> Option<u64> {
        match self {
            Kind::Memory => resources.limits.memory,
            Kind::Cpu => resources.limits.cpu_millis,
            Kind::Pids => resources.limits.pids,
        }
    }

    /// What each of a pod's containers says about it.
    pub(super) fn amounts_of(self, containers: &[Container]) -> Vec<(Role, Amounts)> {
        let amounts = |resources| Amounts { request: self.request(resources), limit: self.limit(resources) };
        containers.iter().map(|container| (container.role, amounts(&container.resources))).collect()
    }
}

impl WrittenAmounts {
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
    fn amounts(&self, kind: Kind) -> Amounts {
        Amounts { request: self.requests.value(kind), limit: self.limits.value(kind) }
    }

    /// A container's resources.
    pub(super) fn of_container(&self) -> Resources {
        resources(|kind| self.amounts(kind).of_container())
    }
}

fn resources(amounts: impl Fn(Kind) -> Amounts) -> Resources {
    let [memory, cpu, pids] = [Kind::Memory, Kind::Cpu, Kind::Pids].map(amounts);
    Resources {
        requests: Requests { memory: memory.request, cpu_millis: cpu.request },
        limits: Limits { memory: memory.limit, cpu_millis: cpu.limit, pids: pids.limit },
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

/// Reads what a pod needs beside its containers.
pub(super) fn read_overhead(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Requests {
    let Some(mut table) = field.and_then(|field| field.table(OVERHEAD, problems)) else {
        return Requests::default();
    };
    let memory = table.take("memory").and_then(|field| field.memory(problems));
    let cpu_millis = table.take("cpu").and_then(|field| field.cpu(problems));
    table.finish(problems);
    Requests { memory, cpu_millis }
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

/// What a whole pod may use and how well it is protected: from what the pod's own table says,
/// resource by resource, else from what its containers need together. Says where the two contradict
/// each other.
///
/// `containers` are the pod's, in start order; `written` is what each of them says.
pub(super) fn resolve_pod(
    own: &Written,
    overhead: &Requests,
    containers: &[Container],
    written: &[Written],
    problems: &mut ProblemList<'_>,
) -> (Resources, QosClass) {
    for kind in KINDS {
        check_pod(kind, own, containers, written, problems);
    }
    let of_pod = |kind: Kind| own.amounts(kind).of_pod(&kind.amounts_of(containers));
    let pod = resources(|kind| {
        let overhead = match kind {
            Kind::Memory => overhead.memory,
            Kind::Cpu => overhead.cpu_millis,
            Kind::Pids => None,
        };
        let mut amounts = effective(kind.key(), &kind.amounts_of(containers), of_pod(kind), overhead);
        // A container without a limit would be held back by the sum of the others', which nobody
        // wrote. The kubelet sets no limit of the pod's cgroup then either.
        let is_complete = containers.iter().all(|container| kind.limit(&container.resources).is_some());
        if own.limits.get(kind).is_none() && !is_complete {
            amounts.limit = None;
        }
        amounts
    });
    let speaks = [Kind::Memory, Kind::Cpu].iter().any(|&kind| own.amounts(kind) != Amounts::default());
    let class = qos_class(speaks.then(|| resources(of_pod)).as_ref(), containers);
    (pod, class)
}

fn check_pod(
    kind: Kind,
    own: &Written,
    containers: &[Container],
    written: &[Written],
    problems: &mut ProblemList<'_>,
) {
    let amounts = kind.amounts_of(containers);
    let needed = effective(kind.key(), &amounts, Amounts::default(), None).request;
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
