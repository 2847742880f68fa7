//! Whether the machine has what its pods request together. More would be promised than could be
//! kept, and which pod it hits would show in the field; so it is a mistake like any other
//! (Kubernetes: the scheduler's and the kubelet's admission by requests against allocatable).

use super::plan::{Capacity, Plan, Requests};
use super::pod::PodFile;
use super::problem::{ProblemList, printable};
use super::quantity::{write_cpu, write_memory};
use super::reader::{Field, TableKind};

pub(super) const CAPACITY: TableKind = TableKind { name: "`capacity`", keys: &["memory", "cpu"] };
pub(super) const RESERVED: TableKind = TableKind { name: "`reserved`", keys: &["memory", "cpu"] };

/// The granularity of a memory size that was found and not written: it is told to people, and
/// nobody writes kibibytes. Bytes.
const FOUND_MEMORY_STEP: u64 = 1 << 20;

impl Capacity {
    /// What the file says, else what was found.
    pub(super) fn or_found(self, found: Capacity) -> Capacity {
        let whole = |bytes: u64| bytes - bytes % FOUND_MEMORY_STEP;
        Capacity {
            memory: self.memory.or(found.memory.map(whole)),
            cpu_millis: self.cpu_millis.or(found.cpu_millis),
        }
    }

    /// What is left of it for pods.
    #[must_use]
    pub fn without(self, reserved: Capacity) -> Capacity {
        let left = |whole: Option<u64>, part: Option<u64>| Some(whole?.saturating_sub(part.unwrap_or(0)));
        Capacity {
            memory: left(self.memory, reserved.memory),
            cpu_millis: left(self.cpu_millis, reserved.cpu_millis),
        }
    }
}

/// What all pods of a plan request together; zero if none of them requests anything.
pub fn requested(plan: &Plan) -> Requests {
    sum(plan.pods.iter().map(|pod| &pod.resources.requests))
}

fn sum<'r>(requests: impl Iterator<Item = &'r Requests>) -> Requests {
    let (mut memory, mut cpu): (u64, u64) = (0, 0);
    for pod in requests {
        memory = memory.saturating_add(pod.memory.unwrap_or(0));
        cpu = cpu.saturating_add(pod.cpu_millis.unwrap_or(0));
    }
    Requests { memory: Some(memory), cpu_millis: Some(cpu) }
}

type Read = fn(&Field<'_>, &mut ProblemList<'_>) -> Option<u64>;

fn read_memory(field: &Field<'_>, problems: &mut ProblemList<'_>) -> Option<u64> {
    field.memory(problems)
}

fn read_cpu(field: &Field<'_>, problems: &mut ProblemList<'_>) -> Option<u64> {
    field.cpu(problems)
}

pub(super) fn read_capacity(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Capacity {
    let Some(mut table) = field.and_then(|field| field.table(CAPACITY, problems)) else {
        return Capacity::default();
    };
    let mut amount = |key: &'static str, read: Read| {
        let field = table.take(key)?;
        let amount = read(&field, problems)?;
        if amount == 0 {
            let help = "leave the key out, then it is what this machine is found to have";
            field.refuse(problems, "must not be zero", "no machine has nothing", help);
            return None;
        }
        Some(amount)
    };
    let capacity = Capacity { memory: amount("memory", read_memory), cpu_millis: amount("cpu", read_cpu) };
    table.finish(problems);
    capacity
}

/// `capacity` is what the same file says.
pub(super) fn read_reserved(
    field: Option<Field<'_>>,
    capacity: &Capacity,
    problems: &mut ProblemList<'_>,
) -> Capacity {
    let Some(mut table) = field.and_then(|field| field.table(RESERVED, problems)) else {
        return Capacity::default();
    };
    let mut amount = |key: &'static str, read: Read, whole: Option<u64>, write: fn(u64) -> String| {
        let field = table.take(key)?;
        let amount = read(&field, problems)?;
        if let Some(whole) = whole.filter(|&whole| amount > whole) {
            let help = format!("`capacity` says {}; reserve less of it", write(whole));
            field.refuse(problems, "is more than the machine has", "nothing would be left for pods", &help);
        }
        Some(amount)
    };
    let reserved = Capacity {
        memory: amount("memory", read_memory, capacity.memory, write_memory),
        cpu_millis: amount("cpu", read_cpu, capacity.cpu_millis, write_cpu),
    };
    table.finish(problems);
    reserved
}

/// Adds a mistake if the pods request more than is left for them. Who requests nothing never makes
/// it one.
///
/// `written` is what of the capacity the machine file says, `capacity` what holds.
pub(super) fn check_admission(
    pods: &[PodFile],
    capacity: Capacity,
    written: Capacity,
    reserved: Capacity,
    problems: &mut ProblemList<'_>,
) {
    let requested = sum(pods.iter().map(|pod| &pod.pod.resources.requests));
    let left = capacity.without(reserved);
    let exceeds = |requested: Option<u64>, left: Option<u64>| requested > left && left.is_some();
    let short: Vec<&str> = [
        ("memory", exceeds(requested.memory, left.memory)),
        ("cpu", exceeds(requested.cpu_millis, left.cpu_millis)),
    ]
    .into_iter()
    .filter_map(|(name, exceeds)| exceeds.then_some(name))
    .collect();
    if short.is_empty() {
        return;
    }
    let mut rows = vec![["".to_owned(), "".to_owned(), "memory".to_owned(), "cpu".to_owned()]];
    for pod in pods {
        let Requests { memory, cpu_millis } = pod.pod.resources.requests;
        if memory.is_some() || cpu_millis.is_some() {
            let file: String = problems.file_name(pod.file).chars().map(printable).collect();
            rows.push(row(&pod.pod.name, &file, memory, cpu_millis));
        }
    }
    rows.push(row("all pods", "", requested.memory, requested.cpu_millis));
    let source = match (written.memory.is_some(), written.cpu_millis.is_some()) {
        (false, false) => "found on this machine",
        (true, true) => "as the machine file says",
        (true, false) | (false, true) => "found, and as the machine file says",
    };
    rows.push(row("capacity", source, capacity.memory, capacity.cpu_millis));
    if reserved != Capacity::default() {
        rows.push(row("reserved", "not for pods", reserved.memory, reserved.cpu_millis));
        rows.push(row("left for pods", "", left.memory, left.cpu_millis));
    }
    let message = format!("the pods request more {} than this machine has for them", short.join(" and "));
    let help = "lower requests or run fewer pods; for another machine than this one, write what it has into \
                `capacity` of the machine file";
    problems.add_table(message, align(&rows), help);
}

fn row(name: &str, file: &str, memory: Option<u64>, cpu: Option<u64>) -> [String; 4] {
    let amount = |amount: Option<u64>, write: fn(u64) -> String| amount.map_or_else(|| "-".to_owned(), write);
    [name.to_owned(), file.to_owned(), amount(memory, write_memory), amount(cpu, write_cpu)]
}

/// Names to the left, amounts to the right.
fn align(rows: &[[String; 4]]) -> Vec<String> {
    let width = |column: fn(&[String; 4]) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let [name, file, memory, cpu] =
        [width(|[it, ..]| it), width(|[_, it, ..]| it), width(|[_, _, it, _]| it), width(|[.., it]| it)];
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:name$}  {b:file$}  {c:>memory$}  {d:>cpu$}");
    rows.iter().map(line).collect()
}
